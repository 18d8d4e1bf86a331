//! Accepting connections: while there are slots, and at the end those that the kernel has connected already.

use std::io;
use std::time::Duration;

use tokio::time::sleep;

use super::held::Connection;
use super::process::Stage;
use super::state::{Admission, Keeper, Pending, Readiness};

impl Keeper {
    /// Whether connections are accepted now.
    pub(super) fn accepts(&self) -> bool {
        self.readiness == Readiness::Ready && self.held.has_room()
    }

    /// Takes an accepted connection, or waits a little when the system refused one.
    pub(super) async fn accept(&mut self, connection: io::Result<Connection>) {
        match connection {
            Ok(connection) => {
                if self.admission == Admission::Failing {
                    self.admission = Admission::Open;
                }
                self.add(connection);
                if !self.held.has_room() && std::mem::replace(&mut self.admission, Admission::Full) != Admission::Full {
                    log::warn!("all connections allowed (--max-connections) are in use: more must wait");
                }
            }
            // A peer that was gone before we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if std::mem::replace(&mut self.admission, Admission::Failing) != Admission::Failing {
                    log::error!("cannot accept connections: {error}; trying again");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn add(&mut self, connection: Connection) {
        let slot = self.held.add(connection);
        self.intent_log.clear(slot);
        if self.worker_serves() {
            self.pending.push_back(Pending::Connection(slot));
        }
    }

    /// When it is to stop: accepts what the kernel has connected already, the last ones to be served, and closes the
    /// listeners. Waits only for slots and descriptors that other connections have to give back.
    pub(super) fn accept_the_rest_if_stopping(&mut self) {
        if self.goal.deadline().is_none() {
            return;
        }
        while let Some(listener) = self.listeners.last().filter(|_| self.held.has_room()) {
            match listener.accept_now() {
                Ok(Some(connection)) => self.add(connection),
                Ok(None) => _ = self.listeners.pop(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
        if self.listeners.is_empty()
            && let Some(worker) = self.worker.as_mut().filter(|worker| worker.stage == Stage::Serving)
        {
            worker.stage = Stage::Closed;
            self.pending.push_back(Pending::End);
        }
    }
}
