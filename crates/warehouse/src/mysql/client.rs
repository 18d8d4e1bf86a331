//! A connection to the server, on which everything of a load happens.
//!
//! - A server that is cut off is noticed: probes are sent on a connection that is silent, and what is not acknowledged in
//!   time ends it.
//! - A client that is cut off is noticed, too: the session asks the server not to wait for it for long, but to roll its
//!   work back and to give its locks free.
//! - One that fails is closed: what the server still answers on it would be taken for the answer to the next statement.
//! - Errors say nothing of the statement.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::NaiveDate;
use duckdb::types::TimeUnit;
use mysql::consts::{ColumnFlags, ColumnType};
use mysql::prelude::Queryable as _;
use mysql::{Column, Conn, DriverError, Error, LocalInfileHandler, OptsBuilder, SslOpts, Value};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{Shutdown, shutdown};

use crate::column::{SqlType, TableColumn};
use crate::rows::{Answers, Cell, Rows};
use crate::server::Server;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may be cut off, in seconds, before the connection is given up.
const SILENCE: u32 = 30;

/// What a server or the way to it has against a statement, as text that `server_errors` knows: an error of the server has its
/// number, because its words are in the server's language.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ClientError(String);

impl ClientError {
    pub(crate) fn because(reason: &dyn fmt::Display) -> Self {
        Self(reason.to_string())
    }

    /// Why there is no connection: another try may help only if nobody has answered.
    fn connecting(error: &Error) -> Self {
        let prefix = if is_lost(error) { "Can't connect to the server: " } else { "" };
        Self(format!("{prefix}{}", explain(error)))
    }
}

/// The number of the error that a row has the key of another one.
const DUPLICATE: u16 = 1062;

/// How an error begins after which the connection is of no use.
const LOST: &str = "Lost connection: ";

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Locked while a statement runs; of two threads one may read the rows that the other sends.
    connection: Mutex<Conn>,
}

impl Client {
    /// Connects. No answer of the server may take longer than `limit`, and none before it lets us in longer than
    /// [`CONNECT`]. The server knows that we are there as long as somebody holds what is returned: between two statements of
    /// a transaction DuckDB may have work for longer than the server waits.
    pub(crate) fn connect(server: &Server, limit: Duration) -> Result<Arc<Self>, ClientError> {
        let connection = connect(server, limit)?;
        for which in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(socket(&connection), which, Some(limit))
                .map_err(|error| ClientError::because(&error))?;
        }
        let client = Arc::new(Self { connection: Mutex::new(connection) });
        for settings in SETTINGS {
            client.run(settings)?;
        }
        let held = Arc::downgrade(&client);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(10));
                let Some(client) = held.upgrade() else { return };
                // A statement that runs says so, too.
                if let Ok(connection) = client.connection.try_lock() {
                    // An error comes again when the connection is next used.
                    let _ = with(connection, |connection| Ok(connection.ping()?));
                }
            }
        });
        Ok(client)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, ClientError>) -> Result<T, ClientError> {
        with(self.connection.lock().unwrap_or_else(PoisonError::into_inner), work)
    }

    /// Runs a statement; returns how many rows it changed.
    pub(crate) fn run(&self, sql: &str) -> Result<u64, ClientError> {
        self.with(|connection| {
            connection.query_drop(sql)?;
            Ok(connection.affected_rows())
        })
    }

    /// Whether a variable of the server is on.
    pub(crate) fn is_on(&self, variable: &str) -> Result<bool, ClientError> {
        let select = format!("SELECT @@{variable}");
        self.with(|connection| Ok(connection.query_first(select)? == Some(true)))
    }

    /// Runs a `LOAD DATA LOCAL INFILE` whose file is `rows`; returns how many rows it inserted. The server only warns of what
    /// other statements fail at: here it is an error.
    pub(crate) fn load(&self, sql: &str, rows: Vec<u8>) -> Result<u64, ClientError> {
        self.with(|connection| {
            let file = LocalInfileHandler::new(move |_, server| server.write_all(&rows));
            connection.set_local_infile_handler(Some(file));
            let loaded = connection.query_drop(sql);
            // The server gets no other file.
            connection.set_local_infile_handler(Some(no_file()));
            loaded?;
            let (rows, warnings) = (connection.affected_rows(), connection.warnings());
            if warnings == 0 {
                return Ok(rows);
            }
            let first: Option<(String, u16, String)> = connection.query_first("SHOW WARNINGS LIMIT 1")?;
            Err(ClientError(match first {
                Some((_, DUPLICATE, reason)) => format!("{reason} (error {DUPLICATE})"),
                Some((_, code, reason)) => format!("the server would change values: {reason} (error {code})"),
                None => format!("the server would change values: {}", cli::count(warnings, "warning")),
            }))
        })
    }
}

/// Does `work`, and closes the connection if it is lost with that.
fn with<T>(
    mut connection: MutexGuard<'_, Conn>,
    work: impl FnOnce(&mut Conn) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    work(&mut connection).inspect_err(|error| {
        if error.0.starts_with(LOST) {
            // The other side may have closed it before.
            let _ = shutdown(socket(&connection), Shutdown::Both);
        }
    })
}

fn socket(connection: &Conn) -> BorrowedFd<'_> {
    // SAFETY: the connection has it open.
    unsafe { BorrowedFd::borrow_raw(connection.as_raw_fd()) }
}

impl Answers for Client {
    fn columns(&self, sql: &str) -> anyhow::Result<Vec<TableColumn>> {
        let statement = self.with(|connection| Ok(connection.prep(sql)?))?;
        let column = |column: &Column| TableColumn { name: column.name_str().into_owned(), sql_type: sql_type(column) };
        Ok(statement.columns().iter().map(column).collect())
    }

    /// By the binary protocol, in which nothing has to be written as text and read again.
    fn answer(&self, sql: &str, rows: &mut Rows) -> anyhow::Result<()> {
        Ok(self.with(|connection| {
            let mut result = connection.exec_iter(sql, ())?;
            let types: Vec<_> = result.columns().as_ref().iter().map(sql_type).collect();
            for row in result.by_ref() {
                let cells = row?.unwrap().into_iter().zip(&types).map(|(value, sql_type)| cell(value, *sql_type));
                let cells: anyhow::Result<_> = cells.collect();
                if !rows.push(cells.map_err(|error| ClientError::because(&error))?) {
                    break;
                }
            }
            // (The driver would read the rest, too, but would not report an error in it.)
            Ok(result.try_for_each(|row| row.map(drop))?)
        })?)
    }
}

fn sql_type(column: &Column) -> SqlType {
    let is_signed = !column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    match column.column_type() {
        ColumnType::MYSQL_TYPE_LONG | ColumnType::MYSQL_TYPE_LONGLONG if is_signed => SqlType::BigInt,
        ColumnType::MYSQL_TYPE_DOUBLE => SqlType::Double,
        ColumnType::MYSQL_TYPE_DATETIME if column.decimals() == 6 => SqlType::Timestamp,
        ColumnType::MYSQL_TYPE_DATE => SqlType::Date,
        _ => SqlType::Text,
    }
}

fn cell(value: Value, sql_type: SqlType) -> anyhow::Result<Cell> {
    Ok(match (value, sql_type) {
        (Value::NULL, _) => Cell::Null,
        (Value::Bytes(bytes), _) => Cell::Text(String::from_utf8(bytes).context("no text in UTF-8")?),
        (value, SqlType::Text) => Cell::Text(value.as_sql(true).trim_matches('\'').to_owned()),
        (Value::Int(value), _) => Cell::BigInt(value),
        (Value::Double(value), _) => Cell::Double(value),
        (Value::Date(year, month, day, hour, minute, second, micro), sql_type) => {
            let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
            let time = date.and_then(|date| date.and_hms_micro_opt(hour.into(), minute.into(), second.into(), micro));
            let time = time.with_context(|| format!("{year:04}-{month:02}-{day:02} is no day"))?;
            match sql_type {
                SqlType::Date => Cell::Date32(i32::try_from(time.and_utc().timestamp().div_euclid(86_400))?),
                _ => Cell::Timestamp(TimeUnit::Microsecond, time.and_utc().timestamp_micros()),
            }
        }
        (value, sql_type) => {
            anyhow::bail!("Conversion Error: the server answers {value:?}, where it is to be {sql_type}")
        }
    })
}

/// Refuses every file: a server may ask for any at any time.
fn no_file() -> LocalInfileHandler {
    LocalInfileHandler::new(|_, _| Err(ErrorKind::PermissionDenied.into()))
}

/// Connects to the first of the server's addresses that answers: encrypted if that is asked for, or if the server can.
fn connect(server: &Server, limit: Duration) -> Result<Conn, ClientError> {
    let mut refused = ClientError("Can't connect to the server: it has no address".to_owned());
    for way in ways(server, limit)? {
        let connected = match Conn::new(way.clone()) {
            Err(Error::DriverError(DriverError::TlsNotSupported)) if ssl_mode(server) == "preferred" => {
                Conn::new(way.ssl_opts(None::<SslOpts>))
            }
            connected => connected,
        };
        match connected {
            Ok(connection) => return Ok(connection),
            Err(error) => refused = ClientError::connecting(&error),
        }
    }
    Err(refused)
}

/// The ways to the server. (By a name, the driver takes the first of its addresses.)
fn ways(server: &Server, limit: Duration) -> Result<Vec<OptsBuilder>, ClientError> {
    let (options, host, mode) = (options(server, limit), server.host.as_str(), ssl_mode(server));
    if server.is_socket() {
        return Ok(vec![options.socket(Some(host))]);
    }
    let mut encrypted = SslOpts::default();
    if mode == "verify-full" {
        // The certificate has the server's name.
        if let Some(path) = &server.ssl_ca {
            File::open(path)
                .map_err(|error| ClientError(format!("{path}: cannot be read: {error}: DB_SSL_CA names it")))?;
            encrypted = encrypted.with_root_cert_path(Some(PathBuf::from(path)));
        }
        return Ok(vec![options.ip_or_hostname(Some(host)).tcp_port(server.port).ssl_opts(Some(encrypted))]);
    }
    // Any certificate will do.
    encrypted = encrypted.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
    let options = options.ssl_opts((mode != "disabled").then_some(encrypted));
    let addresses = (host, server.port).to_socket_addrs();
    let addresses = addresses.map_err(|error| ClientError(format!("could not translate host name: {error}")))?;
    let way = |address: SocketAddr| {
        let ip = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        options.clone().ip_or_hostname(Some(ip)).tcp_port(address.port())
    };
    Ok(addresses.map(way).collect())
}

fn ssl_mode(server: &Server) -> &str {
    server.ssl_mode.as_deref().unwrap_or("preferred")
}

/// What is the same for each way to the server.
fn options(server: &Server, limit: Duration) -> OptsBuilder {
    let limit = CONNECT.min(limit);
    OptsBuilder::new()
        .user(Some(server.user.as_str()))
        .pass(server.password.as_deref())
        .db_name(Some(server.database.as_str()))
        // Otherwise the driver goes over to the server's Unix socket where it can, past what DB_HOST says.
        .prefer_socket(false)
        .local_infile_handler(Some(no_file()))
        .tcp_connect_timeout(Some(limit))
        .read_timeout(Some(limit))
        .write_timeout(Some(limit))
        .tcp_keepalive_time_ms(Some(SILENCE * 1000 / 2))
        .tcp_keepalive_probe_interval_secs(Some(SILENCE / 6))
        .tcp_keepalive_probe_count(Some(3))
        .tcp_user_timeout_ms(Some(SILENCE * 1000))
}

/// What a session goes by, whatever the server's file and its `init_connect` say.
///
/// - What is sent, stored and answered: the encoding, also where the server does not heed that of the handshake; a strict mode,
///   because a server that is not strict cuts values off silently; all rows and all warnings; each statement in a transaction
///   of its own unless one is begun.
/// - An end to waiting for somebody's lock (by default DDL waits for a day), and to the server's waiting for a client that is
///   gone, which holds the lock of a load until then; none to statements, which end when the client does.
const SETTINGS: [&str; 3] = [
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00', autocommit = 1, completion_type = 0, \
     sql_select_limit = 18446744073709551615, sql_big_selects = 1, sql_safe_updates = 0, sql_auto_is_null = 0, \
     foreign_key_checks = 1, unique_checks = 1, sql_notes = 1, max_error_count = 64, innodb_lock_wait_timeout = 10, \
     lock_wait_timeout = 10, wait_timeout = 30, net_read_timeout = 30, net_write_timeout = 30 \
     /*M!100100 , max_statement_time = 0 */ /*!80000 , max_execution_time = 0 */",
];

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        let prefix = if is_lost(&error) { LOST } else { "" };
        Self(format!("{prefix}{}", explain(&error)))
    }
}

/// Whether the connection is to blame, or what it carried: then another one may do.
fn is_lost(error: &Error) -> bool {
    match error {
        Error::IoError(_) => true,
        Error::CodecError(error) => !is_too_large(error),
        Error::DriverError(error) => matches!(
            error,
            DriverError::ConnectTimeout
                | DriverError::CouldNotConnect(_)
                | DriverError::PacketOutOfSync
                | DriverError::UnexpectedPacket
                | DriverError::Timeout
        ),
        _ => false,
    }
}

/// The type of this error has no public name.
fn is_too_large(error: &dyn fmt::Display) -> bool {
    error.to_string().contains("larger than max_allowed_packet")
}

fn explain(error: &Error) -> String {
    match error {
        Error::MySqlError(error) => format!("{} (error {})", error.message, error.code),
        Error::CodecError(error) if is_too_large(error) => TOO_LARGE.to_owned(),
        Error::DriverError(DriverError::PacketTooLarge) => TOO_LARGE.to_owned(),
        Error::DriverError(DriverError::CouldNotConnect(Some((_, reason, _)))) => reason.clone(),
        Error::DriverError(DriverError::TlsNotSupported) => "server does not support SSL".to_owned(),
        Error::DriverError(error) => error.to_string(),
        // What the system says if the time was up.
        Error::IoError(_) | Error::CodecError(_) if error.to_string().contains("Resource temporarily unavailable") => {
            "no answer in time".to_owned()
        }
        Error::IoError(error) => error.to_string(),
        Error::CodecError(error) => error.to_string(),
        other => other.to_string(),
    }
}

const TOO_LARGE: &str = "a row is longer than the server takes: set its max_allowed_packet higher";

#[cfg(test)]
mod tests {
    use std::io;

    use mysql::MySqlError;

    use super::*;
    use crate::server_errors::meaning;

    #[test]
    fn only_what_is_the_connections_fault_passes() {
        let io = |kind| Error::IoError(io::Error::from(kind));
        for error in [
            io(ErrorKind::ConnectionReset),
            Error::CodecError(io::Error::from(ErrorKind::TimedOut).into()),
            Error::DriverError(DriverError::UnexpectedPacket),
        ] {
            assert!(meaning(&ClientError::connecting(&error).0).0, "{error}");
            assert!(meaning(&ClientError::from(error).0).0);
        }
        for error in [
            Error::DriverError(DriverError::PacketTooLarge),
            Error::DriverError(DriverError::CleartextPluginDisabled),
            Error::DriverError(DriverError::UnknownAuthPlugin("auth_gssapi_client".to_owned())),
            Error::MySqlError(MySqlError { state: String::new(), message: "Lost connection".to_owned(), code: 1064 }),
        ] {
            assert!(!meaning(&ClientError::connecting(&error).0).0, "{error}");
            assert!(!meaning(&ClientError::from(error).0).0);
        }
    }
}
