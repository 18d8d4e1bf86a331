//! Points at which a test can stop a process, or make the system refuse something.
//!
//! With the feature `faults` (tests only), a process with `FAULT=<point>` kills itself when it reaches that point, with
//! `FAULT=<point>:<n>` when it reaches it for the n-th time, with `FAULT_MARK=<path>` only if it can create that file, and
//! with `FAULT_WHILE=<path>` each time as long as that file is there: an outage, which ends. Without the feature the
//! compiler removes the points. They are named by what has been done (`folder.synced`); those at which the system refuses
//! something, by what is about to be done (`folder.sync`).

use std::env::{var, var_os};
use std::fs::File;
use std::io::{IoSlice, Result, Write as _};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

const ENABLED: bool = cfg!(feature = "faults");

/// Dies here if the environment says so.
#[inline]
pub fn point(name: &str) {
    if is_due(name) {
        die();
    }
}

/// An error, as of a broken disk, if the environment says so.
#[inline]
pub fn fails(name: &str) -> Result<()> {
    if is_due(name) { Err(Errno::IO.into()) } else { Ok(()) }
}

/// The write of `pieces` to `file`; if the environment says so, half of it, and then death (`torn`) or an error (`short`).
#[inline]
pub fn write(torn: &str, short: &str, mut file: &File, pieces: &[IoSlice<'_>]) -> Result<usize> {
    let dies = is_due(torn);
    if dies || is_due(short) {
        let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let _ = file.write_all(all.get(..all.len() / 2).unwrap_or_default());
        return if dies { die() } else { Err(Errno::IO.into()) };
    }
    file.write_vectored(pieces)
}

/// Aborts if the environment names bytes (`FAULT_POISON`) that are in `block`: what a bug in a parser would do.
#[inline]
pub fn poison(block: &[u8]) {
    let holds = |poison: &String| block.windows(poison.len()).any(|bytes| bytes == poison.as_bytes());
    if ENABLED && POISON.as_ref().is_some_and(holds) {
        std::process::abort();
    }
}

fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

static FAULT: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
    let fault = var("FAULT").ok()?;
    let (name, count) = fault.split_once(':').unwrap_or((&fault, "1"));
    Some((name.to_owned(), AtomicU64::new(count.parse().unwrap_or(1))))
});

static WHILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| var_os("FAULT_WHILE").map(PathBuf::from));

static POISON: LazyLock<Option<String>> = LazyLock::new(|| var("FAULT_POISON").ok());

#[inline]
fn is_due(name: &str) -> bool {
    // Of processes with a mark, only the first dies.
    let is_first = || var_os("FAULT_MARK").is_none_or(|path| File::create_new(path).is_ok());
    let is_now = |left: &AtomicU64| match &*WHILE {
        Some(path) => path.exists(),
        None => left.fetch_sub(1, Ordering::Relaxed) == 1 && is_first(),
    };
    ENABLED && FAULT.as_ref().is_some_and(|(fault, left)| fault == name && is_now(left))
}
