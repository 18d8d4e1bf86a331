//! Binding, or taking what systemd has bound, and accepting.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::Poll;

use cli::Usage;
use listenfd::ListenFd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::held::Connection;
use crate::args::Config;

/// Connections that the kernel keeps for us until they are accepted (it takes no more than net.core.somaxconn).
const BACKLOG: i32 = 4096;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) stream: usize,
    pub(super) socket: TcpListener,
}

impl Listener {
    pub(super) fn new(stream: usize, socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { stream, socket: TcpListener::from_std(socket)? })
    }

    /// The next connection, if the kernel has one: asked, not inferred from what is known of the socket.
    pub(super) fn accept_now(&self) -> io::Result<Option<Connection>> {
        match acceptfrom_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, peer)) => {
                let peer = peer.and_then(|peer| peer.try_into().ok()).ok_or(io::ErrorKind::ConnectionAborted)?;
                Ok(Some(Connection { socket, stream: self.stream, peer, new: true }))
            }
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) async fn accepted(listeners: &[Listener]) -> io::Result<Connection> {
    poll_fn(|context| {
        for Listener { stream, socket } in listeners {
            if let Poll::Ready(accepted) = socket.poll_accept(context) {
                return Poll::Ready(accepted.and_then(|(socket, peer)| {
                    Ok(Connection { socket: OwnedFd::from(socket.into_std()?), stream: *stream, peer, new: true })
                }));
            }
        }
        Poll::Pending
    })
    .await
}

/// A socket for each `--listen`: the one that systemd has bound for it (socket activation), or a new one.
pub(super) fn open(config: &Config) -> anyhow::Result<Vec<Listener>> {
    let mut activated = activated()?;
    let mut listeners = Vec::new();
    for (stream, address) in &config.addresses {
        let socket = match activated.iter().position(|(_, bound)| serves(*bound, *address)) {
            Some(index) => activated.swap_remove(index).0,
            None => bind(*address)?,
        };
        let name = config.stream_name(*stream);
        log::info!("listening for {name} on {}", socket.local_addr().unwrap_or(*address));
        listeners.push(Listener::new(*stream, socket)?);
    }
    if let Some((_, address)) = activated.first() {
        let what =
            format!("a socket unit passes {address}, and no --listen names it: whose messages would come there?");
        return Err(Usage(what).into());
    }
    Ok(listeners)
}

/// The sockets that were passed by `LISTEN_FDS`, each with its address.
fn activated() -> anyhow::Result<Vec<(std::net::TcpListener, SocketAddr)>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .map(|index| {
            let refused = |what: String| Usage(format!("LISTEN_FDS: socket {index} is no TCP listener ({what})"));
            let socket = passed.take_tcp_listener(index).map_err(|error| refused(error.to_string()))?;
            let socket = socket.ok_or_else(|| refused("taken".into()))?;
            let address = socket.local_addr().map_err(|error| refused(error.to_string()))?;
            Ok((socket, address))
        })
        .collect()
}

/// Whether a socket that is bound to `bound` is the one for `wanted`. A unit with only a port listens on all addresses.
fn serves(bound: SocketAddr, wanted: SocketAddr) -> bool {
    bound.port() == wanted.port() && (bound.ip() == wanted.ip() || bound.ip().is_unspecified())
}

fn bind(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let bind = || -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // So that a restart need not wait for the connections of the last run to time out.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => " (another program listens there, or another --listen)",
            io::ErrorKind::PermissionDenied => " (ports under 1024 need root, or the capability CAP_NET_BIND_SERVICE)",
            io::ErrorKind::AddrNotAvailable => " (no interface of this machine has it; 0.0.0.0 and [::] are all)",
            _ => "",
        };
        anyhow::anyhow!("cannot listen on {address}: {error}{why}")
    })
}
