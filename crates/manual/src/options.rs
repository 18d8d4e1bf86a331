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
        let heading = if program.command.has_subcommands() {
            format!("### {} {}\n\n{}\n\n", program.command.get_name(), command.get_name(), about(command))
        } else {
            String::new()
        };
        heading + &command.get_arguments().filter(|arg| !arg.is_hide_set()).map(item).collect::<String>()
    });
    commands.collect()
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// An item of the list: how the option is written, its default, and what its long help says.
fn item(arg: &Arg) -> String {
    let value = arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>"));
    let value = if arg.get_action().takes_values() { value.collect::<Vec<_>>().join(" ") } else { String::new() };
    let names = [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
    let mut names: Vec<String> = names.into_iter().flatten().collect();
    match names.last_mut() {
        Some(name) if !value.is_empty() => *name = format!("{name} {value}"),
        Some(_) => {}
        None => names.push(value),
    }
    let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.trim_end().replace('\n', "\n  ").replace("\n  \n", "\n\n");
    format!("- {names}{}\n\n  {help}\n\n{}", default_of(arg), possible_values(arg))
}

fn default_of(arg: &Arg) -> String {
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let shown = arg.get_action().takes_values() && !arg.is_hide_default_value_set() && !defaults.is_empty();
    if shown { format!(", by default `{}`", defaults.join(" ")) } else { String::new() }
}

fn possible_values(arg: &Arg) -> String {
    let values = if arg.get_action().takes_values() { arg.get_possible_values() } else { Vec::new() };
    let values = values.iter().filter(|value| !value.is_hide_set()).map(|value| {
        let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
        format!("  - `{}`{help}\n", value.get_name())
    });
    let values: String = values.collect();
    if values.is_empty() { values } else { values + "\n" }
}
