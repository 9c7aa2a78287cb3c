//! One connection: what is known about it between two events. Kept small; buffers exist only while they hold something.

use crate::table::Token;
use mio::net::TcpStream;
use std::net::SocketAddr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Open,
    /// In the queue of a key, by `l` or `w`.
    Blocked,
    /// The last reply is on its way; the write side closes then.
    Pausing {
        until: u64,
    },
    /// Our side is closed; what the peer still sends is thrown away, so that it can read our reply before a reset.
    Lingering {
        until: u64,
    },
    /// Only waits for the table to have forgotten it.
    Gone,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) tls: Option<Box<rustls::ServerConnection>>,
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    /// Received, not executed.
    pub(super) input: Vec<u8>,
    /// Replies the kernel did not take yet.
    pub(super) output: Vec<u8>,
    pub(super) stats: Option<Box<super::stats::Cursor>>,
    /// Grants whose replies the kernel may not have taken yet, and where each reply ends in the stream of all replies.
    pub(super) undelivered: Vec<(Token, u64)>,
    /// Bytes of replies that the kernel has taken, without TLS.
    pub(super) sent: u64,
    pub(super) line_started: u64,
    pub(super) stalled_since: u64,
    pub(super) phase: Phase,
    /// Complete lines of the request being received.
    pub(super) lines: u8,
    pub(super) authed: bool,
    /// The peer will send no more.
    pub(super) ended: bool,
    /// The kernel may have bytes for us.
    pub(super) readable: bool,
    /// The kernel said that the peer closed, so only a read of 0 bytes tells that all was read.
    pub(super) closing: bool,
    /// Inside of a line that is too long.
    pub(super) oversized: bool,
    /// A connection of the metrics page.
    pub(super) page: bool,
    /// The table has forgotten it.
    pub(super) left: bool,
    /// It stands in the queue of runnable connections.
    pub(super) queued: bool,
    /// The first byte of TLS was seen.
    pub(super) hello: bool,
}

impl Connection {
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<Box<rustls::ServerConnection>>,
        id: u64,
        peer: SocketAddr,
        now: u64,
        authed: bool,
        page: bool,
    ) -> Self {
        Self {
            socket,
            tls,
            id,
            peer,
            input: Vec::new(),
            output: Vec::new(),
            stats: None,
            undelivered: Vec::new(),
            sent: 0,
            line_started: now,
            stalled_since: 0,
            phase: Phase::Open,
            lines: 0,
            authed,
            ended: false,
            readable: false,
            closing: false,
            oversized: false,
            page,
            left: page,
            queued: false,
            hello: false,
        }
    }

    pub(super) fn unsent_bytes(&self) -> bool {
        !self.output.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// A reply that grants `token` follows everything unsent and ends after `length` bytes.
    pub(super) fn granting(&mut self, token: Token, length: usize) {
        self.undelivered.push((token, self.sent + (self.output.len() + length) as u64));
    }

    pub(super) fn handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}
