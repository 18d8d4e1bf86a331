//! The end by a signal, in the middle of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Has SIGINT and SIGTERM end the program as they always do, but only when `tidy` has removed what it had begun: to be
/// called at its start. A second signal does not wait for that, and one that is ignored (as in the background of a script)
/// goes on being ignored.
pub fn tidy_when_interrupted(tidy: impl FnOnce() + Send + 'static) {
    let tidying = Arc::new(AtomicBool::new(false));
    let heard: Vec<_> = [SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)).collect();
    for signal in &heard {
        // Where this cannot be had, the signal ends the program in its own way.
        let _ = register_conditional_default(*signal, Arc::clone(&tidying));
    }
    let Ok(mut signals) = Signals::new(heard) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            tidying.store(true, Ordering::SeqCst);
            tidy();
            let _ = emulate_default_handler(signal);
        }
    });
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
