//! Calls of one's own, and what they say when no server answers.

use std::time::Duration;

use lockd_client::{AcquireOptions, Body, Call, Error, Repeat, RetryPolicy, UpdateOptions};

use crate::fake::{Fake, Reply, json, refusal};
use crate::{builder, client, granted, saved, session};

#[tokio::test]
async fn a_call_of_ones_own_is_treated_like_any_other() {
    let passive = Fake::start([refusal(503, "node_passive", 30)]).await;
    let active = Fake::start([Reply::Answer(
        "HTTP/1.1 200 OK\r\nX-Key-Version: 2\r\nETag: e1\r\nContent-Length: 7\r\n\r\n{\"a\":1}".into(),
    )])
    .await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let client = builder(&[&passive, &active])
        .observe(move |attempt| log.lock().unwrap().push((attempt.url.clone(), attempt.status)))
        .correlation_id("mine")
        .build()
        .unwrap();
    let mut call = Call::post("/v1/get");
    call.query("key", "a b").header("X-Lease-ID", "l").streaming();
    let answer = client.send(call).await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("x-key-version"), answer.etag()),
        (200, Some("2"), Some("e1".into()))
    );
    assert_eq!(&answer.into_body().collect(7).await.unwrap()[..], b"{\"a\":1}");
    let asked = active.call(0);
    assert_eq!(asked.target, "/v1/get?key=a+b");
    assert_eq!(
        (asked.header("x-lease-id"), asked.header("x-correlation-id")),
        (Some("l".into()), Some("mine".into()))
    );
    let url = |fake: &Fake| format!("{}/v1/get?key=a+b", fake.endpoint());
    assert_eq!(*seen.lock().unwrap(), [(url(&passive), Some(503)), (url(&active), Some(200))]);
}

#[tokio::test]
async fn a_reader_that_fails_half_way_cuts_the_call_off() {
    let fake = Fake::start([json(200, "{}")]).await;
    let (pieces, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        pieces.send(Ok("{\"a\":".into())).await.unwrap();
        pieces.send(Err(std::io::Error::other("line 1: not JSON"))).await.unwrap();
    });
    let mut call = Call::post("/v1/update");
    call.body(Body::pieces(receiver));
    let error = client(&[&fake]).send(call).await.unwrap_err();
    assert!(
        matches!(error, Error::Source { .. }) && error.to_string().ends_with("line 1: not JSON"),
        "{error}"
    );
    assert_eq!(fake.calls(), 0, "a server would take it for complete");
}

#[tokio::test]
async fn a_reader_that_was_not_touched_goes_to_the_next_server() {
    let (gone, there) = (Fake::gone(), Fake::start([json(200, "{}")]).await);
    let mut call = Call::post("/v1/update");
    call.body(Body::reader(&b"document"[..])).retry(RetryPolicy::none());
    client(&[&gone, &there]).send(call).await.unwrap();
    assert_eq!(there.call(0).body, b"document");
}

#[tokio::test]
async fn an_unreachable_service_is_told_server_by_server() {
    let (gone, broken) = (Fake::gone(), Fake::start([Reply::Close]).await);
    let mut call = Call::get("/v1/describe");
    call.retry(RetryPolicy::none());
    let error = client(&[&gone, &broken]).send(call).await.unwrap_err();
    let Error::Unreachable(unreachable) = error else { panic!("{error:?}") };
    let servers: Vec<String> = unreachable.causes.iter().map(|cause| cause.endpoint.to_string()).collect();
    assert_eq!(servers, [gone.endpoint(), broken.endpoint()]);
    assert!(unreachable.causes[0].reason.contains("refused"), "{unreachable}");
    assert!(unreachable.maybe_applied);

    // That one is there but passive says more than that the other is not.
    let passive = Fake::start([refusal(503, "node_passive", 0)]).await;
    let client = builder(&[&passive, &gone]).retry(RetryPolicy::none()).build().unwrap();
    assert_eq!(client.describe("a").await.unwrap_err().code(), Some("node_passive"));
}

#[tokio::test]
async fn a_condition_that_no_header_can_carry_is_not_dropped() {
    let fake = Fake::start([granted(), saved(4, "e4")]).await;
    let client = client(&[&fake]);
    let mut session = session(&client).await;
    let options = UpdateOptions::new().if_etag("deadbeef\r");
    let error = session.update_with("{}", &options).await.unwrap_err();
    assert!(matches!(error, Error::InvalidOption { .. }), "{error:?}");
    assert!(error.to_string().to_ascii_lowercase().contains("x-if-state-etag"), "{error}");
    assert_eq!(fake.calls(), 1, "the update would have been unconditional");
}

#[tokio::test]
async fn patience_beyond_the_end_of_the_clock_is_for_ever() {
    let fake = Fake::start([granted(), json(200, "{}")]).await;
    let client = builder(&[&fake]).timeout(Duration::MAX).build().unwrap();
    for longest in [Duration::from_secs(i64::MAX as u64), Duration::MAX] {
        let fake = Fake::start([granted()]).await;
        let options = AcquireOptions::new().wait_at_most(longest).manual_keepalive().keep_on_drop();
        crate::client(&[&fake]).acquire("a", &options).await.unwrap();
    }
    let options =
        AcquireOptions::new().wait_at_most(Duration::from_secs(9)).manual_keepalive().keep_on_drop();
    client.acquire("a", &options).await.unwrap();
    client.check_health().await.unwrap();
}

#[tokio::test]
async fn a_refused_attachment_does_not_hide_that_another_was_staged() {
    let attached = r#"{"attachment":{"id":"i","name":"b","size":1,"plaintext_sha256":"","content_type":"","created_at_unix":1,"updated_at_unix":1},"noop":false,"version":4}"#;
    let fake =
        Fake::start([granted(), json(200, attached), json(200, r#"{"released":true,"outcome":"none"}"#)])
            .await;
    let client = client(&[&fake]);
    let session = session(&client).await;
    let (pieces, receiver) = tokio::sync::mpsc::channel(1);
    // The first is under way for as long as the second takes, and then fails.
    let first = session.attach("a", Body::pieces(receiver));
    let second = async {
        pieces.send(Ok("x".into())).await.unwrap();
        session.attach("b", "x").await.unwrap();
        pieces.send(Err(std::io::Error::other("no more"))).await.unwrap();
    };
    let (first, ()) = tokio::join!(first, second);
    assert!(matches!(first, Err(Error::Source { .. })), "{first:?}");
    let error = session.release().await.unwrap_err();
    assert!(error.is_lease_lost(), "{error}");
}

#[tokio::test]
async fn what_a_proxy_says_of_a_message_is_no_reason_to_send_it_twice() {
    let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ngone";
    let fake = Fake::start([Reply::Answer(text.to_owned())]).await;
    let mut call = Call::post("/v1/queue/enqueue");
    call.repeat(Repeat::Never);
    let error = client(&[&fake]).send(call).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn the_next_server_has_only_what_the_silent_one_left() {
    let (first, second) = (Fake::start([Reply::Silence]).await, Fake::start([Reply::Silence]).await);
    let spans = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = spans.clone();
    let client = builder(&[&first, &second])
        .timeout(Duration::from_millis(200))
        .retry(RetryPolicy::none())
        .observe(move |attempt| log.lock().unwrap().push(attempt.duration))
        .build()
        .unwrap();
    let options = AcquireOptions::new().wait_at_most(Duration::from_secs(10));
    client.acquire("a", &options).await.unwrap_err();
    let spans = spans.lock().unwrap();
    assert_eq!(spans.len(), 2);
    assert!(spans[0] >= Duration::from_secs(10) && spans[1] < Duration::from_secs(10), "{spans:?}");
}
