//! Binding, accepting, and spreading connections over the workers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::args::Config;
use crate::stats::Stats;
use crate::worker::Incoming;

/// Connections that the kernel keeps for us until they are accepted (it takes no more than net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// Hands connections to the workers in turn.
pub(crate) struct Dispatch {
    workers: Vec<mpsc::UnboundedSender<Incoming>>,
    next: AtomicUsize,
    places: Arc<Semaphore>,
    stats: Arc<Stats>,
}

impl Dispatch {
    pub(crate) fn new(workers: Vec<mpsc::UnboundedSender<Incoming>>, places: u32, stats: Arc<Stats>) -> Self {
        let places = usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS);
        Self { workers, next: AtomicUsize::new(0), places: Arc::new(Semaphore::new(places)), stats }
    }

    fn hand_over(
        &self,
        socket: std::net::TcpStream,
        peer: SocketAddr,
        stream: usize,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        self.stats.accepted_connections.fetch_add(1, Relaxed);
        let turn = self.next.fetch_add(1, Relaxed) % self.workers.len().max(1);
        if let Some(worker) = self.workers.get(turn) {
            let _ = worker.send(Incoming { socket, peer, stream, permit });
        }
    }

    /// Waits for a place among the connections allowed.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(permit);
        }
        log::warn!("all connections allowed (--max-connections) are in use: more must wait");
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// Binds an address for the stream with index `stream`.
pub(crate) fn bind(config: &Config, stream: usize, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // So that a restart need not wait for the connections of the last run to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    let listener = bind().map_err(|error| {
        let taken = if error.kind() == io::ErrorKind::AddrInUse { " (another program listens there)" } else { "" };
        anyhow::anyhow!("cannot listen on {address}: {error}{taken}")
    })?;
    let name = config.streams.get(stream).map_or("", |stream| stream.name.as_str());
    log::info!("listening for {name} on {}", listener.local_addr().unwrap_or(address));
    Ok(listener)
}

/// Accepts connections until cancelled.
pub(crate) async fn accept(listener: &TcpListener, stream: usize, dispatch: &Dispatch) {
    let mut told = false;
    loop {
        let permit = dispatch.place().await;
        match listener.accept().await.and_then(|(socket, peer)| Ok((socket.into_std()?, peer))) {
            Ok((socket, peer)) => {
                told = false;
                dispatch.hand_over(socket, peer, stream, permit);
            }
            // A peer that was gone before we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    log::error!("cannot accept connections: {error}; trying again");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Accepts what the kernel has connected already, and closes the listener: the last ones to be served. Waits only for
/// descriptors that other connections have to give back, until `deadline`.
pub(crate) fn accept_rest(
    listener: Arc<TcpListener>,
    stream: usize,
    dispatch: &Dispatch,
    deadline: Instant,
) -> io::Result<()> {
    let Some(listener) = Arc::into_inner(listener) else { return Ok(()) };
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((socket, peer)) => {
                socket.set_nonblocking(true)?;
                dispatch.hand_over(socket, peer, stream, None);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if [io::ErrorKind::Interrupted, io::ErrorKind::ConnectionAborted].contains(&error.kind()) => {}
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
