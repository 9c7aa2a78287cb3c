//! What the conformance tests share: a client that speaks raw HTTP/1.1 ([`http`]), the few lockd calls that
//! most tests need ([`lease`], [`queue`] with [`multipart`], [`stream`] for answers that stay open), certificates and TLS for servers without it ([`tls`]), a server process to test ([`server`]), and the replayer of recorded exchanges
//! ([`recording`], [`name`], [`compare`], [`check`],
//! [`replay`]).
//!
//! Nothing here knows how the server is built: it is started as a program and spoken to through a socket.
//! The crate is test support, so a broken environment (no binary, no free port) fails loudly with a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

pub mod check;
pub mod compare;
pub mod digest;
pub mod fresh;
pub mod http;
pub mod lease;
pub mod multipart;
pub mod name;
pub mod queue;
pub mod reaper;
pub mod recording;
pub mod replay;
pub mod server;
pub mod stream;
pub mod tls;

/// Whether the tests that take long or much memory shall run too: `LOCKD_SLOW=1`. Otherwise they say that they were
/// skipped.
pub fn slow_lane(test: &str) -> bool {
    let slow = std::env::var("LOCKD_SLOW").is_ok_and(|value| value == "1");
    if !slow {
        println!("SKIPPED {test}: it is in the slow lane, set LOCKD_SLOW=1 to run it");
    }
    slow
}

/// Defines one checklist line as a module with two tests, `mem` and `disk`, that run the same body against the
/// shared server on each store.
#[macro_export]
macro_rules! on_every_store {
    ($(#[$attribute:meta])* $name:ident, |$client:ident| $body:block) => {
        $(#[$attribute])*
        mod $name {
            use super::*;

            fn check($client: &$crate::lease::Client) $body

            #[test]
            fn mem() {
                check(&$crate::server::shared($crate::server::StoreKind::Mem).client());
            }

            #[test]
            fn disk() {
                check(&$crate::server::shared($crate::server::StoreKind::Disk).client());
            }
        }
    };
}
