//! For tests of code that uses lockd: a real server in one line, and a chaos proxy between it and your client.
//!
//! A fake lock service agrees with whatever you believe about lock services. These tests run against the real one, and
//! through a network that fails when you want it to, the same way every time.
//!
//! # A server
//!
//! ```
//! use lockd_testing::TestServer;
//!
//! let server = TestServer::start()?;
//! // Give server.url() to your client: http://127.0.0.1:…
//! assert!(server.is_ready());
//! # Ok::<(), lockd_testing::Error>(())
//! ```
//!
//! It is a process of its own, on a free port or a [unix socket](TestServerBuilder::unix_socket), with a store that nobody
//! else sees, in memory or on [disk](TestServerBuilder::disk). It is ready when `start` returns, and gone when the last
//! [`TestServer`] is dropped. Its log is captured, and printed when the test fails. [`lockd_binary`] says which program is
//! started.
//!
//! A server can die in the middle of things. What it had promised is still there afterwards:
//!
//! ```
//! let server = lockd_testing::TestServer::builder().disk().start()?;
//! server.kill(); // kill -9
//! assert!(!server.is_running());
//! server.restart()?; // the same address, the same store
//! assert!(server.is_ready());
//! # Ok::<(), lockd_testing::Error>(())
//! ```
//!
//! # Chaos
//!
//! A [`ChaosProxy`] stands between your client and any server, lockd or not. The seed decides what happens to which
//! connection; the same seed decides the same again.
//!
//! ```
//! use std::time::Duration;
//! use lockd_testing::{Chaos, Direction, TestServer};
//!
//! let server = TestServer::start()?;
//! let slow = Chaos::calm().latency(Duration::from_millis(5)).jitter(Duration::from_millis(20));
//! let proxy = server.proxy().seed(42).chaos(slow).start()?;
//! // Give proxy.url() to your client instead of server.url().
//!
//! // From now on the next two answers are lost, although the server has done what it was asked to do.
//! proxy.set(Chaos::calm().reset(1.0).only(Direction::ToClient).after_bytes(0..=0).at_most(2));
//!
//! // The network is cut, and comes back.
//! proxy.set(Chaos::partition());
//! proxy.set(Chaos::calm());
//!
//! assert_eq!(proxy.counts().connections, 0);
//! # Ok::<(), lockd_testing::Error>(())
//! ```
//!
//! # With tokio and without
//!
//! Nothing here needs a runtime, and everything works on one: the proxy has a thread of its own, and what may wait for long
//! has a twin that ends in `_async` and works on any executor.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), lockd_testing::Error> {
//! let server = lockd_testing::TestServer::start_async().await?;
//! server.restart_async().await?;
//! # Ok(())
//! # }
//! ```

mod binary;
mod chaos;
mod endpoint;
mod error;
mod guard;
mod log;
mod probe;
mod server;
mod waiting;

pub use binary::lockd_binary;
pub use chaos::{Chaos, ChaosProxy, ChaosProxyBuilder, Counts, Direction, Event, Harm, Plan, What};
pub use endpoint::Endpoint;
pub use error::Error;
pub use log::Log;
pub use server::{TestServer, TestServerBuilder};

/// Prints with the output of the test, which the test harness keeps to itself unless the test fails.
#[expect(clippy::print_stderr, reason = "only eprint! is captured by the test harness")]
fn show(text: &str) {
    eprint!("{text}");
}
