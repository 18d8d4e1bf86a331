//! Attaching a warehouse, and patience with one that is away or busy.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cli::TryAgain;
use engine::SessionArgs;

use crate::args::WarehouseArgs;
use crate::kind::{Access, Kind};
use crate::session::Session;

/// How often a warehouse that is away is tried.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Attaches a warehouse, to write to it with its load log; tries again for as long as `wait` while that can help.
pub(crate) fn attach(
    kind: &dyn Kind,
    args: &WarehouseArgs,
    session: &SessionArgs,
    access: Access,
    wait: Duration,
) -> anyhow::Result<Option<Session>> {
    patiently(wait, || {
        let session = Session::open(session, *args.timeout, kind.place(), kind.secrets())?;
        if !kind.attach(&session, access)? {
            return Ok(None);
        }
        if access == Access::Write {
            kind.create_log(&session)?;
        }
        Ok(Some(session))
    })
}

/// Attaches a warehouse to write to it.
pub(crate) fn attach_to_write(
    kind: &dyn Kind,
    args: &WarehouseArgs,
    session: &SessionArgs,
    wait: Duration,
) -> anyhow::Result<Session> {
    attach(kind, args, session, Access::Write, wait)?.with_context(|| format!("{}: is gone", kind.place()))
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
