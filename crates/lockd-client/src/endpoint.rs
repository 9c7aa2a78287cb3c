//! Where servers are: `https://host:port`, `http://host:port`, `unix:///path/of/socket`, and lists of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};

/// The port of a server whose address names none.
pub const DEFAULT_PORT: u16 = 9341;

/// The address of one server.
///
/// ```
/// use lockd_client::Endpoint;
///
/// let endpoint: Endpoint = "http://[::1]".parse()?;
/// assert_eq!(endpoint.to_string(), "http://[::1]:9341");
/// assert!("https://lockd.example.com".parse::<Endpoint>()?.is_secure());
/// let socket: Endpoint = "unix:///run/lockd.sock?path=/coordination".parse()?;
/// assert!(socket.unix_path().is_some());
/// # Ok::<_, lockd_client::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    place: Place,
    /// What stands before every path: empty, or `/…` without a slash at the end.
    prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The host without brackets.
    Tcp {
        host: String,
        port: u16,
        /// TLS comes before HTTP.
        secure: bool,
    },
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads a comma-separated list. Blanks around and between are ignored, as is a comma at the end.
    pub fn parse_list(text: &str) -> Result<Vec<Endpoint>> {
        let endpoints: Vec<Endpoint> = text
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::parse)
            .collect::<Result<_>>()?;
        match endpoints.is_empty() {
            true => Err(invalid(text, "it names no server; write for example http://127.0.0.1:9341")),
            false => Ok(endpoints),
        }
    }

    /// The socket of a `unix://` endpoint.
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Unix(path) => Some(path),
            Place::Tcp { .. } => None,
        }
    }

    /// Whether calls to it go over TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.place, Place::Tcp { secure: true, .. })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        match &self.place {
            Place::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port, .. } => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }
}

fn invalid(text: &str, reason: impl Into<String>) -> Error {
    Error::InvalidEndpoint { text: text.to_owned(), reason: reason.into() }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Endpoint> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid(
                text,
                "it has no scheme; write https://HOST:PORT, http://HOST:PORT or unix:///PATH/OF/SOCKET",
            ));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" => tcp(text, rest, false),
            "https" => tcp(text, rest, true),
            "unix" => unix(text, rest),
            _ => Err(invalid(
                text,
                format!("the scheme {scheme:?} is unknown; write https://, http:// or unix://"),
            )),
        }
    }
}

fn tcp(text: &str, rest: &str, secure: bool) -> Result<Endpoint> {
    if rest.contains(['?', '#', '@']) {
        return Err(invalid(text, "only a host, a port and a path may follow ://"));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let Some((host, port)) = bracketed.split_once(']') else {
                return Err(invalid(text, "a bracket is not closed"));
            };
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(invalid(text, format!("{host:?} is not an IPv6 address")));
            }
            let port = match port.strip_prefix(':') {
                None if !port.is_empty() => {
                    return Err(invalid(text, "after the bracket comes : and the port"));
                }
                port => port,
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(invalid(text, "an IPv6 address stands in brackets: http://[::1]:9341"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(invalid(text, "it has no host"));
    }
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(invalid(text, format!("{port:?} is not a port (1 to 65535)"))),
        },
    };
    Ok(Endpoint { place: Place::Tcp { host: host.to_owned(), port, secure }, prefix: prefix(text, path)? })
}

fn unix(text: &str, rest: &str) -> Result<Endpoint> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() < 2 {
        return Err(invalid(text, "the path of the socket must be absolute: unix:///run/lockd.sock"));
    }
    let mut before = String::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "path" => before = value.into_owned(),
            other => return Err(invalid(text, format!("the only parameter is path, not {other:?}"))),
        }
    }
    Ok(Endpoint { place: Place::Unix(PathBuf::from(path)), prefix: prefix(text, &before)? })
}

fn prefix(text: &str, path: &str) -> Result<String> {
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    match path.starts_with('/') && path.bytes().all(is_plain) {
        true => Ok(path.to_owned()),
        false => {
            Err(invalid(text, format!("{path:?} is not a path; it starts with / and has no blanks, ? or #")))
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { secure, .. } => {
                let scheme = if *secure { "https" } else { "http" };
                write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
            }
            Place::Unix(path) if self.prefix.is_empty() => write!(f, "unix://{}", path.display()),
            Place::Unix(path) => write!(f, "unix://{}?path={}", path.display(), self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> String {
        text.parse::<Endpoint>().unwrap().to_string()
    }

    #[test]
    fn addresses_are_read_and_completed() {
        assert_eq!(spelled("http://127.0.0.1:1/"), "http://127.0.0.1:1");
        assert_eq!(spelled("HTTP://lockd.example"), "http://lockd.example:9341");
        assert_eq!(spelled("http://[fe80::1]:80/a/b/"), "http://[fe80::1]:80/a/b");
        assert_eq!(spelled("https://lockd.example/"), "https://lockd.example:9341");
        assert_eq!(spelled("HTTPS://[::1]:443/p"), "https://[::1]:443/p");
        assert_eq!(spelled("unix:///run/x.sock"), "unix:///run/x.sock");
        assert_eq!(spelled("unix:///run/x.sock?path=/p/"), "unix:///run/x.sock?path=/p");
        let list = Endpoint::parse_list(" http://a , unix:///b,").unwrap();
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn bad_addresses_say_what_to_write() {
        for (text, hint) in [
            ("127.0.0.1:9341", "no scheme"),
            ("https://", "no host"),
            ("ftp://lockd", "unknown"),
            ("http://", "no host"),
            ("http://a:b", "not a port"),
            ("http://a:0", "not a port"),
            ("http://::1", "brackets"),
            ("http://[::1", "not closed"),
            ("http://[x]", "not an IPv6"),
            ("http://u@h", "only a host"),
            ("unix://relative", "absolute"),
            ("unix:///s?prefix=/x", "only parameter"),
            ("unix:///s?path=x", "not a path"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(hint) && error.contains(text), "{text}: {error}");
        }
        assert!(Endpoint::parse_list(" , ").unwrap_err().to_string().contains("names no server"));
    }
}
