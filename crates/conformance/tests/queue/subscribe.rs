//! Streams of deliveries.

use std::time::{Duration, Instant};

use lockd_conformance::queue::SOON;
use lockd_conformance::stream::End;
use lockd_conformance::{fresh, multipart, on_every_store};
use serde_json::json;

use crate::{ms, within};

on_every_store!(queue_45_nothing_to_deliver, |client| {
    within(ms(1000), ms(1300), "a subscription to an empty queue with a wait of 1 s", || {
        let queue = fresh::key("q");
        let before = Instant::now();
        let stream = client.subscribe(&queue, json!({"wait_seconds": 1}));
        let answer = stream.head(SOON).unwrap();
        let took = before.elapsed();
        answer.expect_error(409, "waiting").expect_header("retry-after", "1");
        took
    });
});

on_every_store!(queue_46_until_empty, |client| {
    let queue = fresh::key("q");
    let ids: Vec<String> = (0..3).map(|n| client.enqueue(&queue, &n.to_string())).collect();
    let mut stream = client.subscribe(&queue, json!({"wait_seconds": -1, "page_size": 2}));
    let boundary = multipart::boundary(&stream.head(SOON).unwrap()).unwrap();
    for id in &ids {
        let delivery = stream.delivery(SOON);
        assert_eq!(delivery.id(), *id);
        assert!(!delivery.headers.0.contains("filename"), "{:?}", delivery.headers);
    }
    let (rest, end) = stream.finish(SOON).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), format!("\r\n--{boundary}--\r\n"));
    assert_eq!(end, End::Clean);
});

on_every_store!(queue_47_stays_open, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "one");
    let mut stream = client.subscribe(&queue, json!({"wait_seconds": 0}));
    assert_eq!(stream.delivery(SOON).payload, b"one");
    let boundary = multipart::boundary(&stream.head(SOON).unwrap()).unwrap();
    assert_eq!(stream.quiet(ms(1500)).unwrap(), (0, true));
    assert_eq!(String::from_utf8_lossy(&stream.untaken()), format!("\r\n--{boundary}"));
    within(ms(0), ms(50), "from the enqueue to the stream", || {
        client.enqueue(&queue, "next");
        let enqueued = Instant::now();
        assert_eq!(stream.delivery(SOON).payload, b"next");
        enqueued.elapsed()
    });
    assert!(stream.quiet(ms(10)).unwrap().1, "the stream stays open");
});

// A reader of multipart bodies hands out a payload that looks like the start of a delimiter only when it has seen
// what follows.
on_every_store!(queue_48_the_delimiter_comes_early, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x\r\n");
    let mut stream = client.subscribe(&queue, json!({"wait_seconds": 0}));
    assert_eq!(stream.delivery(SOON).payload, b"x\r\n");
    let boundary = multipart::boundary(&stream.head(SOON).unwrap()).unwrap();
    stream.wait_for_text(&format!("x\r\n\r\n--{boundary}"), SOON).unwrap();
});

on_every_store!(queue_49_disconnect_is_no_nack, |client| {
    let queue = fresh::key("q");
    let id = client.enqueue(&queue, "x");
    let before = Instant::now();
    let mut stream = client.subscribe(&queue, json!({"wait_seconds": 0, "visibility_timeout_seconds": 2}));
    assert_eq!(stream.delivery(SOON).id(), id);
    stream.close();
    client.await_consumers(&queue, 0);
    let again = client.dequeue_with(&queue, json!({"wait_seconds": 10}));
    assert_eq!((again.id(), again.int("attempts")), (id, 2));
    assert!(before.elapsed() >= Duration::from_secs(2), "redelivered after {:?}", before.elapsed());
    assert!(!again.message.contains_key("failure_attempts"));
});
