//! Messages that carry workflow state.

use lockd_conformance::lease::Client;
use lockd_conformance::multipart::Delivery;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::ack::await_visible;

/// A fresh queue with one message, delivered with its state.
fn stateful(client: &Client, changes: serde_json::Value) -> (String, Delivery) {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with_state(&queue, changes);
    (queue, delivery)
}

on_every_store!(queue_51_state_of_a_message, |client| {
    let (_, delivery) = stateful(client, json!({}));
    let state = delivery.state();
    assert_eq!(state.txn_id, delivery.string("txn_id"));
    assert_ne!(state.lease_id, delivery.string("lease_id"));
    assert_eq!(state.token, 1);
    assert!((state.expires_at - delivery.int("lease_expires_at_unix")).abs() <= 1);
    assert!(!delivery.string("state_etag").is_empty());
    client.call(state.get()).expect_status(204);
    client.call(state.update(r#"{"step":1}"#)).expect_status(200);
    client.call(state.get()).expect_status(200).expect_text(r#"{"step":1}"#);
    client.call(state.public_get()).expect_status(204);
});

on_every_store!(queue_52_nack_keeps_the_state, |client| {
    let (queue, first) = stateful(client, json!({}));
    client.call(first.state().update(r#"{"step":1}"#)).expect_status(200);
    client.call(first.nack(json!({"intent": "defer"}))).expect_status(200);
    let second = client.dequeue_with_state(&queue, json!({}));
    let state = second.state();
    assert_eq!(second.string("state_etag"), first.string("state_etag"));
    assert_eq!(state.token, 2);
    client.call(state.get()).expect_status(200).expect_text(r#"{"step":1}"#);
    client.call(state.update(r#"{"step":2}"#)).expect_status(200);
    client.call(second.ack()).expect_status(200);
    client.call(state.public_get()).expect_status(204);
    // Nothing of it is left to lease either.
    client.call(state.get()).expect_error(403, "lease_required");
});

on_every_store!(queue_52_a_plain_ack_removes_the_state_too, |client| {
    let (queue, first) = stateful(client, json!({}));
    client.call(first.state().update(r#"{"step":1}"#)).expect_status(200);
    client.call(first.nack(json!({}))).expect_status(200);
    let second = client.dequeue(&queue);
    client.call(second.ack()).expect_status(200);
    client.call(first.state().public_get()).expect_status(204);
});

on_every_store!(queue_53_timeout_loses_the_update, |client| {
    let (queue, first) = stateful(client, json!({"visibility_timeout_seconds": 1}));
    client.call(first.state().update(r#"{"step":1}"#)).expect_status(200);
    await_visible(client, &queue);
    let second = client.dequeue_with_state(&queue, json!({}));
    assert_eq!(second.id(), first.id());
    client.call(second.state().get()).expect_status(204);
    client.call(second.ack()).expect_status(200);
});

on_every_store!(queue_54_another_state_etag, |client| {
    let (queue, delivery) = stateful(client, json!({}));
    client.call(delivery.ack_with(json!({"state_etag": "wrong"}))).expect_error(409, "cas_mismatch");
    client.expect_empty(&queue);
    client.call(delivery.ack()).expect_status(200);
});

on_every_store!(queue_55_only_extend_renews_a_state, |client| {
    let (_, delivery) = stateful(client, json!({}));
    let state = delivery.state();
    client.call(state.keepalive(60)).expect_error(403, "queue_state_keepalive_unsupported");
    let stolen = json!({"extend_by_seconds": 90, "state_fencing_token": 7});
    client.call(delivery.extend(stolen)).expect_error(403, "fencing_mismatch");
    let foreign = json!({"extend_by_seconds": 90, "state_lease_id": fresh::xid()});
    client.call(delivery.extend(foreign)).expect_error(403, "lease_required");
    // Neither changed anything, so the etag still holds.
    let answer = client.call(delivery.extend(json!({"extend_by_seconds": 90}))).expect_status(200);
    for member in ["lease_expires_at_unix", "state_lease_expires_at_unix"] {
        let left = answer.int(member) - fresh::now();
        assert!((87..=90).contains(&left), "{member}: {left} s are left");
    }
});
