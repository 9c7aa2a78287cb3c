//! What must still be so after a restart: leases and their deadlines, transactions, settings.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::http::Request;
use lockd_conformance::server::{Launch, StoreKind};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn leases_and_their_deadlines_survive() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let (short, long, staged) = (fresh::key("short"), fresh::key("long"), fresh::key("staged"));
    let committed = client.committed("old", "[0]");
    let granted = Instant::now();
    let short_lease = client.acquire_with(&short, json!({"ttl_seconds": 3}));
    client.call(short_lease.update("[1]")).expect_status(200);
    let long_lease = client.acquire_with(&long, json!({"ttl_seconds": 600}));
    let staged_lease = client.acquire_with(&staged, json!({"ttl_seconds": 600}));
    client.call(staged_lease.update("[2]")).expect_status(200);
    client.call(staged_lease.metadata(r#"{"query_hidden":true}"#)).expect_status(200);
    client.call(staged_lease.upload("a", "bytes")).expect_status(200);
    let removed_lease = client.acquire_with(&committed, json!({"ttl_seconds": 600}));
    client.call(removed_lease.remove()).expect_status(200);

    let server = server.kill_and_restart();
    let client = server.client();
    // The expiry that was promised is the expiry that is kept; it wakes a waiter on the new process.
    let waiter = client.start_acquire(&short, json!({"block_seconds": 20}));
    assert_eq!(client.describe(&long)["expires_at_unix"], json!(long_lease.expires_at));
    client.try_acquire(&long, json!({})).expect_error(409, "waiting");
    client.call(long_lease.keepalive(30)).expect_status(200);
    let next = waiter.join().lease();
    assert!(granted.elapsed() >= Duration::from_secs(3), "granted after {:?}", granted.elapsed());
    assert_eq!((next.token, next.version), (2, 0));
    client.call(next.get()).expect_status(204);

    client.public_get(&committed).expect_status(200).expect_text("[0]");
    client.call(removed_lease.get()).expect_status(204);
    client.call(removed_lease.release()).expect_status(200);
    client.public_get(&committed).expect_status(204);

    client.call(staged_lease.get()).expect_status(200).expect_text("[2]");
    client.call(staged_lease.download("a")).expect_status(200).expect_text("bytes");
    client.call(staged_lease.release()).expect_status(200);
    let server = server.kill_and_restart();
    let client = server.client();
    client.public_get(&staged).expect_status(200).expect_text("[2]").expect_header("x-key-version", "1");
    client.call(staged_lease.public_download("a")).expect_status(200).expect_text("bytes");
    assert_eq!(client.describe(&staged)["metadata"], json!({"query_hidden": true}));
    assert_eq!(client.acquire(&staged).token, 2);
    client.try_acquire(&committed, json!({"if_not_exists": true})).expect_error(409, "already_exists");
}

#[test]
fn transactions_survive() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let pair = |ttl: i64| {
        let txn = fresh::xid();
        let join =
            |label| client.acquire_with(&fresh::key(label), json!({"txn_id": txn, "ttl_seconds": ttl}));
        let (a, b) = (join("a"), join("b"));
        client.call(a.update("[1]")).expect_status(200);
        client.call(b.update("[2]")).expect_status(200);
        (a, b)
    };
    let ((kept_a, kept_b), (undone_a, undone_b), (decided_a, decided_b)) = (pair(600), pair(2), pair(600));
    client.call(decided_a.release()).expect_status(200);

    let server = server.kill_and_restart();
    let client = server.client();
    client.public_get(&decided_a.key).expect_status(200).expect_text("[1]");
    client.public_get(&decided_b.key).expect_status(200).expect_text("[2]");
    client.call(kept_b.release()).expect_status(200);
    client.public_get(&kept_a.key).expect_status(200).expect_text("[1]");
    client.public_get(&kept_b.key).expect_status(200).expect_text("[2]");
    for lease in [undone_a, undone_b] {
        let next = client.acquire_with(&lease.key, json!({"block_seconds": 20}));
        assert_eq!((next.token, next.version), (2, 0));
        client.call(next.get()).expect_status(204);
    }
}

#[test]
fn namespace_settings_survive() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let namespace = fresh::key("space");
    let request = Request::post("/v1/namespace").query("namespace", &namespace);
    let body = json!({"query": {"preferred_engine": "scan", "fallback_engine": "scan"}});
    let etag = client.call(request.json(&body)).expect_status(200).header("etag").unwrap().to_owned();
    let server = server.kill_and_restart();
    let client = server.client();
    client
        .call(Request::get("/v1/namespace").query("namespace", &namespace))
        .expect_status(200)
        .expect_header("etag", &etag)
        .expect_members(body);
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let lease = client.acquire(&fresh::key("held"));
    client.call(lease.update("[1]")).expect_status(200);
    server.signal(Signal::TERM);
    // The drain has begun when answers say so.
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.call(Request::get("/healthz")).header("shutdown-imminent").is_none() {
        assert!(Instant::now() < deadline, "no drain after SIGTERM");
    }
    assert!(server.is_running(), "a held lease has its grace");
    server.signal(Signal::TERM);
    assert!(server.wait_for_exit(Duration::from_secs(3)).is_some(), "still running after a second SIGTERM");
    let server = server.launch().start();
    server.client().call(lease.get()).expect_status(200).expect_text("[1]");
}
