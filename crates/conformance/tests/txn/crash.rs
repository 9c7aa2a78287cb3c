//! Decisions and the end of the process.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::http::Request;
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

/// Kills the server around commits of two keys with documents and attachments. A reader finds both as they were or both as they
/// were committed, nothing of it twice, and the next commit builds on what is there (txn_35, txn_36).
#[test]
fn txn_29_kills_around_commits() {
    let mut server = Launch::fresh(StoreKind::Disk).start();
    let keys = [fresh::key("a"), fresh::key("b")];
    let mut version = 0;
    for round in 1..=6_i64 {
        let client = server.client();
        let txn = fresh::xid();
        let leases = keys.each_ref().map(|key| {
            let lease = client.acquire_with(key, json!({"txn_id": txn, "block_seconds": 30}));
            assert_eq!(lease.version, version, "of the last commit of {key}");
            client.call(lease.update(format!("[{round}]"))).expect_status(200);
            client.call(lease.upload("report", format!("report {round}"))).expect_status(200);
            lease
        });
        let answered = std::thread::scope(|scope| {
            let decide = Request::post("/v1/txn/decide").json(&json!({"txn_id": txn, "state": "commit"}));
            let client = &client;
            let decided = scope.spawn(move || client.try_call(&decide).is_ok_and(|a| a.status == 200));
            std::thread::sleep(Duration::from_millis(u64::try_from(round % 4).unwrap()));
            server.signal(Signal::KILL);
            decided.join().unwrap()
        });
        server = server.kill_and_restart();
        let client = server.client();
        let seen = leases.each_ref().map(|lease| {
            let document = client.call(lease.public_get());
            let report = client.call(lease.public_download("report"));
            (document.header("x-key-version").map(str::to_owned), document.text(), report.text())
        });
        assert_eq!(seen[0], seen[1], "round {round}");
        let committed = seen[0].1 == format!("[{round}]");
        assert!(committed || !answered, "round {round}: an answered commit is lost: {seen:?}");
        version += i64::from(committed);
        if version > 0 {
            assert_eq!(seen[0].0.as_deref(), Some(&*version.to_string()), "round {round}");
            assert_eq!(seen[0].2, format!("report {}", seen[0].1.trim_matches(['[', ']'])), "round {round}");
        }
        if !committed {
            client.decide(&txn, "rollback", json!([])).expect_status(200);
        }
    }
    assert!(version > 0, "no commit came through");
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
