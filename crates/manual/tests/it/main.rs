//! The manuals of all programs: no option is missing, neither in docs/ nor in a man page nor in the completions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use manual::{markdown, options, programs};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// The long names of a program's options, of all its commands.
fn flags(program: &manual::Program) -> Vec<String> {
    let arguments = program.commands().flat_map(clap::Command::get_arguments);
    arguments.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
}

/// With `UPDATE_DOCS=1` in the environment, the lists are written anew instead.
#[test]
fn each_page_of_docs_lists_the_options_of_its_program() {
    for program in programs() {
        let name = program.command.get_name();
        let expected = options::replace(&program).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(format!("{DOCS}/{name}.md"), &expected).unwrap();
        } else {
            assert!(
                program.page == expected,
                "docs/{name}.md does not list the options as the program has them; type: UPDATE_DOCS=1 cargo test -p manual"
            );
        }
        for flag in flags(&program) {
            assert!(expected.contains(&flag), "docs/{name}.md: {flag} is missing");
        }
    }
}

#[test]
fn the_command_writes_man_pages_and_completions_with_every_option() {
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_manual")).arg(folder.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let read = |path: String| fs::read_to_string(folder.path().join(path)).unwrap();
    for program in programs() {
        let name = program.command.get_name();
        let page = read(format!("man/man1/{name}.1"));
        let bash = read(format!("bash-completion/completions/{name}"));
        let zsh = read(format!("zsh/site-functions/_{name}"));
        let fish = read(format!("fish/vendor_completions.d/{name}.fish"));
        for flag in flags(&program) {
            let long = flag.trim_start_matches("--");
            assert!(page.contains(&flag.replace('-', "\\-")), "{name}.1: {flag} is missing");
            assert!(bash.contains(&flag) && zsh.contains(&flag), "{name}: no completion of {flag}");
            assert!(fish.contains(&format!("-l {long}")), "{name}: no completion of {flag} in fish");
        }
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(page.contains(&format!(".SH {section}\n")), "{name}.1 has no section {section}");
        }
    }
}

#[test]
fn the_command_says_what_it_needs() {
    let run = Command::new(env!("CARGO_BIN_EXE_manual")).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    let message = String::from_utf8_lossy(&run.stderr);
    assert!(message.contains("give one folder, as in: cargo run -p manual"), "{message}");
    let run = Command::new(env!("CARGO_BIN_EXE_manual")).arg(Path::new("/dev/null")).output().unwrap();
    assert!(String::from_utf8_lossy(&run.stderr).contains("cannot write /dev/null/"));
}

#[test]
fn markdown_becomes_roff() {
    let page = "# name\n\nSays *what* **it** does, see [there](other.md).\nStill the same.\n\n## First section\n\n\
                - `--flag`\n\n  One.\n\n  Two.\n- b\n  - c\n\n```sh\n.a -b\n\n'c\n```\n\n\
                | x | y | z |\n|---|---|---|\n| `1` | 2 | 3 |\n\n### Sub\n\n<!-- unseen -->\n\nend\n";
    let expected = ".SH DESCRIPTION\n.PP\nSays \\fIwhat\\fR \\fBit\\fR does, see there. Still the same.\n.SH \"FIRST SECTION\"\n\
                    .IP • 4\n\\fB\\-\\-flag\\fR\n.IP \"\" 4\nOne.\n.IP \"\" 4\nTwo.\n.IP • 4\nb\n.RS 4\n.IP • 4\nc\n.RE\n\
                    .PP\n.RS 4\n.nf\n\\&.a \\-b\n\n\\*(Aqc\n.fi\n.RE\n.TP\n\\fB1\\fR\n2; z: 3\n.SS Sub\n.PP\nend\n";
    let made = markdown::to_roff(page);
    assert!(made.ends_with(expected), "{made}");
}

#[test]
fn a_page_mentions_no_option_that_no_program_has() {
    let known: Vec<String> = programs().iter().flat_map(flags).collect();
    let docs = fs::read_dir(DOCS).unwrap().map(|entry| entry.unwrap().path());
    for page in docs.chain([Path::new(DOCS).join("../README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        // Blocks of code are run: what is left is code in sentences.
        let prose: String = text.split("```").step_by(2).collect();
        let code = prose.split('`').skip(1).step_by(2).filter(|code| !code.starts_with("cargo "));
        for word in code.flat_map(str::split_whitespace).filter(|word| word.starts_with("--") && word.len() > 2) {
            let flag = word.split('=').next().unwrap();
            assert!(known.iter().any(|known| known == flag), "{}: there is no option {flag}", page.display());
        }
    }
}
