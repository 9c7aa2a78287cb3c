//! Where a server or a proxy listens: a TCP address or the path of a unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Error;

/// A TCP address or a unix socket. Its text is the URL that lockd clients take.
///
/// ```
/// use lockd_testing::Endpoint;
///
/// let tcp: Endpoint = "127.0.0.1:9341".parse()?;
/// assert_eq!(tcp.to_string(), "http://127.0.0.1:9341");
/// let unix: Endpoint = "unix:///run/lockd.sock".parse()?;
/// assert_eq!(unix.to_string(), "unix:///run/lockd.sock");
/// # Ok::<(), lockd_testing::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Endpoint {
    /// The address, unless this is a unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        }
    }

    /// The path of the socket, unless this is a TCP address.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Endpoint::Tcp(_) => None,
            Endpoint::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(f, "http://{address}"),
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Endpoint::Unix(PathBuf::from(path)));
        }
        let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        address.parse().map(Endpoint::Tcp).map_err(|_| Error::NoEndpoint(text.to_owned()))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint::Tcp(address)
    }
}

impl From<PathBuf> for Endpoint {
    fn from(path: PathBuf) -> Self {
        Endpoint::Unix(path)
    }
}

impl From<&Endpoint> for Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        endpoint.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_endpoint_is_named() {
        for text in ["", "localhost:1", "https://127.0.0.1:1", "127.0.0.1", "unix://relative"] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!("http://[::1]:80/".parse::<Endpoint>().unwrap().tcp(), "[::1]:80".parse().ok());
        assert_eq!("/a b".parse::<Endpoint>().unwrap().unix(), Some(Path::new("/a b")));
    }
}
