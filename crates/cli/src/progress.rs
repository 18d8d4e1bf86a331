//! A progress bar for long work, where somebody watches.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `steps` steps called `what` (as in "hours"), on stderr if that is a terminal, else invisible.
pub fn progress(what: &'static str, steps: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(5));
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} {prefix}  {msg}  {eta} left") {
        Ok(style) => bar.with_style(style).with_prefix(what),
        Err(_) => bar.with_prefix(what),
    }
}
