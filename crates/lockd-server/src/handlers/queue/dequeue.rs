//! `POST /v1/queue/dequeue` and `dequeueWithState`: lease the next messages of a queue.

use hyper::body::Incoming;
use lockd_core::op::{Delivery, Dequeue, Reason, Refusal};
use lockd_node::Body;
use lockd_wire::{ErrorCode, QueueId, TxnId, header};

use super::{check_state_key, members, or_query, queue_id, read_json};
use crate::answer::{self, Failure, Outcome, Streamed, Undo, WithHeaders};
use crate::app::App;
use crate::call::Call;
use crate::deliveries::{Framing, payload};
use crate::gate::{self, Permission};

const MOST: i64 = 64;

/// What dequeue and subscribe ask for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) queue: QueueId,
    pub(super) owner: String,
    pub(super) txn: Option<TxnId>,
    pub(super) visibility_seconds: i64,
    pub(super) wait_seconds: i64,
    pub(super) most: usize,
    pub(super) stateful: bool,
}

impl Request {
    pub(super) async fn read(
        call: &Call<'_>,
        body: &mut Incoming,
        stateful: bool,
    ) -> Result<Request, Failure> {
        call.admit().await?;
        let body = read_json(call, body).await?;
        let (namespace, queue, owner, txn, visibility_seconds, wait_seconds, page_size) =
            members(&body, true, |object| {
                object.string("start_after")?;
                Ok((
                    object.string("namespace")?,
                    object.string("queue")?,
                    object.string("owner")?,
                    object.string("txn_id")?,
                    object.integer("visibility_timeout_seconds")?.unwrap_or(0),
                    object.integer("wait_seconds")?.unwrap_or(0),
                    object.integer("page_size")?.unwrap_or(0),
                ))
            })?;
        let namespace = call.namespace_among(&[or_query(call, &namespace, "namespace")])?;
        call.authorise(&namespace, Permission::Read)?;
        let queue = queue_id(&namespace, &[or_query(call, &queue, "queue")], ErrorCode::InvalidQueue)?;
        let owner = or_query(call, &owner, "owner").trim();
        if owner.is_empty() {
            return Err(Failure::new(ErrorCode::MissingOwner, "owner is required"));
        }
        let owner = match call.identity() {
            Some(identity) => format!("{owner}/{identity}"),
            None => owner.to_owned(),
        };
        call.not_draining()?;
        let txn = match txn.as_deref().unwrap_or_default().trim() {
            "" => None,
            text => Some(TxnId::parse(text).ok_or_else(|| {
                Failure::new(ErrorCode::InvalidTxn, format!("txn_id must be a valid xid, got {text:?}"))
            })?),
        };
        if stateful {
            check_state_key(&queue)?;
        }
        let most = page_size.clamp(1, MOST) as usize;
        Ok(Request { queue, owner, txn, visibility_seconds, wait_seconds, most, stateful })
    }

    /// Fetches as many messages as there are, up to the number asked for.
    pub(super) async fn fetch(&self, app: &App, wait_seconds: i64) -> Result<Vec<Delivery>, Refusal> {
        let op = Dequeue {
            queue: self.queue.clone(),
            owner: self.owner.clone(),
            txn: self.txn,
            visibility_seconds: self.visibility_seconds,
            wait_seconds,
            stateful: self.stateful,
            ids: app.node.mint_deliveries(self.most),
        };
        app.node.dequeue(op).await
    }
}

/// Says how long a drain may take, where the core only says that there is one.
pub(super) fn refused(app: &App, refusal: Refusal) -> Failure {
    match refusal.reason {
        Reason::Draining => {
            let now = app.node.now();
            gate::draining(app.draining_until().unwrap_or(now), now)
        }
        _ => refusal.into(),
    }
}

pub(crate) async fn dequeue(call: &Call<'_>, mut body: Incoming, stateful: bool) -> Outcome {
    let mut request = Request::read(call, &mut body, stateful).await?;
    if stateful {
        request.most = 1;
    }
    let _place = call.app.consumer()?;
    let deliveries =
        request.fetch(call.app, request.wait_seconds).await.map_err(|refusal| refused(call.app, refusal))?;
    let undo = Undo::of(&call.app.node, &deliveries);
    let framing = Framing::new(deliveries.len() > 1);
    let correlation = deliveries.first().map(|first| first.correlation.clone()).unwrap_or_default();
    let mut out = framing.opening().into_bytes();
    let mut deliveries = deliveries.into_iter().enumerate();
    while let Some((number, delivery)) = deliveries.next() {
        framing.head(number, &delivery, &mut out);
        match payload(call.app, &delivery).await? {
            Body::Whole(bytes) => out.extend_from_slice(&bytes),
            // Too large to be held: from here on it is a stream.
            body @ Body::Stream(_) => {
                let (app, framing_) = (call.app.clone(), framing.clone());
                let streamed = Streamed::spawn(undo, move |mut to| async move {
                    to.send(out.into()).await?;
                    to.send_payload(body, delivery.payload.len).await?;
                    to.send(framing_.delimiter().into()).await?;
                    for (number, delivery) in deliveries {
                        let mut head = Vec::with_capacity(1024);
                        framing_.head(number, &delivery, &mut head);
                        to.send(head.into()).await?;
                        to.send_payload(payload(&app, &delivery).await?, delivery.payload.len).await?;
                        to.send(framing_.delimiter().into()).await?;
                    }
                    to.send(Framing::CLOSING.into()).await
                });
                return Ok(answer::streamed(streamed, &framing.content_type())
                    .with_text(header::CORRELATION_ID, &correlation));
            }
        }
        out.extend_from_slice(framing.delimiter().as_bytes());
    }
    out.extend_from_slice(Framing::CLOSING.as_bytes());
    Ok(answer::undoable(out, &framing.content_type(), undo).with_text(header::CORRELATION_ID, &correlation))
}
