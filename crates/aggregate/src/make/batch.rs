//! Making many small hours at once: one run of the query, whose rows are written hour by hour.
//!
//! What cannot be made so is left to be made by itself, where what is wrong with it is found and said: a large hour, an
//! hour without rows, one whose input was replaced meanwhile, and all of them if the query fails on one.

use engine::SmallFile;
use layout::{Draft, Tree};

use super::window::Maker;
use crate::plan::{Step, count, paths};
use crate::sql::stored_type;

/// From how many hours on it pays, and over how many the query is run at most: all of that is done again hour by hour if
/// one of them turns out to be damaged.
const LEAST: usize = 8;
const MOST: usize = 1024;
/// How many bytes of files the query is run over at most, since what it yields is held in memory.
const MOST_BYTES: u64 = 8 << 20;
/// How many rows an hour may have at most: more are written better by DuckDB, which compresses them.
const MOST_ROWS: usize = 2_000;

impl Maker<'_> {
    /// Makes the hours of a share, unpublished, as far as that can be done at once; the others are none.
    pub(super) fn make_batch(&self, share: &[Step]) -> Option<Vec<Option<Draft>>> {
        let is_one_file = |step: &Step| count(&step.inputs) == 1;
        if self.session.batch.is_none() || share.len() < LEAST || !share.iter().all(is_one_file) {
            return None;
        }
        let columns = self.session.columns.iter().map(|column| (column.name.as_str(), stored_type(column)));
        let mut file = SmallFile::new(columns)?;
        let windows: Vec<_> = share.iter().map(|step| step.window).collect();
        let mut drafts: Vec<Option<Draft>> = std::iter::repeat_with(|| None).take(share.len()).collect();
        let mut current = None;
        let mut finish = |number: Option<usize>, file: &mut SmallFile| -> anyhow::Result<()> {
            if let Some(number) = number.filter(|_| file.rows() <= MOST_ROWS)
                && let Some((step, draft)) = share.get(number).zip(drafts.get_mut(number))
            {
                let made = self.draft(step)?;
                file.write(&made, &self.commit(step, &step.inputs))?;
                self.check_key(&made)?;
                *draft = Some(made);
            }
            file.clear();
            Ok(())
        };
        let ran = self.session.run_batch(&windows, |number, row| {
            if current != Some(number) {
                finish(current, &mut file)?;
                current = Some(number);
            }
            // One row too many is enough to tell.
            if file.rows() <= MOST_ROWS { file.push(row) } else { Ok(()) }
        });
        ran.and_then(|()| finish(current, &mut file)).ok()?;
        for (step, draft) in share.iter().zip(&mut drafts) {
            if draft.is_some() && !self.inputs_now(step).is_ok_and(|now| now == step.inputs) {
                *draft = None;
            }
        }
        Some(drafts)
    }
}

/// Cuts steps into what a thread does at a time: as many as can be made at once, but no thread is to be left without work.
pub(super) fn shares<'s>(tree: &Tree, steps: &'s [Step], workers: usize) -> Vec<&'s [Step]> {
    let most = (steps.len() / (workers * 4)).clamp(LEAST, MOST);
    let mut shares = Vec::new();
    let mut rest = steps;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(most).take_while(|step| {
            // One that cannot be looked at counts for nothing.
            bytes += paths(tree, &step.inputs).filter_map(|path| layout::size(&path).ok()?).sum::<u64>();
            bytes <= MOST_BYTES
        });
        let (share, later) = rest.split_at(fits.count().max(1));
        shares.push(share);
        rest = later;
    }
    shares
}
