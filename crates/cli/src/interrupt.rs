//! The end by a signal, in the middle of the work.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Has SIGINT and SIGTERM end the program as they always do, but without the files that it has begun: to be called at
/// its start. What is published is whole at any moment, and the next run does the rest.
pub fn tidy_when_interrupted() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            layout::abandon_drafts();
            log::info!("interrupted; what is published is whole, and the next run does the rest");
            let _ = emulate_default_handler(signal);
        }
    });
}
