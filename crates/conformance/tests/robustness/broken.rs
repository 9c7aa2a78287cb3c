//! Requests that no sane client sends: each gets an error or a closed connection, and the server goes on.

use std::time::{Duration, Instant};

use lockd_conformance::http::{Request, Trouble};
use lockd_conformance::lease::{Client, acquire_body};
use lockd_conformance::server::{Launch, StoreKind};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

/// The status of the first answer to raw bytes, or 0 when the connection is closed instead.
fn raw(client: &Client, bytes: &[u8]) -> u16 {
    let mut connection = client.connect();
    connection.set_patience(Duration::from_secs(20)).unwrap();
    let _ = connection.send_raw(bytes);
    match connection.read_response(false) {
        Ok(answer) => answer.status,
        Err(Trouble::NoAnswer | Trouble::Io(_)) => 0,
        Err(Trouble::TimedOut) => {
            panic!(
                "neither an answer nor the end of the connection after {:?}",
                String::from_utf8_lossy(&bytes[..80.min(bytes.len())])
            )
        }
        Err(trouble) => panic!("{trouble}"),
    }
}

on_every_store!(malformed_requests_are_refused, |client| {
    let requests: [&[u8]; 14] = [
        b"\0\0\0\0\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /healthz SMTP/1.1\r\nHost: x\r\n\r\n",
        b"G\x01T /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nb\0d: 1\r\n\r\n",
        b"POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/acquire HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /v1/acquire HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"POST /v1/acquire HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ];
    for request in requests {
        let status = raw(client, request);
        assert!(status == 0 || status >= 400, "{status} for {:?}", String::from_utf8_lossy(request));
        client.call(Request::get("/healthz")).expect_status(200);
    }
});

on_every_store!(a_request_cannot_be_smuggled, |client| {
    // Both framings: whichever the server believes, the hidden acquire must not run.
    let key = fresh::key("smuggled");
    let hidden = acquire_body(&key).to_string();
    let inner =
        format!("POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
    let outer = format!(
        "POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        inner.len() + 5,
    );
    raw(client, outer.as_bytes());
    let described = client.describe(&key);
    assert!(!described.contains_key("lease_id"), "{described:?}");
});

#[test]
fn absurd_heads_are_refused_and_not_kept() {
    let server = Launch::fresh(StoreKind::Mem).start();
    let client = server.client();
    client.acquire(&fresh::key("warm"));
    let before = server.memory_kib("VmRSS");
    let head = "POST /v1/acquire HTTP/1.1\r\nHost: x\r\n";
    let started = Instant::now();
    for _ in 0..20 {
        let long_value = format!("{head}X-Long: {}\r\n\r\n", "x".repeat(8 << 20));
        let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(8 << 20));
        let many = format!("{head}{}\r\n", "X-Many: 1\r\n".repeat(100_000));
        let endless = format!("{head}{}", "X-Many: 1\r\n".repeat(500_000));
        for request in [long_value, long_path, many, endless] {
            let status = raw(&client, request.as_bytes());
            assert!(status == 0 || status >= 400, "{status}");
        }
    }
    println!("80 absurd heads took {:?}", started.elapsed());
    client.call(Request::get("/healthz")).expect_status(200);
    if let (Some(before), Some(after)) = (before, server.memory_kib("VmRSS")) {
        println!("resident memory before {before} KiB, after {after} KiB");
        assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
    }
}

on_every_store!(ordinary_large_heads_are_served, |client| {
    // Proxies add headers; a few kilobytes must pass.
    let mut request = Request::post("/v1/acquire").json(&acquire_body(&fresh::key("large")));
    for n in 0..60 {
        request = request.header(&format!("X-Extra-{n}"), &"v".repeat(100));
    }
    client.call(request).expect_status(200);
});

on_every_store!(odd_methods_are_served_or_refused, |client| {
    let key = client.committed("odd", "[1]");
    for method in ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "FOO", "get", "PROPFIND"] {
        let answer = client.call(Request::new(method, "/v1/get").query("key", &key).query("public", "1"));
        assert_eq!(answer.status, 200, "every method reads: {answer}");
        if method == "HEAD" {
            assert!(answer.body.is_empty());
        } else {
            answer.expect_text("[1]");
        }
        let listed = client.call(Request::new(method, "/v1/namespace"));
        let allowed = matches!(method, "PUT");
        let expected = if allowed { 400 } else { 405 };
        assert_eq!(listed.status, expected, "{listed}");
    }
});

on_every_store!(a_head_answer_leaves_the_connection_in_step, |client| {
    let key = client.committed("head", "[1,2,3]");
    let mut connection = client.connect();
    for method in ["HEAD", "GET", "HEAD", "POST"] {
        let request = Request::new(method, "/v1/get").query("key", &key).query("public", "1");
        let answer = connection.call(&request).unwrap().expect_status(200);
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{answer}");
    }
    assert!(connection.is_reusable());
});

on_every_store!(a_refused_upload_is_not_read_to_its_end, |client| {
    let mut lease = client.acquire(&fresh::key("refused"));
    let upload = lease.upload("a", vec![7; 8 << 20]).query("max_bytes", "1000");
    client.call(upload).expect_error(413, "attachment_too_large");
    lease.lease_id = fresh::xid();
    client.call(lease.upload("a", vec![7; 8 << 20])).expect_error(403, "lease_required");
    // Refused before the body is wanted: no `100`.
    let answer = client.call(lease.upload("a", "x").expect_continue()).expect_error(403, "lease_required");
    assert!(!answer.got_continue, "{answer}");
    client.try_acquire(&fresh::key("after"), json!({})).expect_status(200);
});
