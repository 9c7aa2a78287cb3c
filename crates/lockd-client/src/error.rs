//! What can go wrong with a call, told so that a program can act on it and a person can read it.

use std::fmt;
use std::time::Duration;

use lockd_wire::ErrorCode;
use serde::Deserialize;

use crate::endpoint::Endpoint;

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// ```no_run
/// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
/// use lockd_client::{AcquireOptions, ErrorCode};
///
/// match client.acquire("jobs/nightly", &AcquireOptions::new().no_wait()).await {
///     Ok(session) => session.release().await.map(drop),
///     Err(error) if error.is(ErrorCode::Waiting) => {
///         println!("somebody else does it; free in {:?} at the latest", error.retry_after());
///         Ok(())
///     }
///     Err(error) => Err(error),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server understood the request and refused it.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The lease is gone, and with it whatever was staged under it. Nothing of it was committed, unless the key took part in a
    /// [`Transaction`](crate::Transaction) that was.
    #[error(
        "the lease on {key:?} is lost: {loss}; what was staged under it is discarded, so acquire the key again"
    )]
    LeaseLost {
        /// The key that was leased.
        key: String,
        /// How it was lost.
        loss: Loss,
    },
    /// The lease ended while its release was under way, and nobody can tell any more whether the release committed.
    ///
    /// Read the state to find out, and write it so that it can tell: for example with the number of the last job in it.
    #[error(
        "the lease on {key:?} ended while it was being released: read the state to see whether what was staged is committed"
    )]
    OutcomeUnknown {
        /// The key that was leased.
        key: String,
    },
    /// No server has answered: none could be reached, connections broke, or there was silence.
    #[error(transparent)]
    Unreachable(Box<Unreachable>),
    /// The address of a server is not one.
    #[error("{text:?} is not the address of a server: {reason}")]
    InvalidEndpoint {
        /// What was given.
        text: String,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// Certificates, or a key for them, that cannot be used.
    #[error("{what}: {reason}")]
    UnusableCredentials {
        /// What was to be read.
        what: String,
        /// What is wrong with it. Never a part of a key.
        reason: String,
    },
    /// A setting has a value that it cannot have.
    #[error("invalid {name} {value:?}: {reason}")]
    InvalidOption {
        /// Which setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The state is JSON, but not of the type that was asked for.
    #[error("the state of {key:?} does not have the expected form: {source}")]
    Undecodable {
        /// Whose state it is.
        key: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// The value to save has no JSON form.
    #[error("the new state of {key:?} cannot be written as JSON: {source}")]
    Unencodable {
        /// Whose state it is.
        key: String,
        /// What has no JSON form.
        source: serde_json::Error,
    },
    /// Something answered that is not lockd, or not a version that this SDK understands.
    #[error(
        "{endpoint} answered {path} in a way that lockd does not: {reason}; is it the address of a lockd server?"
    )]
    UnexpectedAnswer {
        /// Who answered.
        endpoint: Endpoint,
        /// The path of the call.
        path: &'static str,
        /// What is odd about the answer.
        reason: String,
    },
    /// The reader that was to be uploaded failed.
    #[error("cannot read what is to be uploaded to {path}: {source}")]
    Source {
        /// The path of the call.
        path: &'static str,
        /// How it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// The server's refusal, if that is what this is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused(refusal) => Some(refusal),
            Error::LeaseLost { loss: Loss::Refused(refusal), .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether a server answered with this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code() == Some(code.as_str())
    }

    /// The stable word that says what a server has against the call, such as `waiting` or `version_conflict`.
    pub fn code(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.code.as_str())
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.status)
    }

    /// What the server adds for people. It may change at any time.
    pub fn detail(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.detail.as_str()).filter(|detail| !detail.is_empty())
    }

    /// The version that the key has now, where a refusal says so.
    pub fn current_version(&self) -> Option<i64> {
        self.refusal()?.current_version
    }

    /// The ETag that the state of the key has now, where a refusal says so.
    pub fn current_etag(&self) -> Option<&str> {
        self.refusal()?.current_etag.as_deref()
    }

    /// When it makes sense to try again, where the server says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }

    /// The id under which the server's log knows the refused call.
    pub fn correlation_id(&self) -> Option<&str> {
        self.refusal()?.correlation_id.as_deref()
    }

    /// Whether the lease of the session is gone: its time ran out, or a server no longer knows it.
    pub fn is_lease_lost(&self) -> bool {
        matches!(self, Error::LeaseLost { .. })
    }

    /// Whether the call may have taken effect although it failed.
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Error::OutcomeUnknown { .. } => true,
            Error::Unreachable(unreachable) => unreachable.maybe_applied,
            Error::Refused(refusal) => refusal.maybe_applied,
            _ => false,
        }
    }
}

/// How every server failed to answer a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreachable {
    /// The path of the call.
    pub path: &'static str,
    /// How often it was tried, over all servers.
    pub attempts: u32,
    /// What happened last at every server that was tried, in this order. There is at least one.
    pub causes: Vec<Cause>,
    /// Whether a server may have carried out the call nevertheless.
    pub maybe_applied: bool,
}

/// How one server failed to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The server.
    pub endpoint: Endpoint,
    /// What happened.
    pub reason: String,
    /// It took the call, and then there was silence for too long.
    pub timed_out: bool,
    /// It would be the same again until somebody changes something: the certificate of the server is not good, that of this client
    /// is not, or what is there does not speak TLS. A call fails at once if this is so with all servers.
    pub lasting: bool,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer to {} ({} attempts)", self.path, self.attempts)?;
        for (place, cause) in self.causes.iter().enumerate() {
            let before = if place == 0 { ": " } else { "; " };
            write!(f, "{before}{}: {}", cause.endpoint, cause.reason)?;
        }
        match self.maybe_applied {
            true => f.write_str("; it may have been carried out nevertheless"),
            false => Ok(()),
        }
    }
}

impl std::error::Error for Unreachable {}

/// What a server said when it refused a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable code; empty if the answer carried none.
    pub code: String,
    /// An explanation for people; may be empty.
    pub detail: String,
    /// The current version of the key, if the answer told.
    pub current_version: Option<i64>,
    /// The current ETag of the state, if the answer told.
    pub current_etag: Option<String>,
    /// When to try again, if the answer told.
    pub retry_after: Option<Duration>,
    /// The server that leads, if another one has to be asked.
    pub leader_endpoint: Option<String>,
    /// The id under which the server's log knows the call.
    pub correlation_id: Option<String>,
    /// An earlier attempt at the same call broke off and may have been carried out, so that this refusal may be its echo.
    pub maybe_applied: bool,
}

impl Refusal {
    /// Whether the code says that the caller no longer holds the lease.
    pub(crate) fn ends_lease(&self) -> bool {
        [ErrorCode::LeaseRequired, ErrorCode::LeaseExpired, ErrorCode::FencingMismatch]
            .iter()
            .any(|code| self.code == code.as_str())
    }

    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        self.code == code.as_str()
    }

    /// Reads an error answer, whatever it looks like.
    pub(crate) fn read(status: u16, headers: &http::HeaderMap, body: &[u8]) -> Refusal {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Envelope {
            error: String,
            detail: String,
            leader_endpoint: Option<String>,
            current_version: Option<i64>,
            current_etag: Option<String>,
            retry_after_seconds: Option<i64>,
        }
        let envelope: Envelope = serde_json::from_slice(body).unwrap_or_else(|_| Envelope {
            detail: String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
            ..Envelope::default()
        });
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let in_header = || text("retry-after").and_then(|text| text.parse::<i64>().ok());
        Refusal {
            status,
            code: envelope.error,
            detail: envelope.detail,
            current_version: envelope.current_version,
            current_etag: envelope.current_etag.filter(|etag| !etag.is_empty()),
            retry_after: envelope
                .retry_after_seconds
                .or_else(in_header)
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            leader_endpoint: envelope.leader_endpoint,
            correlation_id: text(lockd_wire::header::CORRELATION_ID).map(str::to_owned),
            maybe_applied: false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.detail.as_str()) {
            ("", "") => write!(f, "refused with HTTP status {}", self.status)?,
            ("", detail) => write!(f, "refused with HTTP status {}: {detail}", self.status)?,
            (code, "") => write!(f, "{code} (HTTP status {})", self.status)?,
            (code, detail) => write!(f, "{code}: {detail} (HTTP status {})", self.status)?,
        }
        if let Some(wait) = self.retry_after {
            write!(f, "; try again in {} s", wait.as_secs())?;
        }
        if let Some(id) = &self.correlation_id {
            write!(f, "; correlation id {id}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// How a lease was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Its time ran out before it could be renewed.
    Expired,
    /// A server no longer accepts it.
    Refused(Box<Refusal>),
    /// The session was released, rolled back or dropped.
    Ended,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Expired => f.write_str("its time ran out before it could be renewed"),
            Loss::Refused(refusal) => write!(f, "the server no longer accepts it ({refusal})"),
            Loss::Ended => f.write_str("its session has ended"),
        }
    }
}
