//! The entry: which command, and at what time.

use chrono::Utc;
use cli::{Outcome, Usage};

use crate::args::{Args, Command};
use crate::plan::Rules;
use crate::{clean, status};

/// Runs the command. The clock is read here, once.
pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let tree = args.common.existing_tree()?;
    match args.command {
        Command::Clean(clean) => {
            let rules = Rules::new(&clean).map_err(Usage)?;
            clean::run(&clean, &rules, &tree, Utc::now())
        }
        Command::Status(status) => status::run(&status, &tree, Utc::now()),
    }
}
