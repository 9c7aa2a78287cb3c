//! Sockets: binding them, accepting connections, speaking HTTP/1.1 and cleartext HTTP/2 on them, closing them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, Interest, Ready};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::app::App;
use crate::in_progress::{Accounted, InProgress};
use crate::lingering::Lingering;
use crate::route;
use crate::shutdown::{self, DrainReport, Shutdown};

/// Where to listen.
#[derive(Debug, Clone)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix { path: PathBuf, mode: u32 },
}

#[derive(Debug, Clone, Copy)]
pub struct HttpSettings {
    /// Requests in flight on one HTTP/2 connection; `None` leaves it to the library.
    pub http2_max_concurrent_streams: Option<u32>,
    /// A connection that says nothing at all is closed after this long, and an HTTP/1.1 connection when it has gone this long
    /// without a complete request head, be it idle or slow. hyper does not tell the two apart, so this has to be longer than
    /// clients keep idle connections for another request.
    pub head_timeout: Duration,
}

/// A bound socket that nobody answers yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    port: u16,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// After an accept that failed for want of descriptors or memory: time for others to give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// When the system begins to ask a silent client's machine whether it is still there, and how often it asks again.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);

impl Bound {
    pub fn bind(endpoint: &Endpoint) -> io::Result<Bound> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let domain = socket2::Domain::for_address(*address);
                let socket =
                    socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                if let SocketAddr::V6(v6) = address {
                    // `[::]` means every address, IPv4 ones included, as people expect of ":9341".
                    socket.set_only_v6(!v6.ip().is_unspecified())?;
                }
                socket.bind(&(*address).into())?;
                socket.listen(BACKLOG as i32)?;
                let listener = TcpListener::from_std(socket.into())?;
                let port = listener.local_addr()?.port();
                Ok(Bound { socket: Socket::Tcp(listener), port })
            }
            Endpoint::Unix { path, mode } => {
                remove_stale_socket(path)?;
                let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                // Linux gives the file the mode of the socket, so that it is never open for a moment to more than was asked
                // for. The umask would do the same, but it belongs to the whole process, and the store's threads create
                // files too. Systems that refuse this get the mode a moment later.
                let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(*mode));
                socket.bind(&socket2::SockAddr::unix(path)?)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
                socket.listen(BACKLOG as i32)?;
                let listener = UnixListener::from_std(socket.into())?;
                Ok(Bound { socket: Socket::Unix(listener, path.clone()), port: 0 })
            }
        }
    }

    /// The TCP port as bound: the system's choice if zero was asked for.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves until `stop` resolves, then drains and closes.
    pub async fn serve(
        self,
        app: Arc<App>,
        http: HttpSettings,
        stop: impl Future<Output = ()>,
        settings: Shutdown,
    ) -> DrainReport {
        let graceful = GracefulShutdown::new();
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(http.head_timeout);
        server.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
        if let Some(streams) = http.http2_max_concurrent_streams {
            // To hyper, `None` would mean no limit at all.
            server.http2().max_concurrent_streams(streams);
        }
        let server = Arc::new(server);
        let in_progress = InProgress::default();
        // Dropped when connections that have not said anything yet are to be closed.
        let (open, closing) = watch::channel(());
        let greeting = Greeting { patience: http.head_timeout, closing };
        let accept = async {
            loop {
                match self.socket.accept().await {
                    Ok(Stream::Tcp(stream)) => {
                        spawn(&server, &graceful, &app, &in_progress, &greeting, stream);
                    }
                    Ok(Stream::Unix(stream)) => {
                        spawn(&server, &graceful, &app, &in_progress, &greeting, stream);
                    }
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(sys = "api.http.server", %error, "cannot accept connections for the moment");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        let started = async {
            stop.await;
            let started = Instant::now();
            (started, shutdown::drain(&app, &settings).await)
        };
        // New connections are welcome until the drain is over: holders may need one to release.
        let (started, mut report) = tokio::select! {
            ended = started => ended,
            () = accept => unreachable!("accepting never ends by itself"),
        };
        drop(self.socket);
        drop(open);
        app.end_streams();
        let rest = settings.timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        let closed = graceful.shutdown();
        match rest {
            Some(rest) => {
                let closed = tokio::time::timeout(rest.max(Duration::from_millis(10)), closed).await;
                report.complete = closed.is_ok() || in_progress.count() == 0;
            }
            None => closed.await,
        }
        report
    }
}

/// What every TCP connection is set to. That fails on some systems if the client has gone already, which says nothing about
/// the socket that we accept on.
fn tune(stream: &tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    // A machine that lost power or its network says no goodbye. Its requests must not wait in line for ever, and be granted
    // leases that nobody will hear of.
    let probes = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&probes);
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn spawn<S: Readable>(
    server: &Arc<auto::Builder<TokioExecutor>>,
    graceful: &GracefulShutdown,
    app: &Arc<App>,
    in_progress: &InProgress,
    greeting: &Greeting,
    stream: S,
) {
    let (app, server, watcher, greeting) =
        (app.clone(), server.clone(), graceful.watcher(), greeting.clone());
    let in_progress = in_progress.clone();
    tokio::spawn(async move {
        if !greeting.heard(&stream).await {
            return;
        }
        let service = service_fn(move |request| {
            let (app, begun) = (app.clone(), in_progress.begin());
            async move {
                let answer = route::serve(app, request).await;
                Ok::<_, Infallible>(answer.map(|body| Accounted { body, _request: begun }))
            }
        });
        let connection = server.serve_connection(TokioIo::new(Lingering::new(stream)), service);
        let connection = watcher.watch(connection);
        if let Err(error) = connection.await {
            tracing::debug!(sys = "api.http.server", %error, "connection ended");
        }
    });
}

/// What HTTP/2 begins with. hyper waits for all of it without a timer.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client that has sent a part of that sends the rest at once.
const PREFACE_PAUSE: Duration = Duration::from_millis(50);

/// How long a new connection may be silent. Until it has said what it speaks nothing is set up for it, and no timer of hyper's
/// runs.
#[derive(Clone)]
struct Greeting {
    patience: Duration,
    closing: watch::Receiver<()>,
}

impl Greeting {
    /// Whether the client has begun to speak.
    async fn heard(mut self, stream: &impl Readable) -> bool {
        tokio::select! {
            heard = tokio::time::timeout(self.patience, speaks(stream)) => matches!(heard, Ok(Ok(true))),
            _ = self.closing.changed() => false,
        }
    }
}

/// Waits for as much as it takes to tell the protocols apart. False when the client has gone.
async fn speaks(stream: &impl Readable) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let ready = stream.ready().await?;
        match stream.peek(&mut first) {
            Ok(0) => return Ok(false),
            Ok(count) if count < PREFACE.len() && PREFACE.starts_with(&first[..count]) => {
                if ready.is_read_closed() {
                    return Ok(false);
                }
                tokio::time::sleep(PREFACE_PAUSE).await;
            }
            Ok(_) => return Ok(true),
            // Said to be readable, and is not.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

trait Readable: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    /// Waits for bytes or the end.
    fn ready(&self) -> impl Future<Output = io::Result<Ready>> + Send;
    /// What has been received, without taking it.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Readable for tokio::net::TcpStream {
    fn ready(&self) -> impl Future<Output = io::Result<Ready>> + Send {
        self.ready(Interest::READABLE)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || peek(self, buffer))
    }
}

impl Readable for tokio::net::UnixStream {
    fn ready(&self) -> impl Future<Output = io::Result<Ready>> + Send {
        self.ready(Interest::READABLE)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || peek(self, buffer))
    }
}

fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, rustix::net::RecvFlags::PEEK)?.0)
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Socket {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                tune(&stream);
                Ok(Stream::Tcp(stream))
            }
            Socket::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes what a killed server left behind, but neither a file that is no socket nor the socket of a living server.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            let text =
                format!("{} exists and is no socket: choose another path or remove it", path.display());
            Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                let text = format!("{} is the socket of a running server", path.display());
                Err(io::Error::new(io::ErrorKind::AddrInUse, text))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            // Not being allowed to knock does not mean that nobody is at home.
            Err(error) => {
                let text = format!("cannot tell whether {} is in use: {error}", path.display());
                Err(io::Error::new(error.kind(), text))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silent_clients_are_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let Stream::Tcp(stream) = Socket::Tcp(listener).accept().await.unwrap() else { unreachable!() };
        let socket = socket2::SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_not_waited_for_for_ever() {
        let (client, server) = tokio::net::UnixStream::pair().unwrap();
        let (open, closing) = watch::channel(());
        let greeting = Greeting { patience: Duration::from_secs(60), closing };
        assert!(!greeting.clone().heard(&server).await, "its time is over");
        drop(open);
        assert!(!greeting.clone().heard(&server).await, "the server closes");
        let (_open, closing) = watch::channel(());
        client.try_write(b"G").unwrap();
        assert!(Greeting { closing, ..greeting }.heard(&server).await);
    }

    async fn accepted(says: &[u8]) -> (std::net::TcpStream, tokio::net::TcpStream) {
        use std::io::Write as _;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(says).unwrap();
        let Stream::Tcp(stream) = Socket::Tcp(listener).accept().await.unwrap() else { unreachable!() };
        (client, stream)
    }

    #[tokio::test]
    async fn a_client_has_to_say_what_it_speaks() {
        let (_open, closing) = watch::channel(());
        for says in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
            let (_client, stream) = accepted(says).await;
            let greeting = Greeting { patience: Duration::from_millis(300), closing: closing.clone() };
            assert!(!greeting.heard(&stream).await, "{says:?}");
        }
        let greeting = Greeting { patience: Duration::from_secs(600), closing };
        for says in [&b"GE"[..], b"PUT", PREFACE] {
            let (_client, stream) = accepted(says).await;
            assert!(greeting.clone().heard(&stream).await, "{says:?}");
        }
        let (client, stream) = accepted(b"PRI").await;
        drop(client);
        assert!(!greeting.clone().heard(&stream).await, "gone in the middle of the preface");
        let (client, stream) = accepted(b"").await;
        drop(client);
        assert!(!greeting.heard(&stream).await);
    }
}
