//! The warehouses that a history is played on.

use std::process::Command;

use harness::{DataDir, MariaDb, PASSWORD, Postgres, Run, USER};

use crate::hours::Row;

/// A warehouse, which is looked at by other means than those of the program.
pub(crate) enum Target {
    File,
    Sqlite,
    MariaDb { server: &'static MariaDb, database: String },
    Postgres { server: &'static Postgres, database: String },
}

/// Plays `history` on each kind of warehouse, each with a data directory of its own.
pub(crate) fn on_each(test: &str, history: impl Fn(&DataDir, &Target)) {
    history(&DataDir::new(), &Target::File);
    history(&DataDir::new(), &Target::Sqlite);
    if let Some(server) = Postgres::shared(test) {
        history(&DataDir::new(), &Target::Postgres { server, database: server.database() });
    }
    if let Some(server) = MariaDb::shared(test) {
        history(&DataDir::new(), &Target::MariaDb { server, database: server.database() });
    }
}

impl Target {
    /// The program over `data_dir` and this warehouse.
    pub(crate) fn program(&self, data_dir: &DataDir) -> Command {
        let mut command = data_dir.program("load-warehouse");
        match self {
            Self::File => {}
            Self::Sqlite => {
                command.args(["--target", "sqlite"]);
            }
            Self::MariaDb { server, database } => use_server(&mut command, "mysql", server.port, database),
            Self::Postgres { server, database } => use_server(&mut command, "postgres", server.port, database),
        }
        command
    }

    /// The program over the data directory `other`, with the warehouse of `data_dir`.
    pub(crate) fn program_over(&self, other: &DataDir, data_dir: &DataDir) -> Command {
        let (mut command, tree) = (self.program(other), layout::Tree::new(data_dir.path()));
        match self {
            Self::File => drop(command.env("DB_FILE", tree.warehouse())),
            Self::Sqlite => drop(command.env("DB_FILE", tree.sqlite_warehouse())),
            Self::MariaDb { .. } | Self::Postgres { .. } => {}
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, data_dir: &DataDir, arguments: &str) -> Run {
        Run::of(self.program(data_dir).args(arguments.split_whitespace()))
    }

    /// The cells of a query's rows as text. Numbers and times are without zeros at their end.
    #[track_caller]
    pub(crate) fn query(&self, data_dir: &DataDir, sql: &str) -> Vec<Vec<String>> {
        let rows = match self {
            Self::File => query_file(data_dir, sql),
            Self::Sqlite => query_sqlite(data_dir, sql),
            Self::MariaDb { server, database } => server.sql(&format!("USE {database}; {sql}")),
            Self::Postgres { server, database } => server.sql(database, sql),
        };
        rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect()
    }

    /// Changes the warehouse behind the program's back.
    #[track_caller]
    pub(crate) fn change(&self, data_dir: &DataDir, sql: &str) {
        let tree = layout::Tree::new(data_dir.path());
        match self {
            Self::File => duckdb::Connection::open(tree.warehouse()).unwrap().execute_batch(sql).unwrap(),
            Self::Sqlite => rusqlite::Connection::open(tree.sqlite_warehouse()).unwrap().execute_batch(sql).unwrap(),
            Self::MariaDb { server, database } => drop(server.sql(&format!("USE {database}; {sql}"))),
            Self::Postgres { server, database } => drop(server.sql(database, sql)),
        }
    }

    /// The rows of the table `readings`, checked against what their own text says of them.
    #[track_caller]
    pub(crate) fn readings(&self, data_dir: &DataDir) -> Vec<Row> {
        let rows =
            self.query(data_dir, "SELECT id, window_start, taken, sensor_id, value, note FROM readings ORDER BY id");
        rows.iter().map(|row| reading(row)).collect()
    }

    /// All of the warehouse: its rows, its log, its columns.
    pub(crate) fn picture(&self, data_dir: &DataDir, tables: &[&str]) -> Vec<Vec<Vec<String>>> {
        let tables = tables.iter().map(|table| self.query(data_dir, &format!("SELECT * FROM {table} ORDER BY id")));
        let log = self.query(data_dir, "SELECT * FROM load_log ORDER BY dataset, window_start");
        tables.chain([log]).collect()
    }
}

/// Tells the program of a server, as a crontab would.
pub(crate) fn use_server(command: &mut Command, kind: &str, port: u16, database: &str) {
    command.args(["--target", kind]);
    command.env("DB_HOST", "127.0.0.1").env("DB_PORT", port.to_string());
    command.env("DB_USER", USER).env("DB_PASSWORD", PASSWORD).env("DB_NAME", database);
}

fn query_sqlite(data_dir: &DataDir, sql: &str) -> Vec<Vec<String>> {
    use rusqlite::types::ValueRef;
    let connection = rusqlite::Connection::open(layout::Tree::new(data_dir.path()).sqlite_warehouse()).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let count = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut cells = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cell = |column| match row.get_ref(column).unwrap() {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => format!("{number:?}"),
            ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            ValueRef::Blob(_) => panic!("{sql}: bytes"),
        };
        cells.push((0..count).map(cell).collect());
    }
    cells
}

fn query_file(data_dir: &DataDir, sql: &str) -> Vec<Vec<String>> {
    let config = duckdb::Config::default().access_mode(duckdb::AccessMode::ReadOnly).unwrap();
    let path = layout::Tree::new(data_dir.path()).warehouse();
    let connection = duckdb::Connection::open_with_flags(path, config).unwrap();
    let mut statement = connection.prepare(&format!("SELECT COLUMNS(*)::VARCHAR FROM ({sql})")).unwrap();
    let mut rows = statement.query([]).unwrap();
    let count = rows.as_ref().unwrap().column_count();
    let mut cells = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cell = |column| row.get::<_, Option<String>>(column).unwrap().unwrap_or_else(|| "NULL".to_owned());
        cells.push((0..count).map(cell).collect());
    }
    cells
}

/// A number or a time without zeros at its end.
pub(crate) fn plain(cell: &str) -> String {
    let is_number = cell.contains('.') && cell.bytes().all(|byte| b"0123456789.-: ".contains(&byte));
    if is_number { cell.trim_end_matches('0').trim_end_matches('.').to_owned() } else { cell.to_owned() }
}

/// A row of readings: `taken`, `sensor_id` and `value` have to be those that the note's number stands for.
#[track_caller]
fn reading(row: &[String]) -> Row {
    let [id, window, taken, sensor, value, note] = row else { panic!("{row:?}") };
    let (head, tail) = note.split_once(" {").unwrap();
    let (number, rest) = tail.split_once('}').unwrap();
    assert_eq!(rest, " it's \\ \"ü\"");
    let number: u64 = number.parse().unwrap();
    let (hour, version) = head.split_once(' ').unwrap();
    assert_eq!(*window, plain(&format!("{}:00:00", hour.replace('T', " "))), "window_start of {note}");
    assert_eq!(*sensor, (number + 7).to_string());
    assert_eq!(*value, format!("{number}.25"));
    let seconds =
        format!("{}:{:02}:{:02}.{:03}", hour.replace('T', " "), number / 60_000, number / 1000 % 60, number % 1000);
    assert_eq!(*taken, plain(&seconds), "time of {note}");
    (id.parse().unwrap(), hour.to_owned(), version.to_owned(), number)
}
