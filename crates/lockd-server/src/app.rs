//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lockd_core::Moment;
use lockd_core::records::namespace::QueryEngines;
use lockd_node::Node;
use lockd_wire::{ErrorCode, Namespace};
use tokio::sync::watch;

use crate::answer::Failure;

#[derive(Debug, Clone)]
pub struct ApiSettings {
    pub default_namespace: Namespace,
    /// Largest JSON document and body; exactly this much is accepted.
    pub json_max: u64,
    /// Most fetches of messages at a time, all queues together.
    pub max_consumers: usize,
    /// What a namespace uses for queries until somebody configures it.
    pub default_engines: QueryEngines,
}

#[derive(Debug)]
pub struct App {
    pub(crate) node: Arc<Node>,
    pub(crate) settings: ApiSettings,
    /// When the drain's grace ends, in Unix milliseconds; zero while the server is not draining.
    draining_until: AtomicU64,
    /// Fetches of messages under way.
    consumers: AtomicUsize,
    /// True when streams that would go on for ever are to end.
    streams_end: watch::Sender<bool>,
}

/// A fetch under way; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Consuming<'a>(&'a AtomicUsize);

impl Drop for Consuming<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl App {
    pub fn new(node: Arc<Node>, settings: ApiSettings) -> App {
        App {
            node,
            settings,
            draining_until: AtomicU64::new(0),
            consumers: AtomicUsize::new(0),
            streams_end: watch::Sender::new(false),
        }
    }

    pub(crate) fn start_draining(&self, until: Moment) {
        self.draining_until.store(until.0.max(1), Ordering::Release);
        self.node.drain();
    }

    /// Counts a fetch of messages in, if there are not too many already.
    pub(crate) fn consumer(&self) -> Result<Consuming<'_>, Failure> {
        let before = self.consumers.fetch_add(1, Ordering::Relaxed);
        let counted = Consuming(&self.consumers);
        match before < self.settings.max_consumers {
            true => Ok(counted),
            false => Err(Failure::new(ErrorCode::QueueBusy, "too many consumers")),
        }
    }

    pub(crate) fn consumers(&self) -> usize {
        self.consumers.load(Ordering::Relaxed)
    }

    pub(crate) fn end_streams(&self) {
        self.streams_end.send_replace(true);
    }

    /// Resolves when streams are to end.
    pub(crate) async fn streams_end(&self) {
        let mut told = self.streams_end.subscribe();
        let _ = told.wait_for(|&end| end).await;
    }

    /// Until when, if the server is draining.
    pub(crate) fn draining_until(&self) -> Option<Moment> {
        match self.draining_until.load(Ordering::Acquire) {
            0 => None,
            until => Some(Moment(until)),
        }
    }
}
