//! Replaying the quarantine: lines that a mended stream file accepts go to raw/, each once.
//!
//! A segment of the quarantine is first renamed to a name with the version of the stream file by which it is replayed. Then
//! its lines are judged, and the accepted ones become segments of raw/ whose names follow from its own: whoever does it again
//! makes the same segments, and compact adds none twice. Then the rest gets the old name, and last the renamed segment is
//! removed. Whoever dies in between leaves a segment with a version in its name, and the next run finishes it by that one.

use std::fs;

use crate::error::{Error, Result};
use crate::fault;
use crate::folders;
use crate::hour::{Hour, HourRange};
use crate::lock::DatasetLock;
use crate::name::{Name, StreamVersion};
use crate::paths::{Area, SealedSegment, Tree};
use crate::publish::{Draft, publish};

/// A segment of the quarantine that is being replayed.
#[derive(Debug)]
pub struct Replay {
    stream: Name,
    segment: SealedSegment,
    /// As it was before, and as what is left will be.
    rest: SealedSegment,
    version: StreamVersion,
}

impl Tree {
    /// The sealed segments of the quarantine of `stream` in `range`, those first whose replay was begun and not finished.
    /// Those get their own version, all others `version`.
    pub fn replays(
        &self,
        _: &DatasetLock,
        stream: &Name,
        range: HourRange,
        version: StreamVersion,
    ) -> Result<Vec<Replay>> {
        let segments = self.sealed_segments(Area::Quarantine, stream, range)?;
        let replay = |segment: SealedSegment| {
            let begun = segment.name.replayed_from();
            let is_begun = begun.is_some();
            let (name, version) = begun.unwrap_or_else(|| (segment.name.clone(), version));
            let rest = self.segment(Area::Quarantine, stream, segment.hour, name);
            (is_begun, Replay { stream: stream.clone(), segment, rest, version })
        };
        let mut replays: Vec<_> = segments.into_iter().map(replay).collect();
        replays.sort_by_key(|(is_begun, _)| !is_begun);
        Ok(replays.into_iter().map(|(_, replay)| replay).collect())
    }
}

impl Replay {
    /// The version of the stream file by which it is replayed.
    pub fn version(&self) -> StreamVersion {
        self.version
    }

    /// The segment's records.
    pub fn segment(&self) -> &SealedSegment {
        &self.segment
    }

    /// Gives the segment its name with the version. Until then nothing has happened.
    pub fn begin(&mut self, tree: &Tree) -> Result<()> {
        if self.segment.name == self.rest.name {
            let name = self.rest.name.replaying(self.version);
            let segment = tree.segment(Area::Quarantine, &self.stream, self.segment.hour, name);
            fs::rename(&self.segment.path, &segment.path).map_err(Error::at("rename", &self.segment.path))?;
            folders::sync_names([segment.path.as_path()])?;
            self.segment = segment;
        }
        fault::point("replay.begun");
        Ok(())
    }

    /// A draft of the accepted lines of an hour.
    pub fn draft(&self, tree: &Tree, hour: Hour) -> Result<Draft> {
        Draft::new(tree.segment(Area::Raw, &self.stream, hour, self.rest.name.replayed(self.version)).path)
    }

    /// A draft of the records that stay in the quarantine.
    pub fn draft_rest(&self) -> Result<Draft> {
        Draft::new(self.rest.path.clone())
    }

    /// Publishes the accepted lines, then what is left, if anything is, and removes the segment.
    pub fn finish(self, accepted: Vec<Draft>, rest: Option<Draft>) -> Result<()> {
        publish(accepted)?;
        fault::point("replay.accepted");
        publish(rest.into_iter().collect())?;
        fault::point("replay.rest");
        let removed = fs::remove_file(&self.segment.path);
        removed.map_err(Error::at("remove", &self.segment.path))
    }
}
