//! Forms that producers send, and what becomes of them.

use lockd_conformance::http::Request;
use lockd_conformance::queue::{consume, enqueue, enqueue_head, form};
use lockd_conformance::server::{Launch, StoreKind};
use lockd_conformance::{fresh, on_every_store};
use serde_json::{Value, json};

const META: &str = "Content-Type: application/json\r\n";

on_every_store!(queue_01_defaults, |client| {
    let queue = fresh::key("q");
    for kind in ["related", "form-data"] {
        let request = enqueue(&json!({"queue": queue}), b"x");
        let boundary = "boundary=conformance-7f3a";
        let request =
            request.without("content-type").header("Content-Type", &format!("multipart/{kind}; {boundary}"));
        let answer = client.call(request).expect_status(200).expect_members(json!({
            "namespace": "default", "queue": queue, "attempts": 0, "max_attempts": 5,
            "visibility_timeout_seconds": 30, "payload_bytes": 1,
        }));
        assert!(fresh::is_uuid7(&answer.string("message_id")), "{answer}");
        assert!((answer.int("not_visible_until_unix") - fresh::now()).abs() <= 2, "{answer}");
        let correlation = answer.string("correlation_id");
        answer.expect_no_member("failure_attempts").expect_header("x-correlation-id", &correlation);
    }
});

on_every_store!(queue_02_what_is_no_form, |client| {
    let queue = fresh::key("q");
    let whole = form(&[("meta", META, json!({"queue": queue}).to_string().as_bytes())]);
    let request = |kind: &str, body: &[u8]| {
        Request::post("/v1/queue/enqueue").query("queue", &queue).header("Content-Type", kind).body(body)
    };
    client.call(request("application/json", &whole)).expect_error(400, "invalid_content_type");
    client.call(request("multipart/related", &whole)).expect_error(400, "multipart_error");
    let boundary = "multipart/related; boundary=conformance-7f3a";
    let delimiter = "--conformance-7f3a--\r\n".len();
    // Cut after the meta part, inside the delimiter after it, and before anything.
    for length in [whole.len() - delimiter, whole.len() - 4, whole.len() - delimiter + 18, 0] {
        client.call(request(boundary, &whole[..length])).expect_error(400, "multipart_error");
    }
    client.expect_empty(&queue);
});

on_every_store!(queue_03_meta_only, |client| {
    let queue = fresh::key("q");
    let body = form(&[("meta", META, json!({"queue": queue}).to_string().as_bytes())]);
    client.call(enqueue_head().body(body)).expect_status(200).expect_members(json!({"payload_bytes": 0}));
    let delivery = client.dequeue(&queue);
    assert!(delivery.payload.is_empty());
    assert!(delivery.headers.1.contains("Content-Length: 0\r\n"), "{:?}", delivery.headers);
});

on_every_store!(queue_04_order_of_parts, |client| {
    let queue = fresh::key("q");
    let payload = ("payload", "", &b"bytes"[..]);
    client
        .call(enqueue_head().query("queue", &queue).body(form(&[payload])))
        .expect_status(200)
        .expect_members(json!({"queue": queue, "payload_bytes": 5}));
    assert_eq!(client.dequeue(&queue).payload, b"bytes");
    let meta = json!({"queue": queue}).to_string();
    client
        .call(enqueue_head().body(form(&[payload, ("meta", META, meta.as_bytes())])))
        .expect_error(400, "missing_queue");
    client.expect_empty(&queue);
});

on_every_store!(queue_05_more_than_needed, |client| {
    let queue = fresh::key("q");
    let meta = json!({"queue": queue, "surprise": {"a": [1]}}).to_string();
    let parts = [("meta", META, meta.as_bytes()), ("x", "", &b"other\r\n"[..]), ("payload", "", b"kept")];
    client.call(enqueue_head().body(form(&parts))).expect_status(200);
    assert_eq!(client.dequeue(&queue).payload, b"kept");
});

on_every_store!(queue_06_broken_meta_and_payload, |client| {
    let queue = fresh::key("q");
    for meta in ["{", "[]", "\"x\"", "", "{\"delay_seconds\":\"x\"}"] {
        let parts = [("meta", META, meta.as_bytes()), ("payload", "", &b"x"[..])];
        client
            .call(enqueue_head().query("queue", &queue).body(form(&parts)))
            .expect_error(400, "invalid_body");
    }
    let meta = json!({"queue": queue}).to_string();
    let whole = form(&[("meta", META, meta.as_bytes()), ("payload", "", &b"cut off"[..])]);
    // Inside the delimiter, before it, and inside the payload.
    for missing in [6, 23, 27] {
        client
            .call(enqueue_head().body(&whole[..whole.len() - missing]))
            .expect_error(400, "multipart_error");
    }
    client.expect_empty(&queue);
});

on_every_store!(queue_07_names_in_lower_case, |client| {
    let queue = fresh::key("q");
    client
        .call(enqueue(&json!({"queue": format!(" {} ", queue.to_uppercase())}), b"x"))
        .expect_status(200)
        .expect_members(json!({"queue": queue}));
    let delivery = client.dequeue(&queue.to_uppercase());
    assert_eq!(delivery.string("queue"), queue);
});

on_every_store!(queue_08_bad_names, |client| {
    let long = "q".repeat(129);
    for queue in ["a/b", "..", ".", "ä", long.as_str()] {
        client.call(enqueue(&json!({"queue": queue}), b"x")).expect_error(400, "invalid_queue");
        for endpoint in ["dequeue", "dequeueWithState", "subscribe", "subscribeWithState"] {
            client.call(consume(endpoint, queue, json!({}))).expect_error(400, "invalid_queue");
        }
        for endpoint in ["stats", "watch"] {
            let request = Request::post(&format!("/v1/queue/{endpoint}")).json(&json!({"queue": queue}));
            client.call(request).expect_error(400, "invalid_queue");
        }
        let proof = json!({"queue": queue, "message_id": "x", "lease_id": "x", "meta_etag": "x"});
        for endpoint in ["ack", "nack", "extend"] {
            let request = Request::post(&format!("/v1/queue/{endpoint}")).json(&proof);
            client.call(request).expect_error(400, "invalid_queue_key");
        }
    }
    let request = enqueue(&json!({"queue": "q", "namespace": ".x"}), b"x");
    client.call(request).expect_error(400, "invalid_namespace");
});

/// The whole size is in the slow lane, the growth is not.
#[test]
fn queue_09_large_payloads_are_streamed() {
    let slow = std::env::var("LOCKD_SLOW").is_ok_and(|value| value == "1");
    let size: usize = if slow { 256 << 20 } else { 96 << 20 };
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let queue = fresh::key("large");
    client.enqueue(&queue, "warm");
    client.dequeue(&queue);
    let before = server.memory_kib("VmRSS").unwrap_or_default();
    let mut connection = client.connect();
    let meta = json!({"queue": queue}).to_string();
    let whole = form(&[("meta", META, meta.as_bytes()), ("payload", "", b"@")]);
    let at = whole.windows(3).position(|window| window == b"\n@\r").unwrap() + 1;
    let length = whole.len() - 1 + size;
    let head = format!(
        "POST /v1/queue/enqueue HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/related; boundary=conformance-7f3a\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.send_raw(head.as_bytes()).unwrap();
    connection.send_raw(&whole[..at]).unwrap();
    let block = vec![b'p'; 1 << 20];
    for _ in 0..size >> 20 {
        connection.send_raw(&block).unwrap();
    }
    connection.send_raw(&whole[at + 1..]).unwrap();
    let answer = connection.read_response(false).unwrap_or_else(|trouble| panic!("{trouble}"));
    answer.expect_status(200).expect_members(json!({"payload_bytes": size}));
    let peak = server.memory_kib("VmHWM").unwrap_or_default();
    assert!(
        peak < before + (32 << 10),
        "an enqueue of {size} bytes took the server from {before} to {peak} KiB"
    );
    let delivery = client.dequeue(&queue);
    assert!(delivery.payload.len() == size && delivery.payload.iter().all(|byte| *byte == b'p'));
}

on_every_store!(queue_10_correlation, |client| {
    let queue = fresh::key("q");
    let request = enqueue(&json!({"queue": queue}), b"x").header("X-Correlation-Id", "abc");
    client
        .call(request)
        .expect_status(200)
        .expect_header("x-correlation-id", "abc")
        .expect_members(json!({"correlation_id": "abc"}));
    for _ in 0..2 {
        let answer = client.call(consume("dequeue", &queue, json!({})).header("X-Correlation-Id", "other"));
        let delivery = answer.delivery();
        answer.expect_header("x-correlation-id", "abc");
        assert_eq!(delivery.message["correlation_id"], Value::from("abc"));
        client
            .call(delivery.nack(json!({})).header("X-Correlation-Id", "other"))
            .expect_status(200)
            .expect_header("x-correlation-id", "abc")
            .expect_members(json!({"correlation_id": "abc"}));
    }
});
