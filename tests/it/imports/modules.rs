//! The modules of a crate, read from its source: enough of Rust's syntax to know which file a path leads to.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use super::Imports;

/// A module by its way from the root, which is empty.
type Way = Vec<String>;

/// A path as it is written, piece by piece.
type Written = Vec<String>;

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// The paths in its code, and those by which it imports names.
    paths: Vec<Written>,
    /// What it imports, by the name that it has here; `*` for what is imported whole.
    names: BTreeMap<String, Written>,
}

pub(super) struct Crate {
    folder: PathBuf,
    modules: BTreeMap<Way, Module>,
}

impl Crate {
    /// Reads the crate whose source is in `folder`: from `lib.rs` or `main.rs`, all modules but those of tests.
    pub(super) fn read(folder: &Path) -> Self {
        let mut all = Self { folder: folder.to_owned(), modules: BTreeMap::new() };
        let root = ["lib.rs", "main.rs"].into_iter().find(|name| folder.join(name).exists());
        all.read_file(&Way::new(), Path::new(root.expect("no lib.rs or main.rs")));
        all
    }

    fn read_file(&mut self, way: &Way, file: &Path) {
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap();
        self.read_module(way, file, &mut tokens(&text).into_iter().peekable());
    }

    /// Reads up to the bracket that closes the module, or to the end of the file.
    fn read_module(&mut self, way: &Way, file: &Path, tokens: &mut Tokens) {
        self.modules.insert(way.clone(), Module { file: file.to_owned(), ..Module::default() });
        let (mut depth, mut previous) = (0, String::new());
        while let Some(token) = tokens.next() {
            match token.as_str() {
                "{" => depth += 1,
                "}" if depth == 0 => return,
                "}" => depth -= 1,
                "#" if is_for_tests(tokens) => skip_item(tokens),
                "use" => self.add_names(way, tokens),
                "mod" => self.read_child(way, file, tokens),
                "::" | "." => {}
                _ if is_word(&token) && previous != "::" && previous != "." => {
                    let mut path = vec![token.clone()];
                    while tokens.next_if(|token| token == "::").is_some() {
                        path.extend(tokens.next_if(|token| is_word(token)));
                    }
                    if path.len() > 1 {
                        self.module(way).paths.push(path);
                    }
                }
                _ => {}
            }
            previous = token;
        }
    }

    fn module(&mut self, way: &Way) -> &mut Module {
        self.modules.get_mut(way).unwrap()
    }

    /// After `mod`.
    fn read_child(&mut self, way: &Way, file: &Path, tokens: &mut Tokens) {
        let child = [way.as_slice(), &[tokens.next().unwrap()]].concat();
        if tokens.next().as_deref() == Some("{") {
            return self.read_module(&child, file, tokens);
        }
        let path: PathBuf = child.iter().collect();
        let files = [path.with_extension("rs"), path.join("mod.rs")];
        let file = files.into_iter().find(|file| self.folder.join(file).exists());
        self.read_file(&child, &file.expect("a module has no file"));
    }

    /// After `use`.
    fn add_names(&mut self, way: &Way, tokens: &mut Tokens) {
        let mut list = Vec::new();
        tree(tokens, &Written::new(), &mut list);
        let module = self.module(way);
        for (name, path) in list {
            module.names.insert(name, path.clone());
            module.paths.push(path);
        }
    }

    /// The module that defines what `path` names in the module `at`; none if it is another crate's. Names that `at` has
    /// imported lead nowhere: the import itself is one of its paths.
    fn resolve(&self, at: &[String], path: &[String]) -> Option<Way> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.resolve_in(&[], rest),
            "self" => self.resolve_in(at, rest),
            "super" => self.resolve_in(at.split_last()?.1, rest),
            _ => self.resolve_in(&self.child(at, first)?, rest),
        }
    }

    /// What `path` names when it begins inside of the module `at`, which defines what it neither holds nor imports.
    fn resolve_in(&self, at: &[String], path: &[String]) -> Option<Way> {
        let Some((first, rest)) = path.split_first() else { return Some(at.to_owned()) };
        if first == "super" || self.child(at, first).is_some() {
            return self.resolve(at, path);
        }
        match self.modules[at].names.get(first) {
            Some(imported) => self.resolve(at, &[imported, rest].concat()),
            None => Some(at.to_owned()),
        }
    }

    fn child(&self, at: &[String], name: &String) -> Option<Way> {
        Some([at, std::slice::from_ref(name)].concat()).filter(|child| self.modules.contains_key(child))
    }

    /// By file, which files it imports.
    pub(super) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (way, module) in &self.modules {
            let entry = imports.entry(module.file.clone()).or_default();
            for path in &module.paths {
                let target = self.resolve(way, path);
                if let Some(file) =
                    target.map(|target| &self.modules[&target].file).filter(|file| **file != module.file)
                {
                    entry.entry(file.clone()).or_insert_with(|| path.join("::"));
                }
            }
        }
        imports
    }
}

type Tokens = Peekable<std::vec::IntoIter<String>>;

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// After `use`: the names that it imports, each with its path; stops before the end of the list or the statement.
fn tree(tokens: &mut Tokens, prefix: &Written, list: &mut Vec<(String, Written)>) {
    let mut path = prefix.clone();
    loop {
        match tokens.next_if(|token| is_word(token) || ["::", "{", "*"].contains(&token.as_str())).as_deref() {
            Some("::") => {}
            Some("{") => {
                while tokens.next_if(|token| token == "}").is_none() {
                    tree(tokens, &path, list);
                    tokens.next_if(|token| token == ",");
                }
                return;
            }
            Some("*") => return list.push(("*".to_owned(), path)),
            Some("as") => return list.push((tokens.next().unwrap(), path)),
            Some(word) => path.push(word.to_owned()),
            None => {
                path.pop_if(|last| last == "self");
                return list.extend(path.last().cloned().map(|name| (name, path)));
            }
        }
    }
}

/// After `#`: takes the attribute, and says whether it keeps the next item for tests.
fn is_for_tests(tokens: &mut Tokens) -> bool {
    tokens.next_if(|token| token == "!");
    let attribute = bracket(tokens);
    attribute.get(1).is_some_and(|word| word == "cfg") && attribute.iter().any(|word| word == "test")
}

/// What stands in a pair of brackets, with them.
fn bracket(tokens: &mut Tokens) -> Vec<String> {
    let (mut inside, mut depth) = (Vec::new(), 0);
    for token in tokens {
        depth += i32::from(["(", "[", "{"].contains(&token.as_str()));
        depth -= i32::from([")", "]", "}"].contains(&token.as_str()));
        inside.push(token);
        if depth == 0 {
            break;
        }
    }
    inside
}

/// Takes an item: up to its semicolon, or to the end of its block.
fn skip_item(tokens: &mut Tokens) {
    let mut is_import = false;
    while let Some(token) = tokens.peek() {
        match token.as_str() {
            "(" | "[" => drop(bracket(tokens)),
            "{" => {
                bracket(tokens);
                if !is_import {
                    return;
                }
            }
            "}" => return,
            ";" => return drop(tokens.next()),
            word => {
                is_import |= word == "use";
                tokens.next();
            }
        }
    }
}

/// Words and signs, without comments, texts and characters.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = literal(rest).unwrap_or_else(|| {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
            tokens.extend((!first.is_whitespace()).then(|| rest[..length].to_owned()));
            length
        });
        rest = &rest[length..];
    }
    tokens
}

/// How long a comment, a text, a character or the mark of a lifetime at the beginning of `text` is.
fn literal(text: &str) -> Option<usize> {
    let after = |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    if text.starts_with("//") {
        return Some(after(2, "\n"));
    }
    if text.starts_with("/*") {
        return Some(comment(text));
    }
    let raw = text.trim_start_matches('b').strip_prefix('r').map(|raw| raw.trim_start_matches('#'));
    if let Some(raw) = raw.filter(|raw| raw.starts_with('"')) {
        let start = text.len() - raw.len();
        let marks = text[..start].matches('#').count();
        return Some(after(start + 1, &format!("\"{}", "#".repeat(marks))));
    }
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    let mut chars = text.strip_prefix('\'')?.chars();
    let is_character = chars.next() == Some('\\') || chars.next() == Some('\'');
    Some(if is_character { quoted(text, '\'') } else { 1 })
}

/// The length of a text that begins and ends with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length of a comment that may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        let Some(next) = rest.find("/*").into_iter().chain(rest.find("*/")).min() else { return text.len() };
        depth += if rest[next..].starts_with("/*") { 1 } else { -1 };
        at += next + 2;
        if depth == 0 {
            return at;
        }
    }
}
