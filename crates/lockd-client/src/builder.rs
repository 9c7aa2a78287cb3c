//! Making a client: servers, timeouts, names.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use lockd_wire::Namespace;
use tokio::sync::watch;

use crate::client::Client;
use crate::correlation;
use crate::courier::Courier;
use crate::endpoint::{Endpoint, Place};
use crate::error::{Error, Result};
use crate::exchange::Server;
use crate::retry::RetryPolicy;
use crate::tls::{Prepared, Secure, Tls};

const TIMEOUT: Duration = Duration::from_secs(15);
/// With several servers it pays to turn to the next one soon.
const TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(3);
const SHORT_TIMEOUT: Duration = Duration::from_secs(5);

/// One attempt at a call, as [observers](ClientBuilder::observe) see it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// The HTTP method.
    pub method: String,
    /// The server, the path and the query.
    pub url: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// How long it took, without the reading of a streamed body.
    pub duration: Duration,
}

#[derive(Clone)]
pub(crate) struct Observer(pub(crate) Arc<dyn Fn(&Attempt) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// The settings of a [`Client`].
///
/// ```
/// use std::time::Duration;
/// use lockd_client::Client;
///
/// let client = Client::builder()
///     .endpoints("http://10.0.0.1:9341,http://10.0.0.2:9341")
///     .namespace("team-a")
///     .owner("importer-3")
///     .timeout(Duration::from_secs(10))
///     .build()?;
/// # Ok::<_, lockd_client::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    namespace: Option<String>,
    owner: Option<String>,
    correlation_id: Option<String>,
    timeout: Option<Duration>,
    keepalive_timeout: Option<Duration>,
    release_timeout: Option<Duration>,
    retry: Option<RetryPolicy>,
    tls: Option<Tls>,
    observer: Option<Observer>,
}

impl ClientBuilder {
    /// Adds a server.
    pub fn endpoint(mut self, endpoint: impl ToString) -> Self {
        self.endpoints.push(endpoint.to_string());
        self
    }

    /// Adds the servers of a comma-separated list.
    pub fn endpoints(self, list: &str) -> Self {
        self.endpoint(list)
    }

    /// The namespace of all keys; `default` without one.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// In whose name leases are taken, unless the options of a call say otherwise; the name of the machine and the number of
    /// the process without one.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// The id under which the server's log knows all calls of this client: 1 to 128 printable ASCII characters. Without one
    /// every call outside of a session has a new one.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// How the servers of `https://` endpoints are recognised, and what this client shows of itself: a [`Tls`], a
    /// [bundle](crate::Bundle) or [roots](crate::Roots). Without this they need a certificate for their host name from a CA that the
    /// system trusts.
    pub fn tls(mut self, tls: impl Into<Tls>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// How long a server may be silent in one attempt: until the connection is there, with TLS if it is to be, until it takes
    /// more of an upload, begins to answer, or sends more of its answer. 15 seconds, or 3 with several servers. A large transfer
    /// may take longer as long as it moves, and waiting for a lease is not limited by this.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same for keepalives: 5 seconds, or the timeout if that is less.
    pub fn keepalive_timeout(mut self, timeout: Duration) -> Self {
        self.keepalive_timeout = Some(timeout);
        self
    }

    /// The same for releases: the timeout unless set.
    pub fn release_timeout(mut self, timeout: Duration) -> Self {
        self.release_timeout = Some(timeout);
        self
    }

    /// How persistent calls are.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Calls this after every attempt at every call: for a log of requests, or for metrics. It must not block.
    ///
    /// ```
    /// let client = lockd_client::Client::builder()
    ///     .endpoint("http://127.0.0.1:9341")
    ///     .observe(|attempt| eprintln!("{} {} {:?} {:?}", attempt.method, attempt.url, attempt.status, attempt.duration))
    ///     .build()?;
    /// # Ok::<_, lockd_client::Error>(())
    /// ```
    pub fn observe(mut self, observer: impl Fn(&Attempt) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer(Arc::new(observer)));
        self
    }

    /// Makes the client. It connects when it is used.
    pub fn build(self) -> Result<Client> {
        let endpoints = Endpoint::parse_list(&self.endpoints.join(","))?;
        let namespace = self.namespace.as_deref().unwrap_or("default");
        let namespace = checked_namespace(namespace)?;
        let correlation_id = self.correlation_id.as_deref().map(checked_correlation_id).transpose()?;
        let default = if endpoints.len() > 1 { TIMEOUT_OF_SEVERAL } else { TIMEOUT };
        let timeout = positive("timeout", self.timeout)?.unwrap_or(default);
        let keepalive_timeout = positive("keepalive timeout", self.keepalive_timeout)?;
        let release_timeout = positive("release timeout", self.release_timeout)?;
        let tls = match endpoints.iter().any(Endpoint::is_secure) {
            true => Some(self.tls.unwrap_or_default().prepare()?),
            false => None,
        };
        let servers = endpoints.into_iter().map(|endpoint| server(endpoint, tls.as_ref()));
        let servers: Vec<Server> = servers.collect::<Result<_>>()?;
        let inner = Courier {
            draining: watch::Sender::new(vec![false; servers.len()]),
            servers,
            preferred: AtomicUsize::new(0),
            retry: self.retry.unwrap_or_default(),
            timeout,
            keepalive_timeout: keepalive_timeout.unwrap_or(SHORT_TIMEOUT.min(timeout)),
            release_timeout: release_timeout.unwrap_or(timeout),
            owner: self.owner.unwrap_or_else(machine_and_process),
            observer: self.observer,
        };
        Ok(Client { inner: Arc::new(inner), namespace, correlation_id })
    }
}

fn server(endpoint: Endpoint, tls: Option<&Prepared>) -> Result<Server> {
    let secure = match (endpoint.place(), tls) {
        (Place::Tcp { host, secure: true, .. }, Some(tls)) => Some(Secure::new(tls, host, &endpoint)?),
        _ => None,
    };
    Ok(Server::new(endpoint, secure))
}

fn positive(name: &'static str, span: Option<Duration>) -> Result<Option<Duration>> {
    match span {
        Some(Duration::ZERO) => {
            Err(Error::InvalidOption { name, value: "0".into(), reason: "it must be more than 0".into() })
        }
        span => Ok(span),
    }
}

pub(crate) fn checked_namespace(text: &str) -> Result<Arc<str>> {
    match Namespace::parse(text) {
        Ok(namespace) => Ok(namespace.as_str().into()),
        Err(_) => Err(Error::InvalidOption {
            name: "namespace",
            value: text.to_owned(),
            reason:
                "it must be 1 to 128 letters, digits, dots, underscores and hyphens, and not begin with a dot"
                    .into(),
        }),
    }
}

pub(crate) fn checked_correlation_id(id: &str) -> Result<Arc<str>> {
    match correlation::is_valid(id) {
        true => Ok(id.into()),
        false => Err(Error::InvalidOption {
            name: "correlation id",
            value: id.to_owned(),
            reason: "it must be 1 to 128 printable ASCII characters without blanks around".into(),
        }),
    }
}

fn machine_and_process() -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let machine = if machine.is_empty() { "lockd".to_owned() } else { machine };
    format!("{machine}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_refused_with_their_value() {
        let on = || Client::builder().endpoint("http://127.0.0.1");
        for (builder, hint) in [
            (Client::builder(), "names no server"),
            (on().namespace(".txns"), "\".txns\""),
            (on().correlation_id("ä"), "printable ASCII"),
            (on().timeout(Duration::ZERO), "more than 0"),
        ] {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn a_list_of_servers_makes_turning_to_the_next_one_quick() {
        let one = Client::connect("http://a").unwrap();
        let two = Client::connect("http://a,unix:///b").unwrap();
        assert_eq!((one.inner.timeout, two.inner.timeout), (TIMEOUT, TIMEOUT_OF_SEVERAL));
        assert!(one.inner.owner.ends_with(&format!("-{}", std::process::id())));
    }
}
