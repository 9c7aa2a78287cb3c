//! A holder that goes away without having staged anything does not spoil the transaction of the others.

use lockd_core::op::{Abandon, Granted, Op, Outcome, Release, Reply};

use crate::bench::{Bench, claim, key, txn};

fn commit(bench: &mut Bench, granted: &Granted) -> Outcome {
    let op = Release { key: granted.key.clone(), claim: claim(granted), rollback: false };
    match bench.get(Op::Release(op)) {
        Reply::Released(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

/// A lease under a transaction with something staged.
fn at_work(bench: &mut Bench) -> Granted {
    let work = bench.acquire(&key("work"), Some(txn(7)), 60);
    bench.stage(&work);
    work
}

#[test]
fn an_abandoned_grant_leaves_the_transaction_alone() {
    let mut bench = Bench::new();
    let work = at_work(&mut bench);
    let gone = bench.acquire(&key("idle"), Some(txn(7)), 60);
    let op = Abandon { key: gone.key.clone(), lease: gone.lease };
    assert!(matches!(bench.get(Op::Abandon(op)), Reply::Abandoned));
    assert_eq!(bench.core.held_leases(), 1);
    assert_eq!(commit(&mut bench, &work), Outcome::Committed);
}

#[test]
fn the_expiry_of_a_lease_without_changes_leaves_the_transaction_alone() {
    let mut bench = Bench::new();
    let work = at_work(&mut bench);
    bench.acquire(&key("idle"), Some(txn(7)), 1);
    bench.pass(2000);
    assert_eq!(bench.core.held_leases(), 1);
    assert_eq!(commit(&mut bench, &work), Outcome::Committed);
}

#[test]
fn the_expiry_of_a_participant_rolls_the_whole_transaction_back() {
    let mut bench = Bench::new();
    let work = at_work(&mut bench);
    let late = bench.acquire(&key("other"), Some(txn(7)), 1);
    bench.stage(&late);
    bench.pass(2000);
    assert_eq!(bench.core.held_leases(), 0);
    assert_eq!(commit(&mut bench, &work), Outcome::Nothing);
}
