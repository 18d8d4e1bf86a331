//! Points at which a test can stop a process dead.
//!
//! With the feature `faults` (tests only), a process that is started with `FAULT=<point>` kills itself with SIGKILL when
//! it reaches that point, with `FAULT=<point>:<n>` when it does so for the n-th time. Without the feature a point is nothing.

/// Dies here if the environment says so.
#[inline]
pub fn point(name: &str) {
    #[cfg(feature = "faults")]
    armed::check(name);
    #[cfg(not(feature = "faults"))]
    let _ = name;
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

    pub(super) fn check(name: &str) {
        if let Some((armed, left)) = &*FAULT
            && armed == name
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
