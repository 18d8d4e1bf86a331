//! The stream files of streams/: each with a capture and the rows that it gives, from TCP to a warehouse.

use std::fs;
use std::path::Path;

use harness::{DataDir, Server};

const STREAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../streams");

/// The streams that have a capture.
fn names() -> Vec<String> {
    let files = fs::read_dir(STREAMS).unwrap().map(|entry| entry.unwrap().path());
    let captures = files.filter(|path| path.extension().is_some_and(|end| end == "capture"));
    captures.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The rows of a query as lines of JSON, sorted.
fn rows(connection: &duckdb::Connection, from: &str, columns: &str) -> Vec<String> {
    let sql = format!("SELECT to_json(q)::VARCHAR FROM (SELECT {columns} FROM {from}) AS q");
    let mut statement = connection.prepare(&sql).unwrap();
    let mut rows: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    rows.sort();
    rows
}

#[test]
fn each_example_gives_its_rows_from_tcp_to_the_warehouse() {
    let dir = DataDir::new();
    let names = names();
    assert!(names.len() >= 12, "{names:?}");
    let listen: Vec<_> = names.iter().map(String::as_str).collect();
    // The captures are of some years.
    let arguments = format!("--streams {STREAMS} --max-ahead 36500d");
    for name in &listen {
        let server = Server::start(&dir, &[name], &arguments);
        server.send(fs::read(Path::new(STREAMS).join(format!("{name}.capture"))).unwrap());
        server.stop();
    }
    assert_eq!(dir.files_like("quarantine", ""), Vec::<std::path::PathBuf>::new());
    // What reads the tree needs no stream files: each version is kept in it.
    dir.run("compact", "--include-current").expect(0);
    let connection = duckdb::Connection::open_in_memory().unwrap();
    for name in &listen {
        let parquet =
            format!("read_parquet('{}/parquet/{name}/**/*.parquet', union_by_name = true)", dir.path().display());
        let expected = Path::new(STREAMS).join(format!("{name}.expected"));
        // As the columns of the file read what is expected, so that decimals and times are compared as such.
        let mut statement =
            connection.prepare(&format!("SELECT column_name, column_type FROM (DESCRIBE FROM {parquet})")).unwrap();
        let types = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
        let types: Vec<_> = types.map(Result::unwrap).filter(|(column, _)| column != "arrival_time").collect();
        let texts = types.iter().map(|(column, _)| format!("'{column}': 'JSON'")).collect::<Vec<_>>().join(", ");
        let casts = types.iter().map(|(column, kind)| {
            let value = if kind.ends_with("[]") { format!("\"{column}\"") } else { format!("\"{column}\"->>'$'") };
            format!("CAST({value} AS {kind}) AS \"{column}\"")
        });
        let expected = format!(
            "(SELECT {} FROM read_json('{}', columns = {{{texts}}}, format = 'newline_delimited'))",
            casts.collect::<Vec<_>>().join(", "),
            expected.display()
        );
        let columns = types.iter().map(|(column, _)| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        assert_eq!(rows(&connection, &parquet, &columns), rows(&connection, &expected, &columns), "{name}");
        dir.run("load-warehouse", name).expect(0);
        dir.run("load-warehouse", &format!("{name} --verify")).expect(0);
    }
}
