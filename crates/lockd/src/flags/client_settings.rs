//! What the flags of the client commands said, one field each.

use std::path::PathBuf;
use std::time::Duration;

use super::QueueSettings;

/// Raw values; empty text stands for "not given".
#[derive(Debug, Default, Clone)]
pub struct ClientSettings {
    pub key: String,
    pub lease: String,
    pub fencing_token: String,
    pub txn_id: String,
    pub namespace: String,
    pub ttl: Duration,
    pub block: String,
    pub owner: String,
    pub retries: String,
    pub if_not_exists: bool,
    pub rollback: bool,
    pub on_lost: &'static str,
    pub kill_after: Duration,
    pub public: bool,
    /// Of `get` and `attachments get`; the format of `namespace`.
    pub output_file: String,
    pub format: &'static str,
    pub document_type: &'static str,
    pub edit_type: String,
    pub show_meta: bool,
    pub exit_code: bool,
    pub if_version: Option<String>,
    pub if_etag: String,
    pub no_cas: bool,
    pub local: bool,
    pub query_hidden: Option<bool>,
    pub file: String,
    pub name: String,
    pub id: String,
    pub content_type: String,
    pub max_bytes: Option<i64>,
    pub prevent_overwrite: bool,
    pub preferred: String,
    pub fallback: String,
    pub if_match: String,
    pub queue: QueueSettings,
    pub participants: Vec<String>,
    pub expires_unix: Option<i64>,
    pub server: String,
    pub bundle: Option<PathBuf>,
    pub disable_mtls: bool,
    pub timeout: Duration,
    pub close_timeout: Duration,
    pub keepalive_timeout: Duration,
    pub log_level: String,
    pub log_output: String,
    pub verbose: bool,
}
