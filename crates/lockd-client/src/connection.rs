//! Connections to one server: opened over TCP, TLS or a unix socket, kept while they may be useful again, cut when a call is
//! abandoned.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

use crate::body::Outgoing;
use crate::endpoint::{Endpoint, Place};
use crate::stream::chain;
use crate::tls::Secure;

/// Servers close idle connections after a minute; we want to be the first.
const IDLE_FOR: Duration = Duration::from_secs(20);
/// More connections than this are not kept for later.
const MOST_IDLE: usize = 32;
/// How long a connection may take to get ready for the next request after it has carried an answer.
const READY_WITHIN: Duration = Duration::from_millis(100);
/// How soon a peer that vanished while we wait for a lease is noticed.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Why no request could leave us.
#[derive(Debug)]
pub(crate) struct Obstacle {
    pub(crate) reason: String,
    /// It would be the same again, until somebody changes something.
    pub(crate) lasting: bool,
}

impl Obstacle {
    pub(crate) fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lasting: false }
    }

    pub(crate) fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lasting: true }
    }
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Self::passing(chain(&error))
    }
}

impl From<hyper::Error> for Obstacle {
    fn from(error: hyper::Error) -> Self {
        Self::passing(chain(&error))
    }
}

/// An open connection. Dropping it closes the socket, which tells the server that nobody waits any more.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    /// Whether it has carried a call before, so that the server may have closed it in the meantime.
    pub(crate) reused: bool,
    pub(crate) is_secure: bool,
    task: JoinHandle<hyper::Result<()>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Opens a connection, over TLS if it is given how.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        secure: Option<&Secure>,
        patience: Duration,
    ) -> Result<Connection, Obstacle> {
        let is_connected = AtomicBool::new(false);
        let opening = async {
            match endpoint.place() {
                Place::Tcp { host, port, .. } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    is_connected.store(true, Ordering::Relaxed);
                    stream.set_nodelay(true)?;
                    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
                    SockRef::from(&stream).set_tcp_keepalive(&probes)?;
                    match secure {
                        Some(secure) => Connection::over(secure.handshake(stream).await?, true).await,
                        None => Connection::over(stream, false).await,
                    }
                }
                Place::Unix(path) => Connection::over(UnixStream::connect(path).await?, false).await,
            }
        };
        match timeout(patience, opening).await {
            Ok(opened) => opened,
            Err(_) if is_connected.load(Ordering::Relaxed) => Err(Obstacle::passing(format!(
                "it accepted the connection, but the TLS handshake was not over within {patience:?}"
            ))),
            Err(_) => Err(Obstacle::passing(format!("no connection within {patience:?}"))),
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_secure: bool,
    ) -> Result<Connection, Obstacle> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // Whoever waits for an answer hears about errors too.
        let task = tokio::spawn(driver);
        Ok(Connection { sender, reused: false, is_secure, task })
    }

    /// How a connection ended that never took a request.
    pub(crate) async fn end(&mut self) -> Option<hyper::Error> {
        let ended = timeout(READY_WITHIN, &mut self.task).await;
        ended.ok()?.ok()?.err()
    }
}

/// Connections to one server that wait for their next call.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// The one used last, if any still works.
    pub(crate) async fn take(&self) -> Option<Connection> {
        while let Some((mut connection, since)) = self.pop() {
            let is_fresh = since.elapsed() < IDLE_FOR && !connection.sender.is_closed();
            if is_fresh && matches!(timeout(READY_WITHIN, connection.sender.ready()).await, Ok(Ok(()))) {
                return Some(connection);
            }
        }
        None
    }

    fn pop(&self) -> Option<(Connection, Instant)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(crate) fn give_back(&self, mut connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| since.elapsed() < IDLE_FOR && !connection.sender.is_closed());
        if !connection.sender.is_closed() && idle.len() < MOST_IDLE {
            connection.reused = true;
            idle.push((connection, Instant::now()));
        }
    }
}
