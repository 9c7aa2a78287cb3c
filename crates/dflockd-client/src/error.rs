//! What can go wrong, with the texts that the other clients have.

use std::fmt;
use std::io;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument that no server would accept. Nothing was sent.
    #[error("{0}")]
    Invalid(String),
    #[error("timeout acquiring '{key}'")]
    Timeout { key: String },
    #[error("authentication failed")]
    Auth,
    /// The server answered, but not with what was asked for.
    #[error("{command} failed: '{reason}'")]
    Refused { command: &'static str, reason: Refusal },
    #[error("{command}: server returned no token: '{reply}'")]
    NoToken { command: &'static str, reply: String },
    #[error("stats: malformed JSON response: '{text}'")]
    Stats { text: String, source: serde_json::Error },
    #[error("connect timed out after {}ms to {address}", after.as_millis())]
    ConnectTimeout { address: String, after: Duration },
    /// Includes failures of the TLS handshake.
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("server closed connection")]
    Closed,
    #[error("server response exceeded maximum line length")]
    TooLong,
    /// An earlier call on this connection failed or was dropped before its reply, which closed the connection.
    #[error("this connection was given up because an earlier call on it did not get its reply; open another")]
    GivenUp,
    /// The lock was lost before its release.
    #[error("'{key}' was no longer held: {loss}")]
    Lost { key: String, loss: Loss },
}

/// Why a command was refused. Shown as the reply itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The server knows as many keys as it may.
    MaxLocks,
    /// The queue of the key is full.
    MaxWaiters,
    /// The semaphore exists with another limit.
    LimitMismatch,
    NotEnqueued,
    AlreadyEnqueued,
    /// The grant lapsed before `wait` claimed it.
    LeaseExpired,
    Other(String),
}

impl Refusal {
    pub(crate) fn of(reply: &str) -> Refusal {
        match reply {
            "error_max_locks" => Refusal::MaxLocks,
            "error_max_waiters" => Refusal::MaxWaiters,
            "error_limit_mismatch" => Refusal::LimitMismatch,
            "error_not_enqueued" => Refusal::NotEnqueued,
            "error_already_enqueued" => Refusal::AlreadyEnqueued,
            "error_lease_expired" => Refusal::LeaseExpired,
            other => Refusal::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::MaxLocks => "error_max_locks",
            Refusal::MaxWaiters => "error_max_waiters",
            Refusal::LimitMismatch => "error_limit_mismatch",
            Refusal::NotEnqueued => "error_not_enqueued",
            Refusal::AlreadyEnqueued => "error_already_enqueued",
            Refusal::LeaseExpired => "error_lease_expired",
            Refusal::Other(reply) => reply,
        })
    }
}

/// How a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server refused to renew it: it had expired, or somebody released it.
    Refused,
    /// The connection ended, by which the server frees what it held.
    Disconnected,
    /// The lease passed without a successful renewal, although the connection looked alive.
    Expired,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::Refused => "its renewal was refused",
            Loss::Disconnected => "the connection ended",
            Loss::Expired => "its lease passed without a renewal",
        })
    }
}
