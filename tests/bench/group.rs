//! What aggregate is measured against: one GROUP BY of DuckDB over all hours, whose rows go nowhere.
//!
//! `group FOLDER` reads `FOLDER/parquet/telemetry`, and asks for what the built-in query `temperatures` yields.

#![allow(clippy::unwrap_used, clippy::expect_used)]

fn main() {
    let folder = std::env::args().nth(1).expect("a data directory");
    let session = duckdb::Connection::open_in_memory().unwrap();
    let sql = "SELECT date_trunc('hour', timestamp) AS hour, sensor_id, avg(celsius), min(celsius), max(celsius),
                      count(celsius), count(measurement_text)
               FROM (SELECT *, CASE WHEN measurement_unit IN ('Celsius', 'Celcius') THEN measurement_value
                                    WHEN measurement_unit = 'Fahrenheit' THEN (measurement_value - 32) * 5 / 9 END AS celsius
                     FROM read_parquet($1, hive_partitioning = false) WHERE measurement_kind = 'Temperature')
               GROUP BY hour, sensor_id";
    let files = format!("{folder}/parquet/telemetry/*/*/*/[0-9][0-9].parquet");
    let mut statement = session.prepare(sql).unwrap();
    let mut rows = statement.query([files]).unwrap();
    while rows.next().unwrap().is_some() {}
}
