//! The workflow state of a message: what a handler has to remember from one delivery to the next.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::about;
use crate::answer::{Mutated, Removed, Saved};
use crate::body::Body;
use crate::error::Result;
use crate::lease::Lease;
use crate::session::LeaseSession;
use crate::stream::StateStream;
use crate::vigil::Vigil;

/// The private JSON state of a message, for work in several steps.
///
/// What is saved is kept when the message is given back (by a [nack](super::Message::nack) or a
/// [deferral](super::Message::defer)), and is there at the next delivery. It is discarded when the lease runs out, and goes away
/// with the message when that is acknowledged.
///
/// ```no_run
/// # async fn example(queue: &lockd_client::Queue) -> lockd_client::Result<()> {
/// use std::time::Duration;
/// use lockd_client::DequeueOptions;
///
/// if let Some(mut message) = queue.dequeue(&DequeueOptions::new().stateful()).await? {
///     let Some(state) = message.state() else { return Ok(()) };
///     let step = state.load::<u32>().await?.unwrap_or(0) + 1;
///     state.save(&step).await?;
///     match step {
///         3 => message.ack().await?,
///         _ => message.defer(Duration::from_secs(10)).await?,
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct WorkflowState(LeaseSession);

impl WorkflowState {
    pub(super) fn of(vigil: &Vigil) -> Option<WorkflowState> {
        let about = about(vigil);
        let lease = Lease {
            correlation_id: about.correlation_id.clone(),
            ..Lease::new(
                about.namespace.clone(),
                format!("q/{}/state/{}", about.queue, about.message_id),
                about.state_lease_id.clone()?,
                about.txn_id.clone(),
                about.state_fencing_token?,
            )
        };
        Some(WorkflowState(vigil.client.attach(lease)))
    }

    /// The key of the state.
    pub fn key(&self) -> &str {
        self.0.key()
    }

    /// The state: what this delivery has saved, or else what an earlier one has. `None` if there is none.
    pub async fn load<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.0.load().await
    }

    /// Saves a new state.
    pub async fn save<T: Serialize + ?Sized>(&mut self, state: &T) -> Result<Saved> {
        self.0.save(state).await
    }

    /// The state as it arrives.
    pub async fn get(&self) -> Result<Option<StateStream>> {
        self.0.get().await
    }

    /// Saves one JSON value from a string, bytes or a reader.
    pub async fn update(&mut self, document: impl Into<Body>) -> Result<Saved> {
        self.0.update(document).await
    }

    /// Saves what these expressions make of the state.
    pub async fn mutate<S: AsRef<str>>(
        &mut self,
        expressions: impl IntoIterator<Item = S>,
    ) -> Result<Mutated> {
        self.0.mutate(expressions).await
    }

    /// Removes the state.
    pub async fn remove(&mut self) -> Result<Removed> {
        self.0.remove().await
    }
}
