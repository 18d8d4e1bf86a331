//! One connection: peek, judge, write, consume.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

use crate::channel::ToKeeper;
use crate::framing::Framing;
use crate::stop::{Drain, Stop};
use crate::thread::{Incoming, Intake, Thread};
use crate::writer::Origin;
use crate::{losses, socket};

/// Turns that a connection takes before the others have theirs.
const TURNS: u32 = 2;

/// What a turn found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There may be more.
    Again,
    /// Nothing that can be taken before more arrives.
    Nothing,
    /// The end of the stream; all of it is taken.
    End,
    /// The storage refused; nothing was taken.
    Refused,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    ByPeer,
    Idle,
    Stopping,
    /// The time to drain was up before so many bytes that the kernel has received could be written.
    Lost(u64),
    /// Another worker goes on with it.
    HandOver,
}

impl Ending {
    /// How a connection ends when its worker stops.
    fn of(stop: Stop) -> Self {
        if stop == Stop::HandOver { Self::HandOver } else { Self::Stopping }
    }

    /// What became of an incomplete last line.
    fn why(self) -> &'static str {
        match self {
            Self::ByPeer => "the connection ended inside this line",
            Self::Idle => "the connection was closed inside this line: it was idle for too long",
            Self::Stopping | Self::Lost(_) | Self::HandOver => "the receiver was stopped inside this line",
        }
    }
}

struct Connection {
    thread: Rc<Thread>,
    socket: TcpStream,
    slot: u32,
    stream: usize,
    peer: SocketAddr,
    source: String,
    framing: Framing,
    /// How many bytes at the front of the receive queue are known to be an incomplete line.
    pending: usize,
    /// The next block is not to be judged: workers died of it.
    suspect: bool,
    /// When bytes were consumed last.
    consumed_at: Instant,
}

/// A source that has sent nothing for so long has nothing on its way: what its kernel still held has arrived. A packet
/// that the network lost is sent again after 200 ms and, if that is lost too, another 400 ms later (Linux; other systems'
/// first retransmission comes after 200 to 300 ms), and so is the probe of a window that was closed, when the
/// announcement that it is open again was lost. Longer would keep a device that sends every second from ever being quiet.
const QUIET: Duration = Duration::from_millis(700);

/// How long a source that was idle for too long, and just then goes on, is read before it finds the connection closed.
const IDLE_LAST_CALL: Duration = Duration::from_secs(1);

/// So many workers die at the same bytes before those are given up.
const DEATHS: u64 = 5;

/// Serves a connection to its end, or until another worker goes on with it.
pub(crate) async fn serve(thread: Rc<Thread>, incoming: Incoming) {
    let stats = std::sync::Arc::clone(&thread.serving.shared.stats);
    let keeper = thread.serving.keeper.clone();
    stats.connections.fetch_add(1, Relaxed);
    let max_line = usize::try_from(thread.serving.shared.config.args.max_line.0).unwrap_or(usize::MAX);
    let (slot, source) = (incoming.slot, format!("tcp {}", incoming.peer));
    let opened = socket::prepare(&incoming.socket, max_line).and_then(|()| TcpStream::from_std(incoming.socket));
    let ended = match opened {
        Ok(socket) => {
            let inside_too_long = thread.serving.note.progress(slot).inside_too_long;
            let framing = Framing::resume(max_line, inside_too_long);
            let (stream, peer, source) = (incoming.stream, incoming.peer, source.clone());
            let suspect = thread.serving.note.deaths(slot) >= DEATHS;
            let consumed_at = Instant::now();
            let connection =
                Connection { thread, socket, slot, stream, peer, source, framing, pending: 0, suspect, consumed_at };
            connection.run().await
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(ending) => log::debug!("{source}: over ({ending:?})"),
        // A source that goes without a word, as many do.
        Err(ref error) if error.kind() == io::ErrorKind::ConnectionReset => log::debug!("{source}: {error}"),
        Err(ref error) => log::warn!("{source}: {error}"),
    }
    stats.connections.fetch_sub(1, Relaxed);
    let lost = match ended {
        Ok(Ending::HandOver) => return,
        Ok(Ending::Lost(bytes)) => bytes,
        _ => 0,
    };
    keeper.send(&ToKeeper::Over { slot, lost }, None);
}

impl Connection {
    async fn run(mut self) -> io::Result<Ending> {
        let mut turns = 0;
        loop {
            let ready = match self.ready().await? {
                Ok(ready) => ready,
                Err(ending) => return self.finish(ending).await,
            };
            if self.thread.storage_is_down() && !self.wait_for_storage().await {
                let ending = Ending::of(self.thread.serving.stop.now());
                return self.finish(ending).await;
            }
            match self.turn(ready)? {
                Turn::Again | Turn::Nothing => {}
                Turn::End => return Ok(Ending::ByPeer),
                Turn::Refused => continue,
            }
            turns += 1;
            if turns % TURNS == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until there is something to read, or a reason to end.
    async fn ready(&self) -> io::Result<Result<Ready, Ending>> {
        let readable = async {
            match self.thread.serving.shared.config.idle_timeout {
                None => Ok(self.socket.ready(Interest::READABLE).await),
                Some(limit) => tokio::time::timeout(limit, self.socket.ready(Interest::READABLE)).await,
            }
        };
        tokio::select! {
            biased;
            stop = self.thread.serving.stop.begun() => Ok(Err(Ending::of(stop))),
            ready = readable => match ready {
                Ok(ready) => Ok(Ok(ready?)),
                Err(_) => Ok(Err(Ending::Idle)),
            },
        }
    }

    /// Waits for a chance to write; false when the program is stopping and its time is up.
    async fn wait_for_storage(&self) -> bool {
        let stop = &self.thread.serving.stop;
        let already = stop.now() != Stop::No;
        tokio::select! {
            () = self.thread.storage_retry() => true,
            stop = stop.begun(), if !already => stop != Stop::HandOver,
            () = self.time_is_up(), if already => false,
        }
    }

    /// Waits for the deadline of stopping.
    async fn time_is_up(&self) {
        match self.thread.serving.stop.now() {
            Stop::Drain(Drain { deadline, .. }) => tokio::time::sleep_until(deadline.into()).await,
            Stop::HandOver => {}
            Stop::No => std::future::pending().await,
        }
    }

    /// Takes what the kernel holds, then the unfinished line, and closes.
    async fn finish(mut self, ending: Ending) -> io::Result<Ending> {
        if ending == Ending::HandOver {
            return Ok(ending);
        }
        let (mut turns, mut sends, mut deaf) = (0, false, false);
        let idle_last_call = Instant::now() + IDLE_LAST_CALL;
        loop {
            let now = Instant::now();
            let (last_call, time_left) = match self.thread.serving.stop.now() {
                Stop::No => (idle_last_call, true),
                Stop::Drain(Drain { last_call, deadline }) => (last_call, now < deadline),
                Stop::HandOver => return Ok(Ending::HandOver),
            };
            if !deaf && now >= last_call {
                (sends, deaf) = (true, true);
                self.stop_hearing();
            }
            let before = (self.consumed_at, self.pending);
            let turn = if self.thread.storage_is_down() && !self.wait_for_storage().await {
                Turn::Refused
            } else {
                self.read()?
            };
            if deaf && !sends && before != (self.consumed_at, self.pending) {
                // It went on in the very moment in which it was taken to be quiet: the rest of that is sent again.
                deaf = false;
                socket::hear_again(&self.socket);
            }
            match turn {
                Turn::End => break,
                Turn::Again if time_left => {}
                Turn::Refused if time_left && self.thread.serving.shared.failure.get().is_none() => continue,
                Turn::Nothing if !deaf => {
                    if self.falls_quiet(last_call).await {
                        deaf = true;
                        self.stop_hearing();
                        layout::fault::point("ingest.deaf");
                    }
                }
                Turn::Nothing => match self.last(ending.why())? {
                    Turn::End => break,
                    _ if time_left => {}
                    _ => return Ok(self.give_up()),
                },
                Turn::Again | Turn::Refused => return Ok(self.give_up()),
            }
            turns += 1;
            if turns % TURNS == 0 {
                tokio::task::yield_now().await;
            }
        }
        if sends {
            log::warn!(
                "{} from {}: was still sending when its time was up; it finds its connection closed",
                self.stream_name(),
                self.peer
            );
            socket::close_with_reset(&self.socket)?;
        }
        Ok(ending)
    }

    /// Has the kernel acknowledge no more. Where it cannot, what there is is taken all the same.
    fn stop_hearing(&self) {
        if let Err(error) = socket::stop_hearing(&self.socket) {
            log::warn!("{}: what arrives in its last moment may be lost: {error}", self.source);
        }
    }

    /// Waits until the source has sent nothing for [`QUIET`]; false if something arrives before, or it is too late.
    async fn falls_quiet(&self, last_call: Instant) -> bool {
        self.clear_readiness();
        // What was consumed just now has opened the window, and more is on its way, however long nothing has arrived.
        let quiet = socket::quiet_for(&self.socket).unwrap_or_default().min(self.consumed_at.elapsed());
        let until = Instant::now() + QUIET.saturating_sub(quiet);
        let ready = self.socket.ready(Interest::READABLE);
        match tokio::time::timeout_at(until.min(last_call).into(), ready).await {
            Err(_) => until < last_call,
            // Once closed it is ready for ever; all that was sent is there.
            Ok(ready) => ready.is_ok_and(|ready| ready.is_read_closed()),
        }
    }

    fn stream_name(&self) -> &str {
        self.thread.serving.shared.config.streams.get(self.stream).map_or("", |stream| stream.name.as_str())
    }

    /// Forgets that there is something to read; whatever arrived after the last peek says so again.
    fn clear_readiness(&self) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.socket.try_io(Interest::READABLE, nothing);
    }

    /// Ends although there is more to read, and says so.
    fn give_up(&self) -> Ending {
        let bytes = socket::queued(&self.socket).unwrap_or_default();
        losses::report(self.stream_name(), self.peer, bytes);
        self.thread.serving.shared.failure.lose(bytes);
        Ending::Lost(bytes)
    }

    /// One turn; `ready` is what was known of the socket before it.
    fn turn(&mut self, ready: Ready) -> io::Result<Turn> {
        match self.read()? {
            // What the peer sent before it closed was all there to be peeked.
            Turn::Nothing if ready.is_read_closed() => self.last(Ending::ByPeer.why()),
            Turn::Nothing => {
                self.clear_readiness();
                Ok(Turn::Nothing)
            }
            turn => Ok(turn),
        }
    }

    /// Peeks a block, writes its complete lines and consumes them.
    fn read(&mut self) -> io::Result<Turn> {
        let thread = Rc::clone(&self.thread);
        let _turn = thread.row.turn(self.slot);
        let intake = &mut *thread.intake.borrow_mut();
        let count = match socket::peek(&self.socket, &mut intake.buffer) {
            Ok(0) => return Ok(Turn::End),
            Ok(count) if count == self.pending => return self.at_urgent_mark(intake, count),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turn::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Turn::Again),
            Err(error) => return Err(error),
        };
        let Intake { buffer, batch, judges, .. } = intake;
        let Some((block, judge)) = buffer.get(..count).zip(judges.get_mut(self.stream)) else { return Ok(Turn::End) };
        let (now, framing) = (Utc::now(), self.framing.clone());
        let all = if self.suspect {
            batch.suspect(&mut self.framing, block, &self.source, now);
            false
        } else {
            judge.block(batch, &mut self.framing, block, &self.source, now)
        };
        if batch.taken > 0 && !self.commit(intake, count, now)? {
            self.framing = framing;
            return Ok(Turn::Refused);
        }
        self.suspect = false;
        self.pending = if all { count - intake.batch.taken } else { 0 };
        Ok(if all && count < intake.buffer.len() { Turn::Nothing } else { Turn::Again })
    }

    /// Nothing, mostly: there is only the incomplete line that is known. But a peek ends at urgent data for ever, unless
    /// what is before it is consumed; then the line is cut there, and its beginning rejected.
    fn at_urgent_mark(&mut self, intake: &mut Intake, count: usize) -> io::Result<Turn> {
        let more = |count: usize| Ok::<_, io::Error>(socket::queued(&self.socket)? > count as u64);
        // What arrives after the first peek is in the second one, if nothing is in its way.
        if count == intake.buffer.len() || !more(count)? || socket::peek(&self.socket, &mut intake.buffer)? != count {
            return Ok(if more(count)? { Turn::Again } else { Turn::Nothing });
        }
        let (now, line) = (Utc::now(), intake.buffer.get(..count).unwrap_or_default());
        intake.batch.unfinished(line, "TCP urgent data cut this line", &self.source, now);
        // What follows is the rest of this line, and no line by itself.
        let framing = self.framing.clone();
        self.framing.break_line();
        if !self.commit(intake, count, now)? {
            self.framing = framing;
            return Ok(Turn::Refused);
        }
        self.pending = 0;
        Ok(Turn::Again)
    }

    /// Takes an incomplete last line, if that is all there is.
    fn last(&mut self, why: &str) -> io::Result<Turn> {
        let thread = Rc::clone(&self.thread);
        let _turn = thread.row.turn(self.slot);
        let intake = &mut *thread.intake.borrow_mut();
        let count = match socket::peek(&self.socket, &mut intake.buffer) {
            Ok(0) => return Ok(Turn::End),
            Ok(count) if count != self.pending => return Ok(Turn::Again),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turn::End),
            Err(error) => return Err(error),
        };
        let now = Utc::now();
        let line = intake.buffer.get(..count).unwrap_or_default();
        intake.batch.unfinished(line, why, &self.source, now);
        // The end is when a peek says so. Until then, what comes is the rest of this line, and no line by itself.
        let framing = self.framing.clone();
        self.framing.break_line();
        if !self.commit(intake, count, now)? {
            self.framing = framing;
            return Ok(Turn::Refused);
        }
        self.pending = 0;
        Ok(Turn::Again)
    }

    /// Writes the batch judged from the first `count` bytes of the buffer, then consumes what it took.
    /// Returns false, with nothing written and nothing consumed, when the storage refuses.
    fn commit(&mut self, intake: &mut Intake, count: usize, now: DateTime<Utc>) -> io::Result<bool> {
        if self.thread.serving.shared.failure.get().is_some() {
            return Ok(false);
        }
        let block = intake.buffer.get(..count).unwrap_or_default();
        let origin = Origin { slot: self.slot, inside_too_long: self.framing.inside_too_long() };
        match intake.writer.commit(self.stream, block, &intake.batch, now, Some(origin)) {
            Ok(()) => self.thread.storage_works(),
            Err(error) => {
                if matches!(error, layout::Error::NotRolledBack { .. }) {
                    self.thread.serving.shared.failure.report(error.to_string());
                }
                self.thread.storage_failed(&error);
                return Ok(false);
            }
        }
        let consumed = socket::consume(&self.socket, intake.batch.taken);
        self.consumed_at = Instant::now();
        layout::fault::point("ingest.consumed");
        intake.writer.settle();
        consumed?;
        self.thread.serving.shared.pass_on.batch(block, &intake.batch);
        Ok(true)
    }
}
