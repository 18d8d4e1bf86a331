//! The buffers, validators and segments that a thread uses for one batch after the other.

use std::time::Duration;

use models::Decoder;

use crate::batch::Batch;
use crate::shared::Shared;
use crate::validator::{Bounds, Validator};
use crate::writer::{Keeper, Writer, max_hours};

/// How much is taken at once. The kernel does some work each time that bytes are taken (it offers the sender a window,
/// and the sender goes on in our time): 1 MiB costs a quarter less processor time than 256 KiB, and still fits into a
/// processor's own cache.
const BLOCK: usize = 1 << 20;

/// What one batch after the other is read into, validated with, and written with.
pub(crate) struct Intake {
    pub(crate) buffer: Vec<u8>,
    pub(crate) batch: Batch,
    /// One for each stream.
    pub(crate) validators: Vec<Validator>,
    pub(crate) writer: Writer,
}

impl Intake {
    pub(crate) fn new(shared: &Shared, keeper: Option<Keeper>) -> Self {
        let config = &shared.config;
        let bounds = Bounds {
            earliest: config.earliest.start_micros(),
            ahead: micros(config.max_ahead),
            hours: keeper.as_ref().map_or(usize::MAX, |keeper| keeper.row.writes() - 1).min(max_hours(config)),
        };
        let validators = config.streams.iter().map(|stream| Validator::new(Decoder::new(stream.model), bounds));
        Self {
            buffer: vec![0; BLOCK.max(2 * config.max_line)],
            batch: Batch::default(),
            validators: validators.collect(),
            writer: Writer::new(shared, keeper),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
