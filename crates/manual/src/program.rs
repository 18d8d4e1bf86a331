//! What is known of a program.

use clap::Command;

/// A program, as its manual needs it.
pub struct Program {
    /// Its command line, built: with what clap adds, and with the flags of all commands in each.
    pub command: Command,
    /// Its page in docs/, in Markdown.
    pub page: &'static str,
}

impl Program {
    /// The commands that do something: the program, or each of its subcommands.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        let has_subcommands = self.command.has_subcommands();
        let subcommands = self.command.get_subcommands().filter(|command| command.get_name() != "help");
        subcommands.chain(std::iter::once(&self.command).filter(move |_| !has_subcommands))
    }
}
