//! Deliveries in transactions.

use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::ack::await_visible;

on_every_store!(queue_56_decided, |client| {
    for state in ["commit", "rollback"] {
        let (queue, txn) = (fresh::key("q"), fresh::xid());
        client.enqueue(&queue, "x");
        let delivery = client.dequeue_with(&queue, json!({"txn_id": txn}));
        assert_eq!(delivery.string("txn_id"), txn);
        client
            .decide(&txn, state, json!([delivery.participant()]))
            .expect_status(200)
            .expect_members(json!({"txn_id": txn, "state": state}));
        if state == "commit" {
            client.expect_empty(&queue);
            client.call(delivery.ack_with(json!({"txn_id": null}))).expect_error(404, "not_found");
        } else {
            let again = client.dequeue_with(&queue, json!({"wait_seconds": 5}));
            assert_eq!((again.id(), again.int("attempts")), (delivery.id(), 2));
            assert!(!again.message.contains_key("failure_attempts"));
        }
    }
});

on_every_store!(queue_57_one_ack_for_all, |client| {
    let (queue, txn) = (fresh::key("q"), fresh::xid());
    for payload in ["a", "b"] {
        client.enqueue(&queue, payload);
    }
    let one = client.dequeue_with(&queue, json!({"txn_id": txn}));
    let two = client.dequeue_with(&queue, json!({"txn_id": txn}));
    client.call(one.ack()).expect_status(200).expect_members(json!({"acked": true}));
    client.stats(&queue).expect_members(json!({"available": false}));
    client.call(two.ack()).expect_status(200).expect_members(json!({"acked": true}));
    client.expect_empty(&queue);
});

on_every_store!(queue_58_decided_after_a_redelivery, |client| {
    let (queue, txn) = (fresh::key("q"), fresh::xid());
    client.enqueue(&queue, "x");
    let first = client.dequeue_with(&queue, json!({"txn_id": txn, "visibility_timeout_seconds": 1}));
    await_visible(client, &queue);
    let second = client.dequeue(&queue);
    assert_eq!(second.id(), first.id());
    let answer = client.decide(&txn, "commit", json!([first.participant()]));
    if answer.status == 200 {
        answer.expect_members(json!({"state": "rollback"}));
    } else {
        answer.expect_error(409, "queue_message_lease_mismatch");
    }
    client.call(second.ack()).expect_status(200);
});

on_every_store!(queue_59_rolled_back_is_not_acked, |client| {
    let (queue, txn) = (fresh::key("q"), fresh::xid());
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with(&queue, json!({"txn_id": txn}));
    client.decide(&txn, "rollback", json!([])).expect_status(200);
    let answer = client.call(delivery.ack());
    assert_eq!(answer.status, 409, "{answer}");
    assert_eq!(client.dequeue_with(&queue, json!({"wait_seconds": 5})).id(), delivery.id());
});

on_every_store!(queue_60_no_transaction_id, |client| {
    let queue = fresh::key("q");
    let id = client.enqueue(&queue, "x");
    client.try_dequeue(&queue, json!({"txn_id": "nope"})).expect_error(400, "invalid_txn");
    let delivery = client.dequeue(&queue);
    assert_eq!((delivery.id(), delivery.int("attempts")), (id, 1));
});
