//! The storage port of lockd and its adapters.
//!
//! A store is two things: an [`Engine`], an ordered key-value database whose batches are atomic and durable, and
//! [`Blobs`], immutable byte streams beside it. Everything the product remembers is a record in the engine; values too
//! large for a batch are blobs that are durable *before* the batch that makes them reachable.
//!
//! Nothing in this crate knows what a lease is.

pub mod disk;
mod key_range;
pub mod mem;
mod open;
pub mod orphan;
mod port;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod url;
mod version;

pub use open::{Durability, Opened, Options, open};
pub use port::{
    Batch, BlobId, BlobReader, BlobWriter, Blobs, BoxFuture, Change, Committed, Direction, Engine, Entry,
    Progress, Snapshot, StoreError,
};
pub use url::{Place, StoreUrl};
