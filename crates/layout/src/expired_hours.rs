//! Hours that retention removed: the rows are gone, the commit record stays.
//!
//! Who made such an hour again would make it from a part: from late segments without the rows that were removed, or from
//! one input of a query without the other. Downstream an hour replaces what was known of it, so that part would replace
//! the whole. Therefore the record of a removed hour stays beside the place of its file, as
//! `parquet/<dataset>/YYYY/MM/DD/HH.expired.json`. An hour is *expired* when that record is there and its Parquet file is
//! not. To delete the record by hand opens the hour again.

use std::fs;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::fault;
use crate::files;
use crate::hour::Hour;
use crate::lock::DatasetLock;
use crate::name::Name;
use crate::paths::Tree;
use crate::publish::{Draft, publish};

impl Tree {
    /// Removes published hours for good. Their records are durable before the first file is removed: a process that dies
    /// in between leaves whole hours, which can be removed again. Only who holds the data set's lock does this.
    pub fn expire_parquet(&self, lock: &DatasetLock, dataset: &Name, hours: &[(Hour, Commit)]) -> Result<()> {
        let mut records = Vec::with_capacity(hours.len());
        for (hour, commit) in hours {
            let draft = Draft::new(self.expired(dataset, *hour))?;
            fs::write(draft.path(), commit.to_json() + "\n").map_err(Error::at("write", draft.path()))?;
            records.push(draft);
        }
        publish(records)?;
        fault::point("expire.recorded");
        for (hour, _) in hours {
            self.remove_parquet(lock, dataset, *hour)?;
        }
        Ok(())
    }

    /// The commit record of what was removed of an expired hour; its `rows` are not known.
    pub fn expired_record(&self, dataset: &Name, hour: Hour) -> Result<Commit> {
        let path = self.expired(dataset, hour);
        serde_json::from_slice(&files::read(&path)?).map_err(|error| {
            let detail = format!("is not the record of an expired hour: {error}");
            Error::invalid(&path, detail, "put it back from a backup, or delete it to open the hour again")
        })
    }

    /// Whether an hour of `dataset` is expired.
    pub fn is_expired(&self, dataset: &Name, hour: Hour) -> Result<bool> {
        // The record is looked for first, because it is there before the file is removed.
        Ok(files::exists(&self.expired(dataset, hour))? && !files::exists(&self.parquet(dataset, hour))?)
    }
}
