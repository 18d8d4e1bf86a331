//! Parquet files of the tree, read and written by DuckDB.
//!
//! Rows stay as they arrive, in row groups of 122,880, with dictionaries, zstd of level 3 and no Bloom filters: DuckDB's
//! defaults but for the last. `docs/benchmarks.md` has what else could be, with figures.
//!
//! Sorting by sensor would make the reading of one sensor three to five times as fast (a month of it 1 s instead of 4), the
//! writing three times as slow, and would hold the whole hour in memory or on disk: whoever reads single sensors builds an
//! aggregate for that. Larger row groups save up to 8 %, but a thread works on one of them at a time: most hours would be
//! written and read by one thread.

use std::path::Path;

use anyhow::Context as _;
use duckdb::Connection;
use layout::{Commit, Draft};

use crate::sql::{file_literal, literal};

/// A table expression over Parquet files, which must exist and have the same columns by name.
pub fn read_parquet(paths: impl IntoIterator<Item: AsRef<Path>>) -> String {
    let paths: Vec<_> = paths.into_iter().map(|path| file_literal(path.as_ref())).collect();
    // Without these two, `hour=10` in a folder's name would become a column, and a column in one file only an error. To
    // unite the columns of one file would only cost time.
    let union = paths.len() > 1;
    format!("read_parquet([{}], hive_partitioning = false, union_by_name = {union})", paths.join(", "))
}

/// A query that fails unless every value of a Parquet file can be read.
pub fn whole_file(path: &Path) -> String {
    format!("SELECT max(hash(COLUMNS(*))) FROM {}", read_parquet([path]))
}

/// Writes the rows of the query `select` with `commit` in the footer to a draft, which is left to be published. Needs a
/// session of [`open`](crate::open): the bound on the bytes of a row group is refused where rows must keep their order.
/// COPY syncs nothing and would use a temporary name of its own: publishing is `layout`'s.
pub fn copy_to_draft(connection: &Connection, select: &str, draft: &Draft, commit: &Commit) -> anyhow::Result<()> {
    let cannot_be_made = || format!("{}: cannot be made", draft.target().display());
    layout::fault::fails("copy.write").with_context(cannot_be_made)?;
    connection.execute(&copy_statement(select, draft, commit), []).with_context(cannot_be_made)?;
    layout::fault::point("copy.written");
    Ok(())
}

/// The statement of [`copy_to_draft`], for whoever runs it together with others: DuckDB plans a statement that is run in
/// a batch once, and one that is prepared twice.
pub fn copy_statement(select: &str, draft: &Draft, commit: &Commit) -> String {
    // An hour holds nearly every sensor in each row group, so Bloom filters would be 3 % of the file and rule nothing out.
    // A row group is held in memory until it is written: few rows of long texts fill it, too.
    format!(
        "COPY ({select}) TO {} (FORMAT parquet, COMPRESSION zstd, WRITE_BLOOM_FILTER false, USE_TMP_FILE false, ROW_GROUP_SIZE_BYTES '32MB', \
         KV_METADATA {{{}: {}}})",
        literal(&draft.path().to_string_lossy()),
        Commit::KEY,
        literal(&commit.to_json()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_looks_like_a_pattern_is_that_path_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let connection = Connection::open_in_memory().unwrap();
        for (name, like) in [("da*ta[1]", "data1"), ("da?ta", "da1ta"), ("[a-c]", "b"), ("a\\b", "ab"), ("it's]", "it")]
        {
            for name in [name, like] {
                std::fs::create_dir_all(folder.join(name)).unwrap();
                let file = literal(&folder.join(name).join("10.parquet").to_string_lossy());
                connection.execute_batch(&format!("COPY (SELECT {} AS name) TO {file}", literal(name))).unwrap();
            }
            let path = folder.join(name).join("10.parquet");
            let sql = format!("SELECT string_agg(name) FROM {}", read_parquet([path.as_path()]));
            let read: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(read, name);
        }
    }
}
