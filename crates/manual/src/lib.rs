//! manual: writes the man pages and the shell completions of all programs.
//!
//! `cargo run -p manual -- FOLDER` writes them below FOLDER as a system expects them in `/usr/local/share` or
//! `~/.local/share`. Options come from the command lines (clap), prose from `docs/PROGRAM.md`. The list of options in that
//! page is the same text, see [`options`]; a test compares them.

pub mod markdown;
pub mod options;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

pub use options::Program;

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
        let usage = self.commands().map(|command| command.clone().render_usage().to_string());
        let usage: Vec<_> = usage.map(|text| text.trim_start_matches("Usage:").trim().to_owned()).collect();
        let usage = usage.join("\n");
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

/// The program: writes the man pages and completions below the folder that is its only argument, and makes that.
pub fn main() -> anyhow::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder] = arguments.as_slice() else {
        anyhow::bail!("give one folder, as in: cargo run -p manual -- ~/.local/share");
    };
    let folder = Path::new(folder);
    for program in programs() {
        let name = program.command.get_name();
        let page = program.man_page().with_context(|| format!("docs/{name}.md"))?;
        write(&folder.join("man/man1").join(format!("{name}.1")), page.as_bytes())?;
        let completions = [
            (Shell::Bash, format!("bash-completion/completions/{name}")),
            (Shell::Zsh, format!("zsh/site-functions/_{name}")),
            (Shell::Fish, format!("fish/vendor_completions.d/{name}.fish")),
        ];
        for (shell, file) in completions {
            let mut content = Vec::new();
            clap_complete::generate(shell, &mut program.command.clone(), name, &mut content);
            write(&folder.join(file), &content)?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(path, content)).with_context(|| format!("cannot write {}", path.display()))
}
