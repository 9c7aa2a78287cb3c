//! `--server`: which servers to talk to, and how.

use std::fmt;
use std::path::PathBuf;

use super::{Failure, Invocation, Outcome};

const DEFAULT_PORT: u16 = 9341;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `host:port`, brackets included, and what comes before the API's paths.
    Tcp {
        authority: String,
        prefix: String,
    },
    Unix {
        path: PathBuf,
        prefix: String,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { authority, prefix } => write!(out, "http://{authority}{prefix}"),
            Endpoint::Unix { path, prefix } if prefix.is_empty() => write!(out, "unix://{}", path.display()),
            Endpoint::Unix { path, prefix } => write!(out, "unix://{}?path={prefix}", path.display()),
        }
    }
}

/// Reads `--server`, and refuses what this version cannot speak.
pub(super) fn endpoints(invocation: &Invocation) -> Outcome<Vec<Endpoint>> {
    let settings = &invocation.settings;
    if !settings.disable_mtls {
        return Err(no_tls(invocation));
    }
    let text = settings.server.trim();
    if text.is_empty() {
        return Ok(vec![Endpoint::Tcp {
            authority: format!("127.0.0.1:{DEFAULT_PORT}"),
            prefix: String::new(),
        }]);
    }
    let endpoints: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(parse)
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

fn parse(text: &str) -> Result<Endpoint, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {
            let rest = rest.trim_end_matches('/');
            let (host, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            if host.is_empty() || host.contains(['?', '#', ' ', '@']) {
                return Err(format!("lockd: server {text:?} names no host: write http://HOST:PORT"));
            }
            let after_brackets = host.rfind(']').map_or(0, |at| at + 1);
            let authority = match host[after_brackets..].rsplit_once(':') {
                None => format!("{host}:{DEFAULT_PORT}"),
                Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
                Some((_, port)) => return Err(format!("lockd: server {text:?}: {port:?} is not a port")),
            };
            Ok(Endpoint::Tcp { authority, prefix: prefix.to_owned() })
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
        "https" => Err(format!(
            "lockd: server {text:?}: this version has no TLS yet: use http:// on a network you trust, or unix://"
        )),
        _ => Err(format!("lockd: server {text:?}: unknown scheme {scheme:?} (http, https or unix)")),
    }
}

/// What is wrong with asking for mutual TLS, in the words in which a missing bundle has always been reported.
fn no_tls(invocation: &Invocation) -> Failure {
    const HINT: &str = "this version has no TLS yet: give --disable-mtls (LOCKD_CLIENT_DISABLE_MTLS=true) to talk plain HTTP";
    if let Some(bundle) = &invocation.settings.bundle {
        let shown = bundle.display();
        return Failure::Local(match std::fs::read(bundle) {
            Ok(_) => format!("client bundle {shown} cannot be used: {HINT}"),
            Err(error) => format!("load client bundle {shown}: {error}"),
        });
    }
    let mut found: Vec<String> = invocation
        .directory
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("client") && name.ends_with(".pem"))
        .collect();
    found.sort();
    Failure::Local(match found.as_slice() {
        [] => format!("no client bundle found; provide --bundle ({HINT})"),
        [only] => format!("client bundle {only} cannot be used: {HINT}"),
        several => {
            format!("multiple client bundles found ({}); specify --bundle ({HINT})", several.join(", "))
        }
    })
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
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix:///run/x.sock?path=/v", "unix:///run/x.sock?path=/v"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["https://a", "ftp://a", "http://", "http://a:x", "unix://x"] {
            assert!(parse(text).unwrap_err().contains(text), "{text}");
        }
    }
}
