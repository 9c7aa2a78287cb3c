//! Listening sockets and accepting from them.

use super::Server;
use super::connection::Connection;
use crate::log::Level;
use crate::table::SECOND;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Connections accepted between two looks at the others.
const ACCEPTS: usize = 64;
/// Pause after an accept error: the cause (mostly: no descriptors) does not go away by asking again at once.
const BACK_OFF: u64 = SECOND / 20;
const MAX_PAGES: u64 = 64;

#[derive(Debug, thiserror::Error)]
#[error("listen: listen tcp {address}: {reason}")]
pub struct ListenError {
    address: String,
    reason: String,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: mio::net::TcpListener,
    pub(super) address: SocketAddr,
    /// Connections may be waiting to be accepted.
    pub(super) pending: bool,
    blocked_until: u64,
}

impl Listener {
    pub(super) fn bind(host: &str, port: u16) -> Result<Self, ListenError> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let failed = |reason: String| ListenError { address: shown.clone(), reason };
        if host.is_empty() {
            // One socket for both families; without IPv6 in the kernel, IPv4 only.
            return open((IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into())
                .or_else(|_| open((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()))
                .map_err(|error| failed(bind_reason(&error)));
        }
        let mut addresses = (host, port).to_socket_addrs().map_err(|error| failed(error.to_string()))?;
        let address = addresses.next().ok_or_else(|| failed("the host has no address".into()))?;
        open(address).map_err(|error| failed(bind_reason(&error)))
    }

    pub(super) fn bind_address(text: &str) -> Result<Self, ListenError> {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = parsed else {
            return Err(ListenError { address: text.into(), reason: "expected host:port".into() });
        };
        Self::bind(host, port)
    }

    /// When to try again after an error.
    pub(super) fn resume_at(&self) -> Option<u64> {
        self.pending.then_some(self.blocked_until)
    }

    pub(super) fn resume(&mut self) {
        self.blocked_until = 0;
    }
}

fn open(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit both.
    socket.set_tcp_nodelay(true)?;
    let interval = Duration::from_secs(15);
    SockRef::from(&socket)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(interval).with_interval(interval))?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    let socket = mio::net::TcpListener::from_std(socket.into());
    let address = socket.local_addr()?;
    Ok(Listener { socket, address, pending: false, blocked_until: 0 })
}

fn bind_reason(error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        _ => error.to_string(),
    };
    format!("bind: {reason}")
}

impl Server {
    pub(super) fn accept(&mut self) {
        self.settle_door();
        self.accept_from(false);
        self.accept_from(true);
    }

    fn accept_from(&mut self, pages: bool) {
        for _ in 0..ACCEPTS {
            if !pages && self.door.len() >= ACCEPTS {
                return;
            }
            let no_room = !pages && (self.full() || !self.door.is_empty());
            let listener = if pages { &mut self.metrics } else { &mut self.listener };
            let Some(listener) =
                listener.as_mut().filter(|open| open.pending && open.blocked_until <= self.now)
            else {
                return;
            };
            match listener.socket.accept() {
                Ok((socket, peer)) if no_room => {
                    self.door.push_back((socket, peer));
                }
                Ok((socket, peer)) => self.admit(socket, peer, pages),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.pending = false;
                    return;
                }
                // The peer was gone before we looked.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    listener.blocked_until = self.now + BACK_OFF;
                    if self.may_log() {
                        self.log.event(Level::Error, "accept error", &[("err", &error)]);
                    }
                    return;
                }
            }
        }
    }

    fn full(&self) -> bool {
        self.config.max_connections > 0 && self.admitted >= self.config.max_connections
    }

    /// Lets in or turns away those who were accepted while there was no room.
    fn settle_door(&mut self) {
        while !self.door.is_empty() {
            if self.full() && self.departing > 0 {
                return;
            }
            let Some((socket, peer)) = self.door.pop_front() else { return };
            if !self.full() {
                self.admit(socket, peer, false);
                continue;
            }
            self.counters.rejected += 1;
            if self.may_log() {
                let max = self.config.max_connections;
                self.log.event(Level::Warn, "max connections reached, rejecting", &[("max", &max)]);
            }
        }
    }

    fn admit(&mut self, socket: mio::net::TcpStream, peer: SocketAddr, page: bool) {
        if page && self.pages >= MAX_PAGES {
            return;
        }
        let tls = match self.tls.as_ref().filter(|_| !page) {
            Some(config) => match rustls::ServerConnection::new(config.clone()) {
                Ok(mut tls) => {
                    tls.set_buffer_limit(None);
                    Some(Box::new(tls))
                }
                Err(_) => return,
            },
            None => None,
        };
        let id = if page { 0 } else { self.last_id + 1 };
        let authed = page || self.config.secret.is_none();
        let slot = self.connections.insert(Connection::new(socket, tls, id, peer, self.now, authed, page));
        let Some(connection) = self.connections.get_mut(slot) else { return };
        // Both directions at once: readiness is reported by its edges, so an unused one costs nothing.
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) =
            self.poll.registry().register(&mut connection.socket, Token(slot as usize), interest)
        {
            self.log.event(Level::Error, "accept error", &[("err", &error)]);
            self.connections.remove(slot);
            return;
        }
        if page {
            self.pages += 1;
        } else {
            self.last_id = id;
            self.admitted += 1;
            self.counters.accepted += 1;
            self.table.connect(slot, id);
            if self.log.enabled(Level::Debug) {
                self.log.event(Level::Debug, "client connected", &[("peer", &peer), ("conn_id", &id)]);
            }
        }
        self.arm(slot);
    }
}
