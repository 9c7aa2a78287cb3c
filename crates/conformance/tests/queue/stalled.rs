//! Clients that stop in the middle: of a payload that they send, and of one that they receive.

use std::time::Duration;

use lockd_conformance::queue::{consume, enqueue, form};
use lockd_conformance::server::{Launch, StoreKind};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::ms;

/// Much more than the buffers of a connection hold.
const LARGE: usize = 32 << 20;

on_every_store!(a_producer_that_stops_in_a_payload, |client| {
    let queue = fresh::key("q");
    let meta = json!({"queue": queue}).to_string();
    let body = form(&[("meta", "", meta.as_bytes()), ("payload", "", &[b'x'; 100_000])]);
    let request = enqueue(&json!({}), b"").body(body.clone());
    let mut stalled: Vec<_> = (0..10)
        .map(|_| {
            let mut connection = client.connect();
            connection.send_head(&request).unwrap();
            connection.send_raw(&body[..60_000]).unwrap();
            connection
        })
        .collect();
    // Others are served meanwhile, on the same queue too.
    client.expect_empty(&queue);
    client.enqueue(&queue, "whole");
    assert_eq!(client.dequeue(&queue).payload, b"whole");
    // Those who go away leave nothing; those who go on are served.
    for gone in stalled.drain(..5) {
        drop(gone);
    }
    for connection in &mut stalled {
        connection.send_raw(&body[60_000..]).unwrap();
        connection.read_response(false).unwrap().expect_status(200);
    }
    let deliveries = client.try_dequeue(&queue, json!({"page_size": 64})).deliveries();
    assert_eq!(deliveries.len(), 5);
    assert!(deliveries.iter().all(|delivery| delivery.payload.len() == 100_000));
    client.expect_empty(&queue);
});

mod a_consumer_that_stops_in_a_payload {
    use super::*;

    fn check(store: StoreKind) {
        let server = Launch::fresh(store).start();
        let client = server.client();
        let queue = fresh::key("q");
        client.call(enqueue(&json!({"queue": queue}), &vec![b'x'; LARGE])).expect_status(200);
        let visible = json!({"visibility_timeout_seconds": 2});
        client.dequeue_with(&queue, visible.clone());
        let before = server.memory_kib("VmRSS").unwrap_or_default();
        // Each reads the head of its answer and no further.
        let mut stalled = Vec::new();
        for endpoint in ["dequeue", "subscribe"] {
            let changes = lockd_conformance::lease::merged(visible.clone(), json!({"wait_seconds": 20}));
            let mut connection = client.connect();
            connection.send(&consume(endpoint, &queue, changes)).unwrap();
            let head = connection.read_head().unwrap_or_else(|trouble| panic!("{endpoint}: {trouble}"));
            assert_eq!(head.status, 200, "{head}");
            stalled.push(connection);
        }
        if store == StoreKind::Disk {
            let after = server.memory_kib("VmRSS").unwrap_or_default();
            assert!(after < before + 32 * 1024, "stalled consumers took {before} KiB to {after} KiB");
        }
        // A queue beside it is served, and this message is delivered again when its lease is over.
        let other = fresh::key("q");
        client.enqueue(&other, "x");
        client.call(client.dequeue(&other).ack()).expect_status(200);
        let delivery = client.dequeue_with(&queue, json!({"wait_seconds": 20}));
        assert_eq!((delivery.payload.len(), delivery.int("attempts")), (LARGE, 4));
        client.call(delivery.ack()).expect_status(200);
        drop(stalled);
        client.expect_empty(&queue);
    }

    #[test]
    fn mem() {
        check(StoreKind::Mem);
    }

    #[test]
    fn disk() {
        check(StoreKind::Disk);
    }
}

// A subscriber that does not read must not be given the whole queue.
on_every_store!(a_subscriber_that_stops_reading, |client| {
    let queue = fresh::key("q");
    let payload = vec![b'x'; 4 << 20];
    const MESSAGES: usize = 12;
    for _ in 0..MESSAGES {
        client.call(enqueue(&json!({"queue": queue}), &payload)).expect_status(200);
    }
    let mut stalled = client.connect();
    stalled.send(&consume("subscribe", &queue, json!({"wait_seconds": 0}))).unwrap();
    assert_eq!(stalled.read_head().unwrap().status, 200);
    std::thread::sleep(ms(500));
    let rest = client.try_dequeue(&queue, json!({"page_size": 64, "wait_seconds": 5})).deliveries();
    assert!(rest.len() >= MESSAGES / 3, "only {} of {MESSAGES} messages were left", rest.len());
    assert!(stalled.set_patience(Duration::from_secs(1)).is_ok());
});
