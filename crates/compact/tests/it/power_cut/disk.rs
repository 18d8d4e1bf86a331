//! A disk that keeps what was synced, and of the rest what it likes: the states that it may be found in after a power cut.
//!
//! Of a file, the content as of its last sync is kept for certain; what was written since may be there, or in part, or as
//! zeros. Of a folder, the names as of its last sync; each change since may be there or not, whatever became of the others,
//! and whatever became of the content: a rename can be kept although what the file holds is not. A rename itself is whole.
//! Real file systems keep more than that.

use std::collections::BTreeMap;
use std::path::Path;

use harness::Random;

use super::trace::Call;

/// What a disk holds: files with their content, and folders.
pub(crate) type State = BTreeMap<String, Option<Vec<u8>>>;

#[derive(Debug, Clone)]
enum Node {
    File { bytes: Vec<u8>, synced: Vec<u8> },
    Folder { names: BTreeMap<String, usize>, synced: BTreeMap<String, usize>, since: Vec<Change> },
}

/// A change of a folder.
#[derive(Debug, Clone)]
enum Change {
    Put(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    AllLost,
    /// As after kill -9.
    AllKept,
    /// The names are kept, what was written is not.
    NamesKept,
    /// The names and the lengths are kept, but the files hold zeros.
    ZerosKept,
    /// Only removals of names are kept.
    RemovalsKept,
    /// Each change of a name is kept or not, and of what was written any part.
    Random(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
}

impl Disk {
    /// A disk on which the folder at `path` is, all of it synced.
    pub(crate) fn of(path: &Path) -> Self {
        let mut disk = Self { nodes: Vec::new() };
        disk.load(path);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let node = self.nodes.len();
        if path.is_dir() {
            self.nodes.push(folder());
            let mut names = BTreeMap::new();
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                names.insert(entry.file_name().into_string().unwrap(), self.load(&entry.path()));
            }
            self.nodes[node] = Node::Folder { synced: names.clone(), names, since: Vec::new() };
        } else {
            let bytes = std::fs::read(path).unwrap();
            self.nodes.push(Node::File { synced: bytes.clone(), bytes });
        }
        node
    }

    pub(crate) fn apply(&mut self, call: &Call) {
        match call {
            Call::Create { path, truncate } => match self.find(path) {
                Some(node) if *truncate => self.bytes(node).clear(),
                Some(_) => {}
                None => self.make(path, Node::File { bytes: Vec::new(), synced: Vec::new() }),
            },
            Call::MakeFolder { path } => self.make(path, folder()),
            Call::Write { path, at, bytes } => {
                let Some(node) = self.find(path) else { return };
                let file = self.bytes(node);
                let at = if *at == usize::MAX { file.len() } else { *at };
                file.resize(file.len().max(at + bytes.len()), 0);
                file[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Call::Cut { path, len } => {
                let node = self.find(path).unwrap();
                self.bytes(node).resize(*len, 0);
            }
            Call::Rename { from, to } => {
                let node = self.find(from).unwrap();
                let (folder, from) = split(from);
                let (other, to) = split(to);
                assert_eq!(folder, other, "a rename from folder to folder");
                self.change(folder, Change::Rename(from.to_owned(), to.to_owned(), node));
            }
            Call::Link { from, to } => {
                let node = self.find(from).unwrap();
                self.change(split(to).0, Change::Put(split(to).1.to_owned(), node));
            }
            Call::Remove { path } => self.change(split(path).0, Change::Remove(split(path).1.to_owned())),
            Call::Sync { path } => self.sync(path),
        }
    }

    fn sync(&mut self, path: &str) {
        let Some(node) = self.find(path) else { return };
        match &mut self.nodes[node] {
            Node::File { bytes, synced } => synced.clone_from(bytes),
            Node::Folder { names, synced, since } => {
                synced.clone_from(names);
                since.clear();
            }
        }
    }

    fn make(&mut self, path: &str, node: Node) {
        self.nodes.push(node);
        self.change(split(path).0, Change::Put(split(path).1.to_owned(), self.nodes.len() - 1));
    }

    fn change(&mut self, folder: &str, change: Change) {
        let node = self.find(folder).unwrap();
        let Node::Folder { names, since, .. } = &mut self.nodes[node] else { panic!("{folder} is no folder") };
        change.apply(names);
        since.push(change);
    }

    fn find(&self, path: &str) -> Option<usize> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(0, |node, name| match &self.nodes[node] {
            Node::Folder { names, .. } => names.get(name).copied(),
            Node::File { .. } => None,
        })
    }

    fn bytes(&mut self, node: usize) -> &mut Vec<u8> {
        match &mut self.nodes[node] {
            Node::File { bytes, .. } => bytes,
            Node::Folder { .. } => panic!("a folder is written to"),
        }
    }

    /// What the disk holds after a power cut at this moment.
    pub(crate) fn cut(&self, cut: Cut) -> State {
        let mut random = Random::with_seed(if let Cut::Random(seed) = cut { seed } else { 0 });
        let mut state = State::new();
        self.keep(0, "", cut, &mut random, &mut state);
        state
    }

    fn keep(&self, node: usize, path: &str, cut: Cut, random: &mut Random, state: &mut State) {
        match &self.nodes[node] {
            Node::File { bytes, synced } => {
                state.insert(path.to_owned(), Some(content(bytes, synced, cut, random)));
            }
            Node::Folder { synced, since, .. } => {
                if !path.is_empty() {
                    state.insert(path.to_owned(), None);
                }
                let mut names = synced.clone();
                since.iter().filter(|change| change.is_kept(cut, random)).for_each(|change| change.apply(&mut names));
                for (name, node) in names {
                    let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                    self.keep(node, &below, cut, random, state);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(name, node) => _ = names.insert(name.clone(), *node),
            Self::Remove(name) => _ = names.remove(name),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }

    fn is_kept(&self, cut: Cut, random: &mut Random) -> bool {
        match cut {
            Cut::AllLost => false,
            Cut::AllKept | Cut::NamesKept | Cut::ZerosKept => true,
            Cut::RemovalsKept => matches!(self, Self::Remove(_)),
            Cut::Random(_) => random.below(2) == 0,
        }
    }
}

/// What is kept of a file.
fn content(bytes: &[u8], synced: &[u8], cut: Cut, random: &mut Random) -> Vec<u8> {
    if bytes == synced {
        return bytes.to_vec();
    }
    match cut {
        Cut::AllKept => bytes.to_vec(),
        Cut::ZerosKept => vec![0; bytes.len()],
        Cut::AllLost | Cut::NamesKept | Cut::RemovalsKept => synced.to_vec(),
        Cut::Random(_) => match random.below(4) {
            0 => bytes.to_vec(),
            1 => synced.to_vec(),
            2 => vec![0; bytes.len()],
            _ => bytes[..random.below(bytes.len() + 1)].to_vec(),
        },
    }
}

fn folder() -> Node {
    Node::Folder { names: BTreeMap::new(), synced: BTreeMap::new(), since: Vec::new() }
}

/// The folder and the name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Puts what a disk holds in the empty folder `path`.
pub(crate) fn write(state: &State, path: &Path) {
    for (name, content) in state {
        match content {
            // A folder comes before what is in it.
            None => std::fs::create_dir(path.join(name)).unwrap(),
            Some(bytes) => std::fs::write(path.join(name), bytes).unwrap(),
        }
    }
}
