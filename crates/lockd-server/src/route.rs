//! The router, and what every request passes on its way in and out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::header::HeaderValue;
use http::{HeaderName, Method, Request};
use hyper::body::Incoming;
use lockd_core::records::txn::Verdict;
use lockd_wire::{ErrorCode, UidMint, header};

use crate::answer::{self, Answer, Failure, Outcome};
use crate::app::App;
use crate::call::Call;
use crate::handlers::queue::dead_letters::Fate;
use crate::handlers::{
    acquire, attachment, attachments, describe, get, health, keepalive, metadata, mutate, namespace, queue,
    release, remove, tc, txn, update,
};
use crate::query::Query;

/// Serves one request. Dropping the future means that the client has gone.
pub(crate) async fn serve(app: Arc<App>, request: Request<Incoming>) -> Answer {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let correlation = correlation_id(&app, &head);
    let call =
        Call { app: &app, head: &head, query: Query::parse(head.uri.query()), correlation: &correlation };
    let mut answer = dispatch(&call, body).await.unwrap_or_else(Failure::into_answer);
    if head.method == Method::HEAD {
        // hyper holds the body back on HTTP/1.1 only; on HTTP/2 it would break the stream.
        answer = answer::head_only(answer);
    }
    // Answers about a message carry the message's.
    if let Ok(value) = HeaderValue::from_str(&correlation) {
        answer.headers_mut().entry(HeaderName::from_static(header::CORRELATION_ID)).or_insert(value);
    }
    if app.draining_until().is_some() {
        let name = HeaderName::from_static(header::SHUTDOWN_IMMINENT);
        answer.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    tracing::debug!(
        sys = "api.http.server",
        cid = &*correlation,
        method = head.method.as_str(),
        path = head.uri.path(),
        status = answer.status().as_u16(),
        elapsed_ms = started.elapsed().as_millis() as u64,
        "http.request"
    );
    answer
}

async fn dispatch(call: &Call<'_>, body: Incoming) -> Outcome {
    match call.head.uri.path() {
        "/v1/acquire" => acquire::acquire(call, body).await,
        "/v1/keepalive" => keepalive::keepalive(call, body).await,
        "/v1/release" => release::release(call, body).await,
        "/v1/get" => get::get(call).await,
        "/v1/update" => update::update(call, body).await,
        "/v1/mutate" => mutate::mutate(call, body).await,
        "/v1/metadata" => metadata::metadata(call, body).await,
        "/v1/remove" => remove::remove(call).await,
        "/v1/describe" => describe::describe(call).await,
        "/v1/attachments" => attachments::attachments(call, body).await,
        "/v1/attachment" => attachment::attachment(call).await,
        "/v1/queue/enqueue" => queue::enqueue::enqueue(call, body).await,
        "/v1/queue/dequeue" => queue::dequeue::dequeue(call, body, false).await,
        "/v1/queue/dequeueWithState" => queue::dequeue::dequeue(call, body, true).await,
        "/v1/queue/subscribe" => queue::subscribe::subscribe(call, body, false).await,
        "/v1/queue/subscribeWithState" => queue::subscribe::subscribe(call, body, true).await,
        "/v1/queue/ack" => queue::settle::ack(call, body).await,
        "/v1/queue/nack" => queue::settle::nack(call, body).await,
        "/v1/queue/extend" => queue::settle::extend(call, body).await,
        "/v1/queue/stats" => queue::observe::stats(call, body).await,
        "/v1/queue/watch" => queue::observe::watch(call, body).await,
        "/v1/queue/dead-letters" => queue::dead_letters::list(call).await,
        "/v1/queue/dead-letters/payload" => queue::dead_letters::payload(call).await,
        "/v1/queue/dead-letters/redrive" => queue::dead_letters::dispose(call, body, Fate::Redrive).await,
        "/v1/queue/dead-letters/purge" => queue::dead_letters::dispose(call, body, Fate::Purge).await,
        "/v1/txn/decide" => txn::decide(call, body).await,
        "/v1/txn/commit" => txn::apply(call, body, Verdict::Commit).await,
        "/v1/txn/rollback" => txn::apply(call, body, Verdict::Rollback).await,
        "/v1/txn/replay" => txn::replay(call, body).await,
        "/v1/namespace" => namespace::namespace(call, body).await,
        "/healthz" => health::healthz(),
        "/readyz" => health::readyz(call),
        path => match path.strip_prefix("/v1/tc/") {
            Some(endpoint) => tc::without_cluster(endpoint),
            None => Err(Failure::new(ErrorCode::NotFound, format!("no such endpoint: {path}"))),
        },
    }
}

/// The client's id if it is fit to be repeated in logs and headers, else a new one.
fn correlation_id<'a>(app: &App, head: &'a http::request::Parts) -> Cow<'a, str> {
    let given = head.headers.get(header::CORRELATION_ID).and_then(|value| value.to_str().ok()).map(str::trim);
    match given {
        Some(id) if (1..=128).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) => {
            id.into()
        }
        _ => UidMint::mint(app.node.now().0, fastrand::u128(..)).to_string().into(),
    }
}
