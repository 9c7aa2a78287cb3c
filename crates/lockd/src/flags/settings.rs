//! What the flags said, one field each, before anything is checked or combined. `ServerConfig` is made from it.

use std::path::PathBuf;
use std::time::Duration;

use super::ClientSettings;

/// Raw values. `Default` is empty, not the product's defaults: those stand in the flag tables and are applied first.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    pub help: bool,
    pub config: Option<PathBuf>,
    pub log_level: &'static str,
    pub drain_grace: Duration,
    pub shutdown_timeout: Duration,
    pub listen: String,
    pub listen_proto: &'static str,
    pub unix_socket_mode: u32,
    pub http2_max_concurrent_streams: i64,
    pub disable_mtls: bool,
    pub disable_storage_encryption: bool,
    pub store: String,
    pub disk_durability: &'static str,
    pub default_namespace: String,
    pub json_max: u64,
    pub default_ttl: Duration,
    pub max_ttl: Duration,
    pub acquire_block: Duration,
    pub commit_max_ops: i64,
    pub queue_max_consumers: i64,
    pub tc_decision_retention: Duration,
    pub data_dir: Option<PathBuf>,
    pub version_only: bool,
    pub semver_only: bool,
    pub client: ClientSettings,
}
