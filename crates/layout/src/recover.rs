//! Recovery of what a dead writer left: open segments that nobody holds the lock of are sealed.
//!
//! The bytes of a torn last line go to quarantine before the segment is cut. That file's name is derived from the segment's,
//! so that a recovery that dies itself can be repeated and the bytes are there only once.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};
use crate::fault;
use crate::files;
use crate::lock::Locked;
use crate::name::Name;
use crate::paths::{Area, SealedSegment, Tree};
use crate::publish::publish;
use crate::quarantine::QuarantineRecord;
use crate::segment::{OpenSegment, seal};

/// A segment that was recovered.
#[derive(Debug)]
pub struct Recovered {
    /// The segment, sealed now; none if it was empty and is gone.
    pub sealed: Option<SealedSegment>,
    /// How many bytes of a torn last line went to quarantine.
    pub torn: usize,
}

/// Seals the open segments of `stream` in `area` that have no living writer.
pub fn recover(tree: &Tree, area: Area, stream: &Name, now: DateTime<Utc>) -> Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    for sealed in tree.open_segments(area, stream)? {
        let path = sealed.open_path();
        let file = match files::open_with(&path, File::options().read(true).append(true)) {
            Ok((file, _)) => file,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let Some(file) = Locked::try_new(file, &path)? else { continue };
        let (len, tail) = torn_tail(file.file()).map_err(Error::at("read", &path))?;
        if !tail.is_empty() {
            let (source, reason) = (tree.relative(&sealed.path), "torn");
            let detail = "the writer died inside this line; a source that sends again sends it whole";
            let mut record = Vec::new();
            QuarantineRecord { time: now, source: &source, reason, detail, line: &tail }.write(&mut record);
            let draft = tree.draft_quarantine(stream, &sealed, reason)?;
            fs::write(draft.path(), &record).map_err(Error::at("write", draft.path()))?;
            publish(vec![draft])?;
            fault::point("recover.quarantined");
        }
        let mut segment = OpenSegment::resume(file, sealed, len);
        segment.rollback(len)?;
        let sealed = seal(vec![segment]).map_err(|failed| failed.error)?.pop();
        recovered.push(Recovered { sealed, torn: tail.len() });
    }
    Ok(recovered)
}

/// The length up to the last complete line, and the bytes after it.
fn torn_tail(file: &File) -> io::Result<(u64, Vec<u8>)> {
    let len = file.metadata()?.len();
    let mut size = 64 * 1024;
    loop {
        let from = len.saturating_sub(size);
        let mut tail = vec![0; usize::try_from(len - from).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_exact_at(&mut tail, from)?;
        match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => return Ok((from + newline as u64 + 1, tail.split_off(newline + 1))),
            None if from == 0 => return Ok((0, tail)),
            None => size *= 2,
        }
    }
}
