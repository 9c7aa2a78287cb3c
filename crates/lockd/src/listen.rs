//! Where the server listens: a TCP address or a unix socket.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp {
        /// A name, an IP address without brackets, or empty for every interface.
        host: String,
        port: u16,
        family: Family,
    },
    Unix {
        path: PathBuf,
        /// Permissions of the socket.
        mode: u32,
    },
}

/// Which versions of IP to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both, as far as the machine has them.
    Any,
    V4,
    V6,
}

impl Listen {
    /// Reads `host:port`, `[v6]:port` or `:port`.
    pub(crate) fn tcp(text: &str, family: Family) -> Result<Listen, String> {
        let invalid = |what: &str| {
            format!(
                "listen address {text:?} {what}; write host:port, such as 127.0.0.1:9341, [::1]:9341 or :9341"
            )
        };
        if text.contains('/') {
            return Err(invalid("is a path, which needs --listen-proto unix"));
        }
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(|| invalid("has no port"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains([':', '[', ']', ' ']) {
            return Err(invalid("is not host:port"));
        }
        let host = bare.unwrap_or(host);
        let port = port.parse().map_err(|_| invalid("has no port number from 0 to 65535"))?;
        match (host.parse::<IpAddr>(), family) {
            (Ok(IpAddr::V6(_)), Family::V4) => {
                Err(invalid("is not an IPv4 address, as listen-proto tcp4 needs"))
            }
            (Ok(IpAddr::V4(_)), Family::V6) => {
                Err(invalid("is not an IPv6 address, as listen-proto tcp6 needs"))
            }
            (Err(_), _) if bare.is_some() => Err(invalid("has no IPv6 address in its brackets")),
            _ => Ok(Listen::Tcp { host: host.to_owned(), port, family }),
        }
    }

    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Listen::Unix { .. } => true,
            Listen::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        }
    }

    /// The same, with the port that was really bound.
    pub fn bound_to(&self, port: u16) -> Listen {
        match self {
            Listen::Tcp { host, family, .. } => Listen::Tcp { host: host.clone(), port, family: *family },
            Listen::Unix { .. } => self.clone(),
        }
    }

    /// The word for the `network` field of the log: `tcp`, `tcp4`, `tcp6` or `unix`.
    pub fn network(&self) -> &'static str {
        match self {
            Listen::Tcp { family: Family::Any, .. } => "tcp",
            Listen::Tcp { family: Family::V4, .. } => "tcp4",
            Listen::Tcp { family: Family::V6, .. } => "tcp6",
            Listen::Unix { .. } => "unix",
        }
    }

    /// Addresses to try, best first; looks names up. Empty for a unix socket.
    ///
    /// Every interface is `[::]` and, for machines without IPv6, `0.0.0.0`. Of a name's addresses those of IPv4 come
    /// first, since that is what clients of `localhost` try.
    pub fn candidates(&self) -> io::Result<Vec<SocketAddr>> {
        let Listen::Tcp { host, port, family } = self else {
            return Ok(Vec::new());
        };
        let mut addresses: Vec<SocketAddr> = if host.is_empty() {
            vec![(Ipv6Addr::UNSPECIFIED, *port).into(), (Ipv4Addr::UNSPECIFIED, *port).into()]
        } else {
            (host.as_str(), *port).to_socket_addrs()?.collect()
        };
        addresses.retain(|address| match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        });
        if !host.is_empty() {
            addresses.sort_by_key(SocketAddr::is_ipv6);
        }
        Ok(addresses)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Unix { path, .. } => write!(out, "{}", path.display()),
            Listen::Tcp { host, port, .. } if host.contains(':') => write!(out, "[{host}]:{port}"),
            Listen::Tcp { host, port, .. } => write!(out, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for (text, local) in [
            (":9341", false),
            ("0.0.0.0:1", false),
            ("127.0.0.1:9341", true),
            ("127.9.9.9:0", true),
            ("[::1]:9341", true),
            ("[::]:9341", false),
            ("localhost:9341", true),
            ("db.example.com:80", false),
        ] {
            let listen = Listen::tcp(text, Family::Any).unwrap();
            assert_eq!(listen.to_string(), text);
            assert_eq!(listen.is_local(), local, "{text}");
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in
            ["", "9341", "localhost", "localhost:http", "::1:9341", "[::1", "[x]:1", "a:65536", "a b:1"]
        {
            assert!(Listen::tcp(text, Family::Any).is_err(), "{text}");
        }
        assert!(Listen::tcp("[::1]:1", Family::V4).is_err());
        assert!(Listen::tcp("127.0.0.1:1", Family::V6).is_err());
    }

    #[test]
    fn every_interface_has_a_candidate_of_each_family() {
        let candidates = |family| Listen::tcp(":1", family).unwrap().candidates().unwrap();
        assert_eq!(candidates(Family::Any).len(), 2);
        assert!(candidates(Family::V4).iter().all(SocketAddr::is_ipv4));
        assert!(candidates(Family::V6).iter().all(SocketAddr::is_ipv6));
    }
}
