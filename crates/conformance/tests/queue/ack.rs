//! Acknowledgements, and those that come too late or from somebody else.

use lockd_conformance::http::Request;
use lockd_conformance::{fresh, on_every_store};
use serde_json::{Value, json};

on_every_store!(queue_26_ack_is_the_end, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    client.call(delivery.ack()).expect_status(200).expect_members(json!({"acked": true}));
    client.expect_empty(&queue);
    client.call(delivery.ack()).expect_error(404, "not_found");
    client.stats(&queue).expect_members(json!({"available": false}));
});

on_every_store!(queue_27_the_etag_is_a_hint, |client| {
    let queue = fresh::key("q");
    for etag in [Value::Null, json!(""), json!("wrong")] {
        client.enqueue(&queue, "x");
        let delivery = client.dequeue(&queue);
        client.call(delivery.ack_with(json!({"meta_etag": etag}))).expect_status(200);
    }
});

on_every_store!(queue_28_another_token, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    for changes in [
        json!({"fencing_token": 2}),
        json!({"fencing_token": null}),
        json!({"lease_id": fresh::xid()}),
        json!({"txn_id": fresh::xid()}),
    ] {
        client.call(delivery.ack_with(changes)).expect_error(409, "queue_message_lease_mismatch");
    }
    client.expect_empty(&queue);
    client.call(delivery.ack()).expect_status(200);
});

on_every_store!(queue_29_missing_members, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    for member in ["queue", "message_id", "lease_id"] {
        client.call(delivery.ack_with(json!({member: null}))).expect_error(400, "missing_fields");
    }
    for member in ["queue", "message_id", "lease_id", "meta_etag"] {
        client.call(delivery.nack(json!({member: null}))).expect_error(400, "missing_fields");
        client.call(delivery.extend(json!({member: null}))).expect_error(400, "missing_fields");
    }
    for endpoint in ["ack", "nack", "extend"] {
        let path = format!("/v1/queue/{endpoint}");
        client.call(Request::post(&path)).expect_error(400, "invalid_body");
        client.call(Request::post(&path).body("{\"foo\":1}")).expect_error(400, "invalid_body");
    }
    client.call(delivery.ack()).expect_status(200);
});

on_every_store!(queue_30_late_is_late_every_time, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 1}));
    await_visible(client, &queue);
    for _ in 0..2 {
        client.call(delivery.ack()).expect_error(403, "lease_expired");
        client.call(delivery.nack(json!({}))).expect_error(403, "lease_expired");
        client.call(delivery.extend(json!({}))).expect_error(403, "lease_expired");
    }
    assert_eq!(client.dequeue(&queue).id(), delivery.id());
});

on_every_store!(queue_31_redelivered_meanwhile, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let first = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 1}));
    let second = client.dequeue_with(&queue, json!({"wait_seconds": 10}));
    assert_eq!(second.id(), first.id());
    client.call(first.ack()).expect_error(409, "queue_message_lease_mismatch");
    client.call(second.ack()).expect_status(200);
    client.call(first.ack()).expect_error(404, "not_found");
});

on_every_store!(queue_32_never_delivered, |client| {
    let queue = fresh::key("q");
    let id = client.enqueue(&queue, "x");
    let proof = json!({"queue": queue, "message_id": id, "lease_id": fresh::xid(), "fencing_token": 1});
    let answer = client.call(Request::post("/v1/queue/ack").json(&proof));
    assert_eq!(answer.status, 409, "{answer}");
    let delivery = client.dequeue(&queue);
    assert_eq!(delivery.id(), id);
    // The same for a message that was nacked, with the etag that the nack told.
    let etag = client.call(delivery.nack(json!({}))).expect_status(200).string("meta_etag");
    client
        .call(delivery.ack_with(json!({"meta_etag": etag})))
        .expect_error(409, "queue_message_lease_mismatch");
    client.call(delivery.ack()).expect_error(409, "cas_mismatch");
    client.call(delivery.extend(json!({"meta_etag": etag}))).expect_error(403, "lease_required");
    assert_eq!(client.dequeue(&queue).id(), id);
});

on_every_store!(queue_33_no_such_message, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    let absent = "0197f3c2-8a41-7c15-9d0e-3b5f6a7c8d90".to_owned();
    for id in ["../x".to_owned(), "x".to_owned(), delivery.id().to_uppercase(), absent] {
        let changes = json!({"message_id": id});
        client.call(delivery.ack_with(changes.clone())).expect_error(404, "not_found");
        client.call(delivery.nack(changes.clone())).expect_error(404, "not_found");
        client.call(delivery.extend(changes)).expect_error(404, "not_found");
    }
});

/// Waits until a message of this queue can be leased, without leasing it.
#[track_caller]
pub(crate) fn await_visible(client: &lockd_conformance::lease::Client, queue: &str) {
    let deadline = std::time::Instant::now() + lockd_conformance::queue::SOON;
    while client.stats(queue).object()["available"] != json!(true) {
        assert!(std::time::Instant::now() < deadline, "no message of {queue} became visible");
        std::thread::sleep(crate::ms(20));
    }
}
