//! What the tests of the tree share: a data directory of their own, and child processes that die when told to.
//!
//! A child process is this very test binary, started again for one of its tests. Such a test begins with
//! [`TestDir::of_child`] and does nothing unless it runs as a child.

use std::io::{BufRead as _, BufReader, IoSlice, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use layout::{Area, Hour, Name, OpenSegment, SealedSegment, Tree};

/// A data directory, removed when the test ends.
pub(crate) struct TestDir {
    _folder: Option<tempfile::TempDir>,
    pub(crate) tree: Tree,
}

impl TestDir {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path().join("data"));
        Self { _folder: Some(folder), tree }
    }

    /// One in memory, where there is such a file system: syncing takes no time there, and races are close.
    pub(crate) fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let tree = Tree::new(folder.path().join("data"));
        Self { _folder: Some(folder), tree }
    }

    /// The data directory of the process that started this one as its child; none in an ordinary run.
    pub(crate) fn of_child() -> Option<Self> {
        let root = std::env::var_os("DATA_DIR_OF_CHILD")?;
        Some(Self { _folder: None, tree: Tree::new(root) })
    }

    /// This test binary again, to run the test `name` of the caller's module as a child.
    #[track_caller]
    fn again(&self, name: &str) -> Command {
        let module = Path::new(Location::caller().file()).file_stem().unwrap().to_str().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("{module}::{name}"), "--nocapture", "--test-threads=1"]);
        command.env("DATA_DIR_OF_CHILD", self.tree.root()).stdout(Stdio::null());
        command
    }

    /// Runs the test `name` in a child process that must die at the point `fault`.
    #[track_caller]
    pub(crate) fn die_at(&self, name: &str, fault: &str) {
        let status = self.again(name).env("FAULT", fault).status().unwrap();
        assert_eq!(status.signal(), Some(9), "the child passed by the point {fault}: {status}");
    }

    /// Starts the test `name` in a child process and waits until it calls [`ready`].
    #[track_caller]
    pub(crate) fn start(&self, name: &str) -> Child {
        let mut child = self.again(name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().any(|line| line.unwrap().ends_with(READY));
        assert!(said, "the child ended before it was ready");
        child
    }

    /// Every file below the data directory, relative to it, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.tree.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(self.tree.relative(&path)) }
            }
        }
        files.sort();
        files
    }

    /// A segment with `lines` that nobody has sealed or holds, as a writer that died leaves it.
    pub(crate) fn abandon(&self, area: Area, stream: &Name, hour: Hour, lines: &[u8]) -> PathBuf {
        let mut segment = OpenSegment::create(&self.tree, area, stream, hour, layout::StreamVersion::of("")).unwrap();
        segment.append(&mut [IoSlice::new(lines)]).unwrap();
        segment.path().to_owned()
    }

    /// The sealed segments of `stream` in `area`.
    pub(crate) fn sealed(&self, area: Area, stream: &Name) -> Vec<SealedSegment> {
        self.tree.sealed_segments(area, stream, layout::HourRange::ALL).unwrap()
    }
}

const READY: &str = "child is ready";

/// Says to the process that started this one as its child that it may go on.
pub(crate) fn ready() {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{READY}").and_then(|()| stdout.flush()).unwrap();
}

/// Ends a child as the OOM killer does.
pub(crate) fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn hour(text: &str) -> Hour {
    text.parse().unwrap()
}

/// Makes a file with all the folders above it.
pub(crate) fn put(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Sets its flag when it goes, also when the test fails: threads that wait for it must not wait for ever.
pub(crate) struct SetAtEnd<'f>(pub(crate) &'f AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
