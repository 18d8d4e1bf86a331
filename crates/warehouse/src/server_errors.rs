//! What the errors of warehouses mean: whether trying again later helps, and what to do.

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
const SLOW: &str = "it took longer than the server allows";

/// What to do about what passes by itself, so that it helps to try again later.
const PASSING: [&str; 9] = [AWAY, SILENT, CUT, LATE, BUSY, FULL, CROWDED, DEFINED, SLOW];

/// What to do about an error that is known by a part of its message. The first part that is found counts.
const KNOWN_PARTS: &[(&str, &str)] = &[
    // What names a key repeats a row's own text.
    ("violates primary key constraint", KEY),
    ("UNIQUE constraint failed", KEY),
    // What cannot be converted is repeated, too.
    ("Conversion Error:", CHANGED),
    // What forbids a connection comes first: it is wrapped in words of connections that fail.
    ("Access denied for user", PASSWORD),
    ("password authentication failed", PASSWORD),
    ("no password supplied", PASSWORD),
    ("no encryption", ENCRYPT),
    ("invalid peer certificate", CERTIFICATE),
    ("certificate verify failed", CERTIFICATE),
    ("server does not support SSL", NO_TLS),
    ("SSL is required", NO_TLS),
    ("FATAL: database \"", DATABASE),
    ("permission denied", RIGHTS),
    ("must be owner of", RIGHTS),
    ("Permission denied", READ_ONLY),
    ("in a read-only transaction", READ_ONLY),
    ("Read-only file system", READ_ONLY),
    ("readonly database", READ_ONLY),
    ("unable to open database file", READ_ONLY),
    ("has no equivalent in encoding", ENCODING),
    ("row-level security policy", POLICIES),
    ("violates not-null constraint", VALUE_MISSING),
    ("NOT NULL constraint failed", VALUE_MISSING),
    ("exceeds btree", KEY_LONG),
    // DuckDB
    ("Could not set lock on file", BUSY),
    ("No space left on device", FULL),
    // The way to MariaDB and MySQL
    ("Can't connect to the server: no answer in time", SILENT),
    ("no answer in time", LATE),
    ("Can't connect to", AWAY),
    ("Lost connection", CUT),
    // PostgreSQL
    ("Connection refused", AWAY),
    ("No such file or directory Is the server running locally", AWAY),
    ("could not translate host name", AWAY),
    ("timeout expired", AWAY),
    ("No route to host", AWAY),
    ("Network is unreachable", AWAY),
    ("Connection timed out", CUT),
    ("Connection reset by peer", CUT),
    ("the database system is", AWAY),
    ("too many clients already", CROWDED),
    ("remaining connection slots", CROWDED),
    ("too many connections", CROWDED),
    ("due to lock timeout", BUSY),
    ("due to statement timeout", LATE),
    ("deadlock detected", BUSY),
    ("could not serialize access", BUSY),
    ("due to administrator command", CUT),
    ("due to user request", CUT),
    ("terminating connection", CUT),
    ("server closed the connection", CUT),
    ("no connection to the server", CUT),
    ("connection not open", CUT),
    ("SSL connection has been closed", CUT),
    ("SSL SYSCALL error", CUT),
    ("could not extend file", FULL),
    ("tuple concurrently updated", DEFINED),
    ("pg_type_typname_nsp_index", DEFINED),
    ("pg_class_relname_nsp_index", DEFINED),
    ("violates unique constraint", KEY),
    ("violates ", CONSTRAINT),
    ("during recovery", READ_ONLY),
    // SQLite
    ("object name reserved", NAME),
    ("constraint failed", CONSTRAINT),
    ("database is locked", BUSY),
    ("database or disk is full", FULL),
    // Any of them
    ("duplicate column name", NAME),
    ("already exists", NAME),
    ("Binder Error:", CHANGED),
    ("Catalog Error:", CHANGED),
];

/// What to do about an error of MariaDB or MySQL, which has a number, because its words are in the server's language.
fn of_number(number: u16, text: &str) -> Option<&'static str> {
    Some(match number {
        1062 => KEY,
        1045 | 1698 => PASSWORD,
        3159 => ENCRYPT,
        1049 => DATABASE,
        1044 => DATABASE_RIGHTS,
        1142 | 1143 | 1227 => RIGHTS,
        1290 | 1792 | 1836 => READ_ONLY,
        1050 | 1060 => NAME,
        1048 | 1364 => VALUE_MISSING,
        1452 | 3819 | 4025 => CONSTRAINT,
        1054 | 1146 => CHANGED,
        1040 | 1203 | 1226 => CROWDED,
        1020 | 1205 | 1213 => BUSY,
        1053 | 1158 | 1159 | 1317 | 1927 | 3169 | 4031 => CUT,
        1969 | 3024 => SLOW,
        1021 | 1114 => FULL,
        // What the system has said has a number of its own.
        3 | 1026 | 1030 if text.contains(" 28") => FULL,
        1412 => DEFINED,
        _ => return None,
    })
}

/// What an error's text means: whether it passes by itself, and what to do about it.
pub(crate) fn meaning(text: &str) -> (bool, Option<&'static str>) {
    // What PostgreSQL says of a row repeats the row's own text.
    let text = text.split("DETAIL:").next().unwrap_or(text);
    let number = text.rsplit_once("(error ").and_then(|(_, number)| number.split(')').next()?.parse().ok());
    let remedy = match number {
        // So does MySQL.
        Some(number) => of_number(number, text),
        // A connection that is gone gives no reason.
        None if text.trim_end().ends_with("Failed to execute:") => Some(CUT),
        None => KNOWN_PARTS.iter().find(|(part, _)| text.contains(part)).map(|(_, remedy)| *remedy),
    };
    (remedy.is_some_and(|remedy| PASSING.contains(&remedy)), remedy)
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
