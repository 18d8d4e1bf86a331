//! Every command of README.md and of docs/ is run, as it stands there.
//!
//! A block of code says in its first line what it is:
//! - `sh` is run by bash. The blocks of a page share one shell, in a folder of its own that looks like the checkout, with
//!   the programs on PATH, in a network and among processes of its own.
//! - `output` is what the block before it prints, to the letter.
//! - `python` is run by Python in the same folder.
//! - `sql` is a statement for the warehouse that `DATA_DIR` has by then.
//! - `sh not run: REASON` and `python not run: REASON` cannot be run in a test. Their syntax is checked, what they name
//!   exists, and scripts print their help. [`NOT_RUN`] says how many there are.
//! - `text` is a drawing.
//!
//! A command in the middle of a sentence must be a part of some block, and what a link leads to must exist.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{MariaDb, Network, PASSWORD, Postgres, Run, extension_is_missing, program, skipped, tempfile, within};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PROGRAMS: [&str; 5] = ["tcp-ingest", "compact", "aggregate", "load-warehouse", "housekeep"];
/// What else a command in a sentence begins with.
const COMMANDS: [&str; 8] = ["cargo", "pkill", "kill", "rm", "apt", "npm", "systemctl", "mkdir"];
/// The blocks of all pages that are not run.
const NOT_RUN: usize = 10;

/// A page, by its path from the top folder.
struct Page {
    name: String,
    text: String,
}

/// A block of code in a page.
struct Block {
    /// The page and the line in which it begins.
    place: String,
    /// What stands behind the backticks.
    kind: String,
    text: String,
}

fn has_end(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == extension)
}

/// README.md and all of docs/.
fn pages() -> Vec<Page> {
    let docs = fs::read_dir(format!("{ROOT}/docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = docs.map(|name| format!("docs/{}", name.into_string().unwrap())).filter(|name| has_end(name, "md"));
    let names = docs.chain(["README.md".to_owned()]);
    names.map(|name| Page { text: fs::read_to_string(format!("{ROOT}/{name}")).unwrap(), name }).collect()
}

impl Page {
    /// The blocks of code, and the text around them.
    fn parts(&self) -> (Vec<Block>, String) {
        let (mut blocks, mut prose, mut open) = (Vec::new(), String::new(), None::<Block>);
        for (number, line) in (1..).zip(self.text.lines()) {
            match (line.strip_prefix("```"), &mut open) {
                (Some(kind), None) => {
                    open = Some(Block {
                        place: format!("{}:{number}", self.name),
                        kind: kind.into(),
                        text: String::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text.extend([line, "\n"]),
                (None, None) => prose.extend([line, "\n"]),
            }
        }
        (blocks, prose)
    }

    /// The pieces of code in sentences.
    fn code(&self) -> Vec<String> {
        let prose = self.parts().1.replace('\n', " ");
        prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
}

/// One script of a page's blocks, each of which prints into a file of its own. Fails on a block that does not say what it is.
fn script(blocks: &[Block]) -> Result<String, String> {
    let mut script =
        String::from("set -eE -o pipefail\ntrap 'echo \"$place: ended with $?: $BASH_COMMAND\" >&2' ERR\n");
    for (number, Block { place, kind, text }) in blocks.iter().enumerate() {
        writeln!(script, "place={place}; exec >printed.{number}").unwrap();
        match kind.as_str() {
            "sh" => script.push_str(text),
            "python" => writeln!(script, "python3 - <<'PYTHON'\n{text}PYTHON").unwrap(),
            "sql" => writeln!(
                script,
                "python3 - <<'SQL'\nimport duckdb; duckdb.connect('data/warehouse.duckdb').execute('''{text}''')\nSQL"
            )
            .unwrap(),
            "output" | "text" => {}
            _ if is_not_run(kind) => {}
            _ => return Err(format!("{place}: a block of code must say what it is, not {kind:?}")),
        }
    }
    Ok(script)
}

fn is_not_run(kind: &str) -> bool {
    kind.starts_with("sh not run: ") || kind.starts_with("python not run: ")
}

/// Why a page cannot be run here, if it cannot.
fn missing(script: &str) -> Option<String> {
    if (script.contains("python3 - ") || script.contains("duckdb -")) && crate::readers::packages().is_none() {
        return Some("there is no Python with duckdb, pandas, polars and pyarrow".to_owned());
    }
    if script.contains("jq ") && !Run::of(Command::new("sh").args(["-c", "command -v jq"])).stdout.starts_with('/') {
        return Some("jq is missing: apt-get install jq".to_owned());
    }
    if script.contains("--target postgres") { extension_is_missing("postgres_scanner") } else { None }
}

/// Runs the blocks of a page, and compares what they print with what the page says that they do.
fn run(page: &Page) -> Result<(), String> {
    let blocks = page.parts().0;
    let script = script(&blocks)?;
    if let Some(why) = missing(&script) {
        skipped(&format!("the commands of {}: {why}", page.name));
        return Ok(());
    }
    let Some(network) = Network::new(&page.name) else { return Ok(()) };
    let mut servers = None;
    if script.contains("DB_HOST=127.0.0.1") {
        servers = start_servers(&page.name, &network);
        if servers.is_none() {
            return Ok(());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &script);
    let mut shell = Command::new("unshare");
    // What is left running ends with its namespace of processes.
    shell.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "script"]);
    let mut shell = within(&network.server(), &shell);
    let path = format!("{}:{}", folder.path().join("bin").display(), std::env::var("PATH").unwrap());
    shell.current_dir(folder.path()).env_clear().env("PATH", path).env("HOME", folder.path());
    let libraries = ["LD_LIBRARY_PATH", "DUCKDB_EXTENSION_DIR"].map(|name| (name, std::env::var_os(name)));
    shell.envs(libraries.into_iter().filter_map(|(name, value)| Some((name, value?))));
    shell.envs(crate::readers::packages().map(|packages| ("PYTHONPATH", packages)));
    let run = Run::of(&mut shell);
    drop(servers);
    if run.status != Some(0) {
        return Err(format!("{}\n{}", run.stderr, run.stdout));
    }
    for (number, pair) in blocks.windows(2).enumerate().filter(|(_, pair)| pair[1].kind == "output") {
        let printed = fs::read_to_string(folder.path().join(format!("printed.{number}"))).unwrap();
        if printed != pair[1].text {
            return Err(format!("{}: the page says\n{}but it prints\n{printed}", pair[1].place, pair[1].text));
        }
    }
    Ok(())
}

/// Servers on their usual ports, with the database and the user that the pages name.
fn start_servers(page: &str, network: &Network) -> Option<(MariaDb, Postgres)> {
    let mariadb = MariaDb::within(page, network)?;
    mariadb.sql("CREATE DATABASE plant");
    let postgres = Postgres::within(page, network)?;
    postgres.sql("postgres", "CREATE DATABASE plant OWNER loader");
    Some((mariadb, postgres))
}

/// Puts into `folder` what a page may take for granted: the checkout, the programs, and a file with the password.
fn prepare(folder: &Path, script: &str) {
    for name in ["scripts", "tests", "crontab.example"] {
        symlink(fs::canonicalize(ROOT).unwrap().join(name), folder.join(name)).unwrap();
    }
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    for name in PROGRAMS {
        symlink(program(name).get_program(), bin.join(name)).unwrap();
    }
    // As far as the pages use it, by the library that Python has.
    let duckdb = "#!/usr/bin/env python3\nimport sys, duckdb\nassert sys.argv[1:3] == ['-csv', '-c'], sys.argv\n\
                  duckdb.sql(sys.argv[3]).write_csv('/dev/stdout')\n";
    fs::write(bin.join("duckdb"), duckdb).unwrap();
    fs::set_permissions(bin.join("duckdb"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("script"), script).unwrap();
    fs::write(folder.join("password"), format!("{PASSWORD}\n")).unwrap();
}

/// What is wrong with a block that is not run.
fn check_not_run(block: &Block) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("block");
    fs::write(&file, &block.text).unwrap();
    let is_python = block.kind.starts_with("python");
    let compile = "import sys; compile(open(sys.argv[1]).read(), '', 'exec')";
    let syntax = if is_python { ["python3", "-c", compile] } else { ["bash", "-n", "--"] };
    let run = Run::of(Command::new(syntax[0]).args(&syntax[1..]).arg(&file));
    if run.status != Some(0) {
        return Err(format!("{}: {}", block.place, run.stderr));
    }
    for word in block
        .text
        .split_whitespace()
        .filter(|word| ["scripts/", ".ci/", "crates/"].iter().any(|start| word.starts_with(start)))
    {
        let path = PathBuf::from(ROOT).join(word);
        let is_script = has_end(word, "sh") || word.ends_with("/run");
        if !path.exists() || (is_script && Run::of(Command::new(&path).arg("--help")).status != Some(0)) {
            return Err(format!("{}: {word} is not there, or has no --help", block.place));
        }
    }
    Ok(())
}

/// Commands in the sentences of `page` that are in no block of `blocks`.
fn commands_that_no_block_has(page: &Page, blocks: &str) -> Vec<String> {
    let mut commands = page.code();
    commands.retain(|code| {
        let words: Vec<_> = code.split(' ').skip_while(|word| word.contains('=')).collect();
        let is_command =
            |word: &str| PROGRAMS.contains(&word) || COMMANDS.contains(&word) || word.starts_with("scripts/");
        words.len() > 1 && is_command(words[0]) && !blocks.contains(code.as_str())
    });
    commands
}

/// Links of `page` to files that are not there.
fn dead_links(page: &Page) -> Vec<String> {
    let folder = PathBuf::from(ROOT).join(&page.name);
    let links = page.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let files = links.filter(|link| !link.starts_with("https://"));
    let file = |link: &str| folder.parent().unwrap().join(link.split('#').next().unwrap_or_default());
    files.filter(|link| !file(link).exists()).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_readme_and_of_docs_does_what_the_page_says() {
    let pages = pages();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = pages.iter().map(|page| scope.spawn(|| run(page))).collect();
        runs.into_iter().filter_map(|run| run.join().unwrap().err()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_run_is_little_and_exists() {
    let blocks = pages().into_iter().flat_map(|page| page.parts().0).filter(|block| is_not_run(&block.kind));
    let blocks: Vec<_> = blocks.collect();
    assert!(blocks.len() <= NOT_RUN, "{} blocks are not run", blocks.len());
    for block in blocks {
        check_not_run(&block).unwrap();
    }
}

#[test]
fn every_command_in_a_sentence_stands_in_a_block_and_every_link_leads_somewhere() {
    let pages = pages();
    let blocks: String = pages.iter().flat_map(|page| page.parts().0).map(|block| block.text).collect();
    for page in &pages {
        assert_eq!(commands_that_no_block_has(page, &blocks), [""; 0], "{}: no block has it", page.name);
        assert_eq!(dead_links(page), [""; 0], "{}", page.name);
    }
    let size = fs::metadata(format!("{ROOT}/README.md")).unwrap().len();
    assert!(size <= 6 * 1024, "README.md has {size} bytes");
}

#[test]
fn a_page_that_is_wrong_is_found() {
    let page = |text: &str| Page { name: "page.md".into(), text: text.replace('~', "```") };
    for (text, problem) in [
        ("~sh\ncompact --no-such-flag\n~\n", "page.md:1: ended with 2: compact --no-such-flag"),
        ("~sh\necho a\n~\n\nAnd:\n\n~sh\nfalse\ntrue\n~\n", "page.md:7: ended with 1: false"),
        ("~sh\necho a\n~\n\n~output\nb\n~\n", "page.md:5: the page says\nb\nbut it prints\na\n"),
        ("~\ncompact\n~\n", "page.md:1: a block of code must say what it is"),
    ] {
        // Without root nothing is run, which is said.
        if let Err(error) = run(&page(text)) {
            assert!(error.contains(problem), "{text}: {error}");
        } else {
            assert!(std::env::var_os("PIPELINE_REQUIRE_SERVERS").is_none(), "{text}: not found");
        }
    }
    let block = |kind: &str, text: &str| Block { place: String::new(), kind: kind.into(), text: text.into() };
    for (kind, text) in [
        ("sh not run: slow", "scripts/no-such.sh\n"),
        ("sh not run: slow", "if then\n"),
        ("python not run: slow", "a = = b\n"),
    ] {
        assert!(check_not_run(&block(kind, text)).is_err(), "{text}");
    }
    let page = page("`compact --dedup -v`, `compact` and [there](no-such.md)");
    assert_eq!(commands_that_no_block_has(&page, "compact --dedup"), ["compact --dedup -v"]);
    assert_eq!(dead_links(&page), ["no-such.md"]);
}
