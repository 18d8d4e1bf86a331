//! File systems of a test's own, unmounted when dropped; none without root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small file system in memory.
pub struct SmallDisk {
    folder: harness::tempfile::TempDir,
}

impl SmallDisk {
    pub fn mount(options: &str) -> Option<Self> {
        let folder = harness::tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "tmpfs"], folder.path());
        if !mounted {
            harness::left_out("mounting a small tmpfs needs root");
        }
        mounted.then(|| Self { folder })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Mounts it again with other options; says whether that worked.
    pub fn remount(&self, options: &str) -> bool {
        mount(&["-o", &format!("remount,{options}")], self.path())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

/// A mount of a folder at another place.
pub struct Bound(PathBuf);

impl Bound {
    pub fn new(from: &Path, to: &Path) -> Self {
        assert!(mount(&["--bind", from.to_str().unwrap()], to));
        Self(to.to_owned())
    }

    pub fn remount(&self, options: &str) -> bool {
        mount(&["-o", &format!("remount,bind,{options}")], &self.0)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn mount(arguments: &[&str], folder: &Path) -> bool {
    let output = Command::new("mount").args(arguments).arg(folder).output();
    output.is_ok_and(|output| output.status.success())
}

/// Takes the topmost mount away, whoever uses it.
fn unmount(folder: &Path) {
    let _ = Command::new("umount").arg("-l").arg(folder).stderr(Stdio::null()).status();
}
