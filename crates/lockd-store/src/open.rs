//! Opening a store by its URL.

use std::sync::Arc;

use crate::port::{Blobs, Engine, StoreError};
use crate::url::{Place, StoreUrl};
use crate::{disk, mem};

/// When a disk store calls a batch durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the device has confirmed it. Survives a power cut.
    #[default]
    Fsync,
    /// When the operating system has it. Survives the death of the process, not of the machine.
    Os,
}

/// What may be tuned about a store. Adapters ignore what does not concern them.
#[derive(Debug, Clone)]
pub struct Options {
    pub durability: Durability,
    /// At most this many batches share one sync.
    pub commit_max_ops: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Fsync, commit_max_ops: 4096 }
    }
}

/// An open store.
#[derive(Debug)]
pub struct Opened {
    pub engine: Arc<dyn Engine>,
    pub blobs: Arc<dyn Blobs>,
    /// What the operator should be told at start.
    pub warnings: Vec<String>,
    /// Where the store is, in words for logs and messages.
    pub location: String,
}

/// Opens the store that a URL names. Blocks while the store recovers.
///
/// ```
/// let store = lockd_store::open("mem://", lockd_store::Options::default())?;
/// assert_eq!(store.location, "memory");
/// # Ok::<(), lockd_store::StoreError>(())
/// ```
pub fn open(url: &str, options: Options) -> Result<Opened, StoreError> {
    let StoreUrl { place, mut warnings } = StoreUrl::parse(url)?;
    match place {
        Place::Mem => {
            let (engine, blobs) = mem::open();
            Ok(Opened { engine, blobs, warnings, location: "memory".into() })
        }
        Place::Disk { root, durability } => {
            let options = Options { durability: durability.unwrap_or(options.durability), ..options };
            let (engine, blobs) = disk::open(&root, &options)?;
            if options.durability == Durability::Os {
                warnings.push(format!(
                    "disk store {} answers before data is on disk: a crash of the machine or a power cut can lose \
                     writes that were acknowledged",
                    root.display()
                ));
            }
            Ok(Opened { engine, blobs, warnings, location: format!("directory {}", root.display()) })
        }
    }
}
