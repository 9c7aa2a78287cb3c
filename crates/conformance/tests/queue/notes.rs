//! Notes of the queue chapter that have no line in its checklist.

use lockd_conformance::lease::Lease;
use lockd_conformance::queue::{consume, enqueue};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

// N4: long names.
on_every_store!(note_04_long_names, |client| {
    let base = fresh::key("q");
    let named = |length: usize| format!("{base}{}", "x".repeat(length - base.len()));
    for length in [83, 84, 128] {
        let queue = named(length);
        client.enqueue(&queue, "x");
        let answer = client.call(consume("dequeueWithState", &queue, json!({})));
        if length <= 83 {
            client.call(answer.delivery().nack(json!({}))).expect_status(200);
        } else {
            answer.expect_error(400, "invalid_key");
        }
        client.call(client.dequeue(&queue).ack()).expect_status(200);
    }
    let long = format!("{}x", named(128));
    client.call(enqueue(&json!({"queue": long}), b"x")).expect_error(400, "invalid_queue");
});

// N14: a message whose key somebody holds through the lock API is skipped, not waited for.
on_every_store!(note_14_a_message_under_a_lock, |client| {
    let queue = fresh::key("q");
    let locked = client.enqueue(&queue, "locked");
    let lease = client.acquire(&format!("q/{queue}/msg/{locked}"));
    client.expect_empty(&queue);
    client.enqueue(&queue, "free");
    assert_eq!(client.dequeue(&queue).payload, b"free");
    client.call(lease.release()).expect_status(200);
    let delivery = client.dequeue_with(&queue, json!({"wait_seconds": 10}));
    assert_eq!(delivery.id(), locked);
});

fn lease_of(delivery: &lockd_conformance::multipart::Delivery) -> Lease {
    Lease {
        namespace: delivery.string("namespace"),
        key: delivery.key(),
        lease_id: delivery.string("lease_id"),
        txn_id: delivery.string("txn_id"),
        token: delivery.int("fencing_token"),
        version: 0,
        expires_at: delivery.int("lease_expires_at_unix"),
    }
}

// N47: the lease API on a message's key moves lease and visibility together.
on_every_store!(note_47_the_lease_api_on_a_message, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let first = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 1}));
    client.call(lease_of(&first).keepalive(60)).expect_status(200);
    client.try_dequeue(&queue, json!({"wait_seconds": 2})).expect_error(409, "waiting");
    client.stats(&queue).expect_members(json!({"available": false}));
    client.call(lease_of(&first).release()).expect_status(200);
    let second = client.dequeue(&queue);
    assert_eq!((second.id(), second.int("attempts")), (first.id(), 2));
    assert!(!second.message.contains_key("failure_attempts"));
    client.call(second.ack()).expect_status(200);
});

// N32: a nack of a transaction whose message somebody else has leased meanwhile leaves that lease alone.
on_every_store!(note_32_a_late_nack, |client| {
    let (queue, txn) = (fresh::key("q"), fresh::xid());
    client.enqueue(&queue, "x");
    let first = client.dequeue_with(&queue, json!({"txn_id": txn, "visibility_timeout_seconds": 1}));
    let second = client.dequeue_with(&queue, json!({"wait_seconds": 10}));
    assert_ne!(client.call(first.nack(json!({}))).status, 500);
    client.expect_empty(&queue);
    client.call(second.ack()).expect_status(200);
});

// N33: rolled back, then acknowledged: never `acked`.
on_every_store!(note_33_the_other_decision, |client| {
    let (queue, txn) = (fresh::key("q"), fresh::xid());
    client.enqueue(&queue, "a");
    client.enqueue(&queue, "b");
    let one = client.dequeue_with(&queue, json!({"txn_id": txn}));
    let two = client.dequeue_with(&queue, json!({"txn_id": txn}));
    client.call(one.nack(json!({}))).expect_status(200);
    let answer = client.call(two.ack());
    assert_eq!(answer.status, 409, "{answer}");
    let again = [client.dequeue(&queue).id(), client.dequeue(&queue).id()];
    assert!(again.contains(&one.id()) && again.contains(&two.id()), "{again:?}");
});
