//! The form of a query in which it sees many hours at once, and yields for each the rows that it yields for that hour
//! alone: to begin a query costs more than to run it over an hour of a small stream.
//!
//! Queries are rewritten as DuckDB parses them. The rows of the data set get a column, the number of the hour; every
//! SELECT between them and the result passes it on, and groups by it where it groups. That is right for a chain of SELECTs
//! over one data set, joined with reference tables on the way. Whatever may be something else, from a window function to
//! a subquery in an expression, is not rewritten, and hours without a row in the result are asked for by themselves: the
//! sum of nothing may be a row.

use std::collections::BTreeSet;

use duckdb::Connection;
use layout::{Name, Window};
use serde_json::{Value, json};

use crate::reads::{Parsed, array, text};
use crate::session::{Column, describe};

/// The column with the number of the hour, and the variable with the starts of the hours: names that no column or variable
/// of a user has.
pub(crate) const HOUR: &str = "the hour";
const HOURS: &str = "the hours";
/// The view of the data set's rows with their hours.
pub(crate) const ROWS: &str = "the rows";

/// What stands for the hour, and for `getvariable` of each variable of a window.
struct Terms {
    hour: Value,
    start: Value,
    end: Value,
    date: Value,
}

/// The SQL of `parsed`, which reads `dataset` and else only the reference tables `tables`, over many hours; none if it
/// cannot be rewritten. `columns` are those of the data set, `result` those of the query.
pub(crate) fn over_hours(
    connection: &Connection,
    parsed: Parsed,
    dataset: &Name,
    columns: &[Column],
    result: &[Column],
) -> Option<String> {
    // DuckDB numbers the files in a column of this name, unless they have one.
    if columns.iter().any(|column| column.name.eq_ignore_ascii_case("file_index")) {
        return None;
    }
    let terms = Terms::new(connection)?;
    let mut tables = parsed.tables;
    tables.remove(dataset.as_str());
    let mut statement = parsed.statement;
    Rewrite { dataset: dataset.as_str(), tables, terms }.select(statement.get_mut("node")?, true)?;
    let parsed = json!({ "error": false, "statements": [statement] }).to_string();
    let sql: String = connection.query_row("SELECT json_deserialize_sql(?::JSON)", [parsed], |row| row.get(0)).ok()?;
    // Tried without rows: it must bind, and have the very columns of the query.
    let no_rows =
        columns.iter().map(|Column { name, sql_type }| format!("NULL::{sql_type} AS {}", engine::identifier(name)));
    let no_rows = no_rows.collect::<Vec<_>>().join(", ");
    let rows =
        format!("CREATE OR REPLACE TEMP VIEW \"{ROWS}\" AS SELECT {no_rows}, 0::BIGINT AS \"{HOUR}\" WHERE false;");
    connection.execute_batch(&(rows + &set_hours(&[]))).ok()?;
    let mut found = describe(connection, &format!("({sql})")).ok()?;
    let last = found.pop()?;
    (last.name == HOUR && found == result).then_some(sql)
}

/// Sets the starts of the hours whose numbers are in the rows.
pub(crate) fn set_hours(windows: &[Window]) -> String {
    let starts = windows.iter().map(|window| format!("make_timestamp({}::BIGINT)", window.start.timestamp_micros()));
    format!("SET VARIABLE \"{HOURS}\" = [{}]::TIMESTAMP[];", starts.collect::<Vec<_>>().join(", "))
}

impl Terms {
    fn new(connection: &Connection) -> Option<Self> {
        let start = format!("getvariable('{HOURS}')[\"{HOUR}\" + 1]");
        let sql = format!("SELECT \"{HOUR}\", {start}, {start} + INTERVAL 1 HOUR, CAST({start} AS DATE)");
        let parsed: String =
            connection.query_row("SELECT json_serialize_sql(?::VARCHAR)", [sql], |row| row.get(0)).ok()?;
        let parsed: Value = serde_json::from_str(&parsed).ok()?;
        let [hour, start, end, date] = array(&parsed, "/statements/0/node/select_list") else { return None };
        let [hour, start, end, date] = [hour, start, end, date].map(Clone::clone);
        Some(Self { hour, start, end, date })
    }

    /// What stands for the variable `name` of the window.
    fn variable(&self, name: &str) -> Option<&Value> {
        match name {
            "window_start" | "look_back_start" => Some(&self.start),
            "window_end" => Some(&self.end),
            "window_date" => Some(&self.date),
            _ => None,
        }
    }
}

struct Rewrite<'q> {
    dataset: &'q str,
    tables: BTreeSet<String>,
    terms: Terms,
}

/// None is said of what is not known to be right.
impl Rewrite<'_> {
    fn select(&self, node: &mut Value, is_top: bool) -> Option<()> {
        let handling = text(node, "/aggregate_handling");
        let plain = text(node, "/type") == "SELECT_NODE"
            && ["STANDARD_HANDLING", "FORCE_AGGREGATES"].contains(&handling)
            && array(node, "/cte_map/map").is_empty()
            && is_null(node, "sample")
            && is_null(node, "qualify");
        let groups = array(node, "/group_expressions").len();
        let one_set = match array(node, "/group_sets") {
            [] => groups == 0,
            [set] => *set == json!((0..groups).collect::<Vec<_>>()),
            _ => false,
        };
        let ordered = match array(node, "/modifiers") {
            [] => true,
            [order] => is_top && text(order, "/type") == "ORDER_MODIFIER",
            _ => false,
        };
        if !(plain && one_set && ordered) {
            return None;
        }
        self.source(node.get_mut("from_table")?)?;
        for part in ["select_list", "where_clause", "group_expressions", "having", "modifiers"] {
            self.expression(node.get_mut(part)?)?;
        }
        let hour = &self.terms.hour;
        // Behind the others, whose positions may be what is grouped or ordered by.
        node.get_mut("select_list")?.as_array_mut()?.push(hour.clone());
        if groups > 0 {
            node.get_mut("group_expressions")?.as_array_mut()?.push(hour.clone());
            *node.get_mut("group_sets")? = json!([(0..=groups).collect::<Vec<_>>()]);
        }
        if is_top {
            let by_hour = json!({ "type": "ORDER_DEFAULT", "null_order": "ORDER_DEFAULT", "expression": hour });
            let modifiers = node.get_mut("modifiers")?.as_array_mut()?;
            match modifiers.first_mut() {
                Some(order) => order.get_mut("orders")?.as_array_mut()?.insert(0, by_hour),
                None => modifiers.push(json!({ "type": "ORDER_MODIFIER", "orders": [by_hour] })),
            }
        }
        Some(())
    }

    /// What stands behind FROM.
    fn source(&self, node: &mut Value) -> Option<()> {
        if !is_null(node, "sample") || !array(node, "/column_name_alias").is_empty() {
            return None;
        }
        let is = |node: &Value, kind: &str| text(node, "/type") == kind;
        if is(node, "BASE_TABLE") && text(node, "/table_name").eq_ignore_ascii_case(self.dataset) {
            if text(node, "/alias").is_empty() {
                *node.get_mut("alias")? = node.get("table_name")?.clone();
            }
            *node.get_mut("table_name")? = ROWS.into();
            return Some(());
        }
        if is(node, "SUBQUERY") {
            return self.select(node.get_mut("subquery")?.get_mut("node")?, false);
        }
        let joins = is(node, "JOIN")
            && text(node, "/ref_type") == "REGULAR"
            && ["INNER", "LEFT"].contains(&text(node, "/join_type"));
        let right = node.get("right").filter(|_| joins)?;
        let is_reference = is(right, "BASE_TABLE")
            && is_null(right, "sample")
            && self.tables.contains(&text(right, "/table_name").to_lowercase());
        if !is_reference {
            return None;
        }
        self.expression(node.get_mut("condition")?)?;
        self.source(node.get_mut("left")?)
    }

    /// Goes through expressions, and puts the hour's own for the window's variables.
    fn expression(&self, node: &mut Value) -> Option<()> {
        const KNOWN: [&str; 9] =
            ["BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR"];
        if let Value::Array(nodes) = node {
            return nodes.iter_mut().try_for_each(|node| self.expression(node));
        }
        if !node.is_object() {
            return Some(());
        }
        let class = text(node, "/class");
        if !class.is_empty() && !KNOWN.contains(&class) {
            return None;
        }
        if class == "CONSTANT" {
            return Some(());
        }
        if class == "FUNCTION" && text(node, "/function_name").eq_ignore_ascii_case("getvariable") {
            let [name] = array(node, "/children") else { return None };
            let mut term = self.terms.variable(text(name, "/value/value"))?.clone();
            *term.get_mut("alias")? = node.get("alias")?.clone();
            *node = term;
            return Some(());
        }
        node.as_object_mut()?.values_mut().try_for_each(|node| self.expression(node))
    }
}

fn is_null(node: &Value, key: &str) -> bool {
    node.get(key).is_none_or(Value::is_null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    /// The columns of a query over `t(k, x, s)` and the reference table `r(k, name)`, if it can be seen over many hours.
    fn rewritten(sql: &str) -> Option<String> {
        let connection = Connection::open_in_memory().unwrap();
        let tables = "CREATE TABLE t (k BIGINT, x DOUBLE, s VARCHAR); CREATE TABLE r (k BIGINT, name VARCHAR)";
        let variables =
            "SET VARIABLE window_start = TIMESTAMP '2025-01-01'; SET VARIABLE window_date = DATE '2025-01-01'";
        connection.execute_batch(&format!("{tables}; {variables}")).unwrap();
        let query = Query { sql: sql.to_owned(), ..Query::temperatures().unwrap() };
        let parsed = crate::reads::parse(&connection, &query).unwrap();
        let columns = describe(&connection, "t").unwrap();
        let result = describe(&connection, &format!("({sql})")).unwrap();
        over_hours(&connection, parsed, &"t".parse().unwrap(), &columns, &result)
    }

    #[test]
    fn chains_of_selects_are_seen_over_many_hours() {
        for sql in [
            "SELECT k, avg(x) AS a FROM t GROUP BY k",
            "SELECT k, x FROM t WHERE s = 'a'",
            "SELECT getvariable('window_start') AS start, k, max(x) AS m FROM T AS u GROUP BY u.k HAVING count(*) > 1 ORDER BY 3",
            "SELECT k, sum(x) AS total FROM t GROUP BY ALL ORDER BY total DESC",
            "SELECT name, n FROM (SELECT k, count(*) AS n FROM t GROUP BY 1) AS c LEFT JOIN r ON r.k = c.k",
            "SELECT name, CASE WHEN x > 1 THEN 'high' ELSE s END AS what FROM t JOIN r USING (k)",
        ] {
            assert!(rewritten(sql).is_some(), "{sql}");
        }
    }

    #[test]
    fn what_is_not_known_to_be_right_is_not_rewritten() {
        for sql in [
            "SELECT k FROM t LIMIT 1",
            "SELECT DISTINCT k FROM t",
            "SELECT count(*) AS n FROM t",
            "SELECT * FROM t",
            "SELECT k, lag(x) OVER (ORDER BY x) AS before FROM t",
            "SELECT k FROM t WHERE x > (SELECT avg(x) FROM t)",
            "SELECT a.k FROM t AS a JOIN t AS b ON a.k = b.k",
            "SELECT k FROM t UNION SELECT k FROM r",
            "WITH c AS (SELECT k FROM t) SELECT k FROM c",
            "SELECT r.k, count(x) AS n FROM r LEFT JOIN t ON r.k = t.k GROUP BY r.k",
            "SELECT r.k FROM t RIGHT JOIN r ON r.k = t.k",
            "SELECT k, count(*) AS n FROM t GROUP BY ROLLUP (k)",
            "SELECT k FROM t USING SAMPLE 10 ROWS",
            "SELECT k FROM t QUALIFY row_number() OVER (PARTITION BY k) = 1",
            "SELECT list_transform([x], v -> v + 1) AS l FROM t",
            "SELECT getvariable('window_start') FROM t",
            "SELECT a FROM (SELECT k FROM t) AS u(a)",
        ] {
            assert_eq!(rewritten(sql), None, "{sql}");
        }
    }
}
