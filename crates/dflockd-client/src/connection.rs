//! One connection and the commands of the protocol, one function each.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::arguments;
use crate::error::{Error, Refusal};
use crate::stats::Stats;

/// A reply longer than this is not from a lock daemon.
const LONGEST_REPLY: usize = 1 << 20;
/// What `stats` may answer: one line about every key.
const LONGEST_STATS: usize = 1 << 30;
/// Assumed when a reply does not tell the lease.
const USUAL_LEASE: u64 = 30;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Names one grant: who knows it may renew and release.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of the grant, greater than those of all grants before it, also over restarts of the server. Give it to what
    /// the lock protects, and let that refuse smaller numbers.
    #[must_use]
    pub fn fencing(&self) -> Option<u64> {
        if self.0.len() != 32 {
            return None;
        }
        u64::from_str_radix(self.0.get(..16)?, 16).ok()
    }
}

impl fmt::Debug for Token {
    /// Without the secret half.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.0.get(..16).unwrap_or_default())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Token {
    fn from(text: String) -> Token {
        Token(text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub token: Token,
    pub lease: Duration,
}

/// The answer to an enqueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    Acquired(Grant),
    Queued,
}

/// Which of the two kinds of resources a command is about. They have separate keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lock,
    Semaphore { limit: u64 },
}

impl Kind {
    fn choose<T>(self, lock: T, semaphore: T) -> T {
        match self {
            Kind::Lock => lock,
            Kind::Semaphore { .. } => semaphore,
        }
    }

    fn limit(self) -> Option<u64> {
        match self {
            Kind::Lock => None,
            Kind::Semaphore { limit } => Some(limit),
        }
    }
}

/// A connection to one server. [`Client::connect`](crate::Client::connect) opens it.
///
/// A call whose future is dropped before the reply closes the connection at once: the reply, perhaps a grant, would belong to
/// nobody, and the server frees what a closed connection holds or waits for. Later calls are [`Error::GivenUp`].
pub struct Connection {
    stream: Option<Box<dyn Duplex>>,
    /// Bytes behind the last line that was taken.
    input: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("open", &self.stream.is_some()).finish_non_exhaustive()
    }
}

/// Closes the connection unless the exchange is completed.
struct Exchange<'a> {
    slot: &'a mut Option<Box<dyn Duplex>>,
    complete: bool,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.complete {
            *self.slot = None;
        }
    }
}

impl Connection {
    pub(crate) fn new(stream: Box<dyn Duplex>) -> Connection {
        Connection { stream: Some(stream), input: Vec::new() }
    }

    /// Waits up to `timeout` for the lock; [`Duration::ZERO`] tries once.
    pub async fn acquire(
        &mut self,
        key: &str,
        timeout: Duration,
        lease: Option<Duration>,
    ) -> Result<Grant, Error> {
        self.acquire_as(Kind::Lock, key, timeout, lease).await
    }

    pub async fn sem_acquire(
        &mut self,
        key: &str,
        timeout: Duration,
        limit: u64,
        lease: Option<Duration>,
    ) -> Result<Grant, Error> {
        self.acquire_as(Kind::Semaphore { limit }, key, timeout, lease).await
    }

    /// Takes the lock or queues for it, without waiting.
    pub async fn enqueue(&mut self, key: &str, lease: Option<Duration>) -> Result<Enqueued, Error> {
        self.enqueue_as(Kind::Lock, key, lease).await
    }

    pub async fn sem_enqueue(
        &mut self,
        key: &str,
        limit: u64,
        lease: Option<Duration>,
    ) -> Result<Enqueued, Error> {
        self.enqueue_as(Kind::Semaphore { limit }, key, lease).await
    }

    /// Claims what was enqueued on this connection.
    pub async fn wait(&mut self, key: &str, timeout: Duration) -> Result<Grant, Error> {
        self.wait_as(Kind::Lock, key, timeout).await
    }

    pub async fn sem_wait(&mut self, key: &str, timeout: Duration) -> Result<Grant, Error> {
        self.wait_as(Kind::Semaphore { limit: 1 }, key, timeout).await
    }

    /// Restarts the lease with this length, or the server's default, and tells its length.
    pub async fn renew(
        &mut self,
        key: &str,
        token: &Token,
        lease: Option<Duration>,
    ) -> Result<Duration, Error> {
        self.renew_as(Kind::Lock, key, token, lease).await
    }

    pub async fn sem_renew(
        &mut self,
        key: &str,
        token: &Token,
        lease: Option<Duration>,
    ) -> Result<Duration, Error> {
        self.renew_as(Kind::Semaphore { limit: 1 }, key, token, lease).await
    }

    pub async fn release(&mut self, key: &str, token: &Token) -> Result<(), Error> {
        self.release_as(Kind::Lock, key, token).await
    }

    pub async fn sem_release(&mut self, key: &str, token: &Token) -> Result<(), Error> {
        self.release_as(Kind::Semaphore { limit: 1 }, key, token).await
    }

    /// What the server knows now.
    pub async fn stats(&mut self) -> Result<Stats, Error> {
        let reply = self.exchange("stats", "_", "", LONGEST_STATS).await?;
        let Some(text) = reply.strip_prefix("ok ") else { return Err(refused("stats", &reply)) };
        serde_json::from_str(text).map_err(|source| Error::Stats { text: text.to_owned(), source })
    }

    /// Tells the server that this client is alive, so that it keeps the connection.
    pub async fn ping(&mut self) -> Result<(), Error> {
        let reply = self.exchange("ping", "_", "", LONGEST_REPLY).await?;
        accepted("ping", &reply)
    }

    pub(crate) async fn authenticate(&mut self, secret: &str) -> Result<(), Error> {
        arguments::secret(secret)?;
        let reply = self.exchange("auth", "_", secret, LONGEST_REPLY).await?;
        match reply.as_str() {
            "ok" => Ok(()),
            "error_auth" => Err(Error::Auth),
            other => Err(refused("auth", other)),
        }
    }

    pub(crate) async fn acquire_as(
        &mut self,
        kind: Kind,
        key: &str,
        timeout: Duration,
        lease: Option<Duration>,
    ) -> Result<Grant, Error> {
        let label = kind.choose("acquire", "sem_acquire");
        arguments::key(key)?;
        let argument = fields([Some(arguments::timeout(timeout)?), limit(kind)?, arguments::lease(lease)?]);
        let reply = self.exchange(kind.choose("l", "sl"), key, &argument, LONGEST_REPLY).await?;
        granted(label, key, "ok", &reply)
    }

    pub(crate) async fn enqueue_as(
        &mut self,
        kind: Kind,
        key: &str,
        lease: Option<Duration>,
    ) -> Result<Enqueued, Error> {
        let label = kind.choose("enqueue", "sem_enqueue");
        arguments::key(key)?;
        let argument = fields([limit(kind)?, arguments::lease(lease)?, None]);
        let reply = self.exchange(kind.choose("e", "se"), key, &argument, LONGEST_REPLY).await?;
        if reply == "queued" {
            return Ok(Enqueued::Queued);
        }
        granted(label, key, "acquired", &reply).map(Enqueued::Acquired)
    }

    pub(crate) async fn wait_as(&mut self, kind: Kind, key: &str, timeout: Duration) -> Result<Grant, Error> {
        let label = kind.choose("wait", "sem_wait");
        arguments::key(key)?;
        let argument = arguments::timeout(timeout)?.to_string();
        let reply = self.exchange(kind.choose("w", "sw"), key, &argument, LONGEST_REPLY).await?;
        granted(label, key, "ok", &reply)
    }

    pub(crate) async fn renew_as(
        &mut self,
        kind: Kind,
        key: &str,
        token: &Token,
        lease: Option<Duration>,
    ) -> Result<Duration, Error> {
        let label = kind.choose("renew", "sem_renew");
        arguments::key(key)?;
        arguments::token(token.as_str())?;
        let asked = arguments::lease(lease)?;
        let argument = match asked {
            Some(seconds) => format!("{token} {seconds}"),
            None => token.to_string(),
        };
        let reply = self.exchange(kind.choose("n", "sn"), key, &argument, LONGEST_REPLY).await?;
        let (word, rest) = reply.split_once(' ').unwrap_or((&reply, ""));
        if word != "ok" {
            return Err(refused(label, &reply));
        }
        Ok(Duration::from_secs(rest.parse().ok().or(asked).unwrap_or(USUAL_LEASE)))
    }

    pub(crate) async fn release_as(&mut self, kind: Kind, key: &str, token: &Token) -> Result<(), Error> {
        arguments::key(key)?;
        arguments::token(token.as_str())?;
        let reply = self.exchange(kind.choose("r", "sr"), key, token.as_str(), LONGEST_REPLY).await?;
        accepted(kind.choose("release", "sem_release"), &reply)
    }

    /// Sends three lines and takes one. Dropped or failed in between, the connection is closed.
    async fn exchange(
        &mut self,
        command: &str,
        key: &str,
        argument: &str,
        longest: usize,
    ) -> Result<String, Error> {
        let mut exchange = Exchange { slot: &mut self.stream, complete: false };
        let Some(stream) = exchange.slot.as_mut() else { return Err(Error::GivenUp) };
        stream.write_all(format!("{command}\n{key}\n{argument}\n").as_bytes()).await?;
        stream.flush().await?;
        let mut seen = 0;
        let end = loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input[seen..]) {
                break seen + end;
            }
            seen = self.input.len();
            if seen > longest {
                return Err(Error::TooLong);
            }
            if stream.read_buf(&mut self.input).await? == 0 {
                return Err(Error::Closed);
            }
        };
        exchange.complete = true;
        let line = String::from_utf8_lossy(&self.input[..end]).trim_end_matches('\r').to_owned();
        self.input.drain(..=end);
        Ok(line)
    }

    /// Returns when the server says something unasked or the connection ends. May be dropped and called again.
    pub(crate) async fn disturbance(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if self.input.is_empty() {
            // Bytes, the end and an error mean the same here.
            let _ = stream.read_buf(&mut self.input).await;
        }
    }
}

fn limit(kind: Kind) -> Result<Option<u64>, Error> {
    if let Some(limit) = kind.limit() {
        arguments::limit(limit)?;
    }
    Ok(kind.limit())
}

fn fields(numbers: [Option<u64>; 3]) -> String {
    let numbers: Vec<String> = numbers.into_iter().flatten().map(|number| number.to_string()).collect();
    numbers.join(" ")
}

fn refused(command: &'static str, reply: &str) -> Error {
    Error::Refused { command, reason: Refusal::of(reply) }
}

fn accepted(command: &'static str, reply: &str) -> Result<(), Error> {
    if reply == "ok" { Ok(()) } else { Err(refused(command, reply)) }
}

fn granted(command: &'static str, key: &str, word: &str, reply: &str) -> Result<Grant, Error> {
    if reply == "timeout" {
        return Err(Error::Timeout { key: key.to_owned() });
    }
    let mut fields = reply.split(' ');
    if fields.next() != Some(word) {
        return Err(refused(command, reply));
    }
    let Some(token) = fields.next().filter(|token| !token.is_empty()) else {
        return Err(Error::NoToken { command, reply: reply.to_owned() });
    };
    let lease = fields.next().and_then(|lease| lease.parse().ok()).unwrap_or(USUAL_LEASE);
    Ok(Grant { token: Token(token.to_owned()), lease: Duration::from_secs(lease) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dflockd_clients_12_odd_leases() {
        for (reply, lease) in
            [("ok t", 30), ("ok t abc", 30), ("ok t -5", 30), ("ok t 0", 0), ("ok t 33", 33)]
        {
            assert_eq!(
                granted("acquire", "k", "ok", reply).unwrap().lease,
                Duration::from_secs(lease),
                "{reply}"
            );
        }
        assert!(matches!(granted("acquire", "k", "ok", "ok  33"), Err(Error::NoToken { .. })));
        assert!(matches!(granted("acquire", "k", "ok", "okay t 33"), Err(Error::Refused { .. })));
    }

    #[test]
    fn the_first_half_of_a_token_is_the_fencing_number() {
        let token = Token::from("00000000000000ff0123456789abcdef".to_owned());
        assert_eq!(token.fencing(), Some(255));
        assert_eq!(format!("{token:?}"), "Token(00000000000000ff…)");
        assert_eq!(Token::from("ff".to_owned()).fencing(), None);
        assert_eq!(Token::from("é".repeat(16)).fencing(), None);
    }
}
