//! `--print` and `--print0`: the published files on stdout, for pipes.
//!
//! A path is printed when its file is durable. The reader of the list may close it, and the output may fail: hours are
//! compacted all the same, and the first error is reported at the end.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The list of published files.
#[derive(Debug)]
pub(crate) struct Listing {
    /// What ends a path; none if nothing is to be printed.
    terminator: Option<u8>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// An hour that had to be tried again is listed once.
    printed: HashSet<PathBuf>,
    error: Option<io::Error>,
}

impl Listing {
    /// A list whose paths end with `terminator`.
    pub(crate) fn new(terminator: Option<u8>) -> Self {
        Self { terminator, state: Mutex::default() }
    }

    /// Adds files that were published, or would be.
    pub(crate) fn add(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let Some(terminator) = self.terminator else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::new();
        for path in paths {
            if !state.printed.contains(&path) {
                text.extend_from_slice(path.as_os_str().as_bytes());
                text.push(terminator);
                state.printed.insert(path);
            }
        }
        if state.error.is_none() {
            let print = || {
                let mut out = io::stdout().lock();
                out.write_all(&text).and_then(|()| out.flush())
            };
            state.error = cli::beside_progress(print).err();
        }
    }

    /// An error if the list could not be printed. A reader that went away is content with what it has.
    pub(crate) fn finish(self) -> io::Result<()> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.error.filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map_or(Ok(()), Err)
    }
}
