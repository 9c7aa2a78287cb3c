//! `mem://`: the whole store in the memory of one process, for tests and throw-away instances.

mod blobs;
mod engine;

use std::sync::Arc;

pub use blobs::MemBlobs;
pub use engine::MemEngine;

/// A new, empty memory store: its engine and its blobs. Blobs that a batch declares dead are deleted with that batch.
pub fn open() -> (Arc<MemEngine>, Arc<MemBlobs>) {
    let blobs = Arc::new(MemBlobs::default());
    (Arc::new(MemEngine::new(Arc::clone(&blobs))), blobs)
}
