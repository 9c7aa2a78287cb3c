//! What becomes of a message that was taken: it is done (ack), given back (nack), or kept for longer (extend).

use std::time::Duration;

use serde_json::{Value, json};

use super::delivery::Message;
use super::{QueueName, named};
use crate::client::lease::whole_seconds;
use crate::client::transport::{Api, Call};
use crate::client::{Failure, Invocation, Outcome, export, print};

/// The right to settle a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Handle {
    namespace: String,
    queue: String,
    message: String,
    lease: String,
    fencing_token: i64,
    pub(super) meta_etag: String,
    txn_id: String,
    /// Only after a stateful delivery.
    state: Option<StateHandle>,
}

#[derive(Debug, Clone, Default)]
struct StateHandle {
    lease: String,
    fencing_token: i64,
    etag: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Counts against the attempts.
    Failure,
    Defer,
}

impl Handle {
    /// From flags, or from the variables that a dequeue exported.
    fn given(invocation: &Invocation) -> Outcome<Handle> {
        let settings = &invocation.settings;
        let QueueName { namespace, name } = named(invocation)?;
        let given = &settings.queue;
        let needed = |text: &str, flag: &str, variable: &str| match text.trim() {
            "" => Err(Failure::Usage(format!("--{flag} is required (or set {variable})"))),
            text => Ok(text.to_owned()),
        };
        let token = |text: &str, flag: &str, variable: &str| {
            let text = needed(text, flag, variable)?;
            text.parse().ok().filter(|token| *token > 0_i64).ok_or_else(|| {
                Failure::Usage(format!("invalid --{flag} {text:?} (must be a positive int64)"))
            })
        };
        let mut handle = Handle {
            namespace,
            queue: name,
            message: needed(&given.message, "message", "LOCKD_QUEUE_MESSAGE_ID")?,
            lease: needed(&given.lease, "lease", "LOCKD_QUEUE_LEASE")?,
            meta_etag: needed(&given.meta_etag, "meta-etag", "LOCKD_QUEUE_META_ETAG")?,
            fencing_token: token(&given.fencing_token, "fencing-token", "LOCKD_QUEUE_FENCING_TOKEN")?,
            txn_id: settings.txn_id.clone(),
            state: None,
        };
        if !given.state_lease.trim().is_empty() {
            let variable = "LOCKD_QUEUE_STATE_FENCING_TOKEN";
            handle.state = Some(StateHandle {
                lease: given.state_lease.trim().to_owned(),
                fencing_token: token(&given.state_fencing_token, "state-fencing-token", variable)?,
                etag: given.state_etag.trim().to_owned(),
            });
        }
        Ok(handle)
    }

    pub(super) fn of(message: &Message) -> Handle {
        Handle {
            namespace: message.namespace.clone(),
            queue: message.queue.clone(),
            message: message.message_id.clone(),
            lease: message.lease_id.clone(),
            fencing_token: message.fencing_token,
            meta_etag: message.meta_etag.clone(),
            txn_id: message.txn_id.clone(),
            state: (!message.state_lease_id.is_empty()).then(|| StateHandle {
                lease: message.state_lease_id.clone(),
                fencing_token: message.state_fencing_token,
                etag: String::new(),
            }),
        }
    }

    pub(super) fn is_stateful(&self) -> bool {
        self.state.is_some()
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "namespace": self.namespace,
            "queue": self.queue,
            "message_id": self.message,
            "lease_id": self.lease,
            "fencing_token": self.fencing_token,
            "meta_etag": self.meta_etag,
        });
        if !self.txn_id.is_empty() {
            body["txn_id"] = self.txn_id.as_str().into();
        }
        if let Some(state) = &self.state {
            body["state_lease_id"] = state.lease.as_str().into();
            body["state_fencing_token"] = state.fencing_token.into();
            if !state.etag.is_empty() {
                body["state_etag"] = state.etag.as_str().into();
            }
        }
        body
    }
}

pub(super) async fn finish(api: &Api, handle: &Handle) -> Outcome<()> {
    api.send(Call::post("/v1/queue/ack").json(&handle.body())).await.map(|_| ())
}

/// `reason` goes with failures only.
pub(super) async fn give_back(
    api: &Api,
    handle: &Handle,
    intent: Intent,
    delay_seconds: u64,
    reason: Option<&str>,
) -> Outcome<()> {
    let mut body = handle.body();
    body["delay_seconds"] = delay_seconds.into();
    body["intent"] = match intent {
        Intent::Failure => "failure".into(),
        Intent::Defer => "defer".into(),
    };
    if let Some(reason) = reason {
        body["last_error"] = json!({ "detail": reason });
    }
    api.send(Call::post("/v1/queue/nack").json(&body)).await.map(|_| ())
}

/// What an extend brought.
#[derive(Debug)]
pub(super) struct Extended {
    lease_expires_at_unix: i64,
    visibility_timeout_seconds: u64,
    pub(super) meta_etag: String,
}

/// With 0 seconds the message keeps its own visibility timeout.
pub(super) async fn prolong(
    api: &Api,
    handle: &Handle,
    seconds: u64,
    patience: Option<Duration>,
) -> Outcome<Extended> {
    let mut body = handle.body();
    body["extend_by_seconds"] = seconds.into();
    let mut call = Call::post("/v1/queue/extend").json(&body);
    call.patience = patience;
    let value = api.send(call).await?.value().await?;
    Ok(Extended {
        lease_expires_at_unix: value["lease_expires_at_unix"].as_i64().unwrap_or_default(),
        visibility_timeout_seconds: value["visibility_timeout_seconds"].as_u64().unwrap_or_default(),
        meta_etag: value["meta_etag"].as_str().unwrap_or_default().to_owned(),
    })
}

pub(in crate::client) async fn ack(invocation: &Invocation) -> Outcome<()> {
    let handle = Handle::given(invocation)?;
    finish(&Api::new(invocation)?, &handle).await?;
    print::out(b"acknowledged\n")
}

pub(in crate::client) async fn nack(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings.queue;
    let handle = Handle::given(invocation)?;
    let intent = match settings.intent.trim().to_lowercase().as_str() {
        "failure" | "" => Intent::Failure,
        "defer" => Intent::Defer,
        _ => {
            return Err(Failure::Usage(format!(
                "invalid --intent {:?} (expected failure|defer)",
                settings.intent
            )));
        }
    };
    if intent == Intent::Defer && !settings.reason.is_empty() {
        return Err(Failure::Usage("--reason is only supported when --intent=failure".into()));
    }
    let reason = (!settings.reason.is_empty()).then_some(settings.reason.as_str());
    let api = Api::new(invocation)?;
    give_back(&api, &handle, intent, whole_seconds(settings.delay), reason).await?;
    print::out(b"requeued\n")
}

pub(in crate::client) async fn extend(invocation: &Invocation) -> Outcome<()> {
    let handle = Handle::given(invocation)?;
    let api = Api::new(invocation)?;
    let extended = prolong(&api, &handle, whole_seconds(invocation.settings.queue.extend), None).await?;
    let Extended { lease_expires_at_unix, visibility_timeout_seconds, meta_etag } = extended;
    let text = match invocation.settings.format {
        "json" => print::result(&[
            ("lease_expires_at_unix", lease_expires_at_unix.to_string()),
            ("meta_etag", print::string(&meta_etag)),
            ("visibility_timeout_seconds", visibility_timeout_seconds.to_string()),
        ]),
        "env" => export::line("LOCKD_QUEUE_META_ETAG", &meta_etag),
        _ => format!(
            "lease_expires_at_unix={lease_expires_at_unix} \
             visibility_timeout_seconds={visibility_timeout_seconds} meta_etag={meta_etag}\n"
        ),
    };
    print::out(text.as_bytes())
}
