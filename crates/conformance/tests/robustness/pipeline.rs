//! Several requests on one connection.

use std::time::Duration;

use lockd_conformance::http::Request;
use lockd_conformance::lease::acquire_body;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

fn bytes(request: &Request) -> Vec<u8> {
    let mut bytes = request.head("localhost");
    bytes.extend_from_slice(&request.framed_body());
    bytes
}

on_every_store!(pipelined_requests_are_answered_in_order, |client| {
    let keys: Vec<String> = (0..50).map(|_| fresh::key("pipeline")).collect();
    let mut sent = Vec::new();
    for key in &keys {
        sent.extend_from_slice(&bytes(&Request::post("/v1/acquire").json(&acquire_body(key))));
        sent.extend_from_slice(&bytes(&Request::get("/v1/describe").query("key", key)));
    }
    let mut connection = client.connect();
    connection.send_raw(&sent).unwrap();
    for key in &keys {
        let lease = connection.read_response(false).unwrap().lease();
        assert_eq!(&lease.key, key);
        let described = connection.read_response(false).unwrap().expect_status(200);
        assert_eq!(described.string("lease_id"), lease.lease_id);
    }
});

on_every_store!(a_request_behind_a_waiting_acquire_waits_its_turn, |client| {
    let key = fresh::key("pipeline");
    let holder = client.acquire(&key);
    let waiting = lockd_conformance::lease::merged(acquire_body(&key), json!({"block_seconds": 20}));
    let mut sent = bytes(&Request::post("/v1/acquire").json(&waiting));
    sent.extend_from_slice(&bytes(&Request::get("/healthz")));
    let mut connection = client.connect();
    connection.send_raw(&sent).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    client.call(holder.release()).expect_status(200);
    // The second request is not a disconnect: the waiter must still be there.
    assert_eq!(connection.read_response(false).unwrap().lease().token, 2);
    assert!(connection.read_response(false).unwrap().expect_status(200).body.is_empty());
});

on_every_store!(a_connection_serves_many_requests, |client| {
    let mut connection = client.connect();
    for _ in 0..200 {
        let body = acquire_body(&fresh::key("reuse"));
        let lease = connection.call(&Request::post("/v1/acquire").json(&body)).unwrap().lease();
        connection.call(&lease.update("{}")).unwrap().expect_status(200);
        connection.call(&lease.update("{").chunked(1)).unwrap().expect_error(400, "invalid_body");
        assert!(connection.is_reusable(), "a refused small body must not cost the connection");
        connection.call(&lease.release()).unwrap().expect_status(200);
    }
});
