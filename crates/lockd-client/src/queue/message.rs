//! A message in the hands of a consumer: what it says, and the lease that makes it ours.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use super::payload::Payload;
use super::settle::Settle;
use super::state::WorkflowState;
use super::{DequeueOptions, Queue};
use crate::answer::Renewed;
use crate::client::Client;
use crate::error::Result;
use crate::lease::Lease;
use crate::options::whole_seconds;
use crate::vigil::{Draining, Lost, Vigil};

/// What is known of a message that was delivered, and what proves its lease: plain data, to be kept or handed to another
/// process. See [`Message::detach`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MessageLease {
    /// The namespace of the queue.
    pub namespace: String,
    /// The queue, as the server spells it.
    pub queue: String,
    /// Names the message, for its whole life.
    pub message_id: String,
    /// How often it was delivered, this time included.
    #[serde(default)]
    pub attempts: u32,
    /// How often it may fail before it becomes a dead letter.
    #[serde(default)]
    pub max_attempts: u32,
    /// How often it has failed.
    #[serde(default)]
    pub failure_attempts: u32,
    /// How long the lease lives without being extended, in seconds.
    #[serde(default)]
    pub visibility_timeout_seconds: u64,
    /// What the producer said about it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// The media type of the payload.
    #[serde(default)]
    pub payload_content_type: String,
    /// How long the payload is.
    #[serde(default)]
    pub payload_bytes: u64,
    /// The id under which servers log everything about the message.
    #[serde(default)]
    pub correlation_id: String,
    /// Names this delivery.
    pub lease_id: String,
    /// When the delivery ends unless it is extended, by the server's clock, in seconds since 1970.
    #[serde(default)]
    pub lease_expires_at_unix: i64,
    /// Grows with every delivery of the message. Hand it to whatever you write to, and let that refuse lower ones.
    pub fencing_token: i64,
    /// The transaction that the delivery belongs to.
    #[serde(default)]
    pub txn_id: String,
    /// Names the latest change of the message.
    #[serde(default)]
    pub meta_etag: String,
    /// Names the workflow state of the message, if it was delivered with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_etag: Option<String>,
    /// The lease on the workflow state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_lease_id: Option<String>,
    /// The fencing token of that lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_fencing_token: Option<i64>,
}

impl MessageLease {
    /// The delivery with these ids, of which nothing else is known. That is enough to [acknowledge](Message::ack) it; whoever
    /// extends or fails it has to know its [`meta_etag`](Self::meta_etag), too.
    ///
    /// ```
    /// use lockd_client::MessageLease;
    ///
    /// let mut lease =
    ///     MessageLease::new("default", "orders", "0197f3c2-8a41-7c15-9d0e-3b5f6a7c8d90", "d1k2m3n4o5p6q7r8s9t0", 1);
    /// lease.meta_etag = "0197f3c2-9b52-7d26-8e1f-4c6a7b8d9e01".to_owned();
    /// ```
    pub fn new(
        namespace: impl Into<String>,
        queue: impl Into<String>,
        message_id: impl Into<String>,
        lease_id: impl Into<String>,
        fencing_token: i64,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            queue: queue.into(),
            message_id: message_id.into(),
            attempts: 0,
            max_attempts: 0,
            failure_attempts: 0,
            visibility_timeout_seconds: 0,
            attributes: Map::new(),
            payload_content_type: String::new(),
            payload_bytes: 0,
            correlation_id: String::new(),
            lease_id: lease_id.into(),
            lease_expires_at_unix: 0,
            fencing_token,
            txn_id: String::new(),
            meta_etag: String::new(),
            state_etag: None,
            state_lease_id: None,
            state_fencing_token: None,
        }
    }
}

/// What makes a lease that of a message.
pub(crate) struct Held {
    pub(super) about: MessageLease,
    pub(super) etag: Mutex<MetaEtag>,
    /// Those who change the message and need to know its ETag afterwards take turns.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
pub(super) struct MetaEtag {
    pub(super) text: String,
    /// A call that changes it broke off, and may have been carried out.
    pub(super) is_doubtful: bool,
}

impl Held {
    pub(super) fn etag(&self) -> MetaEtag {
        self.etag.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_etag(&self, etag: MetaEtag) {
        *self.etag.lock().unwrap_or_else(PoisonError::into_inner) = etag;
    }
}

/// A message as handlers see it: what it says, and how long it is theirs.
pub struct Delivery {
    pub(super) vigil: Arc<Vigil>,
    payload: Payload,
    state: Option<WorkflowState>,
}

impl Delivery {
    fn about(&self) -> &MessageLease {
        about(&self.vigil)
    }

    /// Names the message, for its whole life.
    pub fn id(&self) -> &str {
        &self.about().message_id
    }

    /// The queue, as the server spells it.
    pub fn queue(&self) -> &str {
        &self.about().queue
    }

    /// The namespace of the queue.
    pub fn namespace(&self) -> &str {
        &self.about().namespace
    }

    /// How often the message was delivered, this time included.
    pub fn attempts(&self) -> u32 {
        self.about().attempts
    }

    /// How often it has failed.
    pub fn failures(&self) -> u32 {
        self.about().failure_attempts
    }

    /// How often it may fail before it becomes a dead letter.
    pub fn max_attempts(&self) -> u32 {
        self.about().max_attempts
    }

    /// What the producer said about it.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.about().attributes
    }

    /// One attribute, if it is there and of this type.
    pub fn attribute<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.attributes().get(name)?).ok()
    }

    /// The media type of the payload.
    pub fn content_type(&self) -> &str {
        &self.about().payload_content_type
    }

    /// The payload.
    pub fn payload(&mut self) -> &mut Payload {
        &mut self.payload
    }

    /// The workflow state of the message, if it was [asked for](super::DequeueOptions::stateful).
    pub fn state(&mut self) -> Option<&mut WorkflowState> {
        self.state.as_mut()
    }

    /// The id under which servers log everything about the message.
    pub fn correlation_id(&self) -> &str {
        &self.about().correlation_id
    }

    /// Names this delivery.
    pub fn lease_id(&self) -> &str {
        &self.about().lease_id
    }

    /// Grows with every delivery of the message. Hand it to whatever you write to, and let that refuse lower ones.
    pub fn fencing_token(&self) -> i64 {
        self.about().fencing_token
    }

    /// The transaction that the delivery belongs to.
    pub fn txn_id(&self) -> &str {
        &self.about().txn_id
    }

    /// When the delivery ends unless it is extended, by the server's clock, in seconds since 1970.
    pub fn expires_at_unix(&self) -> i64 {
        self.vigil.expires_at_unix()
    }

    /// Tells when the message is no longer ours, and may be delivered to somebody else.
    pub fn lost(&self) -> Lost {
        self.vigil.lost()
    }

    /// Tells when the server announces its end.
    pub fn draining(&self) -> Draining {
        self.vigil.draining()
    }

    /// Keeps the message for this long from now on, rounded up to whole seconds, which may be shorter than before. Messages
    /// are extended by themselves, unless the [options](super::DequeueOptions::manual_extend) say otherwise or they were
    /// attached.
    ///
    /// ```no_run
    /// # async fn example(message: &lockd_client::Message) -> lockd_client::Result<()> {
    /// message.extend(std::time::Duration::from_secs(300)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn extend(&self, by: Duration) -> Result<Renewed> {
        whole_seconds("extension", by)?;
        self.vigil.renew(by, None).await
    }
}

pub(super) fn about(vigil: &Vigil) -> &MessageLease {
    static NOTHING: std::sync::LazyLock<MessageLease> =
        std::sync::LazyLock::new(|| MessageLease::new("", "", "", "", 0));
    vigil.held.as_ref().map_or(&NOTHING, |held| &held.about)
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue())
            .field("id", &self.id())
            .field("attempts", &self.attempts())
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

/// A message that was delivered to us, with the right to decide what becomes of it.
///
/// [`ack`](Self::ack) takes it out of the queue, [`nack`](Self::nack) says that it has failed, [`defer`](Self::defer) puts it
/// back. All of them consume the message:
///
/// ```compile_fail,E0382
/// # async fn example(message: lockd_client::Message) -> lockd_client::Result<()> {
/// message.ack().await?;
/// message.nack(Default::default()).await?;
/// # Ok(()) }
/// ```
///
/// Its lease is extended in the background. A message that is dropped has [failed](super::Nack), which is told to the server in
/// the background; one that is forgotten comes back when its lease runs out.
#[derive(Debug)]
pub struct Message {
    pub(super) delivery: Delivery,
    pub(super) hold: Hold,
}

/// The right to decide. Apart from the delivery, so that a consumer can keep it while its handler has that.
pub(super) struct Hold {
    pub(super) vigil: Arc<Vigil>,
    /// Extends the lease and watches its time.
    keeper: Option<JoinHandle<()>>,
    on_drop: Option<(Handle, Settle)>,
}

impl Message {
    pub(super) fn delivered(
        queue: &Queue,
        (about, payload): (MessageLease, Payload),
        lives: Duration,
        server: usize,
        options: &DequeueOptions,
    ) -> Message {
        let now = Instant::now();
        let visibility = Duration::from_secs(about.visibility_timeout_seconds.max(1));
        let vigil = vigil(&queue.client, about, visibility, now.checked_add(lives), server);
        let first = now + visibility.min(lives) / 3;
        let keeper = Some(vigil.keep(options.extends.then_some(first)));
        let on_drop = Handle::try_current().ok().map(|runtime| (runtime, options.if_dropped.clone()));
        Message::new(vigil, payload, keeper, on_drop)
    }

    fn new(
        vigil: Arc<Vigil>,
        payload: Payload,
        keeper: Option<JoinHandle<()>>,
        on_drop: Option<(Handle, Settle)>,
    ) -> Message {
        let state = WorkflowState::of(&vigil);
        let hold = Hold { vigil: vigil.clone(), keeper, on_drop };
        Message { delivery: Delivery { vigil, payload, state }, hold }
    }

    /// Fails if the message is lost.
    pub(crate) fn check(&self) -> Result<()> {
        self.hold.vigil.check()
    }

    /// Somebody else has decided what becomes of it.
    pub(crate) fn forget(&mut self) {
        self.hold.stop();
    }

    /// Lets go of the message without settling it. Its lease lives on until it runs out; see [`Queue::attach`].
    ///
    /// ```no_run
    /// # async fn example(message: lockd_client::Message) -> Result<(), Box<dyn std::error::Error>> {
    /// std::fs::write("message.json", serde_json::to_string(&message.detach())?)?;
    /// # Ok(()) }
    /// ```
    pub fn detach(mut self) -> MessageLease {
        self.hold.stop();
        let mut lease = self.delivery.about().clone();
        if let Some(held) = &self.hold.vigil.held {
            lease.meta_etag = held.etag().text;
        }
        lease.lease_expires_at_unix = self.delivery.expires_at_unix();
        lease
    }
}

impl Queue {
    /// Goes on with a message that was delivered elsewhere: to another process, or to a message that was
    /// [detached](Message::detach). No server is asked. Its payload is not there, it is extended only when
    /// [told to](Delivery::extend), and it is left alone when it is dropped.
    ///
    /// ```no_run
    /// # async fn example(queue: &lockd_client::Queue) -> Result<(), Box<dyn std::error::Error>> {
    /// let lease: lockd_client::MessageLease = serde_json::from_str(&std::fs::read_to_string("message.json")?)?;
    /// queue.attach(lease).ack().await?;
    /// # Ok(()) }
    /// ```
    pub fn attach(&self, lease: MessageLease) -> Message {
        let visibility = Duration::from_secs(lease.visibility_timeout_seconds.max(1));
        let vigil = vigil(&self.client, lease, visibility, None, 0);
        Message::new(vigil, Payload::whole(bytes::Bytes::new()), None, None)
    }
}

fn vigil(
    client: &Client,
    about: MessageLease,
    visibility: Duration,
    deadline: Option<Instant>,
    server: usize,
) -> Arc<Vigil> {
    let lease = Lease {
        expires_at_unix: about.lease_expires_at_unix,
        correlation_id: about.correlation_id.clone(),
        ..Lease::new(
            about.namespace.clone(),
            format!("q/{}/msg/{}", about.queue, about.message_id),
            about.lease_id.clone(),
            about.txn_id.clone(),
            about.fencing_token,
        )
    };
    let etag = Mutex::new(MetaEtag { text: about.meta_etag.clone(), is_doubtful: false });
    let held = Held { about, etag, turn: tokio::sync::Mutex::new(()) };
    Vigil::of_message(client.clone(), lease, visibility, deadline, server, held)
}

impl Hold {
    /// Ends the watch over the lease, and leaves the message alone from now on.
    pub(crate) fn stop(&mut self) {
        self.on_drop = None;
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((runtime, settle)) = self.on_drop.take() {
            let (vigil, keeper) = (self.vigil.clone(), self.keeper.take());
            runtime.spawn(async move {
                if let Err(error) = super::settle::send(&vigil, &settle).await {
                    tracing::debug!(key = vigil.lease.key, %error, "a dropped message was not given back");
                }
                if let Some(keeper) = keeper {
                    keeper.abort();
                }
                vigil.lose(crate::error::Loss::Ended);
            });
        } else {
            self.stop();
            self.vigil.lose(crate::error::Loss::Ended);
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("key", &self.vigil.lease.key).finish_non_exhaustive()
    }
}

impl Deref for Message {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

impl DerefMut for Message {
    fn deref_mut(&mut self) -> &mut Delivery {
        &mut self.delivery
    }
}
