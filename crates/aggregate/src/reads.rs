//! What a query reads, found out from the query itself as DuckDB parses it.
//!
//! It may read data sets and reference tables by name, and nothing else: no file, no catalogue, no table function that
//! could read one. Otherwise an hour would depend on something that its commit record does not name. (DuckDB's own ban
//! on other folders follows links, and so would ban a data set that is kept on another disk by one.)

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use duckdb::Connection;
use engine::SessionArgs;
use serde_json::Value;

use crate::query::Query;

/// Table functions that make rows of their arguments alone.
const FUNCTIONS: [&str; 7] = ["generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"];

/// What a query may ask of its window.
const VARIABLES: [&str; 4] = ["window_start", "window_end", "look_back_start", "window_date"];

/// Finds out what each of `queries` reads. Of several, those that cannot be understood are set apart; one alone fails.
pub(crate) fn find_reads(args: &SessionArgs, queries: Vec<Query>) -> anyhow::Result<(Vec<Query>, Vec<anyhow::Error>)> {
    let (mut understood, mut errors) = (Vec::new(), Vec::new());
    let (alone, mut connection) = (queries.len() == 1, None);
    for mut query in queries {
        if query.reads.is_empty() {
            let connection = match &connection {
                Some(connection) => connection,
                None => connection.insert(engine::open(args)?),
            };
            match parse(connection, &query) {
                Ok(parsed) => query.reads = parsed.tables,
                Err(error) if alone => return Err(error),
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            }
        }
        understood.push(query);
    }
    Ok((understood, errors))
}

/// A query as DuckDB parses it.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) tables: BTreeSet<String>,
    /// Whether it asks for variables of its window.
    pub(crate) variables: bool,
    /// Whether it reads the column `window_start` of its data sets, and calls nothing else so.
    pub(crate) window_start: bool,
    /// Its text, without comments and semicolon.
    pub(crate) sql: String,
    /// The SELECT, in the form of `json_serialize_sql`.
    pub(crate) statement: Value,
}

/// Parses `query` and finds out what it reads.
pub(crate) fn parse(connection: &Connection, query: &Query) -> anyhow::Result<Parsed> {
    let parsed: String =
        connection.query_row("SELECT json_serialize_sql(?::VARCHAR)", [&query.sql], |row| row.get(0))?;
    let parsed: Value = serde_json::from_str(&parsed).context("DuckDB's parse of a query cannot be read")?;
    if parsed.get("error").and_then(Value::as_bool) == Some(true) {
        let position = text(&parsed, "/position").parse().ok();
        if text(&parsed, "/error_type") == "not implemented" {
            return Err(query.error_at(position, "a query is one SELECT, and this is something else"));
        }
        return Err(query.error_at(position, text(&parsed, "/error_message")));
    }
    let statement = match array(&parsed, "/statements") {
        [statement] => statement.clone(),
        [] => bail!("{}: there is no query in it", query.origin),
        _ => bail!("{}: a query is one SELECT, and there are several", query.origin),
    };
    let mut walk = Walk { query, tables: BTreeSet::new(), variables: false };
    walk.visit(&statement, &[])?;
    let sql = connection.query_row("SELECT json_deserialize_sql(?::JSON)", [parsed.to_string()], |row| row.get(0))?;
    let window_start = reads_window_start(&statement, "") == Some(true);
    Ok(Parsed { tables: walk.tables, variables: walk.variables, window_start, sql, statement })
}

/// The text at `pointer` in `node`, or none.
pub(crate) fn text<'v>(node: &'v Value, pointer: &str) -> &'v str {
    node.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn array<'v>(node: &'v Value, pointer: &str) -> &'v [Value] {
    node.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a query with `node` under `key` reads a column `window_start`; none if it also calls something of its own so.
fn reads_window_start(node: &Value, key: &str) -> Option<bool> {
    match node {
        Value::String(name) if name.eq_ignore_ascii_case("window_start") => match key {
            "column_names" | "using_columns" | "exclude_list" => Some(true),
            "value" => Some(false),
            _ => None,
        },
        Value::Array(nodes) => any(nodes.iter().map(|node| reads_window_start(node, key))),
        Value::Object(object) => any(object.iter().map(|(key, node)| reads_window_start(node, key))),
        _ => Some(false),
    }
}

fn any(mut found: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    found.try_fold(false, |any, found| Some(found? || any))
}

struct Walk<'q> {
    query: &'q Query,
    tables: BTreeSet<String>,
    variables: bool,
}

impl Walk<'_> {
    /// Goes through `node`, where the names in `scope` are common table expressions. To take one for a table would only
    /// be an input too many; the other way round DuckDB refuses the query, because the table is not there.
    fn visit(&mut self, node: &Value, scope: &[String]) -> anyhow::Result<()> {
        match node {
            Value::Array(nodes) => nodes.iter().try_for_each(|node| self.visit(node, scope)),
            Value::Object(object) => {
                match text(node, "/type") {
                    "BASE_TABLE" => self.table(node, scope)?,
                    "TABLE_FUNCTION" => self.function(node)?,
                    _ if text(node, "/class") == "FUNCTION" => self.variable(node)?,
                    "SHOW_REF" => bail!("{}: a query is one SELECT, and this describes one", self.query.origin),
                    _ => {}
                }
                let mut scope = scope.to_vec();
                for entry in array(node, "/cte_map/map") {
                    let name = text(entry, "/key").to_lowercase();
                    let recursive = text(entry, "/value/query/node/type") == "RECURSIVE_CTE_NODE";
                    if recursive {
                        scope.push(name.clone());
                    }
                    self.visit(entry, &scope)?;
                    if !recursive {
                        scope.push(name);
                    }
                }
                let rest = object.iter().filter(|(key, _)| *key != "cte_map");
                rest.map(|(_, node)| node).try_for_each(|node| self.visit(node, &scope))
            }
            _ => Ok(()),
        }
    }

    fn table(&mut self, node: &Value, scope: &[String]) -> anyhow::Result<()> {
        let name = text(node, "/table_name").to_lowercase();
        let qualifier = [text(node, "/catalog_name"), text(node, "/schema_name")].concat();
        if !qualifier.is_empty() {
            let message = format!("{qualifier}.{name}: data sets and reference tables are named without a schema");
            return Err(self.error_at(node, message));
        }
        // A name with a point may be a file to DuckDB, where it is no common table expression to it.
        if !scope.contains(&name) || name.contains('.') {
            self.tables.insert(name);
        }
        Ok(())
    }

    /// A variable that is not there would be NULL.
    fn variable(&mut self, node: &Value) -> anyhow::Result<()> {
        let name = text(node, "/children/0/value/value").to_lowercase();
        let is_read = text(node, "/function_name").eq_ignore_ascii_case("getvariable");
        self.variables |= is_read;
        if !is_read || VARIABLES.contains(&name.as_str()) {
            return Ok(());
        }
        Err(self.error_at(node, format!("there is no variable {name:?}: there are {}", VARIABLES.join(", "))))
    }

    fn function(&self, node: &Value) -> anyhow::Result<()> {
        let name = text(node, "/function/function_name");
        if FUNCTIONS.contains(&name.to_lowercase().as_str()) {
            return Ok(());
        }
        let message = format!(
            "{name}() is not for queries, which read data sets and reference tables by name alone \
             (a file can be given by --table NAME=FILE)"
        );
        Err(self.error_at(node, message))
    }

    fn error_at(&self, node: &Value, message: String) -> anyhow::Error {
        let place = node.get("query_location").and_then(Value::as_u64).and_then(|at| at.try_into().ok());
        self.query.error_at(place, message)
    }
}
