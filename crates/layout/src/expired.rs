//! Hours that retention removed: the rows are gone, the commit record stays.
//!
//! Whoever makes an hour anew from what is there would make it from a part: late segments without the rows that were
//! removed, or one input of a query without the other. Downstream, where an hour replaces what was known of it, that part
//! would then replace the whole. So the record of a removed hour stays beside where it was, as
//! `parquet/<dataset>/YYYY/MM/DD/HH.expired.json`. An hour is *expired* when that record is there and its Parquet file is
//! not; deleting the record by hand opens the hour again.

use std::fs;
use std::path::Path;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::fault;
use crate::hour::{Hour, HourRange};
use crate::lock::DatasetLock;
use crate::name::Name;
use crate::publish::{Draft, publish};
use crate::tree::{Area, Tree};

/// What follows the hour in the record's name.
const SUFFIX: &str = "expired.json";

impl Tree {
    /// Removes published hours for good: their records are durable before the first file goes, so that to die in between
    /// leaves an hour that is whole and can be removed again. Only who holds the data set's lock does.
    pub fn expire_parquet(&self, lock: &DatasetLock, dataset: &Name, hours: &[(Hour, Commit)]) -> Result<()> {
        let mut records = Vec::with_capacity(hours.len());
        for (hour, commit) in hours {
            let record = Draft::new(self.parquet(dataset, *hour).with_extension(SUFFIX))?;
            fs::write(record.path(), commit.to_json() + "\n").map_err(Error::at("write", record.path()))?;
            records.push(record);
        }
        publish(records)?;
        fault::point("expire.recorded");
        for (hour, _) in hours {
            self.remove_parquet(lock, dataset, *hour)?;
        }
        Ok(())
    }

    /// The expired hours of `dataset` with the commit records of what was removed (their `rows` are not known), in order.
    pub fn expired(&self, dataset: &Name, range: HourRange) -> Result<Vec<(Hour, Result<Commit>)>> {
        let mut records = Vec::new();
        self.each_file(Area::Parquet, dataset, range, |hour, name, path| {
            if name == SUFFIX {
                records.push((hour, path));
            }
        })?;
        records.sort_unstable();
        // A link to nothing is an hour on a disk that is not there.
        records.retain(|(hour, _)| self.parquet(dataset, *hour).symlink_metadata().is_err());
        let read = |path: &Path| {
            let text = fs::read(path).map_err(Error::at("read", path))?;
            serde_json::from_slice(&text)
                .map_err(|error| Error::invalid(path, format!("is not the record of an expired hour: {error}")))
        };
        Ok(records.into_iter().map(|(hour, path)| (hour, read(&path))).collect())
    }
}
