//! Where the servers are and how to talk to them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::arguments;
use crate::connection::{Connection, Duplex, Kind};
use crate::error::Error;
use crate::primitive::{Lock, Semaphore};
use crate::shard::stable_hash_shard;
use crate::stats::Stats;
use crate::tls::{Tls, parse_name};

pub const DEFAULT_SERVER: &str = "127.0.0.1:6388";

/// How long a silent connection may be before the system asks whether its other end still exists.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Sharding = Arc<dyn Fn(&str, usize) -> usize + Send + Sync>;

#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The servers, and what is common to all locks on them. Cheap to clone; holds no connection.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    servers: Vec<Server>,
    sharding: Sharding,
    auth: Option<String>,
    tls: Option<Tls>,
    connect_timeout: Option<Duration>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.inner.servers.iter().map(Server::to_string).collect();
        f.debug_struct("Client").field("servers", &servers).finish_non_exhaustive()
    }
}

/// Settings of a [`Client`] to be.
#[derive(Clone)]
pub struct ClientBuilder {
    servers: Vec<String>,
    settings: Settings,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Adds a server, `host:port`. All clients need the same servers in the same order. Without any, [`DEFAULT_SERVER`].
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> ClientBuilder {
        self.servers.push(server.into());
        self
    }

    /// Another rule than [`stable_hash_shard`] for which server a key belongs to.
    #[must_use]
    pub fn sharding(
        mut self,
        sharding: impl Fn(&str, usize) -> usize + Send + Sync + 'static,
    ) -> ClientBuilder {
        self.settings.sharding = Arc::new(sharding);
        self
    }

    /// The secret of the servers. Without TLS it travels in the clear. An empty one is none.
    #[must_use]
    pub fn auth(mut self, secret: impl Into<String>) -> ClientBuilder {
        self.settings.auth = Some(secret.into()).filter(|secret| !secret.is_empty());
        self
    }

    #[must_use]
    pub fn tls(mut self, tls: Tls) -> ClientBuilder {
        self.settings.tls = Some(tls);
        self
    }

    /// Bounds connecting, TLS included. Without it the system decides.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.settings.connect_timeout = Some(timeout);
        self
    }

    pub fn build(mut self) -> Result<Client, Error> {
        if self.servers.is_empty() {
            self.servers.push(DEFAULT_SERVER.to_owned());
        }
        if let Some(secret) = &self.settings.auth {
            arguments::secret(secret)?;
        }
        for text in &self.servers {
            let invalid = || Error::Invalid(format!("server {text:?} is not host:port"));
            let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let port = port.parse().map_err(|_| invalid())?;
            if host.is_empty() || port == 0 {
                return Err(invalid());
            }
            self.settings.servers.push(Server { host: host.to_owned(), port });
        }
        Ok(Client { inner: Arc::new(self.settings) })
    }
}

impl Client {
    #[must_use]
    pub fn builder() -> ClientBuilder {
        let settings = Settings {
            servers: Vec::new(),
            sharding: Arc::new(|key, servers| stable_hash_shard(key, servers).unwrap_or(0)),
            auth: None,
            tls: None,
            connect_timeout: None,
        };
        ClientBuilder { servers: Vec::new(), settings }
    }

    /// One server, with nothing else to be said about it.
    pub fn new(server: impl Into<String>) -> Result<Client, Error> {
        Client::builder().server(server).build()
    }

    /// A lock on this key. Nothing is sent yet.
    pub fn lock(&self, key: impl Into<String>) -> Result<Lock, Error> {
        Lock::new(self.clone(), Kind::Lock, key.into())
    }

    /// A semaphore with so many slots. All its users must name the same limit.
    pub fn semaphore(&self, key: impl Into<String>, limit: u64) -> Result<Semaphore, Error> {
        arguments::limit(limit)?;
        Ok(Semaphore::of(Lock::new(self.clone(), Kind::Semaphore { limit }, key.into())?))
    }

    /// What the server with this number knows now.
    pub async fn stats(&self, server: usize) -> Result<Stats, Error> {
        self.open(server).await?.stats().await
    }

    /// A connection to the server of this key, for the commands one by one.
    pub async fn connect(&self, key: &str) -> Result<Connection, Error> {
        self.open((self.inner.sharding)(key, self.inner.servers.len())).await
    }

    async fn open(&self, index: usize) -> Result<Connection, Error> {
        let servers = &self.inner.servers;
        let Some(server) = servers.get(index) else {
            return Err(Error::Invalid(format!(
                "there is no server number {index}: {} server(s) are configured",
                servers.len()
            )));
        };
        let stream = match self.inner.connect_timeout {
            None => self.dial(server).await?,
            Some(after) => match tokio::time::timeout(after, self.dial(server)).await {
                Ok(stream) => stream?,
                Err(_) => return Err(Error::ConnectTimeout { address: server.to_string(), after }),
            },
        };
        let mut connection = Connection::new(stream);
        if let Some(secret) = &self.inner.auth {
            connection.authenticate(secret).await?;
        }
        Ok(connection)
    }

    async fn dial(&self, server: &Server) -> Result<Box<dyn Duplex>, Error> {
        let failed = |source: io::Error| Error::Connect { address: server.to_string(), source };
        let socket = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
        SockRef::from(&socket).set_tcp_keepalive(&keep_alive).map_err(failed)?;
        let Some(tls) = &self.inner.tls else { return Ok(Box::new(socket)) };
        let name = match &tls.name {
            Some(name) => name.clone(),
            None => parse_name(&server.host)?,
        };
        let stream =
            TlsConnector::from(Arc::clone(&tls.config)).connect(name, socket).await.map_err(failed)?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dflockd_clients_07_servers() {
        assert!(format!("{:?}", Client::builder().build().unwrap()).contains("127.0.0.1:6388"));
        assert!(format!("{:?}", Client::new("[::1]:7").unwrap()).contains("[::1]:7"));
        for wrong in ["", "host", "host:", ":1", "host:0", "host:65536", "host:x"] {
            let fault = Client::new(wrong).unwrap_err().to_string();
            assert!(fault.contains(&format!("{wrong:?}")), "{fault}");
        }
    }

    #[test]
    fn dflockd_clients_29_bad_characters_in_auth() {
        let fault = Client::builder().auth("a\nb").build().unwrap_err().to_string();
        assert_eq!(fault, "auth token must not contain NUL, newline, or carriage return characters");
        Client::builder().auth("").build().unwrap();
    }
}
