//! What can happen in a history, and how it is generated.

use harness::Random;

use crate::common::truth::Line;
use crate::common::{DEATHS, FAILURES};

pub(crate) const HOURS: [&str; 3] = ["2025-09-02T10", "2025-09-02T11", "2025-09-03T00"];
pub(crate) const FOREIGN: [&str; 4] = [
    "raw/telemetry/2025/09/02/10.notes.json",
    "raw/telemetry/2025/09/02/README",
    "parquet/telemetry/2025/09/02/10.parquet.bak",
    "parquet/telemetry/2025/09/03/00.old.parquet",
];

/// What happens next. Numbers choose among what there is then.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Seal { hour: usize, lines: Vec<Line> },
    Compact(Fate),
    CompactTogether { fates: Vec<Fate>, sealed_meanwhile: Vec<Line> },
    CompactOnFullDisk { free_pages: u64, fate: Fate },
    RestoreSegments { which: u64 },
    RestoreOldParquet { which: usize },
    HousekeepClean,
    AddForeignFile { which: usize },
}

/// What becomes of a compactor.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    Lives,
    /// Killed at a point when it gets there for the n-th time.
    DiesAt(&'static str, u64),
    /// Killed so many microseconds after its start.
    DiesAfter(u64),
    /// Refused by the system the n-th time.
    RefusedAt(&'static str, u64),
}

impl Fate {
    fn generate(random: &mut Random) -> Self {
        let point = DEATHS[random.below(DEATHS.len())];
        let often = if point.starts_with("folder.") || point.starts_with("segment.") { 6 } else { 2 };
        Self::DiesAt(point, 1 + random.below(often))
    }

    fn generate_any(random: &mut Random) -> Self {
        match random.below(8) {
            0..3 => Self::Lives,
            3..6 => Self::generate(random),
            6 => Self::DiesAfter(random.below(60_000)),
            _ => Self::RefusedAt(FAILURES[random.below(FAILURES.len())], 1 + random.below(4)),
        }
    }
}

impl Step {
    fn generate(random: &mut Random) -> Self {
        match random.below(100) {
            0..32 => Self::seal(random),
            32..37 => Self::Compact(Fate::Lives),
            37..57 => Self::Compact(Fate::generate(random)),
            57..61 => Self::Compact(Fate::DiesAfter(random.below(60_000))),
            61..69 => Self::Compact(Fate::RefusedAt(FAILURES[random.below(FAILURES.len())], 1 + random.below(3))),
            69..76 => {
                let fates = (0..2 + random.below(2)).map(|_| Fate::generate_any(random)).collect();
                Self::CompactTogether { fates, sealed_meanwhile: Line::generate(random, 3) }
            }
            76..82 => Self::CompactOnFullDisk { free_pages: random.below(12), fate: Fate::generate_any(random) },
            82..90 => Self::RestoreSegments { which: random.number() },
            90..94 => Self::RestoreOldParquet { which: random.below(1000) },
            94..97 => Self::HousekeepClean,
            _ => Self::AddForeignFile { which: random.below(FOREIGN.len()) },
        }
    }

    fn seal(random: &mut Random) -> Self {
        // Mostly the same hour: late data is what makes it difficult.
        let hour = [0, 0, 0, 0, 1, 2][random.below(6)];
        Self::Seal { hour, lines: Line::generate(random, 6) }
    }
}

/// The steps of the history with this seed.
pub(crate) fn generate(seed: u64) -> Vec<Step> {
    let mut random = Random::with_seed(seed);
    let mut steps = vec![Step::seal(&mut random)];
    steps.extend((0..2 + random.below(6)).map(|_| Step::generate(&mut random)));
    steps
}
