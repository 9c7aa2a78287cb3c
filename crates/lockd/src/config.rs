//! The server's configuration, checked and combined: what `serve` needs to know, and nothing about where it came from.

use std::path::PathBuf;
use std::time::Duration;

use crate::dev::Greeting;
use lockd_wire::Namespace;

use crate::flags::Settings;
use crate::listen::{Family, Listen};
use crate::log::LogSettings;
use crate::notice::Notice;

#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub listen: Listen,
    /// Requests in flight on one HTTP/2 connection; `None` leaves it to the library.
    pub http2_max_concurrent_streams: Option<u32>,
    /// Always false until mutual TLS exists; then the only way to get here with it off is to ask for that.
    pub mtls: bool,

    /// The store's URL. May hold secrets one day: never log it as it is.
    pub store: String,
    pub disk_durability: DiskDurability,
    /// Most changes that share one sync.
    pub commit_max_ops: usize,
    /// Most fetches of messages at a time.
    pub max_consumers: usize,
    /// How long the outcome of a transaction is remembered.
    pub txn_retention: Duration,

    pub default_namespace: Namespace,
    /// Largest JSON body and document, in bytes; exactly this much is accepted.
    pub json_max: u64,
    pub default_ttl: Duration,
    /// Not less than `default_ttl`.
    pub max_ttl: Duration,
    /// Longest time an acquire waits in line.
    pub acquire_block: Duration,

    /// As configured; the shutdown takes less if its timeout asks for it.
    pub drain_grace: Duration,
    /// Time for the whole shutdown; `None` sets no limit.
    pub shutdown_timeout: Option<Duration>,

    pub log: LogSettings,
    /// The configuration file that was read.
    pub config_file: Option<PathBuf>,
    /// To be logged once at start.
    pub notices: Vec<Notice>,
    /// Printed when the development server listens.
    pub greeting: Option<Greeting>,
}

/// When a disk store counts a change as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskDurability {
    /// Synced to the disk before the answer.
    Fsync,
    /// Handed to the operating system, synced soon after.
    Os,
}

impl ServerConfig {
    /// Checks and combines raw settings. The text of an error starts with `config: `.
    pub(crate) fn new(settings: Settings, log: LogSettings) -> Result<ServerConfig, String> {
        let store = settings.store.trim().to_owned();
        if store.is_empty() {
            return Err(
                "config: store is required: give --store disk:///var/lib/lockd for a directory, --store \
                        mem:// for memory only, or try 'lockd dev'"
                    .into(),
            );
        }
        let listen = listen(&settings).map_err(|reason| format!("config: {reason}"))?;
        if settings.max_ttl < settings.default_ttl {
            return Err(format!(
                "config: max ttl must be >= default ttl: {} is less than {}",
                crate::value::show(settings.max_ttl),
                crate::value::show(settings.default_ttl)
            ));
        }
        let http2_max_concurrent_streams =
            u32::try_from(settings.http2_max_concurrent_streams).map_err(|_| {
                format!(
                    "config: http2 max concurrent streams must be <= {}, got {}",
                    u32::MAX,
                    settings.http2_max_concurrent_streams
                )
            })?;
        let default_namespace = namespace(&settings.default_namespace)?;
        if !settings.disable_mtls {
            return Err("config: mutual TLS is not available in this version yet: start with --disable-mtls to serve \
                        plain HTTP, and keep it on loopback (--listen 127.0.0.1:9341) or a unix socket"
                .into());
        }

        let mut notices = Vec::new();
        if !listen.is_local() {
            notices.push(Notice::PlainHttpBeyondThisMachine { listen: listen.to_string() });
        }
        if !settings.disable_storage_encryption && keeps_data_at_rest(&store) {
            notices.push(Notice::PlaintextAtRest);
        }
        Ok(ServerConfig {
            listen,
            http2_max_concurrent_streams: Some(http2_max_concurrent_streams).filter(|streams| *streams > 0),
            mtls: false,
            store,
            disk_durability: match settings.disk_durability {
                "os" => DiskDurability::Os,
                _ => DiskDurability::Fsync,
            },
            commit_max_ops: usize::try_from(settings.commit_max_ops).unwrap_or(usize::MAX),
            max_consumers: match usize::try_from(settings.queue_max_consumers) {
                Ok(0) | Err(_) => default_consumers(),
                Ok(most) => most,
            },
            txn_retention: settings.tc_decision_retention,
            default_namespace,
            json_max: settings.json_max,
            default_ttl: settings.default_ttl,
            max_ttl: settings.max_ttl,
            acquire_block: settings.acquire_block,
            drain_grace: settings.drain_grace,
            shutdown_timeout: Some(settings.shutdown_timeout).filter(|time| !time.is_zero()),
            log,
            config_file: None,
            notices,
            greeting: None,
        })
    }
}

fn listen(settings: &Settings) -> Result<Listen, String> {
    let family = match settings.listen_proto {
        "unix" => {
            let path = settings.listen.trim();
            if path.is_empty() || path.starts_with(':') {
                return Err(format!(
                    "listen-proto unix needs --listen with the path of the socket, such as /run/lockd.sock; \
                     {path:?} is not one"
                ));
            }
            return Ok(Listen::Unix { path: path.into(), mode: settings.unix_socket_mode });
        }
        "tcp4" => Family::V4,
        "tcp6" => Family::V6,
        _ => Family::Any,
    };
    Listen::tcp(&settings.listen, family)
}

/// Whether anything of the store outlives the process, judged by the scheme alone.
fn keeps_data_at_rest(store: &str) -> bool {
    let scheme = store.split(':').next().unwrap_or(store).to_ascii_lowercase();
    !matches!(scheme.as_str(), "mem" | "memory")
}

/// The same rule as for namespaces in requests, so that a bad default does not fail every request later.
fn namespace(text: &str) -> Result<Namespace, String> {
    Namespace::parse(text).map_err(|error| format!("config: default namespace: {error}"))
}

fn default_consumers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (64 * cores).clamp(128, 4096)
}
