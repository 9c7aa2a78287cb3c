//! A lease as plain data: what proves it to a server, to be kept or handed to another process.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use lockd_wire::{Xid, XidMint};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What proves a lease. [`LeaseSession::detach`](crate::LeaseSession::detach) makes one out of a session, and
/// [`Client::attach`](crate::Client::attach) a session out of one, in this process or another.
///
/// ```
/// use lockd_client::Lease;
///
/// let lease = Lease::new("default", "jobs/nightly", "d4ekq9s2b7m0c1r5t8u0", "d4ekq9s2b7m0c1r5t8ug", 1);
/// let text = serde_json::to_string(&lease)?;
/// assert_eq!(serde_json::from_str::<Lease>(&text)?, lease);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// The namespace of the key.
    #[serde(default)]
    pub namespace: String,
    /// The key, as the server spells it.
    pub key: String,
    /// Who asked for the lease.
    #[serde(default)]
    pub owner: String,
    /// Names this grant.
    pub lease_id: String,
    /// The transaction that its changes belong to. Only reading the state works without.
    #[serde(default)]
    pub txn_id: String,
    /// Grows with every grant of the key. Hand it to whatever the lease protects, to keep late writers out.
    pub fencing_token: i64,
    /// The version of the key when the lease was granted or last seen; `None` if unknown.
    #[serde(default)]
    pub version: Option<i64>,
    /// The ETag of the state at that time; `None` if there was none or it is unknown.
    #[serde(default)]
    pub state_etag: Option<String>,
    /// When the lease ends unless it is renewed, by the server's clock, in seconds since 1970; 0 if unknown.
    #[serde(default)]
    pub expires_at_unix: i64,
    /// The id that ties together the log lines of all calls under this lease; may be empty.
    #[serde(default)]
    pub correlation_id: String,
}

impl Lease {
    /// The lease with these ids, of which nothing else is known.
    pub fn new(
        namespace: impl Into<String>,
        key: impl Into<String>,
        lease_id: impl Into<String>,
        txn_id: impl Into<String>,
        fencing_token: i64,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            key: key.into(),
            owner: String::new(),
            lease_id: lease_id.into(),
            txn_id: txn_id.into(),
            fencing_token,
            version: None,
            state_etag: None,
            expires_at_unix: 0,
            correlation_id: String::new(),
        }
    }
}

/// Names a transaction.
///
/// ```
/// use lockd_client::TxnId;
///
/// let id: TxnId = "d4ekq9s2b7m0c1r5t8ug".parse()?;
/// assert_eq!(id.to_string(), "d4ekq9s2b7m0c1r5t8ug");
/// assert_ne!(TxnId::fresh(), TxnId::fresh());
/// # Ok::<_, lockd_client::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxnId(Xid);

impl TxnId {
    /// A new one that nobody else has.
    pub fn fresh() -> TxnId {
        static MINT: std::sync::LazyLock<XidMint> =
            std::sync::LazyLock::new(|| XidMint::new(fastrand::u64(..), std::process::id()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TxnId(MINT.mint(now.as_secs() as u32))
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TxnId {
    type Err = Error;

    fn from_str(text: &str) -> Result<TxnId, Error> {
        Xid::parse(text).map(TxnId).ok_or_else(|| Error::InvalidOption {
            name: "transaction id",
            value: text.to_owned(),
            reason: "it must be an xid, 20 characters such as d4ekq9s2b7m0c1r5t8ug".to_owned(),
        })
    }
}
