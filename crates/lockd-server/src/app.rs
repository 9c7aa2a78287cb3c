//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockd_core::Moment;
use lockd_core::records::namespace::QueryEngines;
use lockd_node::Node;
use lockd_wire::Namespace;

#[derive(Debug, Clone)]
pub struct ApiSettings {
    pub default_namespace: Namespace,
    /// Largest JSON document and body; exactly this much is accepted.
    pub json_max: u64,
    /// What a namespace uses for queries until somebody configures it.
    pub default_engines: QueryEngines,
}

#[derive(Debug)]
pub struct App {
    pub(crate) node: Arc<Node>,
    pub(crate) settings: ApiSettings,
    /// When the drain's grace ends, in Unix milliseconds; zero while the server is not draining.
    draining_until: AtomicU64,
}

impl App {
    pub fn new(node: Arc<Node>, settings: ApiSettings) -> App {
        App { node, settings, draining_until: AtomicU64::new(0) }
    }

    pub(crate) fn start_draining(&self, until: Moment) {
        self.draining_until.store(until.0.max(1), Ordering::Release);
        self.node.drain();
    }

    /// Until when, if the server is draining.
    pub(crate) fn draining_until(&self) -> Option<Moment> {
        match self.draining_until.load(Ordering::Acquire) {
            0 => None,
            until => Some(Moment(until)),
        }
    }
}
