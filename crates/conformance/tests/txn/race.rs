//! Many clients and one transaction.

use std::sync::Barrier;

use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::lease::{expect_committed, join, staged};

on_every_store!(txn_37_a_hundred_first_enlistments, |client| {
    let txn = fresh::xid();
    let leases: Vec<_> = (0..100).map(|_| join(client, &txn)).collect();
    let start = Barrier::new(leases.len());
    std::thread::scope(|scope| {
        for lease in &leases {
            scope.spawn(|| {
                start.wait();
                client.call(lease.update("[1]")).expect_status(200);
            });
        }
    });
    client.call(leases[0].release()).expect_status(200);
    for lease in &leases {
        expect_committed(client, lease, "[1]");
    }
});

on_every_store!(txn_38_one_outcome, |client| {
    let slow = std::env::var("LOCKD_SLOW").is_ok_and(|value| value == "1");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..if slow { 1000 } else { 40 } {
        let txn = fresh::xid();
        let leases: Vec<_> = (0..3).map(|_| staged(client, &txn, "[1]")).collect();
        let start = Barrier::new(2);
        let states: Vec<String> = std::thread::scope(|scope| {
            let deciders: Vec<_> = ["commit", "rollback"]
                .map(|state| {
                    let (txn, start) = (&txn, &start);
                    scope.spawn(move || {
                        start.wait();
                        client.decide(txn, state, json!([])).expect_status(200).string("state")
                    })
                })
                .into_iter()
                .collect();
            deciders.into_iter().map(|decider| decider.join().unwrap()).collect()
        });
        assert_eq!(states[0], states[1], "two decisions about {txn}");
        let status = if states[0] == "commit" { 200 } else { 204 };
        for lease in &leases {
            client.call(lease.public_get()).expect_status(status);
        }
        seen.insert(states[0].clone());
    }
    println!("outcomes: {seen:?}");
});
