//! `disk://`: a store in one directory of a local file system.
//!
//! ```text
//! <root>/lock       held by the owner with a kernel lock; says who that is
//! <root>/format     version of this layout
//! <root>/last-use   how the store was last opened or closed
//! <root>/log/       the commit log: what the records may lack after a crash
//! <root>/db/        the records, a fjall database
//! <root>/blobs/     the blobs, one file each
//! ```

mod background;
mod base;
mod blob_reader;
mod blob_writer;
mod blobs;
mod committer;
mod database;
mod engine;
mod fault;
mod journal;
mod keeper;
mod last_use;
mod layers;
mod log;
mod memtable;
mod owner;
mod recovery;
mod root;
mod snapshot;
mod view;
mod witness;

use std::path::Path;
use std::sync::Arc;

pub use blobs::DiskBlobs;
pub use engine::DiskEngine;

use crate::open::{Durability, Options};
use crate::port::StoreError;

/// Opens the store in a directory, or creates it in an absent or empty one. Blocks while the store recovers.
///
/// The durability is taken from `options`.
pub fn open(root: &Path, options: &Options) -> Result<(Arc<DiskEngine>, Arc<DiskBlobs>), StoreError> {
    let root = root::Root::prepare(root)?;
    let owner = owner::Owner::claim(&root)?;
    root.create_or_check()?;
    if options.durability == Durability::Os {
        root.refuse_network_file_system()?;
    }
    let blobs = Arc::new(DiskBlobs::open(&root)?);
    let recovered = recovery::recover(&root, options.durability)?;
    let engine = DiskEngine::start(root, owner, recovered, Arc::clone(&blobs), options)?;
    Ok((Arc::new(engine), blobs))
}
