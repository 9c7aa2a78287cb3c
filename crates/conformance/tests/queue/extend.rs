//! Longer and shorter leases on messages.

use std::time::{Duration, Instant};

use lockd_conformance::lease::Client;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::{ms, within};

on_every_store!(queue_41_from_now, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    let answer = client.call(delivery.extend(json!({"extend_by_seconds": 60}))).expect_status(200);
    let left = answer.int("lease_expires_at_unix") - fresh::now();
    assert!((57..=60).contains(&left), "{left} s are left");
    assert_ne!(answer.string("meta_etag"), delivery.string("meta_etag"));
    answer
        .expect_members(json!({"visibility_timeout_seconds": 60}))
        .expect_no_member("state_lease_expires_at_unix");
});

on_every_store!(queue_42_ack_after_the_first_timeout, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 2}));
    client.call(delivery.extend(json!({"extend_by_seconds": 60}))).expect_status(200);
    // Nobody gets it meanwhile.
    client.try_dequeue(&queue, json!({"wait_seconds": 3})).expect_error(409, "waiting");
    client.call(delivery.ack()).expect_status(200);
});

on_every_store!(queue_43_by_the_current_timeout, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 50}));
    let answer = client.call(delivery.extend(json!({}))).expect_status(200);
    let left = answer.int("lease_expires_at_unix") - fresh::now();
    assert!((47..=50).contains(&left), "{left} s are left");
    client.expect_empty(&queue);
    client.call(delivery.ack()).expect_status(200);
});

fn shortened(client: &Client) -> Duration {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 60}));
    let before = Instant::now();
    client.call(delivery.extend(json!({"extend_by_seconds": 1}))).expect_status(200);
    let again = client.dequeue_with(&queue, json!({"wait_seconds": 5}));
    assert_eq!(again.id(), delivery.id());
    before.elapsed()
}

on_every_store!(queue_44_shorter, |client| {
    within(ms(1000), ms(1300), "a lease cut to 1 s", || shortened(client));
});
