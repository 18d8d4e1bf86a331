//! File systems of a test's own, unmounted when dropped; none without root.

use std::path::{Path, PathBuf};

use harness::{mount, unmount};

/// A mount of a folder at another place.
pub(crate) struct Bound(PathBuf);

impl Bound {
    pub(crate) fn new(from: &Path, to: &Path) -> Self {
        assert!(mount(&["--bind", from.to_str().unwrap()], to));
        Self(to.to_owned())
    }

    pub(crate) fn remount(&self, options: &str) -> bool {
        mount(&["-o", &format!("remount,bind,{options}")], &self.0)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}
