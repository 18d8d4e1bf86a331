//! No two files of a crate import each other in a circle: whoever reads a file needs to know only those below it.
//!
//! Imports are the paths that begin with `crate`, `self`, `super` or a module of the file's own, wherever they stand outside
//! of tests and comments. A name that a module imports for others (`pub use`) counts as one of the file that defines it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use harness::tempfile::tempdir;

mod modules;

use modules::Crate;

/// By file: the files that it imports, each with the first path that says so.
type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// The shortest circles, each once: every file that is in a circle is in one of them.
fn circles(imports: &Imports) -> Vec<Vec<&PathBuf>> {
    let mut seen = BTreeSet::new();
    let shortest = imports.keys().filter_map(|file| way_back(imports, file));
    shortest.filter(|circle| seen.insert(circle.iter().copied().collect::<BTreeSet<_>>())).collect()
}

/// The shortest way from a file over its imports back to itself.
fn way_back<'a>(imports: &'a Imports, start: &'a PathBuf) -> Option<Vec<&'a PathBuf>> {
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut way: Vec<_> = std::iter::successors(Some(file), |file| before.get(file).copied()).collect();
                way.reverse();
                return Some(way);
            }
            before.entry(next).or_insert_with(|| {
                queue.push_back(next);
                file
            });
        }
    }
    None
}

/// The circles of a crate as text: each file with the path by which it imports the next.
fn shown(name: &str, imports: &Imports) -> String {
    let mut text = String::new();
    for circle in circles(imports) {
        writeln!(text, "{name}: a circle of {} files", circle.len()).unwrap();
        for (file, next) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            let (path, by) = (next.display(), &imports[*file][*next]);
            writeln!(text, "    {} imports {by} of {path}", file.display()).unwrap();
        }
    }
    text
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut text = String::new();
    for entry in std::fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        let imports = Crate::read(&path.join("src")).imports();
        assert!(imports.len() > 1, "no files are found in {}", path.display());
        text += &shown(path.file_name().unwrap().to_str().unwrap(), &imports);
    }
    assert!(text.is_empty(), "\n{text}");
}

/// What is found in a crate that consists of these files.
fn found(files: &[(&str, &str)]) -> String {
    let folder = tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    shown("example", &Crate::read(folder.path()).imports())
}

#[test]
fn circles_are_found_however_an_import_is_written() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use a::{A, Other as Renamed};\n");
    let a = ("a.rs", "pub struct A; pub struct Other; fn f() -> super::b::B { crate::b::B }");
    let expected = "example: a circle of 2 files\n    a.rs imports super::b::B of b.rs\n    b.rs imports ";
    for b in [
        "use crate::a::A; pub struct B;",
        "use crate::{b::B as Itself, a::{self, A}}; pub struct B;",
        "use super::a; pub struct B;",
        // What the crate's root imports is not defined there.
        "use crate::Renamed; pub struct B;",
        "pub struct B; fn f(c: char) -> bool { c == '\"' && super::a::A }",
        "pub struct B; mod inner { use super::super::a::A; }",
    ] {
        let text = found(&[lib, a, ("b.rs", b)]);
        assert!(text.starts_with(expected) && text.ends_with(" of a.rs\n"), "{b}: {text}");
    }
    let parent = ("a.rs", "mod child; use child::Child; pub struct A; pub struct Other;");
    let text = found(&[lib, parent, ("b.rs", ""), ("a/child.rs", "use super::A; pub struct Child;")]);
    assert_eq!(
        text,
        "example: a circle of 2 files\n    a/child.rs imports super::A of a.rs\n    a.rs imports child::Child of a/child.rs\n"
    );
}

#[test]
fn comments_texts_tests_and_other_crates_make_no_circles() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use b::B;\n#[cfg(test)] mod tests;\n");
    let tests = ("tests.rs", "use crate::a;");
    let a = ("a.rs", "use crate::b::B;\npub fn a() { b::main(\"crate::a\") }");
    for b in [
        "// crate::a\n/* /* super::a::a */ crate::a */ /// [`crate::a`]\npub struct B;",
        "pub struct B; const TEXT: &str = \"\\\"crate::a::a\"; const RAW: &str = r#\"\" crate::a \"#;",
        "pub struct B;\n#[cfg(test)]\nmod tests { use crate::a; }",
        "pub struct B;\n#[cfg(test)]\n#[allow(dead_code)] use crate::{a, b};",
        "pub struct B; fn f<'a>(a: &'a str) { other::a::f(x.crate_a) }",
    ] {
        assert_eq!(found(&[lib, tests, a, ("b.rs", b)]), "", "{b}");
    }
    // A longer way round is a circle too.
    let long = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "pub use crate::c;"),
        ("c.rs", "use super::a;"),
    ];
    assert!(found(&long).starts_with("example: a circle of 3 files"), "{}", found(&long));
}
