//! The conformance checklist at the end of the HTTP API chapter, one test a line, on every store.
//!
//! `acquire` means an acquire with a TTL of 30 s that does not wait; keys are fresh in every test, so all tests of a
//! store share one server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acquire;
mod attachment;
mod checklist;
mod drain;
mod get;
mod keepalive;
mod metadata;
mod mutate;
mod namespace;
mod release;
mod remove;
mod transaction;
mod update;
mod waiting;
