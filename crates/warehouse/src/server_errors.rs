//! What the errors of warehouses mean: whether trying again later helps, and what to do.

/// An error that is known by a part of its message.
struct KnownError {
    part: &'static str,
    /// Whether it passes by itself, so that it helps to try again later.
    passes: bool,
    remedy: &'static str,
}

const fn passing(part: &'static str, remedy: &'static str) -> KnownError {
    KnownError { part, passes: true, remedy }
}

const fn lasting(part: &'static str, remedy: &'static str) -> KnownError {
    KnownError { part, passes: false, remedy }
}

const AWAY: &str = "is the server running, and are DB_HOST and DB_PORT right?";
const SILENT: &str =
    "something takes the connection and says nothing: is it the server that is at DB_HOST and DB_PORT?";
const CUT: &str = "the server or the network went away; what was not committed was undone";
const LATE: &str = "it took longer than --timeout: give it more; what was not committed was undone";
const BUSY: &str = "somebody else holds a lock on it; what was not committed was undone";
const FULL: &str = "the warehouse's disk is full: make room there; what was not committed was undone";
const CROWDED: &str = "the server has no connection to spare";
const PASSWORD: &str = "check DB_USER and the password, which is in DB_PASSWORD, in DB_PASSWORD_FILE, or in the client's \
                        own file (~/.my.cnf, ~/.pgpass, which others must not be able to change or, the latter, read)";
const ENCRYPT: &str = "the server wants an encrypted connection: set DB_SSL_MODE=required";
const CERTIFICATE: &str = "set DB_SSL_CA to the file of the authority that signed the server's certificate, and DB_HOST to \
                           the name in it";
const NO_TLS: &str = "the server offers no encryption: set it up there, or set DB_SSL_MODE=preferred or disabled";
const DATABASE: &str = "create the database, or set DB_NAME to the one that is meant";
const DATABASE_RIGHTS: &str = "set DB_NAME to the database that is meant, or grant DB_USER the rights on it";
const RIGHTS: &str = "grant DB_USER what is missing, or have the owner create or change the table";
const KEY: &str = "several rows have the same key: the columns of --key, or of an index that somebody made unique, must tell \
                   the rows of all hours apart";
/// What to do about a database whose encoding does not have every character.
pub(crate) const ENCODING: &str = "create one WITH ENCODING 'UTF8' TEMPLATE template0, and set DB_NAME to it";
const VALUE_MISSING: &str = "a column must have a value, and some rows have none, or none that the warehouse can hold: if it is of \
                             the table's key, leave those rows out in the query, or make another key; if it is not the data \
                             set's, drop it";
const KEY_LONG: &str =
    "the texts of a key are longer than an index takes: shorten them in the query, or make another key";
const POLICIES: &str =
    "policies of the table would hide rows: give DB_USER the right BYPASSRLS, or take the policies away";
const DEFINED: &str = "another process changed the tables at the same time";
const NAME: &str =
    "the warehouse has something else of this name: rename it, or give the data set or the column another one";
const READ_ONLY: &str =
    "the warehouse takes no changes: let this user write to it, or name the server that does (DB_HOST)";
const CONSTRAINT: &str = "somebody has given the table a condition that the data set's rows do not meet: drop it";
const CHANGED: &str =
    "the warehouse is not as this program made it: run again; if that does not help, rename the table";

/// In this order: the first that is found counts.
const KNOWN_ERRORS: &[KnownError] = &[
    // What names a key repeats a row's own text.
    lasting("violates primary key constraint", KEY),
    lasting("UNIQUE constraint failed", KEY),
    lasting("(error 1062)", KEY),
    // What cannot be converted is repeated, too.
    lasting("Conversion Error:", CHANGED),
    // What forbids a connection comes first: it is wrapped in words of connections that fail.
    lasting("Access denied for user", PASSWORD),
    lasting("password authentication failed", PASSWORD),
    lasting("no password supplied", PASSWORD),
    lasting("insecure transport are prohibited", ENCRYPT),
    lasting("no encryption", ENCRYPT),
    lasting("invalid peer certificate", CERTIFICATE),
    lasting("certificate verify failed", CERTIFICATE),
    lasting("server does not support SSL", NO_TLS),
    lasting("SSL is required", NO_TLS),
    lasting("Unknown database", DATABASE),
    lasting("FATAL: database \"", DATABASE),
    lasting("command denied", RIGHTS),
    lasting("permission denied", RIGHTS),
    lasting("must be owner of", RIGHTS),
    lasting("Permission denied", READ_ONLY),
    lasting("in a read-only transaction", READ_ONLY),
    lasting("Read-only file system", READ_ONLY),
    lasting("readonly database", READ_ONLY),
    lasting("unable to open database file", READ_ONLY),
    lasting("has no equivalent in encoding", ENCODING),
    lasting("row-level security policy", POLICIES),
    lasting("violates not-null constraint", VALUE_MISSING),
    lasting("NOT NULL constraint failed", VALUE_MISSING),
    lasting("(error 1048)", VALUE_MISSING),
    lasting("exceeds btree", KEY_LONG),
    // DuckDB
    passing("Could not set lock on file", BUSY),
    passing("No space left on device", FULL),
    // MariaDB and MySQL: the server's by their numbers, because its words are in its language
    lasting("(error 1045)", PASSWORD),
    lasting("(error 1698)", PASSWORD),
    lasting("(error 3159)", ENCRYPT),
    lasting("(error 1049)", DATABASE),
    lasting("(error 1044)", DATABASE_RIGHTS),
    lasting("(error 1142)", RIGHTS),
    lasting("(error 1143)", RIGHTS),
    lasting("(error 1227)", RIGHTS),
    lasting("(error 1290)", READ_ONLY),
    lasting("(error 1792)", READ_ONLY),
    lasting("(error 1836)", READ_ONLY),
    lasting("(error 1050)", NAME),
    lasting("(error 1060)", NAME),
    lasting("(error 1364)", VALUE_MISSING),
    lasting("(error 1452)", CONSTRAINT),
    lasting("(error 4025)", CONSTRAINT),
    lasting("(error 3819)", CONSTRAINT),
    lasting("(error 1054)", CHANGED),
    lasting("(error 1146)", CHANGED),
    passing("Can't connect to the server: no answer in time", SILENT),
    passing("no answer in time", LATE),
    passing("(error 1040)", CROWDED),
    passing("(error 1203)", CROWDED),
    passing("(error 1226)", CROWDED),
    passing("(error 1205)", BUSY),
    passing("(error 1213)", BUSY),
    passing("(error 1020)", BUSY),
    passing("(error 1053)", CUT),
    passing("(error 1158)", CUT),
    passing("(error 1159)", CUT),
    passing("(error 1317)", CUT),
    passing("(error 1927)", CUT),
    passing("(error 1969)", "it took longer than the server allows"),
    passing("(error 3024)", "it took longer than the server allows"),
    passing("(error 3169)", CUT),
    passing("(error 4031)", CUT),
    passing("(error 1021)", FULL),
    passing("(error 1114)", FULL),
    passing("(error 1412)", DEFINED),
    passing("Can't connect to", AWAY),
    passing("Lost connection", CUT),
    passing("Errcode: 28", FULL),
    passing("Got error 28", FULL),
    // PostgreSQL
    passing("Connection refused", AWAY),
    passing("No such file or directory Is the server running locally", AWAY),
    passing("could not translate host name", AWAY),
    passing("timeout expired", AWAY),
    passing("No route to host", AWAY),
    passing("Network is unreachable", AWAY),
    passing("Connection timed out", CUT),
    passing("Connection reset by peer", CUT),
    passing("the database system is", AWAY),
    passing("too many clients already", CROWDED),
    passing("remaining connection slots", CROWDED),
    passing("too many connections", CROWDED),
    passing("due to lock timeout", BUSY),
    passing("due to statement timeout", LATE),
    passing("deadlock detected", BUSY),
    passing("could not serialize access", BUSY),
    passing("due to administrator command", CUT),
    passing("due to user request", CUT),
    passing("terminating connection", CUT),
    passing("server closed the connection", CUT),
    passing("no connection to the server", CUT),
    passing("connection not open", CUT),
    passing("SSL connection has been closed", CUT),
    passing("SSL SYSCALL error", CUT),
    passing("could not extend file", FULL),
    passing("tuple concurrently updated", DEFINED),
    passing("pg_type_typname_nsp_index", DEFINED),
    passing("pg_class_relname_nsp_index", DEFINED),
    lasting("violates unique constraint", KEY),
    lasting("violates ", CONSTRAINT),
    lasting("during recovery", READ_ONLY),
    // SQLite
    lasting("object name reserved", NAME),
    lasting("constraint failed", CONSTRAINT),
    passing("database is locked", BUSY),
    passing("database or disk is full", FULL),
    // Any of them
    lasting("duplicate column name", NAME),
    lasting("already exists", NAME),
    lasting("Binder Error:", CHANGED),
    lasting("Catalog Error:", CHANGED),
];

/// What an error's text means: whether it passes by itself, and what to do about it.
pub(crate) fn meaning(text: &str) -> (bool, Option<&'static str>) {
    // What PostgreSQL says of a row repeats the row's own text.
    let text = text.split("DETAIL:").next().unwrap_or(text);
    // So does MySQL, which also numbers its errors.
    let text = text.rfind("(error ").and_then(|number| text.get(number..)).unwrap_or(text);
    // A connection that is gone gives no reason.
    let text = if text.trim_end().ends_with("Failed to execute:") { "server closed the connection" } else { text };
    match KNOWN_ERRORS.iter().find(|known| text.contains(known.part)) {
        Some(known) => (known.passes, Some(known.remedy)),
        None => (false, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_pass_by_itself_is_no_outage() {
        for text in [
            "Duplicate column name 'ärger' (error 1060)",
            "The server is running with the --read-only option so it cannot execute this statement (error 1290)",
            "ERROR: type \"readings\" already exists",
            "ERROR: cannot execute LOCK TABLE in a read-only transaction",
            "ERROR: must be owner of table load_log",
            "duplicate column name: ärger",
            "attempt to write a readonly database",
            "object name reserved for internal use: sqlite_rows",
            "Catalog Error: Table with name \"N\" already exists!",
            "Binder Error: Table \"n\" does not have a column named \"x\"",
            "Conversion Error: Could not convert string 'database is locked' to INT32",
            "IO Error: Cannot open file \"/srv/warehouse.duckdb\": Permission denied",
        ] {
            let (passes, remedy) = meaning(text);
            assert!(!passes && remedy.is_some(), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_no_outage_although_it_speaks_of_connections() {
        let refused = "Can't connect: Access denied for user 'u'@'h' (Can't connect to server)";
        assert!(!meaning(refused).0 && meaning(refused).1.is_some());
        assert!(meaning("connection to server failed: Connection refused").0);
        assert!(meaning("FATAL: terminating connection due to unexpected postmaster exit").0);
        assert!(meaning("ERROR: canceling statement due to user request").0);
        assert!(meaning("Invalid Error: Failed to execute:").0);
        let locked = "IO Error: Could not set lock on file \"x\": Conflicting lock is held. However, you would be able to open \
                      this database in read-only mode";
        assert!(meaning(locked).0);
        assert!(meaning("duplicate key value violates unique constraint \"pg_type_typname_nsp_index\"").0);
        assert!(!meaning("duplicate key value violates unique constraint \"readings_pkey\"").0);
        assert!(!meaning("Duplicate entry 'database is locked' for key 'PRIMARY' (error 1062)").0);
        assert!(meaning("Lock wait timeout exceeded; try restarting transaction (error 1205)").0);
        assert_eq!(meaning("duplicate key DETAIL: Key (text)=(Connection refused) already exists"), (false, None));
    }
}
