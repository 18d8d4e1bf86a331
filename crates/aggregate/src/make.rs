//! Making the windows of a plan: side by side, published many at a time.

mod batch;
mod publisher;
mod window;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

pub(crate) use self::publisher::Made;
use self::publisher::Publisher;
pub(crate) use self::window::Maker;
use crate::failures::failure;
use crate::plan::Step;
use crate::session::Session;

/// How many windows a thread makes at a time, where it makes them one by one.
const AT_A_TIME: usize = 32;
/// For how long windows wait to be published.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes `steps` on `workers` threads; calls `progress` with the number of windows that are done with.
pub(crate) fn make(
    maker: Maker<'_>,
    session: &Session<'_>,
    steps: &[Step],
    workers: usize,
    progress: impl Fn(usize) + Sync,
) -> anyhow::Result<Made> {
    let sessions = (0..workers).map(|_| session.fork()).collect::<anyhow::Result<Vec<_>>>()?;
    let shares = if session.has_batch() {
        batch::shares(maker.tree, steps, workers)
    } else {
        // Neighbours go to the same thread, which syncs their folder once; but no thread is to be left without work.
        steps.chunks((steps.len() / (workers * 4)).clamp(1, AT_A_TIME)).collect()
    };
    let next = AtomicUsize::new(0);
    let (next, shares, progress) = (&next, &shares, &progress);
    let mut all = Made::default();
    std::thread::scope(|scope| {
        let work = move |session: Session<'_>| {
            let (mut made, mut publisher) = (Made::default(), Publisher::new(scope));
            while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                make_share(maker, &session, share, &mut made, &mut publisher);
                progress(share.len());
            }
            made.add(publisher.finish());
            made
        };
        let threads: Vec<_> = sessions.into_iter().map(|session| scope.spawn(move || work(session))).collect();
        for thread in threads {
            let Ok(made) = thread.join() else { bail!("a thread that made windows of {} died", maker.query.name) };
            all.add(made);
        }
        Ok(())
    })?;
    Ok(all)
}

fn make_share(
    maker: Maker<'_>,
    session: &Session<'_>,
    share: &[Step],
    made: &mut Made,
    publisher: &mut Publisher<'_, '_>,
) {
    let mut batch = Vec::new();
    let mut made_at_once = maker.make_batch(session, share).unwrap_or_default();
    let mut since = Instant::now();
    for (number, step) in share.iter().enumerate() {
        let hour = step.window.hour();
        if let Some(draft) = made_at_once.get_mut(number).and_then(Option::take) {
            batch.push((hour, draft));
            continue;
        }
        match maker.make_window(session, step) {
            Ok(Some(draft)) => batch.push((hour, draft)),
            Ok(None) => made.removed += 1,
            Err(error) => made.failed.push(failure(hour, &error)),
        }
        if since.elapsed() > PATIENCE {
            publisher.publish(&mut batch);
            since = Instant::now();
        }
    }
    publisher.publish(&mut batch);
}
