//! The async Rust SDK of lockd: leases that renew themselves, JSON state, attachments, queues, and transactions over keys and
//! messages.
//!
//! Count something that many workers count, and never lose or double a step:
//!
//! ```no_run
//! use lockd_client::{AcquireOptions, Client, Update};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Progress {
//!     done: u64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> lockd_client::Result<()> {
//! let client = Client::connect("http://127.0.0.1:9341")?;
//! let done = client
//!     .acquire_for_update("jobs/import", &AcquireOptions::new(), async |update: &mut Update<Progress>| {
//!         let progress = update.state.get_or_insert_default();
//!         progress.done += 1;
//!         Ok::<_, lockd_client::Error>(progress.done)
//!     })
//!     .await?;
//! println!("{done} done");
//! # Ok(()) }
//! ```
//!
//! Or hold a lease for as long as some work takes, and hear at once when it is lost:
//!
//! ```no_run
//! # async fn work() {}
//! # async fn example() -> lockd_client::Result<()> {
//! use lockd_client::{AcquireOptions, Client};
//!
//! let client = Client::connect("http://127.0.0.1:9341,http://127.0.0.2:9341")?;
//! let session = client.acquire("leader", &AcquireOptions::new()).await?;
//! let lost = session.lost();
//! tokio::select! {
//!     () = work() => drop(session.release().await?),
//!     loss = lost.wait() => eprintln!("somebody else may lead now: {loss}"),
//! }
//! # Ok(()) }
//! ```
//!
//! Or take work from a queue, several pieces at a time:
//!
//! ```no_run
//! # async fn ship(order: u64) -> Result<(), String> { Ok(()) }
//! # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
//! use lockd_client::{Delivery, Settle};
//!
//! client
//!     .queue("orders")
//!     .consumer()
//!     .concurrency(8)
//!     .run(async |mut order: Delivery| match order.payload().json().await {
//!         Ok(number) => Settle::from(ship(number).await),
//!         Err(error) => Settle::from(Err(error)),
//!     })
//!     .await
//! # }
//! ```
//!
//! # What a lease protects, and what not
//!
//! The session renews its lease well before it ends, and declares it [lost](LeaseSession::lost) when a server says so or when
//! the time of the last successful renewal has run out by the local clock, whichever comes first. A process that is suspended
//! or a network that holds back what was sent can still let a former holder act. For that every grant has a higher
//! [fencing token](LeaseSession::fencing_token): give it to whatever you write to, and let that refuse lower ones. What you
//! write to lockd itself is protected by it already.
//!
//! # When calls are repeated
//!
//! A call goes to the server that answered last. If that cannot be reached, or answers that it is passive, the call goes to
//! the next one at once; after a round through all of them there is a pause (see [`RetryPolicy`]), unless all of them fail for
//! reasons that [last](Cause::lasting), such as certificates that cannot be [trusted](Tls). A busy or failing server
//! (429 and 5xx) is asked again after the pause that it hints at. When a connection breaks after a call was sent, nobody knows
//! whether it was carried out. Calls that can be repeated without harm are repeated, and conditions make sure that a
//! [`mutate`](LeaseSession::mutate) is not applied twice; all others fail, and their error answers
//! [`is_outcome_unknown`](Error::is_outcome_unknown).
//!
//! # Without async
//!
//! There is no blocking twin of this API. Renewing leases and telling that one is lost need something that runs beside your
//! code, so a blocking twin would have to start a runtime anyway, and would be a second API to learn and to keep true. A
//! program that is not async needs one line more:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
//! let client = lockd_client::Client::connect("http://127.0.0.1:9341")?;
//! let session = runtime.block_on(client.acquire("jobs/nightly", &Default::default()))?;
//! // ... blocking work; the runtime's thread renews the lease meanwhile ...
//! runtime.block_on(session.release())?;
//! # Ok(()) }
//! ```
//!
//! All calls must run within a tokio runtime with its I/O and time enabled.
#![warn(missing_docs)]

mod acquire;
mod answer;
mod answered;
mod attachment;
mod body;
mod builder;
mod call;
mod client;
mod connection;
mod correlation;
mod courier;
mod decision;
mod endpoint;
mod error;
mod exchange;
mod lease;
mod namespace;
mod options;
mod queue;
mod retry;
mod session;
mod stream;
mod tls;
mod transaction;
mod update;
mod vigil;

pub use answer::{
    Description, Metadata, MetadataSet, Mutated, Outcome, Released, Removed, Renewed, Saved, Versioned,
};
pub use answered::{Answer, AnswerBody};
pub use attachment::{Attached, Attachment, AttachmentSelector, Deleted, DeletedAll};
pub use body::Body;
pub use builder::{Attempt, ClientBuilder};
pub use call::{Call, Repeat};
pub use client::Client;
pub use decision::{Decision, Participant};
pub use endpoint::{DEFAULT_PORT, Endpoint};
pub use error::{Cause, Error, Loss, Refusal, Result, Unreachable};
pub use lease::{Lease, TxnId};
pub use lockd_wire::ErrorCode;
pub use namespace::{NamespaceChange, NamespaceSettings};
pub use options::{AcquireOptions, AttachOptions, UpdateOptions, Wait};
pub use queue::{
    Consumer, ConsumerFailure, DeadLetter, DeadLetterPage, DeadLetterPayload, Delivery, DequeueOptions,
    EnqueueOptions, Enqueued, Message, MessageLease, Nack, Payload, Queue, QueueEvent, QueueStats, Settle,
    Subscription, Watch, WorkflowState,
};
pub use retry::RetryPolicy;
pub use session::LeaseSession;
pub use stream::{AttachmentStream, StateStream};
pub use tls::{Bundle, Identity, Role, Roots, Tls};
pub use transaction::Transaction;
pub use update::Update;
pub use vigil::{Draining, Lost, granted_span};

/// The guide, so that its programs are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust-sdk.md")]
struct Guide;
