//! How to ask for a lease: for how long, how patiently, in whose name.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::lease::TxnId;

/// How long to wait for a key that somebody else has leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// For as long as it takes.
    #[default]
    Forever,
    /// Not at all: the call fails with `waiting` at once.
    No,
    /// At most this long, rounded up to whole seconds; then the call fails with `waiting`.
    AtMost(Duration),
}

/// How to acquire a lease. The default asks for 30 seconds, waits as long as it takes, and renews by itself.
///
/// ```
/// use std::time::Duration;
/// use lockd_client::AcquireOptions;
///
/// let options = AcquireOptions::new().ttl(Duration::from_secs(20)).wait_at_most(Duration::from_secs(5)).owner("worker-7");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct AcquireOptions {
    pub(crate) ttl: Duration,
    pub(crate) wait: Wait,
    pub(crate) owner: Option<String>,
    pub(crate) if_not_exists: bool,
    pub(crate) txn_id: Option<TxnId>,
    pub(crate) keepalive: bool,
    pub(crate) release_on_drop: bool,
    pub(crate) rounds: u32,
}

impl Default for AcquireOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            wait: Wait::Forever,
            owner: None,
            if_not_exists: false,
            txn_id: None,
            keepalive: true,
            release_on_drop: true,
            rounds: 5,
        }
    }
}

impl AcquireOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// For how long the lease lives without being renewed, rounded up to whole seconds. The server may cut it short (to 30
    /// minutes unless configured otherwise).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How patiently to wait.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Do not wait: if the key is leased, fail with `waiting`.
    pub fn no_wait(self) -> Self {
        self.wait(Wait::No)
    }

    /// Wait at most this long, rounded up to whole seconds.
    pub fn wait_at_most(self, longest: Duration) -> Self {
        self.wait(Wait::AtMost(longest))
    }

    /// Who is asking, for people who look at the lease. Without one, it is that of the client.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Only create a key that has never been acquired before; fail with `already_exists` otherwise.
    pub fn if_not_exists(mut self) -> Self {
        self.if_not_exists = true;
        self
    }

    /// Take part in this transaction: releasing any of its leases decides for all of them.
    /// See [`Client::transaction`](crate::Client::transaction).
    pub fn txn(mut self, id: TxnId) -> Self {
        self.txn_id = Some(id);
        self
    }

    /// Leave renewing to [`LeaseSession::keepalive`](crate::LeaseSession::keepalive). The session still tells when its time
    /// runs out.
    pub fn manual_keepalive(mut self) -> Self {
        self.keepalive = false;
        self
    }

    /// Do not roll back when the session is dropped; let the lease run out instead.
    pub fn keep_on_drop(mut self) -> Self {
        self.release_on_drop = false;
        self
    }

    /// How often [`Client::acquire_for_update`](crate::Client::acquire_for_update) takes the key in all, when it loses the
    /// lease on the way.
    pub fn rounds(mut self, most: u32) -> Self {
        self.rounds = most.max(1);
        self
    }

    /// The time to live in whole seconds.
    pub(crate) fn ttl_seconds(&self) -> Result<u64> {
        whole_seconds("ttl", self.ttl)
    }
}

/// Rounds up to whole seconds; zero is refused because the server would take it for its default.
pub(crate) fn whole_seconds(name: &'static str, span: Duration) -> Result<u64> {
    match rounded_up(span) {
        0 => Err(Error::InvalidOption {
            name,
            value: format!("{span:?}"),
            reason: "it must be more than 0".into(),
        }),
        seconds => Ok(seconds),
    }
}

/// Whole seconds that are not shorter than the span, and fit the wire.
pub(crate) fn rounded_up(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).min(i64::MAX as u64)
}

/// Conditions and checks of a new state, beyond holding the lease.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct UpdateOptions {
    pub(crate) if_version: Option<i64>,
    pub(crate) if_etag: Option<String>,
    pub(crate) query_hidden: Option<bool>,
    pub(crate) expected_sha256: Option<String>,
    pub(crate) expected_bytes: Option<u64>,
}

impl UpdateOptions {
    /// No conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the lease sees this version; 0 means that nothing was ever committed.
    pub fn if_version(mut self, version: i64) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Only if the lease sees a state with this ETag; an empty one means that there is no state.
    pub fn if_etag(mut self, etag: impl Into<String>) -> Self {
        self.if_etag = Some(etag.into());
        self
    }

    /// Hide the key from queries, or show it again, together with the new state.
    pub fn query_hidden(mut self, hidden: bool) -> Self {
        self.query_hidden = Some(hidden);
        self
    }

    /// Only if what arrives has this SHA-256, in hexadecimal digits. Not for [`mutate`](crate::LeaseSession::mutate_with).
    pub fn expect_sha256(mut self, digest: impl Into<String>) -> Self {
        self.expected_sha256 = Some(digest.into());
        self
    }

    /// Only if this many bytes arrive. Not for [`mutate`](crate::LeaseSession::mutate_with).
    pub fn expect_bytes(mut self, bytes: u64) -> Self {
        self.expected_bytes = Some(bytes);
        self
    }
}

/// How to store an attachment.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct AttachOptions {
    pub(crate) content_type: Option<String>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) prevent_overwrite: bool,
}

impl AttachOptions {
    /// `application/octet-stream`, the server's limit, replacing one of the same name.
    pub fn new() -> Self {
        Self::default()
    }

    /// The media type, handed out again with downloads.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Fail with `attachment_too_large` beyond this many bytes; 0 lifts the server's limit.
    pub fn max_bytes(mut self, most: u64) -> Self {
        self.max_bytes = Some(most);
        self
    }

    /// Leave an attachment that exists under this name alone; the answer then says [`noop`](crate::Attached::noop).
    pub fn prevent_overwrite(mut self) -> Self {
        self.prevent_overwrite = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_up_and_zero_is_refused() {
        assert_eq!(whole_seconds("ttl", Duration::from_millis(1001)).unwrap(), 2);
        assert_eq!(whole_seconds("ttl", Duration::from_secs(3)).unwrap(), 3);
        assert_eq!(whole_seconds("ttl", Duration::MAX).unwrap(), i64::MAX as u64);
        assert!(whole_seconds("ttl", Duration::ZERO).unwrap_err().to_string().contains("more than 0"));
    }
}
