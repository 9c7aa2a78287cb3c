//! What `stats` answers.

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Stats {
    pub connections: u64,
    pub locks: Vec<LockStats>,
    pub semaphores: Vec<SemaphoreStats>,
    pub idle_locks: Vec<IdleStats>,
    pub idle_semaphores: Vec<IdleStats>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LockStats {
    pub key: String,
    /// The connection that acquired it; 0 if none did.
    pub owner_conn_id: u64,
    pub lease_expires_in_s: f64,
    pub waiters: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SemaphoreStats {
    pub key: String,
    pub limit: u64,
    pub holders: u64,
    pub waiters: u64,
}

/// A key that nobody holds and the server has not forgotten yet.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct IdleStats {
    pub key: String,
    pub idle_s: f64,
}
