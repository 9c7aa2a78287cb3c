//! Client of dflockd, the FIFO lock daemon: locks and semaphores with leases that renew themselves. For tokio.
//!
//! # A lock
//!
//! ```no_run
//! use dflockd_client::{Client, Error};
//!
//! # async fn report() -> Result<u32, Error> { Ok(12) }
//! # async fn example() -> Result<(), Error> {
//! let client = Client::new("127.0.0.1:6388")?;
//! let lock = client.lock("nightly-report")?;
//!
//! // Only one process at a time is in here.
//! let pages = lock.with_lock(async |_| report().await).await?;
//! # Ok(()) }
//! ```
//!
//! By hand, and stopping when the lock is lost:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use dflockd_client::{Client, Error};
//! # async fn work() {}
//! # async fn example(client: Client) -> Result<(), Error> {
//! let lock = client
//!     .lock("invoice-17")?
//!     .acquire_timeout(Duration::from_secs(5))?
//!     .lease(Duration::from_secs(20))?;
//!
//! match lock.acquire().await {
//!     Ok(guard) => {
//!         let mut lost = guard.lost();
//!         tokio::select! {
//!             () = work() => guard.release().await?,
//!             loss = lost.wait() => eprintln!("stopped: {loss}"),
//!         }
//!     }
//!     Err(Error::Timeout { .. }) => println!("somebody else has it"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(()) }
//! ```
//!
//! If two holders at once would do damage, give [`Token::fencing`] to what the lock protects: a number that grows with each grant.
//!
//! # A semaphore, and a place in the queue first
//!
//! ```no_run
//! # use std::time::Duration;
//! # use dflockd_client::{Client, Entry, Error};
//! # async fn example(client: Client) -> Result<(), Error> {
//! let slots = client.semaphore("render", 3)?;
//! let guard = match slots.enqueue().await? {
//!     Entry::Acquired(guard) => guard,
//!     Entry::Queued(place) => place.wait(Duration::from_secs(30)).await?,
//! };
//! guard.release().await?;
//! # Ok(()) }
//! ```
//!
//! # Several servers, a secret, TLS
//!
//! ```no_run
//! # use dflockd_client::{Client, Error, Tls};
//! # fn example(roots: &[u8]) -> Result<Client, Error> {
//! Client::builder()
//!     .server("locks-a.internal:6388")
//!     .server("locks-b.internal:6388")
//!     .auth("s3cret")
//!     .tls(Tls::with_roots(roots)?)
//!     .build()
//! # }
//! ```
//!
//! The servers do not know each other. A key belongs to server number CRC-32 of its bytes modulo their number, in all languages
//! ([`stable_hash_shard`]), so every client needs the same servers in the same order.
//!
//! # Futures that are dropped
//!
//! Every acquisition has a connection of its own, and the server frees what a connection holds or waits for when it ends. So
//!
//! * dropping `acquire`, `enqueue` or `wait` closes the connection: the place in the queue is given up, and a grant that was under
//!   way goes to the next;
//! * between the arrival of a grant and the guard there is no point at which the future can be dropped;
//! * dropping a [`Guard`] releases in the background, and dropping the future of `release` does not stop the release;
//! * dropping a call on a [`Connection`] closes that connection.
//!
//! On a server with `--no-auto-release-on-disconnect` a grant that nobody reads lasts until its lease ends.
//!
//! # When the server goes away
//!
//! A lost lock is never taken again behind your back: somebody else may have held it in between. [`Guard::lost`] tells of it at
//! once when the connection ends, when a renewal is refused, and when the lease passes without an answer. A [`Lock`] itself holds no
//! connection: its next `acquire` opens a new one, and works as soon as the server does.
//!
//! The server ends connections that are silent for its read timeout (23 s). Renewals come at least every 20 s; a place in the queue
//! has to be waited for before that time.

mod arguments;
mod client;
mod connection;
mod error;
mod guard;
mod primitive;
mod shard;
mod stats;
mod tls;

pub use client::{Client, ClientBuilder, DEFAULT_SERVER};
pub use connection::{Connection, Enqueued, Grant, Token};
pub use error::{Error, Loss, Refusal};
pub use guard::{Guard, Lost};
pub use primitive::{Entry, Lock, Place, Semaphore};
pub use shard::stable_hash_shard;
pub use stats::{IdleStats, LockStats, SemaphoreStats, Stats};
pub use tls::Tls;
