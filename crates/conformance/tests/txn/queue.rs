//! Messages and keys in one transaction.

use lockd_conformance::lease::{Client, Lease};
use lockd_conformance::multipart::Delivery;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::lease::{expect_committed, expect_untouched, staged};

/// A delivery and a staged key under one transaction.
fn message_and_key(client: &Client) -> (String, String, Delivery, Lease) {
    let (queue, txn) = (fresh::key("q"), fresh::xid());
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with(&queue, json!({"txn_id": txn}));
    let lease = staged(client, &txn, "[1]");
    (queue, txn, delivery, lease)
}

on_every_store!(txn_12_ack_commits_the_key, |client| {
    let (queue, _, delivery, lease) = message_and_key(client);
    client.call(delivery.ack()).expect_status(200);
    client.expect_empty(&queue);
    expect_committed(client, &lease, "[1]");
    assert_eq!(client.acquire(&lease.key).version, 1);
});

on_every_store!(txn_12_a_release_acks_the_message, |client| {
    let (queue, _, delivery, lease) = message_and_key(client);
    client.call(lease.release()).expect_status(200);
    expect_committed(client, &lease, "[1]");
    client.expect_empty(&queue);
    client.call(delivery.ack_with(json!({"txn_id": null}))).expect_error(404, "not_found");
});

on_every_store!(txn_13_nack_rolls_the_key_back, |client| {
    let (queue, _, delivery, lease) = message_and_key(client);
    client.call(delivery.nack(json!({"last_error": "x"}))).expect_status(200);
    expect_untouched(client, &lease);
    let again = client.dequeue_with(&queue, json!({"wait_seconds": 5}));
    assert_eq!((again.id(), again.int("failure_attempts")), (delivery.id(), 1));
});

on_every_store!(txn_14_state_of_a_message, |client| {
    for commit in [true, false] {
        let (queue, txn) = (fresh::key("q"), fresh::xid());
        client.enqueue(&queue, "x");
        let before = client.dequeue_with_state(&queue, json!({}));
        client.call(before.state().update(r#"{"step":1}"#)).expect_status(200);
        client.call(before.nack(json!({}))).expect_status(200);
        let delivery = client.dequeue_with_state(&queue, json!({"txn_id": txn}));
        let state = delivery.state();
        assert_eq!(state.txn_id, txn);
        client.call(state.update(r#"{"step":2}"#)).expect_status(200);
        client.decide(&txn, if commit { "commit" } else { "rollback" }, json!([])).expect_status(200);
        if commit {
            client.expect_empty(&queue);
            client.call(state.public_get()).expect_status(204);
        } else {
            let again = client.dequeue_with_state(&queue, json!({"wait_seconds": 5}));
            assert_eq!(again.string("state_etag"), before.string("state_etag"));
            client.call(again.state().get()).expect_status(200).expect_text(r#"{"step":1}"#);
        }
    }
});

on_every_store!(txn_41_the_lease_of_a_message_ran_out, |client| {
    let (queue, txn) = (fresh::key("q"), fresh::xid());
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with(&queue, json!({"txn_id": txn, "visibility_timeout_seconds": 1}));
    let again = client.dequeue_with(&queue, json!({"wait_seconds": 20}));
    assert_eq!(again.id(), delivery.id());
    let answer = client.decide(&txn, "commit", json!([delivery.participant()]));
    if answer.status == 200 {
        answer.expect_members(json!({"state": "rollback"}));
    } else {
        answer.expect_error(409, "queue_message_lease_mismatch");
    }
    client.call(again.ack()).expect_status(200);
});
