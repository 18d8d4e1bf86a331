//! Attaching a warehouse, and patience with one that is away or busy.

use std::thread;
use std::time::{Duration, Instant};

use cli::TryAgain;
use engine::SessionArgs;

use crate::args::WarehouseArgs;
use crate::kind::{Access, Kind};
use crate::session::Session;

/// How often a warehouse that is away is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// Attaches a warehouse; tries again as long as `args` say while that can help.
pub(crate) fn attach(
    kind: &dyn Kind,
    args: &WarehouseArgs,
    session: &SessionArgs,
    access: Access,
) -> anyhow::Result<Option<Session>> {
    patiently(*args.wait, || {
        let session = Session::open(session, *args.timeout, kind.place(), kind.secrets())?;
        Ok(kind.attach(&session, access)?.then_some(session))
    })
}

/// Does `work`, again and again for as long as `wait` while it fails for a reason that passes.
pub(crate) fn patiently<T>(wait: Duration, work: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let end = Instant::now() + wait;
    let is_passing = |error: &anyhow::Error| error.chain().any(<dyn std::error::Error>::is::<TryAgain>);
    let mut is_first = true;
    loop {
        match work() {
            Err(error) if is_passing(&error) && Instant::now() + PAUSE <= end => {
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

/// Attaches a warehouse to write, with its load log.
pub(crate) fn attach_with_log(kind: &dyn Kind, args: &WarehouseArgs, session: &SessionArgs) -> anyhow::Result<Session> {
    let Some(session) = attach(kind, args, session, Access::Write)? else { anyhow::bail!("{}: is gone", kind.place()) };
    kind.create_log(&session)?;
    Ok(session)
}
