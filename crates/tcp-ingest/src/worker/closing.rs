//! Closing a connection from our side: what its source has sent is taken first.
//!
//! A source that wrote its last message and ended may have most of it in its kernel still, waiting for our window. So each
//! connection is read until its end comes, or until the source has been quiet for so long that nothing can be on its way.
//! Then, and for a source that never pauses when its time is almost up, the kernel is made to acknowledge no more
//! ([`socket::stop_receiving`]): every byte that the source was told to have arrived is written.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{Interest, Ready};

use super::connection::{Connection, Ending, Step};
use super::thread::Stop;
use crate::losses::TIME_UP;
use crate::socket;

/// A source that has sent nothing for so long has nothing on its way: what its kernel still held has arrived. A packet
/// that the network lost is sent again after 200 ms and, if that is lost too, another 400 ms later (Linux; other systems'
/// first retransmission comes after 200 to 300 ms), and so is the probe of a window that was closed, when the
/// announcement that it is open again was lost. Longer would keep a device that sends every second from ever being quiet.
const QUIET: Duration = Duration::from_millis(700);

/// How long a source that was idle for too long, and just then goes on, is read before it finds the connection closed.
const IDLE_LAST_CALL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    On,
    /// Not any more, because the source was quiet.
    Off,
    /// Not any more, because the time was almost up. The source was still sending.
    CutOff,
}

/// Takes what the source has sent, then the unfinished line; the caller closes the connection.
pub(super) async fn finish(mut connection: Connection, ending: Ending) -> io::Result<Ending> {
    if [Ending::HandOver, Ending::ByPeer].contains(&ending) {
        return Ok(ending);
    }
    let mut receiving = Receiving::On;
    let idle_last_call = Instant::now() + IDLE_LAST_CALL;
    loop {
        let now = Instant::now();
        let (last_call, time_left) = match connection.thread.stop.now() {
            Stop::No => (idle_last_call, true),
            Stop::Drain { last_call, deadline } => (last_call, now < deadline),
            Stop::HandOver => return Ok(Ending::HandOver),
        };
        if receiving == Receiving::On && now >= last_call {
            receiving = Receiving::CutOff;
            connection.stop_receiving();
        }
        let before = (connection.consumed_at, connection.pending);
        let may_read = !connection.thread.storage_is_down.get() || connection.wait_for_storage().await;
        let step = if may_read { connection.read()? } else { Step::Refused };
        if receiving == Receiving::Off && before != (connection.consumed_at, connection.pending) {
            // It went on in the very moment in which it was taken to be quiet. What was not acknowledged is sent again.
            receiving = Receiving::On;
            socket::receive_again(&connection.socket);
        }
        match step {
            Step::End => break,
            Step::Again if time_left => {}
            Step::Refused if time_left => continue,
            Step::Again | Step::Refused => return Ok(connection.give_up()),
            Step::Drained if receiving == Receiving::On => {
                if connection.falls_quiet(last_call).await {
                    receiving = Receiving::Off;
                    connection.stop_receiving();
                    layout::fault::point("ingest.closing");
                }
            }
            Step::Drained => match connection.read_unfinished(ending.why())? {
                Step::End => break,
                _ if time_left => {}
                _ => return Ok(connection.give_up()),
            },
        }
        connection.let_others_go_on().await;
    }
    if receiving == Receiving::CutOff {
        let (stream, peer) = (connection.thread.shared.config.stream_name(connection.stream), connection.peer);
        log::warn!("{stream} from {peer}: was still sending when its time was up; it finds its connection closed");
        socket::close_with_reset(&connection.socket)?;
    }
    Ok(ending)
}

impl Connection {
    /// Has the kernel acknowledge no more. Where it cannot, what there is is taken all the same.
    fn stop_receiving(&self) {
        if let Err(error) = socket::stop_receiving(&self.socket) {
            log::warn!("tcp {}: what arrives in its last moment may be lost: {error}", self.peer);
        }
    }

    /// Waits until the source has sent nothing for [`QUIET`]; false if something arrives before, or it is too late.
    async fn falls_quiet(&self, last_call: Instant) -> bool {
        self.clear_readiness();
        // Consuming opens the window: then more may be on its way, however long nothing has arrived.
        let quiet = socket::quiet_for(&self.socket).unwrap_or_default().min(self.consumed_at.elapsed());
        let until = Instant::now() + QUIET.saturating_sub(quiet);
        let ready = self.socket.ready(Interest::READABLE);
        match tokio::time::timeout_at(until.min(last_call).into(), ready).await {
            Err(_) => until < last_call,
            // A connection that the source has closed is ready for ever, and all that was sent is there.
            Ok(ready) => ready.is_ok_and(Ready::is_read_closed),
        }
    }

    /// Ends although there is more to read, and reports that.
    fn give_up(&self) -> Ending {
        let bytes = socket::queued(&self.socket).unwrap_or_default();
        let shared = &self.thread.shared;
        shared.lost.report(shared.config.stream_name(self.stream), self.peer, bytes, TIME_UP);
        let _ = socket::close_with_reset(&self.socket);
        Ending::Lost(bytes)
    }
}
