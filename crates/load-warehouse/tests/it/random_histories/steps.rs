//! What can happen in a history, and how it is generated.

use harness::Random;

pub(crate) const HOURS: [&str; 4] = ["2025-09-02T10", "2025-09-02T11", "2025-09-03T00", "2025-10-01T05"];

/// Where a load can be told to die.
const POINTS: [&str; 5] = ["load.begun", "load.deleted", "load.inserted", "load.before_commit", "load.committed"];

/// What happens next. Numbers choose among what there is then.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// An hour comes, or late data for it, with so many of the columns that were not there from the beginning. What is
    /// `late` has rows that were there before.
    Publish { hour: usize, rows: u64, added: usize, late: bool },
    /// An hour's file is put back as it was at some time.
    Restore { which: u64 },
    /// Retention removes an hour from the tree.
    Expire { hour: usize },
    /// A load that nobody disturbs, and the same again.
    Load,
    /// A load that dies at a point of its work.
    LoadDiesAt(&'static str),
    /// A load that is killed so many milliseconds after its start.
    LoadKilled { after: u64 },
    /// Loads side by side.
    LoadsSideBySide { loads: u64 },
    /// The server is killed so many milliseconds after the start of a load, and comes back.
    ServerKilled { after: u64 },
    /// The server ends the connection so many milliseconds after the start of a load.
    ConnectionKilled { after: u64 },
}

impl Step {
    fn generate(random: &mut Random, is_server: bool) -> Self {
        match random.below(if is_server { 100 } else { 80 }) {
            0..30 => Self::publish(random),
            30..35 => Self::Restore { which: random.number() },
            35..38 => Self::Expire { hour: random.below(HOURS.len()) },
            38..48 => Self::Load,
            48..60 => Self::LoadDiesAt(POINTS[random.below(POINTS.len())]),
            60..72 => Self::LoadKilled { after: random.below(700) },
            72..80 => Self::LoadsSideBySide { loads: 2 + random.below(2_u64) },
            80..90 => Self::ServerKilled { after: random.below(900) },
            _ => Self::ConnectionKilled { after: random.below(900) },
        }
    }

    fn publish(random: &mut Random) -> Self {
        // Mostly few rows; sometimes so many that a load is met in the middle of them.
        let rows = match random.below(8) {
            0 => 0,
            1..6 => 1 + random.below(60_u64),
            _ => 4000 + random.below(16_000_u64),
        };
        let (hour, added) = (random.below(HOURS.len()), random.below(4));
        Self::Publish { hour, rows, added, late: random.below(2_u64) == 0 }
    }
}

/// The steps of the history with this seed. Its first load makes the table.
pub(crate) fn generate(seed: u64, is_server: bool) -> Vec<Step> {
    let mut random = Random::with_seed(seed);
    let mut steps = vec![Step::publish(&mut random), Step::Load];
    for _ in 0..3 + random.below(4) {
        steps.push(Step::publish(&mut random));
        steps.extend((0..=random.below(3)).map(|_| Step::generate(&mut random, is_server)));
    }
    steps
}
