//! Small Parquet files, written without DuckDB: to begin a COPY takes it a millisecond, and thousands of hours of a few
//! rows each want thousands of files.
//!
//! They have the columns and types that DuckDB's COPY would give them. Their pages are dictionaries and plain values and
//! not compressed: a file is hardly larger than its footer and a block of the disk.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use duckdb::Row;
use duckdb::types::{TimeUnit as Unit, ValueRef};
use layout::{Commit, Draft};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

/// The rows of a file that is to be written.
#[derive(Debug)]
pub struct SmallFile {
    schema: TypePtr,
    columns: Vec<Column>,
    /// The columns without rows.
    empty: Vec<Column>,
}

/// The values of a column that are not null, and which rows have one.
#[derive(Debug, Clone)]
struct Column {
    values: Values,
    present: Vec<i16>,
}

#[derive(Debug, Clone)]
enum Values {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl SmallFile {
    /// A file without rows with `columns`: names, and types as DuckDB calls them. None if there is one that only it writes.
    pub fn new<'c>(columns: impl IntoIterator<Item = (&'c str, &'c str)>) -> Option<Self> {
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        let micros = LogicalType::timestamp(false, TimeUnit::MICROS);
        for (name, sql_type) in columns {
            let (physical, logical, empty) = match sql_type {
                "BOOLEAN" => (Physical::BOOLEAN, None, Values::Boolean(Vec::new())),
                "INTEGER" => (Physical::INT32, Some(LogicalType::integer(32, true)), Values::Int32(Vec::new())),
                "DATE" => (Physical::INT32, Some(LogicalType::Date), Values::Int32(Vec::new())),
                "BIGINT" => (Physical::INT64, Some(LogicalType::integer(64, true)), Values::Int64(Vec::new())),
                "TIMESTAMP" => (Physical::INT64, Some(micros.clone()), Values::Int64(Vec::new())),
                "FLOAT" => (Physical::FLOAT, None, Values::Float(Vec::new())),
                "DOUBLE" => (Physical::DOUBLE, None, Values::Double(Vec::new())),
                "VARCHAR" => (Physical::BYTE_ARRAY, Some(LogicalType::String), Values::Text(Vec::new())),
                _ => return None,
            };
            let field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
            fields.push(Arc::new(field.with_logical_type(logical).build().ok()?));
            values.push(Column { values: empty, present: Vec::new() });
        }
        let schema = Type::group_type_builder("duckdb_schema").with_fields(fields).build().ok()?;
        Some(Self { schema: Arc::new(schema), columns: values.clone(), empty: values })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.present.len())
    }

    /// Adds a row, which may have more columns. Each value is fetched once: there are millions of them.
    pub fn push(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        for (at, column) in self.columns.iter_mut().enumerate() {
            let value = row.get_ref(at)?;
            column.present.push(i16::from(!matches!(value, ValueRef::Null)));
            match (&mut column.values, value) {
                (_, ValueRef::Null) => {}
                (Values::Boolean(values), ValueRef::Boolean(value)) => values.push(value),
                (Values::Int32(values), ValueRef::Int(value) | ValueRef::Date32(value)) => values.push(value),
                (Values::Int64(values), ValueRef::BigInt(value) | ValueRef::Timestamp(Unit::Microsecond, value)) => {
                    values.push(value);
                }
                (Values::Float(values), ValueRef::Float(value)) => values.push(value),
                (Values::Double(values), ValueRef::Double(value)) => values.push(value),
                (Values::Text(values), ValueRef::Text(value)) => values.push(value.to_vec().into()),
                (_, other) => bail!("column {}: DuckDB has a value of type {:?} in it", at + 1, other.data_type()),
            }
        }
        Ok(())
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.columns.clone_from(&self.empty);
    }

    /// Writes the rows with `commit` in the footer to a draft, which is left to be published.
    pub fn write(&self, draft: &Draft, commit: &Commit) -> anyhow::Result<()> {
        let target = draft.target().display();
        let bytes = self.encode(commit).with_context(|| format!("{target}: cannot be made"))?;
        // The draft is empty: were it truncated, ext4 would write each file out when it is closed, one after the other.
        let written = OpenOptions::new().write(true).open(draft.path()).and_then(|mut file| file.write_all(&bytes));
        written.with_context(|| format!("{target}: cannot be written"))
    }

    fn encode(&self, commit: &Commit) -> parquet::errors::Result<Vec<u8>> {
        let record = KeyValue::new(Commit::KEY.to_owned(), commit.to_json());
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(vec![record]))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        let mut writer = SerializedFileWriter::new(Vec::new(), self.schema.clone(), Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        for Column { values, present } in &self.columns {
            let Some(mut column) = group.next_column()? else { break };
            let present = Some(present.as_slice());
            match values {
                Values::Boolean(values) => column.typed::<BoolType>().write_batch(values, present, None)?,
                Values::Int32(values) => column.typed::<Int32Type>().write_batch(values, present, None)?,
                Values::Int64(values) => column.typed::<Int64Type>().write_batch(values, present, None)?,
                Values::Float(values) => column.typed::<FloatType>().write_batch(values, present, None)?,
                Values::Double(values) => column.typed::<DoubleType>().write_batch(values, present, None)?,
                Values::Text(values) => column.typed::<ByteArrayType>().write_batch(values, present, None)?,
            };
            column.close()?;
        }
        group.close()?;
        writer.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duckdb::Connection;
    use layout::{DatasetLock, Fingerprint, Lineage, Tree};

    const SQL: &str = "SELECT * FROM (VALUES
        (true, 1::INTEGER, DATE '2025-09-02', -5::BIGINT, TIMESTAMP '2025-09-02 10:00:00.000001', 1.5::FLOAT, 0.1::DOUBLE, 'ä'),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (false, -1, DATE '1969-12-31', 9223372036854775807, TIMESTAMP '0001-01-01', '-inf', 'nan', ''))
        AS t(\"a b\", \"i\"\"\", d, n, ts, f, x, s)";

    #[test]
    fn duckdb_reads_the_columns_types_and_values_that_it_would_have_written() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open_in_memory().unwrap();
        let describe = |source: &str| -> Vec<(String, String)> {
            let mut statement = connection.prepare(&format!("DESCRIBE FROM {source}")).unwrap();
            let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            columns.map(Result::unwrap).collect()
        };
        let columns = describe(&format!("({SQL})"));
        let mut file = SmallFile::new(columns.iter().map(|(name, kind)| (name.as_str(), kind.as_str()))).unwrap();
        let tree = Tree::new(folder.path());
        let name = "x".parse().unwrap();
        let lock = DatasetLock::try_acquire(&tree, &name).unwrap().unwrap();
        let query = Fingerprint::of(b"x");
        let commit = Commit::new(Lineage::Query { query, inputs: [].into(), tables: [].into() });
        let mut statement = connection.prepare(SQL).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            file.push(row).unwrap();
        }
        let draft = tree.draft_parquet(&lock, &name, layout::Hour::MIN).unwrap();
        file.write(&draft, &commit).unwrap();
        assert_eq!(Commit::read(draft.path()).unwrap(), Commit { rows: 3, ..commit });
        let read = crate::read_parquet([draft.path()]);
        assert_eq!(describe(&read), columns);
        let difference =
            format!("SELECT count(*) FROM ((FROM {read} EXCEPT ALL {SQL}) UNION ALL ({SQL} EXCEPT ALL FROM {read}))");
        let different: i64 = connection.query_row(&difference, [], |row| row.get(0)).unwrap();
        assert_eq!((different, file.rows()), (0, 3));
        let types = |file: &str| -> Vec<Option<String>> {
            let sql = format!("SELECT duckdb_type FROM parquet_schema('{file}')");
            connection.prepare(&sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let copy = folder.path().join("copy.parquet").display().to_string();
        connection.execute_batch(&format!("COPY ({SQL}) TO '{copy}'")).unwrap();
        assert_eq!(types(&draft.path().display().to_string()), types(&copy));
    }

    #[test]
    fn types_that_only_duckdb_writes_are_left_to_it() {
        assert!(SmallFile::new([("a", "DECIMAL(18,3)")]).is_none());
    }
}
