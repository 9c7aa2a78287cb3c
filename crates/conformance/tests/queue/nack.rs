//! Failures and deferrals, the budget for failures, and time to live.

use std::time::{Duration, Instant};

use lockd_conformance::lease::Client;
use lockd_conformance::{fresh, on_every_store};
use serde_json::{Value, json};

use crate::{ms, within};

on_every_store!(queue_34_failure, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let first = client.dequeue(&queue);
    let answer =
        client.call(first.nack(json!({"delay_seconds": 0, "last_error": {"why": "x"}}))).expect_status(200);
    assert_ne!(answer.string("meta_etag"), first.string("meta_etag"));
    answer.expect_members(json!({"requeued": true}));
    let second = client.dequeue(&queue);
    assert_eq!((second.int("attempts"), second.int("failure_attempts")), (2, 1));
    assert!(!second.message.contains_key("last_error"));
});

fn deferred(client: &Client) -> Duration {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let first = client.dequeue(&queue);
    let before = Instant::now();
    client.call(first.nack(json!({"intent": "defer", "delay_seconds": 2}))).expect_status(200);
    let second = client.dequeue_with(&queue, json!({"wait_seconds": 5}));
    let took = before.elapsed();
    assert_eq!(second.id(), first.id());
    assert!(!second.message.contains_key("failure_attempts"));
    took
}

on_every_store!(queue_35_defer, |client| {
    within(ms(2000), ms(2300), "a deferral by 2 s", || deferred(client));
});

on_every_store!(queue_36_intents, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    let nack = |changes: Value| client.call(delivery.nack(changes));
    nack(json!({"intent": "later"})).expect_error(400, "invalid_nack_intent");
    nack(json!({"intent": "defer", "last_error": "x"})).expect_error(400, "invalid_nack_last_error");
    client.expect_empty(&queue);
    nack(json!({"intent": " Failure "})).expect_status(200);
    let delivery = client.dequeue(&queue);
    assert_eq!(delivery.int("failure_attempts"), 1);
    let defer = json!({"intent": "defer", "last_error": null});
    // `null` in the changes removes a member, so this one is written by hand.
    let mut body = delivery.proof(defer);
    body["last_error"] = Value::Null;
    let request = lockd_conformance::http::Request::post("/v1/queue/nack").json(&body);
    client.call(request).expect_status(200);
    assert_eq!(client.dequeue(&queue).int("failure_attempts"), 1);
});

on_every_store!(queue_37_stale_etag, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    let etag = client.call(delivery.extend(json!({}))).expect_status(200).string("meta_etag");
    for request in [delivery.nack(json!({})), delivery.extend(json!({}))] {
        client.call(request).expect_error(409, "cas_mismatch");
    }
    client.expect_empty(&queue);
    client.call(delivery.nack(json!({"meta_etag": etag}))).expect_status(200);
});

on_every_store!(queue_38_budget, |client| {
    let queue = fresh::key("q");
    client.enqueue_with(&queue, json!({"max_attempts": 2}), "x");
    for failures in 0..2 {
        let delivery = client.dequeue(&queue);
        let got = delivery.message.get("failure_attempts").and_then(Value::as_i64).unwrap_or(0);
        assert_eq!(got, failures);
        // The last nack meets a consumer that waits.
        let waiter = (failures == 1).then(|| client.start_dequeue(&queue, json!({"wait_seconds": 1})));
        let nack = delivery.nack(json!({"last_error": "x"}));
        client.call(nack).expect_status(200).expect_members(json!({"requeued": true}));
        if let Some(waiter) = waiter {
            waiter.join().expect_error(409, "waiting");
            client.call(delivery.ack()).expect_error(404, "not_found");
        }
    }
    client.stats(&queue).expect_members(json!({"available": false}));
    client.expect_empty(&queue);
    // Neither of these is where dead messages are.
    client.expect_empty(&format!("{queue}.dlq"));
    client.enqueue(&queue, "next");
    assert_eq!(client.dequeue(&queue).payload, b"next");
});

on_every_store!(queue_39_defer_costs_nothing, |client| {
    let queue = fresh::key("q");
    let id = client.enqueue_with(&queue, json!({"max_attempts": 1}), "x");
    for attempts in 1..=5 {
        let delivery = client.dequeue(&queue);
        assert_eq!((delivery.id(), delivery.int("attempts")), (id.clone(), attempts));
        client.call(delivery.nack(json!({"intent": "defer"}))).expect_status(200);
    }
    assert_eq!(client.dequeue(&queue).id(), id);
});

on_every_store!(queue_40_time_to_live, |client| {
    let (plain, seen, awaited, leased) = (fresh::key("q"), fresh::key("q"), fresh::key("q"), fresh::key("q"));
    client.enqueue_with(&plain, json!({"ttl_seconds": 1}), "x");
    client.enqueue_with(&seen, json!({"ttl_seconds": 1}), "x");
    client.stats(&seen);
    // It becomes visible only after its deadline, in front of a consumer that waits.
    let waiter = client.start_dequeue(&awaited, json!({"wait_seconds": 3}));
    client.enqueue_with(&awaited, json!({"ttl_seconds": 1, "delay_seconds": 2}), "x");
    client.enqueue_with(&leased, json!({"ttl_seconds": 1}), "x");
    let delivery = client.dequeue(&leased);
    std::thread::sleep(ms(1500));
    client.expect_empty(&plain);
    client.expect_empty(&seen);
    client.stats(&seen).expect_members(json!({"available": false}));
    client.call(delivery.ack()).expect_status(200);
    waiter.join().expect_error(409, "waiting");
});
