//! What is forgotten, and when.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::http::Request;
use lockd_conformance::queue::SOON;
use lockd_conformance::server::{Launch, StoreKind};
use serde_json::json;

use crate::lease::{expect_committed, expect_untouched, staged};

/// Decisions are remembered for the retention that was asked for, across a restart, and no longer.
#[test]
fn txn_43_decisions_are_forgotten() {
    let launch = Launch::fresh(StoreKind::Disk).with(&["--tc-decision-retention", "3s"]);
    let server = launch.start();
    let client = server.client();
    let txn = fresh::xid();
    let lease = staged(&client, &txn, "[1]");
    let replay = || Request::post("/v1/txn/replay").json(&json!({"txn_id": txn}));
    let before = Instant::now();
    client.decide(&txn, "commit", json!([])).expect_status(200);
    let server = server.kill_and_restart();
    let client = server.client();
    let deadline = Instant::now() + SOON;
    loop {
        let answer = client.call(replay());
        match answer.status {
            200 => assert!(Instant::now() < deadline, "still remembered after {SOON:?}"),
            _ => {
                answer.expect_error(404, "txn_not_found");
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(before.elapsed() >= Duration::from_secs(2), "forgotten after {:?}", before.elapsed());
    expect_committed(&client, &lease, "[1]");
}

/// Leases that run out are cleared although nobody asks for them.
#[test]
fn txn_44_expired_leases_are_cleared() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let leases: Vec<_> = (0..200)
        .map(|_| {
            let lease = client.acquire_with(&fresh::key("k"), json!({"ttl_seconds": 2}));
            client.call(lease.update("[1]")).expect_status(200);
            lease
        })
        .collect();
    let deadline = Instant::now() + SOON;
    while client.describe(&leases[199].key).contains_key("owner") {
        assert!(Instant::now() < deadline, "still held after {SOON:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    for lease in &leases {
        assert!(!client.describe(&lease.key).contains_key("owner"), "{lease:?}");
        expect_untouched(&client, lease);
    }
}
