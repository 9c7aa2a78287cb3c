//! Decisions and the end of the process.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::queue::SOON;
use lockd_conformance::server::{Launch, StoreKind};
use rustix::process::Signal;
use serde_json::json;

use crate::lease::staged;

/// Kills the server around a decision about many keys. Whatever was decided, all keys follow it.
#[test]
fn txn_28_a_kill_around_a_decision() {
    let mut server = Launch::fresh(StoreKind::Disk).start();
    for round in 0..4 {
        let client = server.client();
        let txn = fresh::xid();
        let leases: Vec<_> = (0..20).map(|_| staged(&client, &txn, "[1]")).collect();
        let answered = std::thread::scope(|scope| {
            let release =
                scope.spawn(|| client.try_call(&leases[0].release()).is_ok_and(|a| a.status == 200));
            std::thread::sleep(Duration::from_millis(round * 2));
            server.signal(Signal::KILL);
            release.join().unwrap()
        });
        server = server.kill_and_restart();
        let client = server.client();
        let deadline = Instant::now() + SOON;
        loop {
            let committed =
                leases.iter().filter(|lease| client.call(lease.public_get()).status == 200).count();
            if committed == leases.len() || (committed == 0 && !answered) {
                break;
            }
            assert!(Instant::now() < deadline, "{committed} of {} keys, answered: {answered}", leases.len());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The lease of a decided key runs out before anybody looks: the next holder sees what was committed.
#[test]
fn txn_33_committed_before_the_next_holder() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let txn = fresh::xid();
    let leases: Vec<_> = (0..2)
        .map(|_| {
            let lease = client.acquire_with(&fresh::key("k"), json!({"txn_id": txn, "ttl_seconds": 2}));
            client.call(lease.update("[1]")).expect_status(200);
            lease
        })
        .collect();
    client.call(leases[0].release()).expect_status(200);
    let server = server.kill_and_restart();
    let client = server.client();
    for lease in leases {
        let next = client.acquire_with(&lease.key, json!({"block_seconds": 10}));
        assert_eq!(next.version, 1);
        client.call(next.get()).expect_status(200).expect_text("[1]");
    }
}
