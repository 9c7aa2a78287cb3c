//! A server on a memory store, in this process.

// Each test binary uses its part.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use lockd_core::Limits;
use lockd_core::records::namespace::{FallbackEngine, PreferredEngine, QueryEngines};
use lockd_node::{Node, NodeSettings};
use lockd_server::{ApiSettings, App, Bound, HttpSettings, Shutdown};
use lockd_wire::Namespace;

pub(crate) fn node() -> Arc<Node> {
    let store = lockd_store::open("mem://", lockd_store::Options::default()).unwrap();
    let limits = Limits { default_ttl_ms: 60_000, max_ttl_ms: 60_000, acquire_block_ms: 60_000 };
    Arc::new(
        Node::start(
            store.engine,
            store.blobs,
            NodeSettings { limits, idle_lanes: 64, idle_queues: 64, txn_retention_ms: 60_000 },
        )
        .unwrap(),
    )
}

pub(crate) fn namespace() -> Namespace {
    Namespace::parse("default").unwrap()
}

/// Serves the node for as long as the test runs.
pub(crate) fn serve(bound: Bound, node: &Arc<Node>) {
    let settings = ApiSettings {
        default_namespace: namespace(),
        json_max: 1 << 20,
        max_consumers: 128,
        default_engines: QueryEngines { preferred: PreferredEngine::Scan, fallback: FallbackEngine::Nothing },
    };
    let app = Arc::new(App::new(node.clone(), settings));
    let http = HttpSettings { http2_max_concurrent_streams: None, head_timeout: Duration::from_secs(60) };
    let shutdown = Shutdown { drain_grace: Duration::ZERO, timeout: None };
    tokio::spawn(bound.serve(app, http, std::future::pending(), shutdown));
}
