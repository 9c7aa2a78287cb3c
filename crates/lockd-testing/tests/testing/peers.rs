//! Servers and clients of a few lines, on TCP or unix sockets, for the tests of the proxy.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lockd_testing::Endpoint;

/// No test waits longer for what must come; a broken proxy fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    pub(crate) fn to(endpoint: &Endpoint) -> Peer {
        let peer = match endpoint {
            Endpoint::Tcp(address) => Peer::Tcp(TcpStream::connect(address).unwrap()),
            Endpoint::Unix(path) => Peer::Unix(UnixStream::connect(path).unwrap()),
        };
        peer.patience(PATIENCE);
        peer
    }

    pub(crate) fn patience(&self, patience: Duration) {
        match self {
            Peer::Tcp(stream) => {
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(patience)).unwrap();
                stream.set_write_timeout(Some(patience)).unwrap();
            }
            Peer::Unix(stream) => {
                stream.set_read_timeout(Some(patience)).unwrap();
                stream.set_write_timeout(Some(patience)).unwrap();
            }
        }
    }

    /// Says that no more will come, unless the connection is gone already.
    pub(crate) fn finish(&self) {
        let _ = match self {
            Peer::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Peer::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Sends it and reads as much.
    pub(crate) fn echo(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.write_all(bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        self.read_exact(&mut back).unwrap();
        back
    }

    /// Reads to the end, whatever it is: how many bytes came, and how it ended.
    pub(crate) fn drain(&mut self) -> (usize, io::Result<()>) {
        let mut buffer = [0; 4096];
        let mut count = 0;
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return (count, Ok(())),
                Ok(read) => count += read,
                Err(error) => return (count, Err(error)),
            }
        }
    }

    /// Whether nothing comes for a while.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        self.patience(Duration::from_millis(150));
        let read = self.read(&mut [0; 1]);
        self.patience(PATIENCE);
        read.is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Peer::Tcp(stream) => stream.read(buffer),
            Peer::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Peer::Tcp(stream) => stream.write(bytes),
            Peer::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn is_reset(end: &io::Result<()>) -> bool {
    end.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Serves every connection with `serve` on a thread of its own, as long as the test program runs.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    accepted: Arc<AtomicUsize>,
    _home: Option<tempfile::TempDir>,
}

impl Server {
    pub(crate) fn tcp(serve: impl Fn(Peer) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().into();
        let accept = move || Peer::Tcp(listener.accept().unwrap().0);
        Server { endpoint, accepted: each(accept, serve), _home: None }
    }

    pub(crate) fn unix(serve: impl Fn(Peer) + Send + Sync + 'static) -> Server {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("server.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let accept = move || Peer::Unix(listener.accept().unwrap().0);
        Server { endpoint: path.into(), accepted: each(accept, serve), _home: Some(home) }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn each(
    accept: impl Fn() -> Peer + Send + 'static,
    serve: impl Fn(Peer) + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let accepted = Arc::new(AtomicUsize::new(0));
    let (count, serve) = (accepted.clone(), Arc::new(serve));
    std::thread::spawn(move || {
        loop {
            let peer = accept();
            peer.patience(PATIENCE);
            count.fetch_add(1, Ordering::SeqCst);
            let serve = serve.clone();
            std::thread::spawn(move || serve(peer));
        }
    });
    accepted
}

/// Gives back what it gets.
pub(crate) fn echo(mut peer: Peer) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(read) = peer.read(&mut buffer)
        && read > 0
        && peer.write_all(&buffer[..read]).is_ok()
    {}
}

/// Bytes of which no two neighbouring thousands are alike.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8 ^ (n / 1000) as u8).collect()
}
