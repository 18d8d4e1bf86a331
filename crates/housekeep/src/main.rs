//! Retention, orphans and the state of the house.
//!
//! `housekeep clean` removes what is old enough and not needed any more, `housekeep status` shows what is there and how far
//! each part is behind. The clock is read here, once.

mod age;
mod args;
mod clean;
mod growth;
mod house;
mod plan;
mod reader;
mod report;
mod status;

use std::process::ExitCode;

use chrono::Utc;
use cli::{Outcome, Usage};
use log::LevelFilter;

use crate::args::{Args, Command};
use crate::plan::Rules;

fn main() -> ExitCode {
    cli::run(LevelFilter::Warn, program)
}

fn program(args: Args) -> anyhow::Result<Outcome> {
    let tree = args.common.existing_tree()?;
    match args.command {
        Command::Clean(clean) => {
            let rules = Rules::new(&clean).map_err(Usage)?;
            clean::run(&clean, &rules, &tree, Utc::now())
        }
        Command::Status(status) => status::run(&status, &tree, Utc::now()),
    }
}
