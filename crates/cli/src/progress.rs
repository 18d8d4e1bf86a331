//! A progress bar for long work, where somebody watches. What is said meanwhile stands on lines of its own.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, WeakProgressBar};

/// The bar that was made last: a program shows one at a time.
static SHOWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// A bar over `steps` steps called `what` (as in "hours"), on stderr if that is a terminal, else invisible.
pub fn progress(what: &'static str, steps: u64) -> ProgressBar {
    bar(steps, "{wide_bar} {pos}/{len} {prefix}  {msg}  {left} left").with_prefix(what)
}

/// A bar over so many `bytes`, which shows its message, bytes per second and the time left.
pub fn progress_of_bytes(bytes: u64) -> ProgressBar {
    bar(bytes, "{wide_bar} {msg}, {decimal_bytes_per_sec}, {left} left")
}

fn bar(steps: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(5));
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("left", time_left)),
        Err(_) => bar,
    }
}

/// The time that is left, as long as nothing is done a question mark.
fn time_left(state: &ProgressState, out: &mut dyn fmt::Write) {
    // An error of a string that is written to, which has none.
    let _ = if state.pos() == 0 { out.write_char('?') } else { write!(out, "{:#}", HumanDuration(state.eta())) };
}

/// Runs `print`, which may print to a terminal, with the progress bar out of the way. Not to be called inside itself.
pub fn beside_progress<T>(print: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    match shown {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Standard error for lines that do not run into the progress bar.
pub(crate) struct BesideProgress;

impl Write for BesideProgress {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        beside_progress(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
