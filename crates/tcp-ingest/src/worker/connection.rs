//! One connection: peek, validate, write, consume.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

use super::thread::{Incoming, Stop, Thread};
use crate::framing::Framing;
use crate::socket;
use crate::validator::Source;
use crate::writer::{Intake, Origin};

/// How many blocks a connection reads before the others have their turn.
const BLOCKS_IN_A_ROW: u32 = 2;

/// So many workers die at the same bytes before those are given up.
const DEATHS: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to read.
    Again,
    /// Nothing can be taken before more arrives.
    Drained,
    /// The end of the stream; all of it is taken.
    End,
    /// The storage refused; nothing was taken.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    ByPeer,
    Idle,
    Stopping,
    /// The time to drain was up before so many bytes that the kernel has received could be written.
    Lost(u64),
    /// Another worker goes on with it.
    HandOver,
}

impl From<Stop> for Ending {
    fn from(stop: Stop) -> Self {
        if stop == Stop::HandOver { Self::HandOver } else { Self::Stopping }
    }
}

impl Ending {
    /// What became of an incomplete last line.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::ByPeer => "the connection ended inside this line",
            Self::Idle => "the connection was closed inside this line: it was idle for too long",
            Self::Stopping | Self::Lost(_) | Self::HandOver => "the receiver was stopped inside this line",
        }
    }
}

pub(super) struct Connection {
    pub(super) thread: Rc<Thread>,
    pub(super) socket: TcpStream,
    pub(super) stream: usize,
    pub(super) peer: SocketAddr,
    slot: u32,
    /// The peer, as the quarantine names it.
    source: String,
    /// The address that the peer connected to.
    listener: String,
    framing: Framing,
    /// How many bytes at the front of the receive queue are known to be an incomplete line.
    pub(super) pending: usize,
    /// The next block is not to be parsed: workers died of it.
    suspect: bool,
    pub(super) consumed_at: Instant,
    blocks: u32,
}

impl Connection {
    /// Goes on where the worker before was, if there was one.
    pub(super) fn new(thread: Rc<Thread>, incoming: &Incoming) -> io::Result<Self> {
        let &Incoming { ref socket, slot, stream, peer, .. } = incoming;
        let (max_line, log) = (thread.shared.config.settings.max_line, &thread.shared.intent_log);
        let frame = thread.shared.config.frame(stream);
        socket::prepare(socket, max_line)?;
        layout::fault::fails("ingest.watch")?;
        Ok(Self {
            socket: TcpStream::from_std(socket.try_clone()?)?,
            stream,
            peer,
            slot,
            source: format!("tcp {peer}"),
            framing: Framing::resume(frame, max_line, log.inside_too_long(slot)),
            listener: socket.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            pending: 0,
            suspect: log.deaths(slot) >= DEATHS,
            consumed_at: Instant::now(),
            blocks: 0,
            thread,
        })
    }

    pub(super) async fn run(&mut self) -> io::Result<Ending> {
        loop {
            let ready = tokio::select! {
                biased;
                stop = self.thread.stop.begun() => return Ok(stop.into()),
                ready = self.ready() => ready?,
            };
            let Some(ready) = ready else { return Ok(Ending::Idle) };
            if self.thread.storage_is_down.get() && !self.wait_for_storage().await {
                return Ok(self.thread.stop.now().into());
            }
            let step = match self.read()? {
                // All that the peer sent before it closed was there to be peeked.
                Step::Drained if ready.is_read_closed() => self.read_unfinished(Ending::ByPeer.why())?,
                step => step,
            };
            match step {
                Step::End => return Ok(Ending::ByPeer),
                Step::Refused => continue,
                Step::Drained => self.clear_readiness(),
                Step::Again => {}
            }
            self.let_others_go_on().await;
        }
    }

    /// Waits until there is something to read; none if it was idle for too long.
    async fn ready(&self) -> io::Result<Option<Ready>> {
        let ready = self.socket.ready(Interest::READABLE);
        match self.thread.shared.config.settings.idle_timeout {
            None => ready.await.map(Some),
            Some(limit) => tokio::time::timeout(*limit, ready).await.ok().transpose(),
        }
    }

    /// Waits for a chance to write; false when the program is stopping and its time is up.
    pub(super) async fn wait_for_storage(&self) -> bool {
        let (stop, may_try) = (&self.thread.stop, self.thread.retry.notified());
        match stop.now() {
            Stop::No => tokio::select! {
                () = may_try => true,
                stop = stop.begun() => stop != Stop::HandOver,
            },
            Stop::Drain { deadline, .. } => tokio::time::timeout_at(deadline.into(), may_try).await.is_ok(),
            Stop::HandOver => false,
        }
    }

    pub(super) async fn let_others_go_on(&mut self) {
        self.blocks = self.blocks.wrapping_add(1);
        if self.blocks.is_multiple_of(BLOCKS_IN_A_ROW) {
            tokio::task::yield_now().await;
        }
    }

    /// Forgets that there is something to read; whatever arrived after the last peek says so again.
    pub(super) fn clear_readiness(&self) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.socket.try_io(Interest::READABLE, nothing);
    }

    /// Peeks a block, writes its complete lines and consumes them.
    pub(super) fn read(&mut self) -> io::Result<Step> {
        let thread = Rc::clone(&self.thread);
        let _turn = thread.shared.intent_log.turn(thread.row, self.slot);
        let intake = &mut *thread.intake.borrow_mut();
        let count = match socket::peek(&self.socket, &mut intake.buffer) {
            Ok(0) => return Ok(Step::End),
            Ok(count) if count == self.pending => return self.at_urgent_mark(intake, count),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Drained),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Step::Again),
            Err(error) => return Err(error),
        };
        let Intake { buffer, batch, validators, .. } = intake;
        let Some((block, validator)) = buffer.get(..count).zip(validators.get_mut(self.stream)) else {
            return Ok(Step::End);
        };
        let (now, framing) = (Utc::now(), self.framing.clone());
        let all = if self.suspect {
            batch.reject_unparsed(&mut self.framing, block, &self.source, now);
            false
        } else {
            let source = Source { words: &self.source, peer: Some(self.peer), listener: &self.listener };
            validator.validate(batch, &mut self.framing, block, source, now)
        };
        if batch.taken > 0 && !self.write_and_consume(intake, count, now)? {
            self.framing = framing;
            return Ok(Step::Refused);
        }
        self.suspect = false;
        self.pending = if all { count - intake.batch.taken } else { 0 };
        Ok(if all && count < intake.buffer.len() { Step::Drained } else { Step::Again })
    }

    /// There is only the incomplete line that is known: mostly nothing can be done. But a peek ends at urgent data for ever,
    /// unless what is before it is consumed; then the line is cut there, and its beginning rejected.
    fn at_urgent_mark(&mut self, intake: &mut Intake, count: usize) -> io::Result<Step> {
        let more = |count: usize| Ok::<_, io::Error>(socket::queued(&self.socket)? > count as u64);
        // What arrives after the first peek is in the second one, if no urgent data is in its way.
        if count == intake.buffer.len() || !more(count)? || socket::peek(&self.socket, &mut intake.buffer)? != count {
            return Ok(if more(count)? { Step::Again } else { Step::Drained });
        }
        self.take_cut_line(intake, count, "TCP urgent data cut this line")
    }

    /// Takes an incomplete last line, if that is all there is.
    pub(super) fn read_unfinished(&mut self, why: &str) -> io::Result<Step> {
        let thread = Rc::clone(&self.thread);
        let _turn = thread.shared.intent_log.turn(thread.row, self.slot);
        let intake = &mut *thread.intake.borrow_mut();
        match socket::peek(&self.socket, &mut intake.buffer) {
            Ok(0) => Ok(Step::End),
            Ok(count) if count != self.pending => Ok(Step::Again),
            Ok(count) => self.take_cut_line(intake, count, why),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::End),
            Err(error) => Err(error),
        }
    }

    /// Takes the `count` bytes of a line whose end is not there. What follows, if anything does, is the rest of this line.
    fn take_cut_line(&mut self, intake: &mut Intake, count: usize, why: &str) -> io::Result<Step> {
        let (now, line) = (Utc::now(), intake.buffer.get(..count).unwrap_or_default());
        intake.batch.reject_unfinished(line, why, &self.source, now);
        let framing = self.framing.clone();
        self.framing.break_line();
        if !self.write_and_consume(intake, count, now)? {
            self.framing = framing;
            return Ok(Step::Refused);
        }
        self.pending = 0;
        Ok(Step::Again)
    }

    /// Writes the batch, then consumes what it took. False, with nothing written or consumed, when the storage refuses.
    fn write_and_consume(&mut self, intake: &mut Intake, count: usize, now: DateTime<Utc>) -> io::Result<bool> {
        let thread = &self.thread;
        let block = intake.buffer.get(..count).unwrap_or_default();
        let inside_too_long = self.framing.inside_too_long();
        let origin = Origin { stream: self.stream, slot: self.slot, inside_too_long };
        match intake.writer.write(block, &intake.batch, now, origin) {
            Ok(()) => thread.storage_works(),
            Err(error) => {
                if error.is_not_rolled_back {
                    thread.shared.fail(error.to_string());
                }
                thread.storage_failed(&error);
                return Ok(false);
            }
        }
        let consumed = socket::consume(&self.socket, intake.batch.taken);
        self.consumed_at = Instant::now();
        layout::fault::point("ingest.consumed");
        intake.writer.commit();
        consumed?;
        thread.tee.write(block, &intake.batch, || intake.writer.maintain());
        Ok(true)
    }
}
