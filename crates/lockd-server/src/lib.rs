//! lockd's HTTP API.
//!
//! The walk of a request: [`listener`] accepts a connection and hands its requests to [`route`], which finds the handler;
//! the handler (one file an endpoint, under [`handlers`]) takes typed arguments out of a [`call::Call`], passes the gates
//! that its contract names, asks the node, and maps what it gets to an answer. [`answer`] knows how answers look, [`gate`]
//! is the one place for identity, permissions, throttling and drain.

mod answer;
mod app;
mod body;
mod call;
mod deliveries;
mod gate;
mod handlers;
mod in_progress;
#[doc(hidden)]
pub mod judged;
mod lingering;
mod listener;
mod multipart;
mod query;
mod route;
mod shutdown;

pub use app::{ApiSettings, App};
pub use listener::{Bound, Endpoint, HttpSettings};
pub use shutdown::{DrainReport, Shutdown};
