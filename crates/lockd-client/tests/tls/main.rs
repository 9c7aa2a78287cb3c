//! `https://`, with real handshakes: the SDK against servers that are trustworthy, and against many that are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod credentials;
mod handshakes;
mod traffic;

use std::net::SocketAddr;
use std::time::Duration;

use lockd_client::{Bundle, Client, Error, Result, RetryPolicy, Roots, Tls, Unreachable};
use lockd_conformance::http::Address;
use lockd_conformance::server::{StoreKind, shared};
use lockd_conformance::tls::{Authority, CA_NAME, Front, FrontSettings, Issued};

/// The server behind all fronts, which itself speaks plain HTTP.
pub(crate) fn plain() -> SocketAddr {
    match shared(StoreKind::Mem).address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => panic!("the shared server listens on TCP"),
    }
}

pub(crate) fn key() -> String {
    lockd_conformance::fresh::key("tls")
}

pub(crate) fn authority() -> Authority {
    Authority::new(CA_NAME)
}

pub(crate) fn front(identity: Issued) -> Front {
    FrontSettings::new(identity).before(plain())
}

pub(crate) fn bundle(issued: &Issued) -> Bundle {
    Bundle::pem(issued.bundle()).unwrap()
}

/// Trusts the CA for host names.
pub(crate) fn roots(authority: &Authority) -> Roots {
    Roots::pem(authority.pem()).unwrap()
}

pub(crate) fn client(url: &str, tls: impl Into<Tls>) -> Client {
    // A busy machine must not look like a silent server.
    Client::builder().endpoints(url).tls(tls).timeout(Duration::from_secs(60)).build().unwrap()
}

/// Asks the server something that can be asked again and again.
pub(crate) async fn ask(client: &Client) -> Result<()> {
    client.read::<serde_json::Value>(&key()).await.map(drop)
}

/// The error of a client that gets no connection, and what it says about its only server.
pub(crate) async fn refused(url: &str, tls: impl Into<Tls>) -> (Unreachable, String) {
    // The default persistence: giving up at once is part of what is tested.
    let Error::Unreachable(error) = ask(&client(url, tls)).await.unwrap_err() else {
        panic!("a server answered")
    };
    let reason = error.causes[0].reason.clone();
    assert!(!error.maybe_applied, "{error}");
    assert!(error.to_string().contains(url), "it does not say which server: {error}");
    (*error, reason)
}

/// The same for a reason that will not go away by itself: it is told at once.
pub(crate) async fn refused_for_good(url: &str, tls: impl Into<Tls>) -> String {
    let (error, reason) = refused(url, tls).await;
    assert_eq!(error.attempts, 1, "it was tried again: {error}");
    assert!(error.causes[0].lasting, "{error}");
    reason
}

pub(crate) fn impatient() -> RetryPolicy {
    RetryPolicy::none()
}
