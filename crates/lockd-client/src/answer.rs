//! What calls answer, apart from leases and attachments.

use serde::{Deserialize, Serialize};

/// Settings of a key beside its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// Whether queries pass over the key.
    #[serde(default)]
    pub query_hidden: bool,
}

/// A state and what identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned<T> {
    /// The state.
    pub value: T,
    /// Counts the commits of the key.
    pub version: i64,
    /// Identifies the content.
    pub etag: String,
}

/// The answer to staging a state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The version that the key has once the lease is released.
    pub version: i64,
    /// The ETag of the new state.
    pub etag: String,
    /// The size of the new state as it is stored. `None` if the first attempt broke off and turned out to have been applied.
    pub bytes: Option<u64>,
    /// The metadata, as far as it is staged.
    pub metadata: Metadata,
}

/// The answer to [`mutate`](crate::LeaseSession::mutate): the new state, and what it took to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mutated {
    /// The new state.
    pub saved: Saved,
    /// How many documents were looked at.
    pub candidates_seen: u64,
    /// How many documents were written.
    pub candidates_written: u64,
    /// The size of the old state.
    pub bytes_read: u64,
    /// The size of the new state.
    pub bytes_written: u64,
}

/// The answer to changing metadata.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct MetadataSet {
    /// The namespace of the key.
    #[serde(default)]
    pub namespace: String,
    /// The key.
    #[serde(default)]
    pub key: String,
    /// The version that the key will have if anything but metadata is staged, too.
    #[serde(default)]
    pub version: i64,
    /// The metadata, staged.
    #[serde(default)]
    pub metadata: Metadata,
}

/// The answer to removing the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Removed {
    /// Whether there was one.
    pub removed: bool,
    /// The version that the key has once the lease is released.
    #[serde(default, rename = "new_version")]
    pub version: i64,
}

/// The answer to renewing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewed {
    /// When the lease ends unless it is renewed again, by the server's clock, in seconds since 1970.
    pub expires_at_unix: i64,
}

/// What the end of a lease did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// What was staged is committed.
    Committed,
    /// What was staged is discarded.
    RolledBack,
    /// Nothing was staged, or the lease had ended before.
    Nothing,
}

/// The answer to ending a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Released {
    /// What became of what was staged.
    pub outcome: Outcome,
}

/// What anybody can see of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The namespace of the key.
    pub namespace: String,
    /// The key as it was asked for.
    pub key: String,
    /// Who holds the lease. It may have expired: compare `expires_at_unix` with the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<String>,
    /// When the lease ends unless it is renewed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix: Option<i64>,
    /// Counts commits; 0 for a key that has none, or does not exist.
    pub version: i64,
    /// The ETag of the committed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_etag: Option<String>,
    /// When anything about the key changed last, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at_unix: Option<i64>,
    /// Its metadata.
    #[serde(default)]
    pub metadata: Metadata,
}
