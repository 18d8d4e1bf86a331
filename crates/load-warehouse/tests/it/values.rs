//! Every value arrives in MariaDB as it is, by `LOAD DATA` as well as by INSERT.

use harness::{DataDir, MariaDb, Run};
use layout::Tree;

use crate::cells::Cells;
use crate::hours::publish;
use crate::target::Target;

/// Rows whose texts are made of what ends, encloses or escapes texts, and whose numbers are any.
fn hostile(seed: u64, rows: u64) -> String {
    let random = |salt: &str| format!("hash('{salt} {seed} ' || i)");
    let bits = |salt: &str, places: u32| format!("({} % {})::BIGINT", random(salt), 1_u64 << places);
    format!(
        "SELECT TIMESTAMP '0001-01-01 00:00:00' + to_microseconds({} * 35) AS taken, \
         ({} - 4294967296 * 1073741824)::BIGINT * 2 AS sensor_id, \
         ({} - 4503599627370496)::DOUBLE * pow(2::DOUBLE, {} - 1100) AS value, \
         CASE WHEN i % 17 > 0 THEN array_to_string(list_transform(range({}), j -> \
         [chr(0), '\"', '''', '\\', ',', chr(10), chr(13), chr(9), 'N', 'U', 'L', 'NULL', '\\N', '\"\"', chr(26), '0', 'ü', '😀', '%', '_'] \
         [(hash('{seed}' || i || ' ' || j) % 20)::BIGINT + 1]), '') END AS note \
         FROM range({rows}) r(i) ORDER BY i",
        bits("t", 53),
        bits("s", 62),
        bits("v", 53),
        bits("e", 11),
        bits("n", 4),
    )
}

#[test]
fn any_value_arrives_in_mariadb_as_it_is() {
    let Some(server) = MariaDb::own("any value") else { return };
    let server: &'static MariaDb = Box::leak(Box::new(server));
    let target = Target::MariaDb { server, database: server.database() };
    let (data_dir, cells, seed) = (DataDir::new(), Cells::new(), harness::seed());
    for (round, setting) in ["ON", "OFF", "ON"].iter().enumerate() {
        server.sql(&format!("SET GLOBAL local_infile = {setting}"));
        let (hour, version) = ("2025-09-02T10", format!("v{round}"));
        publish(&data_dir, "samples", hour, &version, &hostile(seed.wrapping_add(round as u64), 30_000));
        let run = Run::of(target.program(&data_dir).args(["samples", "-v"])).expect(0);
        assert_eq!(run.stderr.contains("local_infile off"), *setting == "OFF", "{}", run.stderr);
        let path = Tree::new(data_dir.path()).parquet(&"samples".parse().unwrap(), hour.parse().unwrap());
        let due = cells.of_parquet(&path);
        let found = Cells::of_table(&target, &data_dir).remove("2025-09-02 10:00:00").unwrap();
        assert_eq!(found.len(), due.len());
        for ((id, found), due) in found.iter().zip(&due) {
            assert_eq!(found, due, "row {id} with local_infile {setting}");
        }
    }
}
