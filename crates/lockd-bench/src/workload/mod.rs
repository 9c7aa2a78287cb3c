//! The workloads on a lockd server.

pub(crate) mod handover;
pub(crate) mod keepalive;
pub(crate) mod lock;
pub(crate) mod read;
