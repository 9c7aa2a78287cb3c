//! Looking at a queue without taking from it.

use std::time::{Duration, Instant};

use lockd_conformance::lease::Client;
use lockd_conformance::queue::SOON;
use lockd_conformance::{fresh, on_every_store};
use serde_json::{Map, Value, json};

use crate::{ms, within};

on_every_store!(queue_61_stats, |client| {
    let queue = fresh::key("q");
    for _ in 0..3 {
        client
            .stats(&queue)
            .expect_members(json!({
                "namespace": "default", "queue": queue, "waiting_consumers": 0, "pending_candidates": 0,
                "has_active_watcher": false, "available": false,
            }))
            .expect_no_member("head_message_id")
            .expect_no_member("head_age_seconds");
    }
    client.enqueue(&queue, "a");
    client.enqueue(&queue, "b");
    let heads: Vec<String> = (0..3).map(|_| client.stats(&queue).string("head_message_id")).collect();
    let id = client.dequeue(&queue).id();
    assert!(heads.iter().all(|head| *head == id), "{heads:?} before {id}");
    let waiter = {
        client.dequeue(&queue);
        client.start_dequeue(&queue, json!({}))
    };
    client.stats(&queue).expect_members(json!({"waiting_consumers": 1, "available": false}));
    waiter.abandon();
});

fn expect_event(event: (u64, Map<String, Value>), id: u64, head: Option<&str>) {
    let (got, event) = event;
    assert_eq!(got, id, "{event:?}");
    assert_eq!(event["available"], json!(head.is_some()), "{event:?}");
    assert_eq!(event.get("head_message_id").and_then(Value::as_str), head, "{event:?}");
    let changed = event["changed_at_unix"].as_i64().unwrap();
    assert!((changed - fresh::now()).abs() <= 3, "{event:?}");
}

on_every_store!(queue_62_events, |client| {
    let queue = fresh::key("q");
    let mut watch = client.watch(&queue);
    let head = watch.head(SOON).unwrap().expect_status(200);
    let head = head
        .expect_header("content-type", "text/event-stream")
        .expect_header("cache-control", "no-cache")
        .expect_header("connection", "keep-alive")
        .expect_header("x-accel-buffering", "no");
    let correlation = head.header("x-correlation-id").unwrap().to_owned();
    let (id, event) = watch.event(SOON);
    assert_eq!(event["correlation_id"], Value::from(correlation));
    expect_event((id, event), 1, None);
    let message = client.enqueue(&queue, "x");
    expect_event(watch.event(SOON), 2, Some(&message));
    let delivery = client.dequeue(&queue);
    expect_event(watch.event(SOON), 3, None);
    client.call(delivery.nack(json!({}))).expect_status(200);
    expect_event(watch.event(SOON), 4, Some(&message));
    // The clock alone is an event too: a lease that runs out.
    client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 1}));
    expect_event(watch.event(SOON), 5, None);
    expect_event(watch.event(SOON), 6, Some(&message));
    client.stats(&queue).expect_members(json!({"waiting_consumers": 0}));
});

fn delayed(client: &Client) -> Duration {
    let queue = fresh::key("q");
    let mut watch = client.watch(&queue);
    expect_event(watch.event(SOON), 1, None);
    let before = Instant::now();
    let id = client.enqueue_with(&queue, json!({"delay_seconds": 2}), "x");
    expect_event(watch.event(SOON), 2, Some(&id));
    before.elapsed()
}

on_every_store!(queue_63_due, |client| {
    within(ms(2000), ms(3300), "an event for a message that was delayed by 2 s", || delayed(client));
});
