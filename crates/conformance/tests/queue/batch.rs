//! Several messages in one answer.

use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

on_every_store!(queue_21_pages, |client| {
    let queue = fresh::key("q");
    let ids: Vec<String> = (0..80).map(|n| client.enqueue(&queue, &n.to_string())).collect();
    let first = client.try_dequeue(&queue, json!({"page_size": 100})).deliveries();
    assert_eq!(first.len(), 64);
    for (number, delivery) in first.iter().enumerate() {
        let (meta, payload) = &delivery.headers;
        assert!(meta.contains(&format!("; filename=\"meta-{number}.json\"\r\n")), "{meta:?}");
        assert!(payload.contains(&format!("; filename=\"payload-{number}\"\r\n")), "{payload:?}");
        assert_eq!(delivery.payload, number.to_string().as_bytes());
    }
    let second = client.try_dequeue(&queue, json!({"page_size": 100})).deliveries();
    assert_eq!(second.len(), 16);
    let got: Vec<String> = first.iter().chain(&second).map(|delivery| delivery.id()).collect();
    assert_eq!(got, ids);
    for delivery in first.iter().chain(&second) {
        client.call(delivery.ack()).expect_status(200);
    }
});
