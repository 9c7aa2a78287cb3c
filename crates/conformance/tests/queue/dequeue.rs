//! What a delivery looks like and what it takes to get one.

use lockd_conformance::http::Request;
use lockd_conformance::queue::{consume, enqueue};
use lockd_conformance::{fresh, multipart, on_every_store};
use serde_json::{Value, json};

use crate::{ms, within};

const MEMBERS: [&str; 17] = [
    "attempts",
    "attributes",
    "correlation_id",
    "failure_attempts",
    "fencing_token",
    "lease_expires_at_unix",
    "lease_id",
    "max_attempts",
    "message_id",
    "meta_etag",
    "namespace",
    "not_visible_until_unix",
    "payload_bytes",
    "payload_content_type",
    "queue",
    "txn_id",
    "visibility_timeout_seconds",
];

on_every_store!(queue_11_layout, |client| {
    let queue = fresh::key("q");
    let meta = json!({"queue": queue, "payload_content_type": "application/json"});
    client.call(enqueue(&meta, b"{\"op\":1}")).expect_status(200);
    let answer = client.try_dequeue(&queue, json!({"wait_seconds": 5})).expect_status(200);
    let boundary = multipart::boundary(&answer).unwrap();
    assert!(boundary.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'), "{boundary}");
    let delivery = answer.delivery();
    let json = &delivery.meta_text;
    assert!(json.ends_with("}\n") && json.matches('\n').count() == 1, "{json:?}");
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n{json}\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"payload\"\r\nContent-Length: 8\r\nContent-Type: application/json\r\n\r\n{{\"op\":1}}\r\n--{boundary}--\r\n"
    );
    answer.expect_text(&expected);
});

on_every_store!(queue_12_values, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let delivery = client.dequeue(&queue);
    assert_eq!((delivery.int("attempts"), delivery.int("fencing_token")), (1, 1));
    for name in ["txn_id", "lease_id"] {
        assert!(fresh::is_xid(&delivery.string(name)), "{name}: {:?}", delivery.message);
    }
    let left = delivery.int("lease_expires_at_unix") - fresh::now();
    assert!((27..=30).contains(&left), "the lease runs for {left} s");
    assert!((delivery.int("not_visible_until_unix") - delivery.int("lease_expires_at_unix")).abs() <= 1);
    for name in delivery.message.keys() {
        assert!(MEMBERS.contains(&name.as_str()), "{name} is no member of a delivery");
    }
    let outside: Value = serde_json::from_str(&delivery.meta_text).unwrap();
    assert_eq!(outside.as_object().unwrap().len(), 1, "{outside}");
    assert!(delivery.meta_text.len() < 700, "{}", delivery.meta_text);
});

on_every_store!(queue_13_visibility, |client| {
    let queue = fresh::key("q");
    for (asked, expected) in [(json!(5), 5), (Value::Null, 30), (json!(0), 30), (json!(86400), 1800)] {
        client.enqueue_with(&queue, json!({"visibility_timeout_seconds": 90}), "x");
        let delivery = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": asked}));
        assert_eq!(delivery.int("visibility_timeout_seconds"), expected);
        let left = delivery.int("lease_expires_at_unix") - fresh::now();
        assert!((expected - 3..=expected).contains(&left), "{left} s are left of {expected}");
    }
});

on_every_store!(queue_14_required, |client| {
    let queue = fresh::key("q");
    for endpoint in ["dequeue", "dequeueWithState", "subscribe", "subscribeWithState"] {
        let call = |changes: Value| client.call(consume(endpoint, &queue, changes));
        call(json!({"owner": null})).expect_error(400, "missing_owner");
        call(json!({"owner": " "})).expect_error(400, "missing_owner");
        call(json!({"queue": null})).expect_error(400, "missing_queue");
        call(json!({"queue": null, "owner": null})).expect_error(400, "missing_queue");
        call(json!({"foo": 1})).expect_error(400, "invalid_body");
        call(json!({"wait_seconds": "1"})).expect_error(400, "invalid_body");
        call(json!({"namespace": "a b"})).expect_error(400, "invalid_namespace");
    }
});

on_every_store!(queue_15_parameters, |client| {
    let queue = fresh::key("q");
    client.enqueue(&queue, "x");
    let request = Request::post("/v1/queue/dequeue").query("queue", &queue).query("owner", "w");
    assert_eq!(client.call(request).delivery().payload, b"x");
});

on_every_store!(queue_16_empty, |client| {
    let queue = fresh::key("q");
    within(ms(0), ms(100), "an empty queue without a wait", || {
        let answer = client.try_dequeue(&queue, json!({})).expect_error(409, "waiting");
        let took = answer.elapsed;
        answer.expect_no_header("retry-after").expect_no_member("retry_after_seconds");
        took
    });
});

on_every_store!(queue_22_order, |client| {
    let queue = fresh::key("q");
    let ids: Vec<String> = (0..3).map(|n| client.enqueue(&queue, &format!("m{n}"))).collect();
    let got: Vec<String> = (0..3).map(|_| client.dequeue(&queue).id()).collect();
    assert_eq!(got, ids);
    client.expect_empty(&queue);
});

on_every_store!(queue_25_attributes_and_bytes, |client| {
    let queue = fresh::key("q");
    let attributes = json!({"n": 1, "s": "<x>"});
    client.call(enqueue(&json!({"queue": queue, "attributes": attributes}), b"x\r\n")).expect_status(200);
    let delivery = client.dequeue(&queue);
    assert_eq!(delivery.message["attributes"]["s"], "<x>");
    assert_eq!(delivery.message["attributes"]["n"].as_f64(), Some(1.0));
    assert_eq!(delivery.payload, b"x\r\n");
    assert_eq!(delivery.int("payload_bytes"), 3);
    client.call(enqueue(&json!({"queue": queue, "attributes": {}}), &[0, 255, 13, 10])).expect_status(200);
    let delivery = client.dequeue(&queue);
    assert!(!delivery.message.contains_key("attributes"));
    assert_eq!(delivery.payload, [0, 255, 13, 10]);
    // A content type cannot break out of its header.
    let split = json!({"queue": queue, "payload_content_type": "a\r\nX: y"});
    client.call(enqueue(&split, b"x")).expect_error(400, "invalid_body");
});
