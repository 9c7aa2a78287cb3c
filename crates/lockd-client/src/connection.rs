//! Connections to one server: opened over TCP or a unix socket, kept while they may be useful again, cut when a call is
//! abandoned.

use std::io;
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

/// Servers close idle connections after a minute; we want to be the first.
const IDLE_FOR: Duration = Duration::from_secs(20);
/// More connections than this are not kept for later.
const MOST_IDLE: usize = 32;
/// How long a connection may take to get ready for the next request after it has carried an answer.
const READY_WITHIN: Duration = Duration::from_millis(100);
/// How soon a peer that vanished while we wait for a lease is noticed.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// An open connection. Dropping it closes the socket, which tells the server that nobody waits any more.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    /// Whether it has carried a call before, so that the server may have closed it in the meantime.
    pub(crate) reused: bool,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    pub(crate) async fn open(endpoint: &Endpoint, patience: Duration) -> io::Result<Connection> {
        let opening = async {
            match endpoint.place() {
                Place::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
                    SockRef::from(&stream).set_tcp_keepalive(&probes)?;
                    Connection::over(stream).await
                }
                Place::Unix(path) => Connection::over(UnixStream::connect(path).await?).await,
            }
        };
        match timeout(patience, opening).await {
            Ok(opened) => opened,
            Err(_) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {patience:?}")))
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Connection> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Whoever waits for the answer hears about errors too.
        let task = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, reused: false, task })
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
