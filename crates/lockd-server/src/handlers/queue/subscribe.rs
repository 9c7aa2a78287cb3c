//! `POST /v1/queue/subscribe` and `subscribeWithState`: a stream of deliveries.

use hyper::body::Incoming;
use lockd_core::op::Reason;
use lockd_node::Body;
use lockd_wire::header;

use super::dequeue::{Request, refused};
use crate::answer::{self, BrokenBody, Outcome, Streamed, Undo, WithHeaders};
use crate::call::Call;
use crate::deliveries::{Framing, payload};

pub(crate) async fn subscribe(call: &Call<'_>, mut body: Incoming, stateful: bool) -> Outcome {
    let request = Request::read(call, &mut body, stateful).await?;
    let mut deliveries = {
        let _place = call.app.consumer()?;
        request.fetch(call.app, request.wait_seconds).await.map_err(|refusal| refused(call.app, refusal))?
    };
    let framing = Framing::new(false);
    let content_type = framing.content_type();
    let correlation = deliveries.first().map(|first| first.correlation.clone()).unwrap_or_default();
    let app = call.app.clone();
    let streamed = Streamed::spawn(Undo::of(&app.node, &[]), move |mut to| async move {
        let mut out = framing.opening().into_bytes();
        loop {
            let mut rest = deliveries.into_iter();
            while let Some(delivery) = rest.next() {
                framing.head(0, &delivery, &mut out);
                let sent = match payload(&app, &delivery).await {
                    Ok(Body::Whole(bytes)) => {
                        out.extend_from_slice(&bytes);
                        out.extend_from_slice(framing.delimiter().as_bytes());
                        to.send(std::mem::take(&mut out).into()).await
                    }
                    Ok(body) => match to.send(std::mem::take(&mut out).into()).await {
                        Ok(()) => match to.send_payload(body, delivery.payload.len).await {
                            Ok(()) => to.send(framing.delimiter().into()).await,
                            broken => broken,
                        },
                        broken => broken,
                    },
                    Err(error) => Err(error.into()),
                };
                if let Err(broken) = sent {
                    // Nobody got a byte of the others.
                    rest.for_each(|unsent| app.node.give_back(&unsent));
                    return Err(broken);
                }
            }
            // The next message is leased when the last one is on its way, not before.
            to.ready().await?;
            let wait = if request.wait_seconds == -1 { -1 } else { 0 };
            let fetched = {
                let Ok(_place) = app.consumer() else { return Err(BrokenBody::Busy) };
                tokio::select! {
                    fetched = request.fetch(&app, wait) => fetched,
                    () = to.closed() => return Err(BrokenBody::Gone),
                }
            };
            deliveries = match fetched {
                Ok(deliveries) => deliveries,
                Err(refusal) if matches!(refusal.reason, Reason::NoMessage | Reason::Draining) => {
                    return to.send(Framing::CLOSING.into()).await;
                }
                Err(refusal) => return Err(BrokenBody::Refused(refusal.reason)),
            };
        }
    });
    Ok(answer::streamed(streamed, &content_type).with_text(header::CORRELATION_ID, &correlation))
}
