//! What the tree holds of the data sets that a query reads and of the one it makes.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Commit, Hour, HourRange, Hours, Name, Tree};
use models::Streams;

use crate::calendar::Calendar;

/// The hours of a data set with their commit records.
pub(crate) type Files = BTreeMap<Hour, layout::Result<Commit>>;

/// What a plan is made from.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The files of each data set that it reads.
    pub(crate) inputs: BTreeMap<Name, Files>,
    /// Which of them are streams. Rows of a stream have a time, by which they are told apart.
    pub(crate) streams: BTreeSet<Name>,
    /// The files that it has made.
    pub(crate) output: Files,
    /// The hours that retention has removed of each data set that it reads.
    pub(crate) expired_inputs: BTreeMap<Name, BTreeSet<Hour>>,
    /// The hours that retention has removed of what it makes.
    pub(crate) expired_output: BTreeSet<Hour>,
}

/// Reads from the tree what concerns the windows of `calendar` that begin in `range`; without an `output`, only its inputs.
pub(crate) fn scan(
    tree: &Tree,
    streams: &Streams,
    datasets: &[Name],
    output: Option<&Name>,
    calendar: &Calendar,
    range: HourRange,
) -> anyhow::Result<Snapshot> {
    let (read, made) = (calendar.hours_read(range)?, calendar.hours_made(range)?);
    let inputs = datasets.iter().map(|dataset| {
        // A file of an aggregate has the name of the hour in which its window starts, a month before its end at most.
        let longest = if streams.has(dataset.as_str()) { 0 } else { 32 * 24 };
        (dataset, HourRange { from: read.from.map(|from| from.plus(-longest)), ..read })
    });
    let all: Vec<_> = output.map(|output| (output, made)).into_iter().chain(inputs).collect();
    // Side by side: to list the folders of a year takes about as long as to read its footers on two threads.
    let found = cli::in_parallel(all.len(), &all, || Ok(()), |(), (dataset, range)| tree.hours(dataset, *range))?;
    let is_stream = |dataset: &&Name| streams.has(dataset.as_str());
    let mut snapshot =
        Snapshot { streams: datasets.iter().filter(is_stream).cloned().collect(), ..Snapshot::default() };
    for ((dataset, _), hours) in all.iter().zip(found) {
        let Hours { published, expired } = hours?;
        let files = published.into_iter().map(|(file, commit)| (file.hour, commit)).collect();
        if Some(*dataset) == output {
            (snapshot.output, snapshot.expired_output) = (files, expired);
        } else {
            snapshot.inputs.insert((*dataset).clone(), files);
            snapshot.expired_inputs.insert((*dataset).clone(), expired);
        }
    }
    Ok(snapshot)
}
