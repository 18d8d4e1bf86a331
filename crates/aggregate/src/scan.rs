//! What the tree holds of the data sets that a query reads and of the one it makes.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Commit, Hour, HourRange, Name, Tree};

use crate::calendar::Calendar;

/// The hours of a data set with their commit records.
pub(crate) type Files = BTreeMap<Hour, layout::Result<Commit>>;

/// What a plan is made from.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The files of each data set that it reads.
    pub(crate) inputs: BTreeMap<Name, Files>,
    /// The files that it has made.
    pub(crate) output: Files,
    /// The hours that retention has removed of each data set that it reads.
    pub(crate) expired_inputs: BTreeMap<Name, BTreeSet<Hour>>,
    /// The hours that retention has removed of what it makes.
    pub(crate) expired_output: BTreeSet<Hour>,
}

/// The hours whose files may reach into `read`: a file of an aggregate has the name of the hour in which its window starts,
/// a month before its end at most.
fn reaching_into(read: HourRange, dataset: &Name) -> HourRange {
    let longest = if models::model(dataset.as_str()).is_some() { 0 } else { 32 * 24 };
    HourRange { from: read.from.map(|from| from.plus(-longest)), ..read }
}

/// Reads from the tree what concerns the windows of `calendar` that begin in `range`. Without an `output`, only what is
/// read.
pub(crate) fn scan(
    tree: &Tree,
    datasets: &[Name],
    output: Option<&Name>,
    calendar: &Calendar,
    range: HourRange,
) -> anyhow::Result<Snapshot> {
    let (read, made) = (calendar.hours_read(range)?, calendar.hours_made(range)?);
    let mut snapshot = Snapshot::default();
    // Side by side: to list the folders of a year takes about as long as to read its footers on two threads.
    let (output, inputs) = std::thread::scope(|scope| {
        let output = output.map(|output| scope.spawn(|| tree.hours(output, made)));
        let inputs = datasets.iter().map(|dataset| Ok((dataset, tree.hours(dataset, reaching_into(read, dataset))?)));
        let inputs = inputs.collect::<layout::Result<Vec<_>>>();
        (output.map(|output| output.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))), inputs)
    });
    let output = output.transpose()?;
    for (dataset, hours) in inputs? {
        let files = hours.published.into_iter().map(|(file, commit)| (file.hour, commit)).collect();
        snapshot.inputs.insert(dataset.clone(), files);
        snapshot.expired_inputs.insert(dataset.clone(), hours.expired);
    }
    if let Some(hours) = output {
        snapshot.output = hours.published.into_iter().map(|(file, commit)| (file.hour, commit)).collect();
        snapshot.expired_output = hours.expired;
    }
    Ok(snapshot)
}
