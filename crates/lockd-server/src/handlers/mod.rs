//! The endpoints, one file each. A handler lists its checks in the order of its contract, asks the node, and maps the answer.

pub(crate) mod acquire;
pub(crate) mod attachment;
pub(crate) mod attachments;
pub(crate) mod describe;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod keepalive;
mod lease_request;
pub(crate) mod metadata;
pub(crate) mod mutate;
pub(crate) mod namespace;
pub(crate) mod queue;
pub(crate) mod release;
pub(crate) mod remove;
pub(crate) mod tc;
pub(crate) mod txn;
pub(crate) mod update;
