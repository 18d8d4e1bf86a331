//! A query over many windows in one run: to begin a query costs more than to run it over an hour of a small stream.
//!
//! The query's text stands in a LATERAL join with the windows, where the name of its data set means the rows of one of
//! them. By the meaning of LATERAL it yields for each window what it yields for that window alone. Where DuckDB does not
//! keep to that, the query is not run so. Its order is lost, and is asked for anew.

use engine::{SqlColumn, identifier};
use layout::{Name, Window};
use serde_json::Value;

use crate::reads::{Parsed, array, text};
use crate::sql::{names, stored, timestamp};

/// The views of the rows of all windows and of the windows, and their columns: names that nobody else gives.
const ROWS: &str = "\"the rows\"";
const WINDOWS: &str = "\"the windows\"";
const NUMBER: &str = "\"number of the window\"";
const START: &str = "\"start of the window\"";

/// The SQL of `parsed`, which reads `dataset` with `columns` and yields the columns `result`, over many windows: those
/// columns as they are stored, then the window's number, ordered by that and by what the query orders by. None if the query
/// asks for variables, which are those of one window, or is not ordered by names of its columns.
pub(crate) fn over_windows(
    parsed: &Parsed,
    dataset: &Name,
    columns: &[SqlColumn],
    result: &[SqlColumn],
) -> Option<String> {
    let own = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    // DuckDB numbers the files in a column of this name, unless they have one.
    if parsed.variables || !parsed.window_start || own("file_index") || !is_right_in_a_join(&parsed.statement) {
        return None;
    }
    let order = order(parsed, result)?;
    Some(format!(
        "SELECT {}, windows.{NUMBER} FROM {WINDOWS} AS windows, LATERAL (
             WITH {} AS (SELECT {}, {START} AS window_start FROM {ROWS} AS rows WHERE rows.{NUMBER} = windows.{NUMBER})
             SELECT * FROM ({}) AS query
         ) AS query ORDER BY {order}",
        stored(result),
        identifier(dataset.as_str()),
        names(columns),
        parsed.sql,
    ))
}

/// Whether DuckDB 1.5 yields of `node` in a LATERAL join what it yields of it alone. Tried: `k NOT IN (SELECT ..)` loses rows
/// where the subquery has none, a join with a subquery that names columns of its left side finds nothing, and sums of no
/// rows by several sets have other values of `grouping()`.
fn is_right_in_a_join(node: &Value) -> bool {
    match node {
        Value::Array(nodes) => nodes.iter().all(is_right_in_a_join),
        Value::Object(object) => {
            let is_join = text(node, "/type") == "JOIN";
            text(node, "/class") != "SUBQUERY"
                && (!is_join || text(node, "/right/type") == "BASE_TABLE")
                && array(node, "/group_sets").len() <= 1
                && object.values().all(is_right_in_a_join)
        }
        _ => true,
    }
}

/// The order of `parsed` in each of many windows, if it is one by columns of its result.
fn order(parsed: &Parsed, result: &[SqlColumn]) -> Option<String> {
    let mut order = vec![format!("windows.{NUMBER}")];
    let modifiers = array(&parsed.statement, "/node/modifiers").iter();
    for key in modifiers.flat_map(|modifier| array(modifier, "/orders")) {
        let [name] = array(key, "/expression/column_names") else { return None };
        let column = result.iter().find(|column| Some(column.name.as_str()) == name.as_str())?;
        let direction = if text(key, "/type") == "DESCENDING" { "DESC" } else { "" };
        let nulls = Some(text(key, "/null_order")).filter(|nulls| *nulls != "ORDER_DEFAULT").unwrap_or_default();
        order.push(format!("query.{} {direction} {nulls}", identifier(&column.name)));
    }
    Some(order.join(", "))
}

/// Makes the views of `windows` and of the rows of `source`, a part of a SELECT from FROM on in which `number` is the number
/// of a row's window.
pub(crate) fn create_views(windows: &[Window], columns: &[SqlColumn], number: &str, source: &str) -> String {
    let starts = windows.iter().map(|window| timestamp(window.start)).collect::<Vec<_>>().join(", ");
    format!(
        "CREATE OR REPLACE TEMP VIEW {WINDOWS} AS
             SELECT unnest(range({})) AS {NUMBER}, unnest([{starts}]::TIMESTAMP[]) AS {START};
         CREATE OR REPLACE TEMP VIEW {ROWS} AS SELECT {}, {number}::BIGINT AS {NUMBER} FROM {source};",
        windows.len(),
        names(columns),
    )
}
