//! A connection to the server, on which everything of a load happens.
//!
//! - A server that is cut off is noticed: probes are sent on a connection that is silent, and what is not acknowledged in
//!   time ends it.
//! - A client that is cut off is noticed, too: the session asks the server to wait no longer than [`SILENCE`] for it, and
//!   then to roll its work back and give its locks free.
//! - Errors say nothing of the statement and nothing of the password.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cli::TryAgain;
use mysql::prelude::Queryable as _;
use mysql::{Conn, DriverError, Error, LocalInfileHandler, OptsBuilder, SslOpts, Value};

use super::server::Server;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the other side may be cut off, in seconds, before either side gives the connection up.
pub(super) const SILENCE: u32 = 30;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Locked while a statement runs; of two threads one may read the rows that the other sends.
    connection: Mutex<Conn>,
}

impl Client {
    /// Connects and sets what a session needs: see `settings`.
    pub(crate) fn connect(server: &Server) -> anyhow::Result<Self> {
        let addresses = (server.host.as_str(), server.port).to_socket_addrs().map_err(|error| no_address(&error))?;
        let mut failed = anyhow::anyhow!("{} has no address", server.host);
        for address in addresses {
            match connect_to(server, address) {
                Ok(connection) => {
                    let client = Self { connection: Mutex::new(connection) };
                    client.run(&settings())?;
                    return Ok(client);
                }
                Err(error) => failed = explain(&error),
            }
        }
        Err(failed)
    }

    fn connection(&self) -> MutexGuard<'_, Conn> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement; returns how many rows it changed.
    pub(crate) fn run(&self, sql: &str) -> anyhow::Result<u64> {
        let mut connection = self.connection();
        connection.query_drop(sql).map_err(|error| explain(&error))?;
        Ok(connection.affected_rows())
    }

    /// The rows of a query with `N` columns, as text; NULL is none.
    pub(crate) fn rows<const N: usize>(&self, sql: &str) -> anyhow::Result<Vec<[Option<String>; N]>> {
        let row = |row: Vec<_>| row.try_into().map_err(|_| anyhow::anyhow!("the server answers with other columns"));
        self.all(sql)?.into_iter().map(row).collect()
    }

    /// The rows of a query with any columns.
    pub(crate) fn all(&self, sql: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        let rows: Vec<mysql::Row> = self.connection().query(sql).map_err(|error| explain(&error))?;
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
    }

    /// Whether a variable of the session is on.
    pub(crate) fn is_on(&self, variable: &str) -> anyhow::Result<bool> {
        let rows = self.rows::<1>(&format!("SELECT @@{variable}"))?;
        Ok(rows.concat().first().is_some_and(|value| value.as_deref() == Some("1")))
    }

    /// Runs a `LOAD DATA LOCAL INFILE` whose file is all that `rows` yields; returns how many rows it inserted. The server
    /// warns where other statements fail: here it is an error.
    pub(crate) fn load(&self, sql: &str, mut rows: impl Read + Send + 'static) -> anyhow::Result<u64> {
        let mut connection = self.connection();
        connection.set_local_infile_handler(Some(LocalInfileHandler::new(move |_, server| {
            io::copy(&mut rows, server).map(|_| ())
        })));
        let loaded = connection.query_drop(sql);
        // With the handler goes the reader: whoever still writes to it is told.
        connection.set_local_infile_handler(Some(LocalInfileHandler::new(|_, _| Err(io::ErrorKind::NotFound.into()))));
        loaded.map_err(|error| explain(&error))?;
        let (rows, warnings) = (connection.affected_rows(), connection.warnings());
        if warnings > 0 {
            let first: Option<(String, u16, String)> =
                connection.query_first("SHOW WARNINGS LIMIT 1").map_err(|error| explain(&error))?;
            let reason = first.map_or_else(|| cli::count(u64::from(warnings), "warning"), |(_, _, text)| text);
            anyhow::bail!("the server would change values: {reason}");
        }
        Ok(rows)
    }
}

/// The name servers may answer later; that there is no such name will not change.
fn no_address(error: &io::Error) -> anyhow::Error {
    let text = error.to_string();
    if text.contains("Temporary failure") { TryAgain(text).into() } else { anyhow::Error::msg(text) }
}

/// Connects to one address of the server: encrypted if that is asked for, or if the server can.
fn connect_to(server: &Server, address: SocketAddr) -> Result<Conn, Error> {
    let ip = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
    let options = OptsBuilder::new()
        .ip_or_hostname(Some(ip))
        .tcp_port(address.port())
        // Otherwise the driver goes over to the server's Unix socket where it can, past what DB_HOST says.
        .prefer_socket(false)
        .user(Some(server.user.as_str()))
        .pass(Some(server.password.as_str()))
        .db_name(Some(server.database.as_str()))
        .tcp_connect_timeout(Some(CONNECT))
        .tcp_keepalive_time_ms(Some(SILENCE * 1000 / 2))
        .tcp_keepalive_probe_interval_secs(Some(SILENCE / 6))
        .tcp_keepalive_probe_count(Some(3))
        .tcp_user_timeout_ms(Some(SILENCE * 1000));
    // The certificate is not verified.
    let encrypted = SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
    let mode = server.ssl_mode.as_deref().unwrap_or("preferred");
    if mode == "disabled" {
        return Conn::new(options);
    }
    match Conn::new(options.clone().ssl_opts(Some(encrypted))) {
        Err(Error::DriverError(DriverError::TlsNotSupported)) if mode == "preferred" => Conn::new(options),
        connected => connected,
    }
}

/// What a session needs:
/// - a strict mode, because a server that is not strict cuts values off silently;
/// - an end to waiting for somebody's lock: by default DDL waits for a day;
/// - an end to the server's waiting for this client, which for all it knows may be gone, and its locks held for nothing.
fn settings() -> String {
    format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 10, lock_wait_timeout = 10, \
         wait_timeout = {SILENCE}, net_read_timeout = {SILENCE}, net_write_timeout = {SILENCE}"
    )
}

fn text(value: Value) -> anyhow::Result<Option<String>> {
    match value {
        Value::NULL => Ok(None),
        Value::Bytes(bytes) => Ok(Some(String::from_utf8(bytes)?)),
        other => anyhow::bail!("the server answers {other:?} where text is expected"),
    }
}

/// Errors of the server that pass by themselves: no connections left, shutting down, killed, a lock held too long, a
/// deadlock, a row changed since it was read, no room left.
const PASSING: [u16; 14] = [1020, 1021, 1028, 1040, 1041, 1053, 1114, 1152, 1158, 1159, 1205, 1213, 1927, 3169];

/// An error in words: a [`TryAgain`] if it is one that passes.
fn explain(error: &Error) -> anyhow::Error {
    let away = |text: String| TryAgain(format!("the server does not answer: {text}")).into();
    match error {
        Error::MySqlError(error) if PASSING.contains(&error.code) => TryAgain(error.message.clone()).into(),
        Error::MySqlError(error) => anyhow::anyhow!("{} (error {})", error.message, error.code),
        Error::IoError(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            away("timed out".to_owned())
        }
        Error::IoError(error) => away(error.to_string()),
        Error::CodecError(error) => away(error.to_string()),
        Error::DriverError(DriverError::CouldNotConnect(Some((_, reason, _)))) => away(reason.clone()),
        Error::DriverError(error @ (DriverError::ConnectTimeout | DriverError::Timeout)) => away(error.to_string()),
        Error::DriverError(DriverError::TlsNotSupported) => anyhow::anyhow!(
            "the server does not encrypt: give it a certificate, or set DB_SSL_MODE to preferred or disabled"
        ),
        Error::DriverError(DriverError::PacketTooLarge) => {
            anyhow::anyhow!("a row is longer than the server takes: set its max_allowed_packet higher")
        }
        other => anyhow::Error::msg(other.to_string()),
    }
}
