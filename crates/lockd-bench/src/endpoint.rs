//! Where a server is reached: loopback TCP or a Unix socket, and nothing else, so that a mistyped address
//! cannot turn the load generator on somebody else's machine.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::fault::Fault;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Endpoint, Fault> {
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(Fault::Setup(format!(
                    "endpoint {text:?}: write an absolute path, as in unix:///run/lockd.sock"
                )));
            }
            return Ok(Endpoint::Unix(PathBuf::from(path)));
        }
        let Some(authority) = text.strip_prefix("http://") else {
            return Err(Fault::Setup(format!(
                "endpoint {text:?}: use http://127.0.0.1:PORT or unix:///PATH"
            )));
        };
        let authority = authority.trim_end_matches('/');
        let address: SocketAddr = match authority.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}").parse(),
            None => authority.parse(),
        }
        .map_err(|_| {
            Fault::Setup(format!(
                "endpoint {text:?}: {authority:?} is not ADDRESS:PORT with a numeric loopback address"
            ))
        })?;
        if !address.ip().is_loopback() {
            return Err(Fault::Setup(format!(
                "endpoint {text:?}: only loopback addresses are measured; run the generator on the server's machine"
            )));
        }
        Ok(Endpoint::Tcp(address))
    }

    pub(crate) async fn connect(&self) -> Result<Socket, Fault> {
        let opened = match self {
            Endpoint::Tcp(address) => match TcpStream::connect(address).await {
                Ok(stream) => stream.set_nodelay(true).map(|()| Socket::Tcp(stream)),
                Err(error) => Err(error),
            },
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        };
        opened.map_err(|source| Fault::Connect { endpoint: self.to_string(), source })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(out, "http://{address}"),
            Endpoint::Unix(path) => write!(out, "unix://{}", path.display()),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_unix_endpoints_parse() {
        assert_eq!(
            Endpoint::parse("http://127.0.0.1:9341/").unwrap(),
            Endpoint::Tcp("127.0.0.1:9341".parse().unwrap())
        );
        assert_eq!(
            Endpoint::parse("http://localhost:80").unwrap(),
            Endpoint::Tcp("127.0.0.1:80".parse().unwrap())
        );
        assert_eq!(Endpoint::parse("unix:///run/x.sock").unwrap(), Endpoint::Unix("/run/x.sock".into()));
    }

    #[test]
    fn other_machines_and_schemes_are_refused() {
        for text in ["http://10.0.0.1:9341", "https://127.0.0.1:9341", "unix://relative", "http://127.0.0.1"]
        {
            assert!(Endpoint::parse(text).is_err(), "{text} was accepted");
        }
    }
}
