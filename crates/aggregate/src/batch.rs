//! A query over many windows in one run: to begin a query costs more than to run it over an hour of a small stream.
//!
//! The start of its window is a column of every row, `window_start`. A query that yields this column, and so has to group by
//! it where it makes groups, yields for many windows at once what it yields for each. Whether nothing else in it brings rows
//! of several windows together is read off its syntax tree. Its order is asked for anew.

use engine::{SqlColumn, identifier};
use layout::{Name, Window};
use serde_json::Value;

use crate::reads::{Parsed, array, text};
use crate::sql::{names, stored};

/// An hour in microseconds.
const HOUR: usize = 3_600_000_000;

/// The SQL of `parsed`, which reads `dataset` with `columns` and yields the columns `result`, over many windows: those
/// columns as they are stored, then the start of the row's window in microseconds since 1970, ordered by that and by what
/// the query orders by. None if it does not treat each window by itself, asks for variables, which are those of one window,
/// yields no `window_start`, or is not ordered by names of its columns.
pub(crate) fn over_windows(
    parsed: &Parsed,
    dataset: &Name,
    columns: &[SqlColumn],
    result: &[SqlColumn],
) -> Option<String> {
    let own = |column: &SqlColumn| {
        column.name.eq_ignore_ascii_case("file_index") || column.sql_type.to_lowercase().contains("window_start")
    };
    let node = parsed.statement.get("node")?;
    // DuckDB numbers the files in a column of this name, unless they have one. A field of a struct is read like a column.
    if parsed.variables || !parsed.window_start || columns.iter().any(own) || !is_by_window(node, dataset) {
        return None;
    }
    let start = array(node, "/select_list").iter().position(is_window_start)?;
    let start = result.get(start).filter(|_| array(node, "/select_list").len() == result.len())?.name.as_str();
    Some(format!(
        "SELECT {}, epoch_us(query.{}) FROM ({}) AS query ORDER BY {}",
        stored(result),
        identifier(start),
        parsed.sql,
        order(parsed, result, start)?,
    ))
}

fn is_window_start(expression: &Value) -> bool {
    let name = array(expression, "/column_names").last().and_then(Value::as_str);
    text(expression, "/class") == "COLUMN_REF" && name.is_some_and(|name| name.eq_ignore_ascii_case("window_start"))
}

/// Whether a query that yields the plain column `window_start` looks at rows of one window together only. Each of its
/// SELECTs then yields that column, and one that makes groups must group by it. What else brings rows together is refused:
/// limits, set operations, window functions, subqueries, and joins other than with reference tables, to the rows' right.
fn is_by_window(node: &Value, dataset: &Name) -> bool {
    let is_table = |table: &str| matches!(text(node, table), "BASE_TABLE" | "SUBQUERY" | "JOIN");
    match node {
        Value::Array(nodes) => nodes.iter().all(|node| is_by_window(node, dataset)),
        Value::Object(object) => {
            let fits = match text(node, "/type") {
                "SELECT_NODE" => {
                    let is_order = |modifier: &Value| text(modifier, "/type") == "ORDER_MODIFIER";
                    array(node, "/modifiers").iter().all(is_order)
                        && array(node, "/cte_map/map").is_empty()
                        && array(node, "/group_sets").len() <= 1
                        && is_table("/from_table/type")
                }
                "JOIN" => {
                    text(node, "/right/type") == "BASE_TABLE"
                        && !text(node, "/right/table_name").eq_ignore_ascii_case(dataset.as_str())
                        && matches!(text(node, "/join_type"), "INNER" | "LEFT")
                        && text(node, "/ref_type") == "REGULAR"
                        && is_table("/left/type")
                }
                "SET_OPERATION_NODE" | "RECURSIVE_CTE_NODE" | "CTE_NODE" => false,
                _ => !matches!(text(node, "/class"), "SUBQUERY" | "WINDOW"),
            };
            let is_sample = node.get("sample").is_some_and(|sample| !sample.is_null());
            fits && !is_sample && object.values().all(|node| is_by_window(node, dataset))
        }
        _ => true,
    }
}

/// The order of `parsed` in each of many windows, if it is one by columns of its result.
fn order(parsed: &Parsed, result: &[SqlColumn], start: &str) -> Option<String> {
    let mut order = vec![format!("query.{}", identifier(start))];
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

/// Makes the view of the rows of `source`, a part of a SELECT from FROM on in which `number` is the number of a row's window
/// among `windows`, with the starts of these.
pub(crate) fn create_view(
    windows: &[Window],
    dataset: &Name,
    columns: &[SqlColumn],
    number: &str,
    source: &str,
) -> String {
    let starts = || windows.iter().map(|window| window.start.timestamp_micros());
    let first = starts().next().unwrap_or_default();
    // To look each row's start up in a list takes DuckDB a tenth of all its time, so hours without a gap are counted.
    let start = if starts().eq((first..).step_by(HOUR).take(windows.len())) {
        format!("{first} + {number}::BIGINT * {HOUR}")
    } else {
        let starts: Vec<_> = starts().map(|start| start.to_string()).collect();
        format!("([{}]::BIGINT[])[{number}::BIGINT + 1]", starts.join(", "))
    };
    format!(
        "CREATE OR REPLACE TEMP VIEW {} AS SELECT {}, make_timestamp({start}) AS window_start FROM {source}",
        identifier(dataset.as_str()),
        names(columns),
    )
}

#[cfg(test)]
mod tests {
    use layout::Hour;

    use super::*;

    #[test]
    fn each_row_has_the_start_of_its_window_also_where_hours_are_missing() {
        let connection = duckdb::Connection::open_in_memory().unwrap();
        let columns = [SqlColumn { name: "a".into(), sql_type: "BIGINT".into() }];
        for hours in
            [["2025-09-02T23", "2025-09-03T00", "2025-09-03T01"], ["1969-12-31T22", "1969-12-31T23", "2025-09-03T01"]]
        {
            let windows = hours.map(|hour| Window::of_hour(hour.parse::<Hour>().unwrap()));
            let source = "(SELECT unnest(range(3)) AS file_index, 1 AS a)";
            connection
                .execute_batch(&create_view(&windows, &"t".parse().unwrap(), &columns, "file_index", source))
                .unwrap();
            let mut statement =
                connection.prepare("SELECT strftime(window_start, '%Y-%m-%dT%H') FROM t ORDER BY 1").unwrap();
            let found: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            assert_eq!(found, hours);
        }
    }
}
