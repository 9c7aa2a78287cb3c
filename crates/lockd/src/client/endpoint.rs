//! `--server`: which servers to talk to, and how.

use std::fmt;
use std::path::PathBuf;

use super::{Failure, Outcome};
use crate::flags::ClientSettings;

const DEFAULT_PORT: u16 = 9341;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `host:port`, brackets included, and what comes before the API's paths.
    Tcp {
        authority: String,
        prefix: String,
        secure: bool,
    },
    Unix {
        path: PathBuf,
        prefix: String,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { authority, prefix, secure } => {
                write!(out, "{}://{authority}{prefix}", scheme(*secure))
            }
            Endpoint::Unix { path, prefix } if prefix.is_empty() => write!(out, "unix://{}", path.display()),
            Endpoint::Unix { path, prefix } => write!(out, "unix://{}?path={prefix}", path.display()),
        }
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// Reads `--server`. What names no scheme is meant to go over TLS, unless that is disabled.
pub(super) fn endpoints(settings: &ClientSettings) -> Outcome<Vec<Endpoint>> {
    let secure = !settings.disable_mtls;
    let text = settings.server.trim();
    if text.is_empty() {
        return Ok(vec![Endpoint::Tcp {
            authority: format!("127.0.0.1:{DEFAULT_PORT}"),
            prefix: String::new(),
            secure,
        }]);
    }
    let endpoints: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| parse(part, scheme(secure)))
        .collect::<Result<_, _>>()
        .map_err(Failure::Local)?;
    if endpoints.is_empty() {
        return Err(Failure::Local("lockd: no server endpoints provided".into()));
    }
    let has_unix = endpoints.iter().any(|endpoint| matches!(endpoint, Endpoint::Unix { .. }));
    if has_unix && endpoints.len() > 1 {
        return Err(Failure::Local("lockd: unix endpoints cannot be combined with others".into()));
    }
    Ok(endpoints)
}

fn parse(text: &str, default: &str) -> Result<Endpoint, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or((default, text));
    match scheme.to_ascii_lowercase().as_str() {
        scheme @ ("http" | "https") => {
            let rest = rest.trim_end_matches('/');
            let (host, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            if host.is_empty() || host.contains(['?', '#', ' ', '@']) {
                return Err(format!("lockd: server {text:?} names no host: write {scheme}://HOST:PORT"));
            }
            let after_brackets = host.rfind(']').map_or(0, |at| at + 1);
            let authority = match host[after_brackets..].rsplit_once(':') {
                None => format!("{host}:{DEFAULT_PORT}"),
                Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
                Some((_, port)) => return Err(format!("lockd: server {text:?}: {port:?} is not a port")),
            };
            Ok(Endpoint::Tcp { authority, prefix: prefix.to_owned(), secure: scheme == "https" })
        }
        "unix" => {
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            if !path.starts_with('/') {
                return Err(format!(
                    "lockd: server {text:?}: write the path from the root, unix:///run/lockd.sock"
                ));
            }
            let prefix = query.split('&').find_map(|pair| pair.strip_prefix("path=")).unwrap_or("");
            Ok(Endpoint::Unix { path: path.into(), prefix: prefix.trim_end_matches('/').to_owned() })
        }
        _ => Err(format!("lockd: server {text:?}: unknown scheme {scheme:?} (http, https or unix)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_completed() {
        for (text, shown) in [
            ("http://a:1", "http://a:1"),
            ("http://a/", "http://a:9341"),
            ("a", "http://a:9341"),
            ("a:7", "http://a:7"),
            ("http://[::1]", "http://[::1]:9341"),
            ("http://[::1]:5/x/", "http://[::1]:5/x"),
            ("https://a/x", "https://a:9341/x"),
            ("HTTPS://a:7", "https://a:7"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix:///run/x.sock?path=/v", "unix:///run/x.sock?path=/v"),
        ] {
            assert_eq!(parse(text, "http").unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(parse("a:7", "https").unwrap().to_string(), "https://a:7");
        for text in ["ftp://a", "http://", "https://", "http://a:x", "unix://x"] {
            assert!(parse(text, "http").unwrap_err().contains(text), "{text}");
        }
    }
}
