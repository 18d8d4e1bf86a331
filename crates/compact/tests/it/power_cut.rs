//! Power cuts: what was not synced is lost, or not, as the disk likes.
//!
//! The real binaries run under strace, which writes down each change that they make to their tree and each sync. From that
//! a model of a disk ([`disk`]) yields what may be found after a power cut behind every single call: with nothing of what
//! was not synced, with all of it, with the names but not the content, and with parts chosen at random. In each such tree
//! no line may be lost or doubled, and compact, run again, must finish the work.

mod disk;
mod trace;

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use self::disk::{Cut, Disk, State};
use self::trace::Call;
use crate::common::truth::{Line, Reader, Truth};
use harness::{DataDir, Random, Run, SmallDisk, rounds, skipped};

/// Where data directories are made: in memory, if that can be had.
struct Place(Option<SmallDisk>);

impl Place {
    fn new() -> Self {
        Self(SmallDisk::mount("size=64m"))
    }

    fn data_dir(&self) -> DataDir {
        self.0.as_ref().map_or_else(DataDir::new, |disk| DataDir::within(disk.path()))
    }
}

/// Runs `command` over the tree of `data_dir` and adds what it did to `calls`. Says whether that could be recorded.
fn record(data_dir: &DataDir, command: &Command, input: &str, calls: &mut Vec<Call>) -> bool {
    let output = data_dir.path().with_extension("strace");
    let Some(mut strace) = trace::under_strace(command, &output) else {
        skipped("power cuts, because strace is not there or may not trace");
        return false;
    };
    let mut child = strace.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait().unwrap();
    calls.extend(trace::parse(&std::fs::read_to_string(&output).unwrap(), data_dir.path()));
    std::fs::remove_file(output).unwrap();
    true
}

/// An hour that is new, in a new folder; one with late data; one with a restored segment, with and without late data; and
/// damaged lines.
fn mixed(data_dir: &DataDir) -> Truth {
    const HOURS: [&str; 4] = ["2025-09-01T23", "2025-09-02T00", "2025-09-02T01", "2025-09-03T10"];
    let mut truth = Truth::default();
    let damaged = [Line::Good, Line::Text, Line::Good, Line::NotUtf8, Line::Empty, Line::Torn];
    for hour in &HOURS[..3] {
        truth.seal(data_dir, hour, &[Line::Good; 3]);
    }
    truth.seal(data_dir, HOURS[2], &damaged);
    data_dir.run("compact", "").expect(3);
    for restored in [0, 2, 3] {
        let segment = &truth.segments[restored];
        std::fs::write(data_dir.path().join(&segment.file), &segment.bytes).unwrap();
    }
    truth.seal(data_dir, HOURS[1], &damaged);
    truth.seal(data_dir, HOURS[2], &[Line::Good]);
    truth.seal(data_dir, HOURS[3], &[Line::Good; 2]);
    truth.seal(data_dir, HOURS[3], &damaged);
    truth
}

/// The states that a disk may be in after a power cut behind each of `calls`, each state once, with the number of the
/// last call.
fn states(disk: &mut Disk, calls: &[Call]) -> Vec<(usize, Cut, State)> {
    let mut seen = HashSet::new();
    let mut states = Vec::new();
    for number in 0..=calls.len() {
        if let Some(call) = number.checked_sub(1).map(|last| &calls[last]) {
            disk.apply(call);
        }
        let cuts = [Cut::AllLost, Cut::AllKept, Cut::NamesKept, Cut::ZerosKept, Cut::RemovalsKept];
        for cut in cuts.into_iter().chain((0..rounds(1)).map(|seed| Cut::Random(seed << 32 | number as u64))) {
            let state = disk.cut(cut);
            if seen.insert(state.clone()) {
                states.push((number, cut, state));
            }
        }
    }
    states
}

/// Checks each of `states` by `check` in a data directory that holds it, on all processors. Returns the first failure.
fn each_state(
    states: &[(usize, Cut, State)],
    check: impl Fn(usize, &DataDir, &mut Reader) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        let (place, mut reader) = (Place::new(), Reader::new());
        while let Some((number, cut, state)) = states.get(next.fetch_add(1, Relaxed)) {
            let data_dir = place.data_dir();
            disk::write(state, data_dir.path());
            if let Err(error) = check(*number, &data_dir, &mut reader) {
                next.store(states.len(), Relaxed);
                let names: Vec<_> = state.keys().map(String::as_str).collect();
                *failure.lock().unwrap() =
                    Some(format!("behind call {number}, {cut:?}: {error}; it held\n  {}", names.join("\n  ")));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    failure.into_inner().unwrap().map_or(Ok(()), Err)
}

/// compact makes of the tree what it should.
fn recover(data_dir: &DataDir, truth: &Truth, reader: &mut Reader) -> Result<(), String> {
    truth.check(data_dir, reader)?;
    let run = Run::of(data_dir.program("compact").args(["--threads", "1"]));
    if !matches!(run.status, Some(0 | 3)) {
        return Err(format!("compact ended with {:?}: {}", run.status, run.stderr));
    }
    truth.check_done(data_dir, reader)?;
    Ok(())
}

/// What compact did to a tree when it was killed at each of `faults` and then left alone.
struct Compactions {
    /// The disk as it was before.
    disk: Disk,
    truth: Truth,
    calls: Vec<Call>,
    /// How many of the calls are those of the killed.
    killed: usize,
}

fn compactions(place: &Place, faults: &[&str]) -> Option<Compactions> {
    let data_dir = place.data_dir();
    let truth = mixed(&data_dir);
    let (disk, mut calls, mut killed) = (Disk::of(data_dir.path()), Vec::new(), 0);
    for fault in faults.iter().map(Some).chain([None]) {
        killed = calls.len();
        let mut command = data_dir.program("compact");
        command.args(["--threads", "1"]).env("FAULT", fault.unwrap_or(&""));
        if !record(&data_dir, &command, "", &mut calls) {
            return None;
        }
    }
    truth.check_done(&data_dir, &mut Reader::new()).unwrap();
    // What was recorded is all that happened.
    let mut replayed = disk.clone();
    for call in &calls {
        replayed.apply(call);
    }
    assert_eq!(replayed.cut(Cut::AllKept), Disk::of(data_dir.path()).cut(Cut::AllKept));
    Some(Compactions { disk, truth, calls, killed })
}

#[test]
fn compact_loses_and_doubles_nothing_by_a_power_cut_behind_any_call() {
    let place = Place::new();
    // Those whose successor builds on what they left unsynced.
    let histories: [&[&str]; 6] = [
        &[],
        &["folder.made"],
        &["publish.renamed"],
        &["publish.renamed:3"],
        &["publish.renamed:4", "publish.renamed"],
        &["segment.removed:2"],
    ];
    let (mut calls_in_all, mut states_in_all) = (0, 0);
    for faults in histories {
        let Some(Compactions { mut disk, truth, calls, killed }) = compactions(&place, faults) else { return };
        // Power cuts before that are those of the first history.
        let states: Vec<_> = states(&mut disk, &calls).into_iter().filter(|(number, ..)| *number >= killed).collect();
        (calls_in_all, states_in_all) = (calls_in_all + calls.len() - killed, states_in_all + states.len());
        let checked = each_state(&states, |_, data_dir, reader| recover(data_dir, &truth, reader));
        checked.unwrap_or_else(|error| panic!("killed at {faults:?}, then a power cut {error}"));
    }
    println!("{states_in_all} states of the disk behind {calls_in_all} calls; lost 0, doubled 0");
}

#[test]
fn a_second_power_cut_while_the_first_is_made_good_loses_and_doubles_nothing() {
    let (place, mut random) = (Place::new(), Random::seeded());
    let Some(Compactions { mut disk, truth, calls, .. }) = compactions(&place, &[]) else { return };
    let first = states(&mut disk, &calls);
    for _ in 0..rounds(1) {
        let (number, cut, state) = &first[random.below(first.len())];
        let (data_dir, mut calls) = (place.data_dir(), Vec::new());
        disk::write(state, data_dir.path());
        let mut disk = Disk::of(data_dir.path());
        record(&data_dir, data_dir.program("compact").args(["--threads", "1"]), "", &mut calls);
        let checked = each_state(&states(&mut disk, &calls), |_, data_dir, reader| recover(data_dir, &truth, reader));
        checked.unwrap_or_else(|error| panic!("a power cut behind call {number}, {cut:?}, then another {error}"));
    }
}

#[test]
fn a_compact_that_left_out_a_sync_would_be_found() {
    let place = Place::new();
    let Some(Compactions { disk, truth, calls, .. }) = compactions(&place, &[]) else { return };
    // A Parquet file, a file of the quarantine, their folders, and one in which a folder is new.
    let quarantine = truth.segments.last().unwrap();
    let arrival = calls.iter().find_map(|call| match call {
        Call::Rename { to, .. } if to.contains(&quarantine.name) => Some(to.rsplit_once('/').unwrap().0.to_owned()),
        _ => None,
    });
    let kinds =
        [".10.parquet.", "-damaged2025090310.json.", "parquet/telemetry/2025/09/03", &arrival.unwrap(), "2025/09"];
    for what in kinds {
        let is_left_out = |call: &&Call| matches!(call, Call::Sync { path } if path.ends_with(what) || what.ends_with('.') && path.contains(what));
        let fewer: Vec<_> = calls.iter().filter(|call| !is_left_out(call)).cloned().collect();
        assert!(fewer.len() < calls.len(), "{what} is never synced");
        let states = states(&mut disk.clone(), &fewer);
        let checked = each_state(&states, |_, data_dir, reader| truth.check(data_dir, reader).map(drop));
        assert!(checked.is_err(), "without a sync of {what} nothing is lost?");
    }
}

/// Lines for two hours and what tcp-ingest makes of them.
fn sealing(data_dir: &DataDir, truth: &mut Truth, fault: &str, calls: &mut Vec<Call>) -> bool {
    let mut sent = BTreeMap::new();
    for hour in ["2025-09-02T10", "2025-09-03T11"] {
        let (bytes, good, damaged) = truth.lines(hour, &[Line::Good; 4]);
        sent.insert(bytes, (good, damaged));
    }
    let input: String = sent.keys().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect();
    let mut command = data_dir.program("tcp-ingest");
    command.args(["--stdin", "telemetry"]).env("FAULT", fault);
    if !record(data_dir, &command, &input, calls) {
        return false;
    }
    for suffix in [".json", ".json.open"] {
        for path in data_dir.files_like("raw/", suffix) {
            let bytes = std::fs::read(&path).unwrap();
            let (good, damaged) = sent.remove(&bytes).unwrap();
            let sealed = path.with_file_name(path.file_name().unwrap().to_str().unwrap().trim_end_matches(".open"));
            truth.add(data_dir, &sealed, bytes, good, damaged);
        }
    }
    assert!(sent.is_empty(), "not everything was written");
    true
}

#[test]
fn a_sealed_segment_is_whole_behind_any_call_and_there_when_tcp_ingest_has_ended() {
    let (place, mut truth, mut calls) = (Place::new(), Truth::default(), Vec::new());
    let data_dir = place.data_dir();
    let mut disk = Disk::of(data_dir.path());
    if !sealing(&data_dir, &mut truth, "", &mut calls) {
        return;
    }
    let owed = truth.clone();
    truth.segments.iter_mut().for_each(|segment| segment.owed = false);
    let states = states(&mut disk, &calls);
    let checked = each_state(&states, |number, data_dir, reader| {
        data_dir.files_like("raw/", ".open").iter().for_each(|open| std::fs::remove_file(open).unwrap());
        if number == calls.len() { owed.check(data_dir, reader) } else { truth.check(data_dir, reader) }.map(drop)
    });
    checked.unwrap_or_else(|error| panic!("a power cut {error}"));
    println!("{} states of the disk behind {} calls", states.len(), calls.len());
}

#[test]
fn what_compact_took_of_a_tcp_ingest_that_was_killed_stays_although_its_name_was_never_synced() {
    let (place, mut truth, mut calls) = (Place::new(), Truth::default(), Vec::new());
    let data_dir = place.data_dir();
    let mut disk = Disk::of(data_dir.path());
    if !sealing(&data_dir, &mut truth, "seal.renamed", &mut calls) {
        return;
    }
    let ingested = calls.len();
    if !record(&data_dir, data_dir.program("compact").args(["--threads", "1"]), "", &mut calls) {
        return;
    }
    let removed = |number: usize, file: &str| {
        calls[..number].iter().any(|call| matches!(call, Call::Remove { path } if path == file))
    };
    assert!(truth.segments.iter().any(|segment| removed(calls.len(), &segment.file)), "nothing was compacted");
    let states: Vec<_> = states(&mut disk, &calls).into_iter().filter(|(number, ..)| *number >= ingested).collect();
    let checked = each_state(&states, |number, data_dir, reader| {
        // What compact has not removed was never promised: tcp-ingest died before it had synced the names.
        let mut truth = truth.clone();
        truth.segments.iter_mut().for_each(|segment| segment.owed = removed(number, &segment.file));
        let taken_up = Run::of(data_dir.program("tcp-ingest").args(["--stdin", "telemetry"]).stdin(Stdio::null()));
        if taken_up.status != Some(0) {
            return Err(format!("tcp-ingest ended with {:?}: {}", taken_up.status, taken_up.stderr));
        }
        recover(data_dir, &truth, reader)
    });
    checked.unwrap_or_else(|error| panic!("a power cut {error}"));
    println!("{} states of the disk behind {} calls", states.len(), calls.len() - ingested);
}
