//! Attaching a warehouse, and patience with one that is away or busy.

use std::thread;
use std::time::{Duration, Instant};

use cli::{TryAgain, Usage};
use engine::SessionArgs;
use layout::Tree;

use crate::args::{WarehouseArgs, WarehouseKind};
use crate::backend::{Access, Backend};
use crate::log::prepare_log;
use crate::runner::{BrokenOff, QueryRunner, Unanswered};
use crate::{file, mysql, postgres, sqlite};

/// How often a warehouse that is away is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest time that a flag may say: PostgreSQL counts its time-outs in milliseconds of 31 bits.
const LONGEST: Duration = Duration::from_secs(24 * 24 * 3600);

/// The warehouse that `args` and the environment name.
pub(crate) fn backend_of(args: &WarehouseArgs, tree: &Tree) -> anyhow::Result<Box<dyn Backend>> {
    if *args.timeout < Duration::from_secs(1) || *args.timeout > LONGEST {
        return Err(Usage(format!("--timeout {}: it must be 1s to 24d", args.timeout)).into());
    }
    if *args.wait > LONGEST {
        return Err(Usage(format!("--wait {}: it must be 24d at most", args.wait)).into());
    }
    if let (WarehouseKind::Mysql | WarehouseKind::Postgres, Some(file)) = (args.target, &args.file) {
        let text = format!("--file {}: is for a warehouse in a file, and --target names a server's", file.display());
        return Err(Usage(text).into());
    }
    Ok(match args.target {
        WarehouseKind::Duckdb => Box::new(file::File::new(args, tree)?),
        WarehouseKind::Sqlite => Box::new(sqlite::Sqlite::new(args, tree)?),
        WarehouseKind::Mysql => Box::new(mysql::MySql::new()?),
        WarehouseKind::Postgres => Box::new(postgres::Postgres::new(args)?),
    })
}

/// Attaches a warehouse, to write to it with its load log; tries again for as long as `wait` while that can help.
pub(crate) fn attach(
    backend: &dyn Backend,
    args: &WarehouseArgs,
    session: &SessionArgs,
    access: Access,
    wait: Duration,
) -> anyhow::Result<Option<QueryRunner>> {
    let session = SessionArgs { threads: session.threads.or(backend.threads()), ..session.clone() };
    patiently(wait, || {
        let runner = QueryRunner::open(&session, *args.timeout, backend.location(), backend.secrets())?;
        if !backend.attach(&runner, access)? {
            return Ok(None);
        }
        prepare_log(backend, &runner, access)?;
        Ok(Some(runner))
    })
}

/// Whether what failed has left no trace, and may succeed later.
fn is_undone(error: &anyhow::Error) -> bool {
    error.is::<TryAgain>() && !error.is::<Unanswered>() && !error.is::<BrokenOff>()
}

/// Does `work`, again and again for as long as `wait` while it fails for a reason that passes and leaves no trace.
pub(crate) fn patiently<T>(wait: Duration, mut work: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let end = Instant::now() + wait;
    let mut is_first = true;
    loop {
        match work() {
            Err(error) if is_undone(&error) && Instant::now() + PAUSE <= end => {
                if std::mem::take(&mut is_first) {
                    let wait = humantime::format_duration(Duration::from_secs((wait + PAUSE / 2).as_secs()));
                    log::info!("{error:#}; trying again for {wait}");
                }
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}
