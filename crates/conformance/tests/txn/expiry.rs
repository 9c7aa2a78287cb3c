//! Transactions whose time runs out.

use std::time::{Duration, Instant};

use lockd_conformance::http::Request;
use lockd_conformance::queue::SOON;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::lease::{expect_committed, expect_untouched, join};

on_every_store!(txn_31_an_expired_transaction_is_rolled_back, |client| {
    let txn = fresh::xid();
    let leases: Vec<_> = (0..2)
        .map(|_| {
            let lease = client.acquire_with(&fresh::key("k"), json!({"txn_id": txn, "ttl_seconds": 1}));
            client.call(lease.update("[1]")).expect_status(200);
            lease
        })
        .collect();
    let deadline = Instant::now() + SOON;
    loop {
        client.call(leases[0].public_get()).expect_status(204);
        let answer =
            client.call(Request::post("/v1/txn/replay").json(&json!({"txn_id": txn}))).expect_status(200);
        match answer.string("state").as_str() {
            "rollback" => break,
            "pending" => assert!(Instant::now() < deadline, "still pending after {SOON:?}"),
            other => panic!("the transaction became {other}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    client.decide(&txn, "commit", json!([])).expect_status(200).expect_members(json!({"state": "rollback"}));
    for lease in &leases {
        expect_untouched(client, lease);
    }
});

on_every_store!(txn_34_keepalive_keeps_the_transaction, |client| {
    let txn = fresh::xid();
    let lease = client.acquire_with(&fresh::key("k"), json!({"txn_id": txn, "ttl_seconds": 2}));
    client.call(lease.update("[1]")).expect_status(200);
    client.call(lease.keepalive(60)).expect_status(200);
    let other = join(client, &fresh::xid());
    let until = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < until {
        client.call(other.public_get()).expect_status(204);
        client.call(lease.public_get()).expect_status(204);
        std::thread::sleep(Duration::from_millis(100));
    }
    client.call(lease.release()).expect_status(200);
    expect_committed(client, &lease, "[1]");
});
