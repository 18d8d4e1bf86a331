//! What a program does to its data directory, as strace sees it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A call that changes a tree, or makes a change of it durable. Paths are those in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Create { path: String, truncate: bool },
    Write { path: String, at: usize, bytes: Vec<u8> },
    Cut { path: String, len: usize },
    MakeFolder { path: String },
    Rename { from: String, to: String },
    Link { from: String, to: String },
    Remove { path: String },
    Sync { path: String },
}

/// The calls that can change a file or a folder, and those that say where a descriptor stands.
const TRACED: &str = "openat,open,creat,close,dup,dup2,dup3,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,\
                      truncate,fallocate,copy_file_range,sendfile,splice,mkdir,mkdirat,rename,renameat,renameat2,\
                      link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,fsync,fdatasync,sync,syncfs,sync_file_range";

/// `command`, to be run under strace, which writes to `output`. None where that is not possible.
pub(crate) fn under_strace(command: &Command, output: &Path) -> Option<Command> {
    let strace = |rest: &mut dyn FnMut(&mut Command)| {
        let mut strace = Command::new("strace");
        // Whole strings in hexadecimal, and the path of each descriptor.
        strace.args(["-f", "-y", "-xx", "-s", "10000000", "-e", &format!("trace={TRACED}"), "-o"]).arg(output);
        rest(&mut strace);
        strace
    };
    if !strace(&mut |strace| _ = strace.arg("true")).output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    Some(strace(&mut |strace| {
        strace.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
    }))
}

/// The calls on the tree at `root` in what strace wrote.
pub(crate) fn parse(text: &str, root: &Path) -> Vec<Call> {
    let mut parser = Parser { root: root.to_owned(), positions: HashMap::new() };
    whole_lines(text).iter().filter_map(|line| parser.call(line)).collect()
}

/// The lines without the process ids, and in one piece where strace says that a call was unfinished at first. They stand
/// where the call began: on a crash in between, it may have had its effect or not.
fn whole_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut unfinished = HashMap::new();
    for line in text.lines() {
        let (process, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        if let Some(begun) = line.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, lines.len());
            lines.push(begun.to_owned());
        } else if let Some((_, rest)) = line.strip_prefix("<... ").and_then(|line| line.split_once(" resumed>")) {
            let begun: usize = unfinished.remove(process).unwrap();
            lines[begun].push_str(rest);
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

struct Parser {
    root: PathBuf,
    /// Where the next write to a descriptor goes; none for the file's end.
    positions: HashMap<i64, Option<usize>>,
}

impl Parser {
    fn call(&mut self, line: &str) -> Option<Call> {
        let (name, rest) = line.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let result: i64 = result.split(['<', ' ']).next()?.parse().ok()?;
        if result < 0 {
            return None;
        }
        let strings = strings(arguments);
        let named = |index: usize| self.in_tree(strings.get(index)?);
        let file = || self.in_tree(&descriptor(arguments)?.1);
        let number = |last: &str| last.trim_end_matches(')').trim().parse::<usize>().unwrap();
        let last = arguments.rsplit(", ").next()?;
        match name {
            "openat" | "open" => {
                let path = named(0);
                self.positions.insert(result, (!arguments.contains("O_APPEND")).then_some(0));
                let creates = arguments.contains("O_CREAT") || arguments.contains("O_TRUNC");
                creates.then_some(Call::Create { path: path?, truncate: arguments.contains("O_TRUNC") })
            }
            "write" | "writev" => {
                let path = file()?;
                let position = self.positions.get_mut(&descriptor(arguments)?.0).unwrap();
                let mut bytes = strings.concat();
                bytes.truncate(usize::try_from(result).unwrap());
                let at = position.unwrap_or(usize::MAX);
                *position = position.map(|position| position + bytes.len());
                Some(Call::Write { path, at, bytes })
            }
            "pwrite64" => {
                let mut bytes = strings.concat();
                bytes.truncate(usize::try_from(result).unwrap());
                Some(Call::Write { path: file()?, at: number(last), bytes })
            }
            "ftruncate" => Some(Call::Cut { path: file()?, len: number(last) }),
            "fsync" | "fdatasync" => Some(Call::Sync { path: file()? }),
            "mkdir" | "mkdirat" => Some(Call::MakeFolder { path: named(0)? }),
            "rename" | "renameat" | "renameat2" => Some(Call::Rename { from: named(0)?, to: named(1)? }),
            "link" | "linkat" => Some(Call::Link { from: named(0)?, to: named(1)? }),
            "unlink" | "unlinkat" | "rmdir" => Some(Call::Remove { path: named(0)? }),
            // A lock on a file is let go, a descriptor used again: all of it is seen by the next opening. A time only orders
            // versions of stream files.
            "close" | "utimensat" => None,
            // A position is asked for.
            "lseek" if arguments.contains(", 0, SEEK_CUR)") => None,
            _ => {
                let touched = file().or_else(|| named(0));
                assert!(touched.is_none(), "the test does not know what this does: {line}");
                None
            }
        }
    }

    /// The path in the tree, if it is one.
    fn in_tree(&self, path: &[u8]) -> Option<String> {
        let path = std::str::from_utf8(path).ok()?;
        let path = Path::new(path).strip_prefix(&self.root).ok()?;
        Some(path.to_str()?.to_owned())
    }
}

/// The descriptor that is the first argument, and its path.
fn descriptor(arguments: &str) -> Option<(i64, Vec<u8>)> {
    let (number, rest) = arguments.split_once('<')?;
    let path = rest.split_once('>')?.0;
    Some((number.parse().ok()?, bytes(path)))
}

/// The quoted strings among the arguments.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    arguments.split('"').skip(1).step_by(2).map(bytes).collect()
}

/// The bytes of a string that is all of the form `\x00`.
fn bytes(hex: &str) -> Vec<u8> {
    hex.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}
