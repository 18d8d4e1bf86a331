//! The end in the middle of the work: by a signal, or because a thread hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// What removes the files that this process has begun and not finished.
static CLEANUP: OnceLock<&'static [fn()]> = OnceLock::new();

/// Has SIGINT and SIGTERM end the program as they always do, but only after `cleanup`. A second signal does not wait for
/// that. A signal that is ignored (as in the background of a script) is still ignored. Without any `cleanup`, signals are
/// left to the program.
pub(crate) fn run_when_interrupted(cleanup: &'static [fn()]) {
    if cleanup.is_empty() || CLEANUP.set(cleanup).is_err() {
        return;
    }
    let begun = Arc::new(AtomicBool::new(false));
    let handled: Vec<_> = [SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)).collect();
    for signal in &handled {
        // If it cannot be registered, the signal ends the program in its own way.
        let _ = register_conditional_default(*signal, Arc::clone(&begun));
    }
    let Ok(mut signals) = Signals::new(handled) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            begun.store(true, Ordering::SeqCst);
            clean_up();
            let _ = emulate_default_handler(signal);
        }
    });
}

/// Ends the process at once with exit status 75, that of an error that goes away by itself: for a thread whose sibling hangs
/// in a call that nothing ends. Files that were begun are removed before.
pub fn give_up(text: &str) -> ! {
    clean_up();
    log::error!("{text}");
    // SAFETY: it takes a number and does not return. `exit` would run destructors, which could wait for the hanging thread.
    unsafe { libc::_exit(75) }
}

fn clean_up() {
    CLEANUP.get().into_iter().copied().flatten().for_each(|clean_up| clean_up());
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no action is set, and the one there is goes to memory that has room for it; all zeroes are an action too.
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}
