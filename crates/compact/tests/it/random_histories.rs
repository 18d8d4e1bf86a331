//! Random histories of a tree: segments come, late ones too, damaged and torn; compactors run, alone and together, are
//! killed at any of their steps, refused by the system, denied room on the disk; backups are put back. After every step
//! each line that was sealed is in Parquet, quarantine or raw; when all is done it is there exactly once.
//!
//! `ROUNDS` says how many histories (the long form: scripts/histories.sh). The first is that of `SEED`, the next that of
//! `SEED` + 1, and so on. One that fails is tried again without each of its steps, and what is left of it is printed.

mod steps;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use self::steps::{Step, generate};
use self::world::{Counts, World};
use crate::common::truth::{Contents, Reader, Truth};
use harness::{DataDir, SmallDisk, rounds, seed};

/// Lives through a history. An error comes with the number of steps that it takes.
fn live(steps: &[Step], disk: Option<&SmallDisk>, reader: &mut Reader) -> Result<Counts, (usize, String)> {
    let data_dir = disk.map_or_else(DataDir::new, |disk| DataDir::within(disk.path()));
    let (truth, contents, counts) = (Truth::default(), Contents::default(), Counts::default());
    let mut world = World { data_dir, disk, reader, truth, contents, versions: Vec::new(), counts };
    for (number, step) in (1..).zip(steps) {
        world.step(step).map_err(|error| (number, format!("after step {number}: {error}")))?;
    }
    world.finish().map_err(|error| (steps.len(), format!("in the end: {error}")))?;
    Ok(Counts { histories: 1, lines: world.truth.count() as u64, ..world.counts })
}

/// Leaves out every step without which the history fails as well; says what is left.
fn shrink(mut steps: Vec<Step>, mut error: String, disk: Option<&SmallDisk>, reader: &mut Reader) -> String {
    let mut number = 0;
    while number < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(number);
        match live(&fewer, disk, reader) {
            Err((_, found)) => (steps, error) = (fewer, found),
            Ok(_) => number += 1,
        }
    }
    format!("the least history that fails: {error}\n{}", in_words(&steps))
}

fn in_words(steps: &[Step]) -> String {
    let lines: Vec<_> = (1..).zip(steps).map(|(number, step)| format!("  {number}. {step:?}")).collect();
    lines.join("\n")
}

#[test]
fn each_line_is_there_exactly_once_after_any_history() {
    let (first, count, started) = (seed(), rounds(250), Instant::now());
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (total, failure) = (Mutex::new(Counts::default()), Mutex::new(None));
    let work = || {
        let disk = SmallDisk::mount("size=16m");
        let mut reader = Reader::new();
        while !stop.load(Relaxed) {
            let number = next.fetch_add(1, Relaxed);
            if number >= count {
                break;
            }
            let seed = first.wrapping_add(number);
            let steps = generate(seed);
            match live(&steps, disk.as_ref(), &mut reader) {
                Ok(counts) => *total.lock().unwrap() += counts,
                Err((number, error)) => {
                    stop.store(true, Relaxed);
                    let text = format!("SEED={seed} ROUNDS=1: {error}\n{}\n", in_words(&steps));
                    let steps = steps[..number].to_vec();
                    *failure.lock().unwrap() = Some(text + &shrink(steps, error, disk.as_ref(), &mut reader));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("{failure}");
    }
    let (took, Counts { histories, lines, runs, killed, failed }) = (started.elapsed(), total.into_inner().unwrap());
    println!(
        "{histories} histories in {} s: {lines} lines, {runs} runs of compact, {killed} of them killed and {failed} \
         refused; lost 0, doubled 0",
        took.as_secs()
    );
    assert!(killed > histories / 4 && failed > histories / 20, "hardly anything happened");
}
