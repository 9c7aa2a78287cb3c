//! The life of the server process, from a checked configuration to a clean end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockd_core::Limits;
use lockd_core::records::namespace::{FallbackEngine, PreferredEngine, QueryEngines};
use lockd_node::{Node, NodeSettings};
use lockd_server::{ApiSettings, App, Bound, Endpoint, HttpSettings, Shutdown};
use lockd_store::{Durability, Options, StoreError};

use crate::config::{DiskDurability, ServerConfig};
use crate::listen::Listen;
use crate::signals::StopSignal;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("open store: {0}")]
    Store(#[from] StoreError),
    #[error("listen ({network} {listen}): {error}")]
    Listen { network: &'static str, listen: String, error: io::Error },
    #[error("take over signals: {0}")]
    Signals(io::Error),
    #[error(
        "store failed while serving: {0}; nothing was acknowledged that is not on disk, restart to go on"
    )]
    StoreFailed(String),
    #[error("shutdown incomplete: {step} did not finish within {limit:?}")]
    Incomplete { step: &'static str, limit: Duration },
    #[error("close store: {0}")]
    Close(StoreError),
}

/// Key records that stay in memory though nobody uses them.
const IDLE_LANES: usize = 4 * 1024;

/// Queues that stay in memory though nobody waits for them.
const IDLE_QUEUES: usize = 1024;

/// How often expired messages and forgotten transactions are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(30);

/// An HTTP/1.1 connection without a complete request head for this long is closed. Clients keep idle connections for one to two
/// minutes; if the server were the first to close one, a request could be on its way into the closed door.
const HEAD_TIMEOUT: Duration = Duration::from_secs(180);

/// How often blobs are looked through for what crashes have left, and how old such a blob has to be.
const ORPHAN_INTERVAL: Duration = Duration::from_secs(60 * 60);
const ORPHAN_MIN_AGE: Duration = Duration::from_secs(10 * 60);

/// Runs the server until a signal ends it.
pub async fn serve(config: ServerConfig) -> Result<(), ServeError> {
    let mut signals = StopSignal::install().map_err(ServeError::Signals)?;
    let node = Arc::new(open_node(&config)?);
    let bound = bind(&config.listen)?;
    announce(&config, &bound.address);
    let housekeeping = [tokio::spawn(collect_orphans(node.clone())), tokio::spawn(tidy_up(node.clone()))];

    let app = Arc::new(App::new(node.clone(), api_settings(&config)));
    let http = HttpSettings {
        http2_max_concurrent_streams: config.http2_max_concurrent_streams,
        head_timeout: HEAD_TIMEOUT,
    };
    let shutdown = Shutdown { drain_grace: config.drain_grace, timeout: config.shutdown_timeout };
    let mut stopping_since = None;
    let stop = async {
        let signal = signals.first().await;
        stopping_since = Some(Instant::now());
        tracing::info!(sys = "server.lifecycle.core", %signal, "stopping");
    };
    let served = tokio::select! {
        report = bound.socket.serve(app, http, stop, shutdown) => Ok(report),
        // A store that lost a write must not be built upon: the process ends, and a restart finds what is durable.
        failure = node.store_failed() => Err(ServeError::StoreFailed(failure)),
    };
    housekeeping.iter().for_each(tokio::task::JoinHandle::abort);
    let report = served?;
    close(node, stopping_since.unwrap_or_else(Instant::now), config.shutdown_timeout).await?;
    match config.shutdown_timeout {
        Some(limit) if !report.complete => Err(ServeError::Incomplete { step: "answering requests", limit }),
        _ => Ok(()),
    }
}

fn open_node(config: &ServerConfig) -> Result<Node, StoreError> {
    let options = Options {
        durability: match config.disk_durability {
            DiskDurability::Fsync => Durability::Fsync,
            DiskDurability::Os => Durability::Os,
        },
        commit_max_ops: config.commit_max_ops,
    };
    let store = lockd_store::open(&config.store, options)?;
    for warning in &store.warnings {
        tracing::warn!(sys = "storage.backend.core", warning = &**warning, "store option");
    }
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let limits = Limits {
        default_ttl_ms: millis(config.default_ttl),
        max_ttl_ms: millis(config.max_ttl),
        acquire_block_ms: millis(config.acquire_block),
    };
    let started = Instant::now();
    let settings = NodeSettings {
        limits,
        idle_lanes: IDLE_LANES,
        idle_queues: IDLE_QUEUES,
        txn_retention_ms: millis(config.txn_retention),
    };
    let node = Node::start(store.engine, store.blobs, settings)?;
    tracing::info!(
        sys = "storage.backend.core",
        location = &*store.location,
        held_leases = node.held_leases(),
        elapsed_ms = started.elapsed().as_millis() as u64,
        "store opened"
    );
    Ok(node)
}

fn api_settings(config: &ServerConfig) -> ApiSettings {
    let volatile = config.store.starts_with("mem");
    ApiSettings {
        default_namespace: config.default_namespace.clone(),
        json_max: config.json_max,
        max_consumers: config.max_consumers,
        default_engines: QueryEngines {
            preferred: if volatile { PreferredEngine::Scan } else { PreferredEngine::Index },
            fallback: FallbackEngine::Nothing,
        },
    }
}

struct BoundSocket {
    socket: Bound,
    address: Listen,
}

/// Binds the first of the addresses that can be bound.
fn bind(listen: &Listen) -> Result<BoundSocket, ServeError> {
    let failed = |error| ServeError::Listen { network: listen.network(), listen: listen.to_string(), error };
    if let Listen::Unix { path, mode } = listen {
        let socket = Bound::bind(&Endpoint::Unix { path: path.clone(), mode: *mode }).map_err(failed)?;
        return Ok(BoundSocket { socket, address: listen.clone() });
    }
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address of that kind");
    for candidate in listen.candidates().map_err(failed)? {
        match Bound::bind(&Endpoint::Tcp(candidate)) {
            Ok(socket) => {
                let address = listen.bound_to(socket.port());
                return Ok(BoundSocket { socket, address });
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Says that the server now accepts connections at `bound`: in the log, and to the developer who started it.
fn announce(config: &ServerConfig, bound: &Listen) {
    tracing::info!(
        sys = "server.lifecycle.core",
        network = bound.network(),
        address = %bound,
        mtls = config.mtls,
        "listening"
    );
    if let Some(greeting) = &config.greeting {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        // Nobody may be reading; the server runs all the same.
        let _ = out.write_all(greeting.text(bound).as_bytes()).and_then(|()| out.flush());
    }
}

async fn collect_orphans(node: Arc<Node>) {
    // At start nothing is in flight that an earlier process could still finish.
    let mut min_age = Duration::ZERO;
    loop {
        match node.collect_orphans(min_age).await {
            Ok(collected) if collected.deleted > 0 => tracing::info!(
                sys = "storage.backend.core",
                seen = collected.seen,
                deleted = collected.deleted,
                "deleted blobs that nothing refers to"
            ),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(sys = "storage.backend.core", %error, "cannot look for orphaned blobs");
            }
        }
        min_age = ORPHAN_MIN_AGE;
        tokio::time::sleep(ORPHAN_INTERVAL).await;
    }
}

/// Removes messages whose time is over, and outcomes that need not be remembered any longer.
async fn tidy_up(node: Arc<Node>) {
    loop {
        tokio::time::sleep(TIDY_INTERVAL).await;
        if let Err(error) = node.tidy_up().await {
            tracing::warn!(sys = "storage.backend.core", %error, "cannot tidy up");
        }
    }
}

/// Gives up the store. What is under way is waited for, within what is left of the shutdown's time.
async fn close(node: Arc<Node>, since: Instant, timeout: Option<Duration>) -> Result<(), ServeError> {
    let closing = tokio::task::spawn_blocking(move || node.close());
    let step = "closing the store";
    let closed = match timeout {
        None => closing.await,
        Some(limit) => {
            let rest = limit.saturating_sub(since.elapsed()).max(Duration::from_secs(1));
            match tokio::time::timeout(rest, closing).await {
                Ok(closed) => closed,
                Err(_) => return Err(ServeError::Incomplete { step, limit }),
            }
        }
    };
    match closed {
        Ok(result) => result.map_err(ServeError::Close),
        Err(error) => Err(ServeError::Close(StoreError::Io(error.to_string()))),
    }
}
