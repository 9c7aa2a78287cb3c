//! When calls about messages are repeated, and what their refusals mean then.

use std::time::Duration;

use lockd_client::{EnqueueOptions, Message, Nack};
use serde_json::json as value;

use crate::client;
use crate::fake::{Fake, Reply, json, refusal};

const ENQUEUED: &str = r#"{"namespace":"default","queue":"q","message_id":"m","payload_bytes":1}"#;

/// A message that was delivered elsewhere.
fn message(fake: &Fake) -> Message {
    let lease = value!({
        "namespace": "default", "queue": "q", "message_id": "m", "lease_id": "l", "fencing_token": 3,
        "txn_id": "t", "meta_etag": "e1", "correlation_id": "c", "visibility_timeout_seconds": 30,
    });
    client(&[fake]).queue("q").attach(serde_json::from_value(lease).unwrap())
}

#[tokio::test]
async fn a_message_is_enqueued_twice_only_if_it_may_be() {
    let fake = Fake::start([Reply::Close, json(200, ENQUEUED)]).await;
    let queue = client(&[&fake]).queue("q");
    let error = queue.enqueue("x", &EnqueueOptions::new()).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(fake.calls(), 1);
    queue.enqueue("x", &EnqueueOptions::new()).await.unwrap();

    let fake = Fake::start([Reply::Close, json(200, ENQUEUED)]).await;
    let queue = client(&[&fake]).queue("q");
    queue.enqueue("x", &EnqueueOptions::new().may_duplicate()).await.unwrap();
    assert_eq!(fake.calls(), 2);
}

#[tokio::test]
async fn an_acknowledgement_whose_answer_was_lost_is_one() {
    let fake = Fake::start([Reply::Close, refusal(404, "not_found", 0)]).await;
    message(&fake).ack().await.unwrap();
    assert_eq!((fake.calls(), fake.call(0).target.as_str()), (2, "/v1/queue/ack"));
    let sent = value!({"namespace": "default", "queue": "q", "message_id": "m", "lease_id": "l", "txn_id": "t", "fencing_token": 3, "meta_etag": "e1"});
    assert_eq!(fake.call(0).json(), sent);
    assert_eq!(fake.call(0).header("x-correlation-id").as_deref(), Some("c"));

    for code in ["not_found", "queue_message_lease_mismatch", "lease_expired"] {
        let fake = Fake::start([refusal(if code == "not_found" { 404 } else { 409 }, code, 0)]).await;
        let error = message(&fake).ack().await.unwrap_err();
        assert!(error.is_lease_lost() && !error.is_outcome_unknown(), "{error}");
    }
    let fake = Fake::start([Reply::Close, refusal(403, "lease_expired", 0)]).await;
    assert!(
        message(&fake).ack().await.is_err(),
        "had the first attempt been carried out, the message would be gone"
    );
}

#[tokio::test]
async fn a_failure_is_not_told_twice() {
    for echo in ["cas_mismatch", "queue_message_lease_mismatch"] {
        let fake = Fake::start([Reply::Close, refusal(409, echo, 0)]).await;
        message(&fake).nack(Nack::new().error("why")).await.unwrap();
        assert_eq!(fake.calls(), 2);
        assert_eq!(fake.call(0).json()["last_error"], value!({"detail": "why"}));
    }
    // Not the echo of anything, and nothing that would be better later.
    let fake = Fake::start([refusal(409, "cas_mismatch", 0)]).await;
    let error = message(&fake).defer(Duration::from_millis(1500)).await.unwrap_err();
    assert_eq!(error.code(), Some("cas_mismatch"));
    assert_eq!(fake.calls(), 1);
    let asked = fake.call(0).json();
    assert_eq!((&asked["intent"], &asked["delay_seconds"]), (&value!("defer"), &value!(2)));
}

#[tokio::test]
async fn a_message_whose_etag_was_lost_can_still_be_kept_and_acknowledged() {
    let extended = |etag: &str| {
        json(200, &value!({"lease_expires_at_unix": 99_999_999_999u64, "visibility_timeout_seconds": 30, "meta_etag": etag}).to_string())
    };
    let renewed = || json(200, r#"{"expires_at_unix": 99999999999}"#);
    let fake = Fake::start([
        extended("e2"),
        Reply::Close,
        refusal(409, "cas_mismatch", 0),
        renewed(),
        refusal(409, "cas_mismatch", 0),
        renewed(),
        json(200, r#"{"acked":true}"#),
    ])
    .await;
    let message = message(&fake);
    for _ in 0..3 {
        message.extend(Duration::from_secs(30)).await.unwrap();
    }
    message.ack().await.unwrap();
    let etags: Vec<_> = (0..7).map(|call| fake.call(call).json()["meta_etag"].clone()).collect();
    assert_eq!(value!(etags), value!(["e1", "e2", "e2", null, "e2", null, null]));
    assert_eq!(fake.call(3).target, "/v1/keepalive");
    assert_eq!(fake.call(3).json()["key"], "q/q/msg/m");
}
