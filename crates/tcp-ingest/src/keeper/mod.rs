//! The keeper: binds, accepts, holds every descriptor, and sees to it that a worker runs.
//!
//! It never reads from a connection and never touches a file of the tree, so that there is little it could die of. A worker
//! ([`worker`](crate::worker)) gets the connections over a socket; when it dies they stay open, the kernel goes on
//! receiving, and the next worker takes them up. All that has to outlive a worker is held here: listening sockets,
//! connections, the files of open segments with their locks ([`held`]), the note ([`Note`]), and the data directory as it was
//! at the start, so that no worker takes what it finds at that path for it.
//!
//! SIGHUP starts a worker from the binary on disk and, when that is up, has the old one hand over; SIGUSR2 replaces the
//! keeper itself ([`replace`]). SIGTERM and SIGINT: what the kernel has connected is accepted, the worker drains, and all
//! ends. When the keeper dies the worker sees it, finishes what its connections hold, seals and exits.

mod held;
mod listeners;
mod memory;
mod process;
mod replace;
mod signals;
mod succession;
mod wait;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cli::Outcome;
use layout::{Area, DataDirHandle};
use rustix::process::{Resource, Rlimit};
use sd_notify::NotifyState;
use tokio::time::{sleep, sleep_until};

use self::held::Held;
use self::listeners::Listener;
pub(crate) use self::memory::offer_worker;
pub(crate) use self::process::WORKER;
use self::process::{Binary, Worker};
use self::signals::{Asked, Signals};
use self::wait::{accepted, listens, overdue, said, tick, time_up};
use crate::args::{Config, Source};
use crate::channel::{ToKeeper, ToWorker};
use crate::files::TO_BE_CONTINUED;
use crate::losses::{self, Losses};
use crate::note::Note;
use crate::socket;
use crate::writer::max_hours;

/// How long a new worker may take until it says that it runs, and an old one to hand over.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much longer than its time a worker that drains is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// A worker that lived shorter than this died at once: the next one waits, longer each time.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Runs the keeper to its end.
pub(crate) fn run(config: Config) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut keeper = match replace::inherited()? {
            Some(state) => {
                let keeper = Keeper::restore(config, state)?;
                if replace::is_trial() {
                    std::process::exit(0);
                }
                log::info!("the keeper was replaced: {} held", cli::count(keeper.held.connections.len(), "connection"));
                keeper
            }
            None => Keeper::new(config)?,
        };
        let _ = rustix::thread::set_name(c"tcp-ingest");
        replace::unblock_signals();
        keeper.run(&mut signals).await
    })
}

/// What the worker still has to be told.
#[derive(Debug)]
enum Untold {
    Connection(u32),
    Segment(String),
    Message(ToWorker),
    /// No connection will come any more.
    End,
}

#[expect(clippy::struct_excessive_bools, reason = "each says one thing that was done or said")]
struct Keeper {
    config: Config,
    binary: Binary,
    note: Note,
    data_dir: OwnedFd,
    held: Held,
    listeners: Vec<Listener>,
    worker: Option<Worker>,
    /// What `worker` does not know yet.
    untold: VecDeque<Untold>,
    /// A worker that is to follow `worker`, and the binary it was started from.
    next: Option<(Worker, Binary)>,
    /// Some worker was up.
    ran: bool,
    /// How often in a row a worker died at once, and when the next is to be started.
    failures: u32,
    start_at: Instant,
    /// Another keeper is to take this one's place.
    to_be_replaced: bool,
    /// When to be done, once asked to stop.
    deadline: Option<Instant>,
    /// `worker` was told that no connection will come.
    closed: bool,
    /// A worker that drained had to leave something.
    failed: bool,
    /// What of the sources' bytes is lost.
    lost: Losses,
    /// Sources have been told of as waiting because all slots are taken, or accepting failed.
    told_full: bool,
    told_refused: bool,
}

impl Keeper {
    fn new(config: Config) -> anyhow::Result<Self> {
        let Source::Listen(addresses) = &config.source else { bail!("nothing to listen on") };
        for stream in &config.streams {
            config.args.common.tree().check_writable(Area::Raw, &stream.name)?;
        }
        let data_dir = DataDirHandle::new(&config.args.common.tree())?.descriptor()?;
        let slots = slots(&config);
        let listeners = listeners::open(&config, addresses)?;
        let note = Note::new(config.workers, max_hours(&config) + 1, slots as usize)
            .context("cannot make the memory that keeper and worker share")?;
        memory::spare_keeper(None);
        Self::with(config, (note, data_dir), Held::new(slots), listeners)
    }

    fn restore(config: Config, state: replace::State) -> anyhow::Result<Self> {
        let note = Note::open(state.note)?;
        slots(&config);
        memory::spare_keeper(Some(state.memory_score));
        let held = Held::restore(state.slots, state.connections, state.segments);
        let listeners = state.listeners.into_iter().map(|(stream, socket)| Listener::new(stream, socket));
        let mut keeper = Self::with(config, (note, state.data_dir), held, listeners.collect::<io::Result<_>>()?)?;
        let (pid, channel) = state.worker;
        keeper.worker = Some(Worker::adopt(pid, channel, true)?);
        keeper.ran = true;
        Ok(keeper)
    }

    fn with(
        config: Config,
        (note, data_dir): (Note, OwnedFd),
        held: Held,
        listeners: Vec<Listener>,
    ) -> anyhow::Result<Self> {
        let path = std::env::var_os(replace::BINARY).map_or_else(std::env::current_exe, |path| Ok(path.into()));
        let path = path.context("cannot find out which program this is")?;
        let binary = Binary::open(&path).with_context(|| format!("{}: cannot be opened", path.display()))?;
        Ok(Self {
            config,
            binary,
            note,
            data_dir,
            held,
            listeners,
            worker: None,
            untold: VecDeque::new(),
            next: None,
            ran: false,
            failures: 0,
            start_at: Instant::now(),
            to_be_replaced: false,
            deadline: None,
            closed: false,
            failed: false,
            lost: Losses::default(),
            told_full: false,
            told_refused: false,
        })
    }

    async fn run(&mut self, signals: &mut Signals) -> anyhow::Result<Outcome> {
        let mut watchdog = sd_notify::watchdog_enabled().map(|every| tokio::time::interval(every / 3));
        // A worker may have died before there was anybody to be told.
        if let Some(outcome) = self.look()? {
            return Ok(outcome);
        }
        loop {
            self.tell();
            if self.to_be_replaced && self.can_be_replaced() {
                let asked = self.replace(signals).await;
                for asked in asked.into_iter().chain([Asked::Look]) {
                    if let Some(outcome) = self.asked(&asked)? {
                        return Ok(outcome);
                    }
                }
                continue;
            }
            tokio::select! {
                asked = signals.next() => if let Some(outcome) = self.asked(&asked)? {
                    return Ok(outcome);
                },
                message = said(self.worker.as_ref()) => self.hear(message),
                message = said(self.next.as_ref().map(|(next, _)| next)) => self.hear_next(&message.0),
                connection = accepted(&self.listeners), if self.accepts() => self.accept(connection).await,
                () = listens(self.worker.as_ref()), if self.has_to_tell() => {}
                () = sleep_until(self.start_at.into()), if self.worker.is_none() => self.start(),
                () = overdue(self.next.as_ref().map(|(next, _)| next)) => self.hurry(),
                () = time_up(self.deadline) => return self.give_up(),
                () = tick(&mut watchdog) => notify(&[NotifyState::Watchdog]),
            }
            if self.deadline.is_some() {
                self.accept_rest();
            }
        }
    }

    /// Does what was asked; returns how all of it went, if that was the end.
    fn asked(&mut self, asked: &Asked) -> anyhow::Result<Option<Outcome>> {
        match asked {
            Asked::Stop => self.stop(),
            Asked::Upgrade => self.upgrade(),
            Asked::Replace => self.to_be_replaced = self.deadline.is_none(),
            Asked::Report => self.untold.push_back(Untold::Message(ToWorker::Report)),
            Asked::Look => return self.look(),
        }
        Ok(None)
    }

    /// Queues all that there is, for a worker that knows nothing.
    fn begin(&mut self) {
        self.untold.clear();
        self.untold.extend(self.held.segments.keys().cloned().map(Untold::Segment));
        self.untold.extend(self.held.connections.keys().copied().map(Untold::Connection));
        self.untold.push_back(Untold::Message(ToWorker::Begin));
        if self.deadline.is_some() {
            self.drain();
        } else if self.next.as_ref().is_some_and(|(next, _)| next.up) {
            self.untold.push_back(Untold::Message(ToWorker::HandOver));
        }
        if let Some(worker) = &mut self.worker {
            worker.begun = true;
        }
    }

    fn has_to_tell(&self) -> bool {
        !self.untold.is_empty() && self.worker.as_ref().is_some_and(|worker| worker.begun)
    }

    /// Tells the worker what it can take now.
    fn tell(&mut self) {
        let Some(worker) = self.worker.as_ref().filter(|worker| worker.begun) else { return };
        while let Some(untold) = self.untold.front() {
            let told = match untold {
                Untold::Connection(slot) => self.held.connections.get_mut(slot).map_or(Ok(()), |held| {
                    let (slot, stream, peer, new) = (*slot, held.stream, held.peer, held.new);
                    worker
                        .tell(&ToWorker::Connection { slot, stream, peer, new }, Some(held.socket.as_fd()))
                        .inspect(|()| held.new = false)
                }),
                Untold::Segment(name) => self.held.segments.get(name).map_or(Ok(()), |(file, segment)| {
                    worker.tell(&ToWorker::Segment { segment: segment.clone() }, Some(file.as_fd()))
                }),
                Untold::Message(message) => worker.tell(message, None),
                Untold::End => {
                    worker.close();
                    Ok(())
                }
            };
            match told {
                Ok(()) => _ = self.untold.pop_front(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind()) => {
                    // It is dead; the next one is told everything.
                    return self.untold.clear();
                }
                Err(error) => {
                    log::error!("cannot hand a descriptor to the worker: {error}; starting another one");
                    worker.kill();
                    return self.untold.clear();
                }
            }
        }
    }

    /// Takes note of what the worker says.
    fn hear(&mut self, (message, descriptor): (ToKeeper, Option<OwnedFd>)) {
        match (message, descriptor) {
            (ToKeeper::Up, _) => {
                if let Some(worker) = &mut self.worker {
                    worker.up = true;
                }
                self.begin();
                if std::mem::replace(&mut self.ran, true) {
                    log::info!("a new worker took over");
                } else {
                    log::info!("ready; signals are for the keeper, process {}", std::process::id());
                    notify(&[NotifyState::Ready]);
                }
            }
            (ToKeeper::Opened { name, segment }, Some(file)) => {
                self.held.segments.insert(name, (file, segment));
            }
            (ToKeeper::Moved { name }, Some(file)) => {
                if let Some(held) = self.held.segments.get_mut(&name) {
                    held.0 = file;
                }
            }
            (ToKeeper::Opened { name, .. } | ToKeeper::Moved { name }, None) => {
                log::error!("a bug: segment {name} came without its file");
            }
            (ToKeeper::Sealed { name }, _) => _ = self.held.segments.remove(&name),
            // The successor finds it in what it is told of the segment.
            (ToKeeper::Unsynced { name }, _) => self.held.mark_unsynced(&name),
            (ToKeeper::Over { slot, lost }, _) => {
                self.held.release(slot);
                self.lost.add(lost);
                // Said again only when that is over, not each time the last slot is taken.
                self.told_full &= !self.held.has_plenty();
            }
        }
    }

    fn accepts(&self) -> bool {
        self.ran && self.held.has_room()
    }

    async fn accept(&mut self, connection: io::Result<held::Connection>) {
        match connection {
            Ok(connection) => {
                self.told_refused = false;
                self.add(connection);
                if !self.held.has_room() && !std::mem::replace(&mut self.told_full, true) {
                    log::warn!("all connections allowed (--max-connections) are in use: more must wait");
                }
            }
            // A peer that was gone before we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut self.told_refused, true) {
                    log::error!("cannot accept connections: {error}; trying again");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn add(&mut self, connection: held::Connection) {
        let slot = self.held.add(connection);
        self.note.clear(slot);
        if self.worker.as_ref().is_some_and(|worker| worker.begun) {
            self.untold.push_back(Untold::Connection(slot));
        }
    }

    /// Begins to stop.
    fn stop(&mut self) {
        if self.deadline.is_none() {
            notify(&[NotifyState::Stopping]);
            self.to_be_replaced = false;
            self.deadline = Some(Instant::now() + self.config.drain_timeout);
            if self.worker.as_ref().is_some_and(|worker| worker.begun) {
                self.drain();
            }
            self.accept_rest();
        }
    }

    /// Has the worker drain in the time that is left.
    fn drain(&mut self) {
        let left = self.deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()));
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.untold.push_back(Untold::Message(ToWorker::Drain { millis }));
    }

    /// Accepts what the kernel has connected already, and closes the listeners: the last ones to be served. Waits only
    /// for slots and descriptors that other connections have to give back.
    fn accept_rest(&mut self) {
        while let Some(listener) = self.listeners.last().filter(|_| self.held.has_room()) {
            match listener.accept_now() {
                Ok(Some(connection)) => self.add(connection),
                Ok(None) => _ = self.listeners.pop(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
        let begun = self.worker.as_ref().is_some_and(|worker| worker.begun);
        if self.listeners.is_empty() && begun && !std::mem::replace(&mut self.closed, true) {
            self.untold.push_back(Untold::End);
        }
    }

    /// Sees which worker has ended, and what follows.
    fn look(&mut self) -> anyhow::Result<Option<Outcome>> {
        if let Some(status) = self.next.as_ref().and_then(|(next, _)| next.ended()) {
            self.next = None;
            let what = how(status);
            log::error!("the new worker {what} before it could take over; the old one goes on: mend the new program");
        }
        let Some(status) = self.worker.as_ref().and_then(Worker::ended) else { return Ok(None) };
        let Some(worker) = self.worker.take() else { return Ok(None) };
        self.failed |=
            self.deadline.is_some() && status.code().is_some_and(|code| ![0, TO_BE_CONTINUED].contains(&code));
        self.hear_last_words(&worker);
        if !self.ran && status.code().is_some() {
            return Err(cli::Reported.into());
        }
        if self.deadline.is_some() && self.held.is_empty() && self.listeners.is_empty() {
            if !self.lost.is_empty() {
                bail!("{}", self.lost);
            }
            return match (status.success() && !self.failed, status.code()) {
                (true, _) => Ok(Some(Outcome::Done)),
                (false, Some(_)) => Err(cli::Reported.into()),
                (false, None) => bail!("the worker {} at the very end", how(status)),
            };
        }
        if self.next.as_ref().is_some_and(|(next, _)| next.up) {
            self.promote();
            return Ok(None);
        }
        if worker.started.elapsed() >= AT_ONCE {
            self.failures = 0;
        }
        if status.code().is_some() {
            self.note.clear_turns();
        }
        log::error!(
            "the worker {}; the next one takes up where it was ({} held)",
            how(status),
            cli::count(self.held.connections.len(), "connection")
        );
        self.back_off();
        Ok(None)
    }

    /// The time to drain, and more, is up: names all that is lost, also of connections that nobody has accepted yet.
    fn give_up(&mut self) -> anyhow::Result<Outcome> {
        if let Some(worker) = self.worker.take() {
            worker.kill();
            worker.wait_until_ended(Duration::from_secs(1));
            self.hear_last_words(&worker);
        }
        let waiting = self.listeners.iter().flat_map(|listener| std::iter::from_fn(|| listener.accept_now().ok()?));
        for connection in waiting.chain(std::mem::take(&mut self.held.connections).into_values()) {
            let stream = self.config.streams.get(connection.stream).map_or("", |stream| stream.name.as_str());
            let bytes = socket::queued(&connection.socket).unwrap_or_default();
            losses::report(stream, connection.peer, bytes);
            self.lost.add(bytes);
        }
        if let segments @ 1.. = self.held.segments.len() {
            log::error!("not sealed, and open until the next start: {}", cli::count(segments, "segment"));
        }
        if !self.lost.is_empty() {
            bail!("{}", self.lost);
        }
        bail!("the worker did not end in time (--drain-timeout); nothing that the kernel has received is lost")
    }

    fn hear_last_words(&mut self, worker: &Worker) {
        for words in worker.last_words() {
            if !matches!(words.0, ToKeeper::Up) {
                self.hear(words);
            }
        }
    }
}

/// Tells systemd, if it started us.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("the service manager cannot be notified: {error}");
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// Each connection and segment needs a descriptor: asks for as many as the system grants, for the workers too, and returns
/// how many connections that is enough for, segments first.
fn slots(config: &Config) -> u32 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let granted = if raised.is_ok() { limit.maximum } else { limit.current };
    let wanted = config.args.max_connections;
    // Beside the open segments there are those that are being sealed (files.rs); the rest is for folders, listeners and
    // the system's own.
    let others = u64::from(config.args.max_open) * 3 + 64;
    let slots = granted.map_or(wanted, |granted| u32::try_from(granted.saturating_sub(others)).unwrap_or(u32::MAX));
    if slots < wanted {
        let slots = slots.max(1);
        log::warn!(
            "the limit of open files (ulimit -n) allows only {slots} of {wanted} connections (--max-connections)"
        );
    }
    wanted.min(slots.max(1))
}
