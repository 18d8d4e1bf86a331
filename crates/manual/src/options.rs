//! The list of a program's options in Markdown, as it stands in `docs/PROGRAM.md` between two marks.

use anyhow::Context as _;
use clap::{Arg, Command};

/// The line before the list.
pub const BEGIN: &str = "<!-- options -->";
/// The line after the list.
pub const END: &str = "<!-- /options -->";

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

/// The page of `program` with the list that its command line asks for. Fails if the page has no marks.
pub fn replace(program: &Program) -> anyhow::Result<String> {
    let missing = || format!("the page needs the lines {BEGIN} and {END}, between which the options are listed");
    let (before, rest) = program.page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n\n{}{END}{after}", list(program)))
}

/// The list: of each subcommand below a heading of its own, where there are any.
pub fn list(program: &Program) -> String {
    let commands = program.commands().map(|command| {
        let mut heading = String::new();
        if program.command.has_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            heading = format!("### {} {}\n\n{about}\n\n", program.command.get_name(), command.get_name());
        }
        heading + &command.get_arguments().filter(|arg| !arg.is_hide_set()).map(item).collect::<String>()
    });
    commands.collect()
}

/// An item of the list: how the option is written, its default, what its long help says, and its values.
fn item(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let long = arg.to_string();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let shows_default = arg.get_action().takes_values() && !arg.is_hide_default_value_set() && !defaults.is_empty();
    let default = if shows_default { format!(", by default `{}`", defaults.join(" ")) } else { String::new() };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.trim_end().replace('\n', "\n  ").replace("\n  \n", "\n\n");
    let values = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).map(|value| {
        let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
        format!("  - `{}`{help}\n", value.get_name())
    });
    let values: String = values.collect();
    let end = if values.is_empty() { "" } else { "\n" };
    format!("- {short}`{}`{default}\n\n  {help}\n\n{values}{end}", long.trim_end_matches("..."))
}
