//! Columns: the types that every warehouse can hold, and which of them hold which without loss.

use std::fmt;

use engine::{folded_name, identifier};

/// A column of a data set or of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableColumn {
    /// Its name. Warehouses do not tell `Name` from `name`.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
}

impl TableColumn {
    /// Whether this is the column `name`.
    pub fn is(&self, name: &str) -> bool {
        folded_name(&self.name) == folded_name(name)
    }
}

/// A column that a table of the warehouse has.
#[derive(Debug, Clone)]
pub struct HeldColumn {
    /// Its name.
    pub name: String,
    /// Its type as the warehouse writes it.
    pub written: String,
    /// What a load stores in it; none if it is of a type that no load creates.
    pub stored: Option<StoredColumn>,
}

impl HeldColumn {
    /// Its type, if it is one that a load creates.
    pub fn sql_type(&self) -> Option<SqlType> {
        self.stored.as_ref().map(|stored| stored.column.sql_type)
    }
}

/// A column of the warehouse in which a load stores values.
#[derive(Debug, Clone)]
pub struct StoredColumn {
    /// Its name and type.
    pub column: TableColumn,
    /// The values that it cannot hold, if there are any of its type.
    pub limit: Option<Limit>,
}

impl StoredColumn {
    /// What is stored of the values of a file's column, as an expression of DuckDB: NULL if the file lacks the column.
    pub fn value(&self, of_file: Option<&TableColumn>) -> String {
        let value = match (of_file.map(|column| identifier(&column.name)), &self.limit) {
            (None, _) => "NULL".to_owned(),
            (Some(name), None) => name,
            (Some(name), Some(limit)) => {
                format!("CASE WHEN {} THEN {} ELSE {name} END", limit.is_exceeded_by(&name), limit.instead_of(&name))
            }
        };
        format!("CAST({value} AS {})", self.column.sql_type)
    }
}

/// The values of a type that a column of the warehouse cannot hold, and what is stored instead of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// A condition of DuckDB on a value, which is written `{}`.
    pub(crate) exceeded: String,
    /// What is stored instead of a value, which is written `{}`.
    pub(crate) instead: String,
    /// Which values these are and what becomes of them, in words.
    pub rule: String,
}

impl Limit {
    pub(crate) fn new(exceeded: &str, instead: &str, rule: &str) -> Self {
        Self { exceeded: exceeded.to_owned(), instead: instead.to_owned(), rule: rule.to_owned() }
    }

    /// Whether the column cannot hold `value`, as a condition of DuckDB.
    pub fn is_exceeded_by(&self, value: &str) -> String {
        self.exceeded.replace("{}", value)
    }

    fn instead_of(&self, value: &str) -> String {
        self.instead.replace("{}", value)
    }
}

/// How many characters of a text that is too long make room for a mark and the MD5 of all of it.
const MARK: usize = 34;

/// The limit of a column that holds so many characters. What is stored of longer texts differs where they do.
pub(crate) fn longest_text(characters: usize) -> Limit {
    let rule = format!("texts of more than {characters} characters are cut; their MD5 stands at the end");
    Limit::new(&format!("length({{}}) > {characters}"), &cut(characters), &rule)
}

/// The limit of a column that holds so many bytes of UTF-8.
pub(crate) fn longest_bytes(bytes: usize) -> Limit {
    let rule = format!("texts of more than {bytes} bytes are cut; their MD5 stands at the end");
    // A character has four bytes at most.
    Limit::new(&format!("strlen({{}}) > {bytes}"), &cut(bytes / 4), &rule)
}

fn cut(characters: usize) -> String {
    match characters.checked_sub(MARK) {
        Some(beginning) => format!("left({{}}, {beginning}) || '… ' || md5({{}})"),
        None => format!("left({{}}, {characters})"),
    }
}

/// A type that every warehouse can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SqlType {
    /// True or false.
    Boolean,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    BigInt,
    /// 64 bits, floating.
    Double,
    /// Exact, with `precision` digits, `scale` of them behind the point.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// Text in UTF-8.
    Text,
    /// A UTC time in microseconds.
    Timestamp,
    /// A day.
    Date,
}

impl SqlType {
    /// The type that holds DuckDB's type of this name without loss. There is none for what a warehouse cannot be relied
    /// on to hold. (A HUGEINT never comes here: DuckDB itself writes it to Parquet as DOUBLE.)
    pub fn of_duckdb(name: &str) -> Option<Self> {
        Some(match name {
            "BOOLEAN" => Self::Boolean,
            "TINYINT" | "SMALLINT" | "INTEGER" | "UTINYINT" | "USMALLINT" => Self::Integer,
            "BIGINT" | "UINTEGER" => Self::BigInt,
            "FLOAT" | "DOUBLE" => Self::Double,
            "VARCHAR" => Self::Text,
            "TIMESTAMP" => Self::Timestamp,
            "DATE" => Self::Date,
            _ => return Self::decimal(name.strip_prefix("DECIMAL")?),
        })
    }

    /// Reads `(precision,scale)`.
    pub(crate) fn decimal(parameters: &str) -> Option<Self> {
        let (precision, scale) = parameters.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
        Some(Self::Decimal { precision: precision.trim().parse().ok()?, scale: scale.trim().parse().ok()? })
    }

    /// A type for a column that is to hold values of both types.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let is_number =
            |sql_type| matches!(sql_type, Self::Integer | Self::BigInt | Self::Double | Self::Decimal { .. });
        match () {
            () if self.fits(other) => other,
            () if other.fits(self) => self,
            () if is_number(self) && is_number(other) => Self::Double,
            () => Self::Text,
        }
    }

    /// Whether a column of type `into` holds every value of this type without loss.
    pub fn fits(self, into: Self) -> bool {
        match (self, into) {
            (Self::Integer, Self::BigInt | Self::Double) => true,
            (Self::Integer, Self::Decimal { precision, scale }) => precision - scale.min(precision) >= 10,
            (Self::BigInt, Self::Decimal { precision, scale }) => precision - scale.min(precision) >= 19,
            (Self::Decimal { precision, scale }, Self::Decimal { precision: p, scale: s }) => {
                s >= scale && p.saturating_sub(s) >= precision.saturating_sub(scale)
            }
            _ => self == into,
        }
    }
}

impl fmt::Display for SqlType {
    /// The type in DuckDB's SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::Integer => "INTEGER",
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Decimal { precision, scale } => return write!(f, "DECIMAL({precision},{scale})"),
            Self::Text => "VARCHAR",
            Self::Timestamp => "TIMESTAMP",
            Self::Date => "DATE",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_goes_where_no_value_of_it_is_lost() {
        let sql_type = |name| SqlType::of_duckdb(name).unwrap();
        for (from, into) in [
            ("INTEGER", "BIGINT"),
            ("INTEGER", "DOUBLE"),
            ("SMALLINT", "INTEGER"),
            ("UINTEGER", "BIGINT"),
            ("DECIMAL(9,2)", "DECIMAL(10,3)"),
            ("BIGINT", "DECIMAL(38,0)"),
            ("VARCHAR", "VARCHAR"),
        ] {
            assert!(sql_type(from).fits(sql_type(into)), "{from} into {into}");
        }
        for (from, into) in [
            ("BIGINT", "INTEGER"),
            ("BIGINT", "DOUBLE"),
            ("DOUBLE", "BIGINT"),
            ("VARCHAR", "DOUBLE"),
            ("TIMESTAMP", "DATE"),
            ("DECIMAL(9,2)", "DECIMAL(9,3)"),
            ("DECIMAL(9,2)", "DOUBLE"),
        ] {
            assert!(!sql_type(from).fits(sql_type(into)), "{from} into {into}");
        }
        assert_eq!(SqlType::of_duckdb("TIMESTAMP WITH TIME ZONE"), None);
        assert_eq!(SqlType::of_duckdb("UBIGINT"), None);
    }
}
