//! manual: writes the man pages and the shell completions of all programs.
//!
//! `cargo run -p manual -- FOLDER` writes them below FOLDER as a system expects them in `/usr/local/share` or
//! `~/.local/share`. Options come from the command lines (clap), prose from `docs/PROGRAM.md`. The list of options in that
//! page is the same text, see [`options`]; a test compares them.

pub mod markdown;
pub mod options;
mod program;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

pub use program::Program;

/// All programs.
pub fn programs() -> Vec<Program> {
    let program = |mut command: Command, page| {
        command.build();
        Program { command, page }
    };
    vec![
        program(tcp_ingest::Args::command(), include_str!("../../../docs/tcp-ingest.md")),
        program(compact::Args::command(), include_str!("../../../docs/compact.md")),
        program(aggregate::Args::command(), include_str!("../../../docs/aggregate.md")),
        program(load_warehouse::Args::command(), include_str!("../../../docs/load-warehouse.md")),
        program(housekeep::Args::command(), include_str!("../../../docs/housekeep.md")),
    ]
}

impl Program {
    /// Its man page, in roff. Fails if the page in docs/ has no place for the options.
    pub fn man_page(&self) -> anyhow::Result<String> {
        let usage = self.commands().map(usage).collect::<Vec<_>>().join("\n");
        let man = Man::new(self.command.clone().override_usage(usage)).manual("tcp-pipeline");
        let mut page = Vec::new();
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        let mut page = String::from_utf8(page)?;
        page.push_str(&markdown::to_roff(&options::replace(self)?));
        Ok(page)
    }
}

/// How a command is called: `compact [OPTIONS] [STREAM]...`.
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage:").trim().to_owned()
}

/// The program: writes everything into the folder that is its only argument.
pub fn main() -> anyhow::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder] = arguments.as_slice() else {
        anyhow::bail!("give one folder, as in: cargo run -p manual -- ~/.local/share");
    };
    write(Path::new(folder))
}

/// Writes the man pages and completions below `folder`, which is made if it is missing.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    for program in programs() {
        let name = program.command.get_name();
        let page = program.man_page().with_context(|| format!("docs/{name}.md"))?;
        write_file(&folder.join("man/man1").join(format!("{name}.1")), page.as_bytes())?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut completions = Vec::new();
            clap_complete::generate(shell, &mut program.command.clone(), name, &mut completions);
            write_file(&folder.join(completion_file(shell, name)), &completions)?;
        }
    }
    Ok(())
}

/// Where a shell looks for the completions of a program.
fn completion_file(shell: Shell, name: &str) -> PathBuf {
    match shell {
        Shell::Zsh => format!("zsh/site-functions/_{name}"),
        Shell::Fish => format!("fish/vendor_completions.d/{name}.fish"),
        _ => format!("bash-completion/completions/{name}"),
    }
    .into()
}

fn write_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, content)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
