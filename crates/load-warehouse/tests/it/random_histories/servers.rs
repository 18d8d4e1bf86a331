//! What is done to servers in a history.

use crate::target::Target;

/// Kills the server with -9.
pub(crate) fn kill_server(target: &Target) {
    match target {
        Target::MariaDb { server, .. } => server.stop(),
        Target::Postgres { server, .. } => server.stop(),
        Target::File | Target::Sqlite => {}
    }
}

/// Starts the server again.
pub(crate) fn restart_server(target: &Target) {
    match target {
        Target::MariaDb { server, .. } => server.restart(),
        Target::Postgres { server, .. } => server.restart(),
        Target::File | Target::Sqlite => {}
    }
}

/// Has the server end all connections of loads.
pub(crate) fn kill_connections(target: &Target) {
    match target {
        Target::MariaDb { server, .. } => server.kill_connections(),
        Target::Postgres { server, .. } => server.kill_connections(),
        Target::File | Target::Sqlite => {}
    }
}
