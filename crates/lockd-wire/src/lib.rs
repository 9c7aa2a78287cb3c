//! The words of lockd's HTTP API: identifiers, key and namespace names, error codes and header names.
//!
//! Everything here is plain data with a spelling; no behaviour of the service lives in this crate.

mod code;
pub mod header;
mod id;
mod mint;
mod name;

pub use code::ErrorCode;
pub use id::{LeaseId, TxnId, Uid, Xid};
pub use mint::{UidMint, XidMint};
pub use name::{InvalidKey, InvalidNamespace, InvalidQueue, KeyId, KeyName, Namespace, QueueId, QueueName};
