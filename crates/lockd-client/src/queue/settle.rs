//! Deciding what becomes of a message: acknowledged, failed or put back.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::message::{Held, Hold, Message, MessageLease, MetaEtag};
use crate::answer::Renewed;
use crate::call::Call;
use crate::error::{Error, Refusal, Result};
use crate::options::rounded_up;
use crate::retry::RetryPolicy;
use crate::vigil::{Vigil, granted_span};

use lockd_wire::ErrorCode;

/// What becomes of a message.
///
/// `()` and `Ok(())` acknowledge it, and an `Err` is a failure that is recorded with the message:
///
/// ```
/// use lockd_client::Settle;
///
/// assert_eq!(Settle::from(()), Settle::Ack);
/// assert_eq!(Settle::from(Ok::<(), String>(())), Settle::Ack);
/// assert!(matches!(Settle::from(Err::<(), _>("no such order")), Settle::Nack(_)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Settle {
    /// It is done with, and goes away.
    Ack,
    /// It has failed, and comes back until it has failed too often.
    Nack(Nack),
    /// It comes back after this long, rounded up to whole seconds, and has not failed.
    Defer(Duration),
}

impl From<()> for Settle {
    fn from((): ()) -> Self {
        Settle::Ack
    }
}

impl From<Nack> for Settle {
    fn from(nack: Nack) -> Self {
        Settle::Nack(nack)
    }
}

impl<E: Display> From<Result<(), E>> for Settle {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Settle::Ack,
            Err(error) => Settle::Nack(Nack::new().error(error)),
        }
    }
}

/// How a message has failed. By default without a reason, to be delivered again at once.
///
/// ```
/// use lockd_client::Nack;
///
/// let nack = Nack::new().error("no such order").delay(std::time::Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Nack {
    delay: Duration,
    last_error: Option<Value>,
}

impl Nack {
    /// Without a reason, at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Deliver it again not before this long from now, rounded up to whole seconds.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Why, in words. Who looks at a dead letter sees the last one.
    pub fn error(self, error: impl Display) -> Self {
        self.details(serde_json::json!({ "detail": error.to_string() }))
    }

    /// Why, as any JSON.
    pub fn details(mut self, details: Value) -> Self {
        self.last_error = Some(details);
        self
    }
}

#[derive(Serialize)]
struct Request<'a> {
    namespace: &'a str,
    queue: &'a str,
    message_id: &'a str,
    lease_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    txn_id: &'a str,
    fencing_token: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta_etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_lease_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_fencing_token: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extend_by_seconds: Option<u64>,
}

impl<'a> Request<'a> {
    fn of(about: &'a MessageLease, etag: &'a str) -> Request<'a> {
        Request {
            namespace: &about.namespace,
            queue: &about.queue,
            message_id: &about.message_id,
            lease_id: &about.lease_id,
            txn_id: &about.txn_id,
            fencing_token: about.fencing_token,
            meta_etag: Some(etag).filter(|etag| !etag.is_empty()),
            state_lease_id: about.state_lease_id.as_deref(),
            state_fencing_token: about.state_fencing_token,
            state_etag: None,
            delay_seconds: None,
            intent: None,
            last_error: None,
            extend_by_seconds: None,
        }
    }

    fn call(&self, path: &'static str, about: &MessageLease) -> Call {
        let mut call = Call::post(path);
        call.json(self);
        if !about.correlation_id.is_empty() {
            call.header(lockd_wire::header::CORRELATION_ID, &about.correlation_id);
        }
        call.conflicts_are_final = true;
        call
    }
}

impl Message {
    /// Takes the message out of the queue. In a transaction this commits all of it.
    ///
    /// An error means that the message will be delivered again, unless it [says](Error::is_outcome_unknown) that this is not
    /// known.
    ///
    /// ```no_run
    /// # async fn example(message: lockd_client::Message) -> lockd_client::Result<()> {
    /// message.ack().await
    /// # }
    /// ```
    pub async fn ack(self) -> Result<()> {
        self.settle(Settle::Ack).await
    }

    /// Says that the message has failed. It is delivered again, and becomes a dead letter when it has failed too often. In a
    /// transaction this rolls back all of it.
    ///
    /// ```no_run
    /// # async fn example(message: lockd_client::Message) -> lockd_client::Result<()> {
    /// use lockd_client::Nack;
    ///
    /// message.nack(Nack::new().error("no such order")).await
    /// # }
    /// ```
    pub async fn nack(self, nack: Nack) -> Result<()> {
        self.settle(Settle::Nack(nack)).await
    }

    /// Puts the message back, to be delivered again not before this long from now. That is not a failure.
    ///
    /// ```no_run
    /// # async fn example(message: lockd_client::Message) -> lockd_client::Result<()> {
    /// message.defer(std::time::Duration::from_secs(60)).await
    /// # }
    /// ```
    pub async fn defer(self, delay: Duration) -> Result<()> {
        self.settle(Settle::Defer(delay)).await
    }

    /// Any of these.
    pub async fn settle(self, settle: Settle) -> Result<()> {
        // Whatever the payload holds up goes on.
        drop(self.delivery);
        self.hold.settle(&settle).await
    }
}

impl Hold {
    /// The lease is kept until the answer is there. If the future is dropped, the message is given back as if it had been
    /// dropped; the server does not take it back once it is acknowledged.
    pub(super) async fn settle(mut self, settle: &Settle) -> Result<()> {
        let settled = send(&self.vigil, settle).await;
        self.stop();
        settled
    }
}

/// Tells the server.
pub(super) async fn send(vigil: &Vigil, settle: &Settle) -> Result<()> {
    let Some(held) = &vigil.held else { return Ok(()) };
    let answered = match settle {
        Settle::Ack => {
            // An extension may be under way: for this the ETag is only a hint.
            let etag = held.etag();
            let request = Request {
                state_etag: held.about.state_etag.as_deref(),
                ..Request::of(&held.about, if etag.is_doubtful { "" } else { &etag.text })
            };
            vigil.send_regardless(request.call("/v1/queue/ack", &held.about)).await
        }
        Settle::Nack(nack) => {
            let (delay, error) = (nack.delay, nack.last_error.as_ref());
            give_back(vigil, held, "failure", delay, error).await
        }
        Settle::Defer(delay) => give_back(vigil, held, "defer", *delay, None).await,
    };
    match answered {
        Ok(_) => Ok(()),
        // The first attempt has done it, and its answer was lost.
        Err(error) if error.refusal().is_some_and(|refusal| is_echo(refusal, settle)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn give_back(
    vigil: &Vigil,
    held: &Held,
    intent: &'static str,
    delay: Duration,
    error: Option<&Value>,
) -> Result<crate::answered::Answer> {
    let _turn = held.turn.lock().await;
    let etag = held.etag();
    let request = Request {
        delay_seconds: Some(rounded_up(delay)),
        intent: Some(intent),
        last_error: error,
        ..Request::of(&held.about, &etag.text)
    };
    vigil.send_regardless(request.call("/v1/queue/nack", &held.about)).await
}

/// Whether a refusal says that an earlier attempt of the same call was carried out. That the lease has run out before it is the
/// other possibility; then the message is back in the queue, too, except for an acknowledgement.
fn is_echo(refusal: &Refusal, settle: &Settle) -> bool {
    refusal.maybe_applied
        && match settle {
            Settle::Ack => refusal.is(ErrorCode::NotFound),
            Settle::Nack(_) | Settle::Defer(_) => {
                refusal.is(ErrorCode::NotFound)
                    || refusal.is(ErrorCode::CasMismatch)
                    || refusal.is(ErrorCode::QueueMessageLeaseMismatch)
            }
        }
}

impl Vigil {
    /// Extends the lease of a message.
    pub(crate) async fn extend(
        &self,
        held: &Held,
        by: Duration,
        retry: Option<RetryPolicy>,
    ) -> Result<Renewed> {
        #[derive(Deserialize)]
        struct Extended {
            lease_expires_at_unix: i64,
            meta_etag: String,
        }
        let _turn = held.turn.lock().await;
        let seconds = rounded_up(by);
        let before = held.etag();
        let request = Request { extend_by_seconds: Some(seconds), ..Request::of(&held.about, &before.text) };
        let mut call = request.call("/v1/queue/extend", &held.about);
        call.timeout(self.client.inner.keepalive_timeout);
        if let Some(retry) = retry {
            call.retry(retry);
        }
        let asked = Instant::now();
        // If the answer does not come, or nobody waits for it, the ETag may be another one by then.
        held.set_etag(MetaEtag { is_doubtful: true, ..before.clone() });
        let answer = match self.send(call).await {
            Ok(answer) => answer,
            Err(Error::Refused(refusal))
                if refusal.is(ErrorCode::CasMismatch) && (before.is_doubtful || refusal.maybe_applied) =>
            {
                // The ETag is lost for good. What renews keys needs none.
                return self.renew_key(by, retry).await;
            }
            Err(error) => {
                if !error.is_outcome_unknown() {
                    held.set_etag(before);
                }
                return Err(error);
            }
        };
        let extended: Extended = answer.json()?;
        held.set_etag(MetaEtag { text: extended.meta_etag, is_doubtful: false });
        let lives = granted_span(answer.header("date"), extended.lease_expires_at_unix, seconds);
        self.lives_until(asked.checked_add(lives), extended.lease_expires_at_unix);
        Ok(Renewed { expires_at_unix: extended.lease_expires_at_unix })
    }
}

impl Refusal {
    /// Whether the code says that the caller no longer holds the message.
    pub(crate) fn ends_delivery(&self) -> bool {
        self.is(ErrorCode::NotFound) || self.is(ErrorCode::QueueMessageLeaseMismatch)
    }
}

impl Error {
    /// Whether there is no use in asking again: the request itself is refused.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Error::Refused(refusal) => {
                refusal.status == 501
                    || (400..500).contains(&refusal.status) && !matches!(refusal.status, 408 | 409 | 429)
            }
            Error::InvalidEndpoint { .. } | Error::InvalidOption { .. } => true,
            _ => false,
        }
    }
}
