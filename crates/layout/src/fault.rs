//! Points at which a test can stop a process dead.
//!
//! With the feature `faults` (tests only), a process that is started with `FAULT=<point>` kills itself with SIGKILL when
//! it reaches that point, with `FAULT=<point>:<n>` when it does so for the n-th time. With `FAULT_MARK=<path>` it dies only
//! if it can create that file: so that its successor lives. With `FAULT_WHILE=<path>` the point is due whenever it is
//! reached while that file is there: an outage, which ends. Without the feature a point is nothing.
//!
//! A point is named by the place and what has been done there (`folder.synced`); one at which the system can be made to
//! refuse, by what is about to be done (`folder.sync`).

/// Dies here if the environment says so.
#[inline]
pub fn point(name: &str) {
    #[cfg(feature = "faults")]
    armed::check(name);
    #[cfg(not(feature = "faults"))]
    let _ = name;
}

/// An error, as of a broken disk, if the environment says so.
#[inline]
pub fn fails(name: &str) -> std::io::Result<()> {
    #[cfg(feature = "faults")]
    armed::fails(name)?;
    let _ = name;
    Ok(())
}

/// The write of `pieces` to `file`; if the environment says so, half of it and then an error.
#[inline]
pub fn write(name: &str, mut file: &std::fs::File, pieces: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
    #[cfg(feature = "faults")]
    armed::cut_short(name, file, pieces)?;
    let _ = name;
    std::io::Write::write_vectored(&mut file, pieces)
}

/// Dies in the middle of writing `pieces` to `file` if the environment says so: half of them are there.
#[inline]
pub fn tear(name: &str, file: &std::fs::File, pieces: &[std::io::IoSlice<'_>]) {
    #[cfg(feature = "faults")]
    armed::tear(name, file, pieces);
    #[cfg(not(feature = "faults"))]
    let _ = (name, file, pieces);
}

/// Aborts if the environment names bytes (`FAULT_POISON`) that are in `block`: what a bug in a parser would do.
#[inline]
pub fn poison(block: &[u8]) {
    #[cfg(feature = "faults")]
    armed::poison(block);
    #[cfg(not(feature = "faults"))]
    let _ = block;
}

#[cfg(feature = "faults")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static FAULT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let fault = std::env::var("FAULT").ok()?;
        let (name, count) = fault.split_once(':').unwrap_or((&fault, "1"));
        Some((name.to_owned(), AtomicU64::new(count.parse().unwrap_or(1))))
    });

    /// Whether nobody died before us.
    fn mark() -> bool {
        std::env::var_os("FAULT_MARK").is_none_or(|path| std::fs::File::create_new(path).is_ok())
    }

    static WHILE: LazyLock<Option<std::path::PathBuf>> =
        LazyLock::new(|| Some(std::env::var_os("FAULT_WHILE")?.into()));

    static POISON: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("FAULT_POISON").ok());

    pub(super) fn poison(block: &[u8]) {
        if let Some(poison) = &*POISON
            && block.windows(poison.len()).any(|bytes| bytes == poison.as_bytes())
        {
            std::process::abort();
        }
    }

    pub(super) fn fails(name: &str) -> std::io::Result<()> {
        if is_due(name) { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
    }

    pub(super) fn tear(name: &str, file: &std::fs::File, pieces: &[std::io::IoSlice<'_>]) {
        if is_due(name) {
            write_half(file, pieces);
            die();
        }
    }

    pub(super) fn cut_short(name: &str, file: &std::fs::File, pieces: &[std::io::IoSlice<'_>]) -> std::io::Result<()> {
        fails(name).inspect_err(|_| write_half(file, pieces))
    }

    fn write_half(mut file: &std::fs::File, pieces: &[std::io::IoSlice<'_>]) {
        let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let _ = std::io::Write::write_all(&mut file, all.get(..all.len() / 2).unwrap_or_default());
    }

    pub(super) fn check(name: &str) {
        if is_due(name) {
            die();
        }
    }

    fn is_due(name: &str) -> bool {
        FAULT.as_ref().is_some_and(|(armed, left)| {
            armed == name
                && match &*WHILE {
                    Some(path) => path.exists(),
                    None => left.fetch_sub(1, Ordering::Relaxed) == 1 && mark(),
                }
        })
    }

    fn die() -> ! {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
