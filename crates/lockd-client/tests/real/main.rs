//! The SDK against the real server program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attachments;
mod chaos;
mod consumers;
mod leases;
mod queues;
mod state;
mod transactions;
mod updates;
mod workers;

use lockd_client::{AcquireOptions, Client};
use lockd_conformance::http::Address;
use lockd_conformance::server::{Server, StoreKind, shared};

/// The endpoint of a server.
pub(crate) fn endpoint(server: &Server) -> String {
    match server.address() {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix://{}", path.display()),
    }
}

/// A client of the server that all tests share.
pub(crate) fn client() -> Client {
    Client::connect(&endpoint(shared(StoreKind::Mem))).unwrap()
}

pub(crate) fn key() -> String {
    lockd_conformance::fresh::key("sdk")
}

pub(crate) fn at_once() -> AcquireOptions {
    AcquireOptions::new().no_wait()
}
