//! Expiry: it goes on while others write, and comes back to what could not be read.

use lockd_core::Input;
use lockd_core::op::{Op, Reply};

use crate::bench::{Bench, key, txn};

#[test]
fn leases_expire_while_many_batches_are_under_way() {
    let (mut bench, wanted) = (Bench::new(), key("wanted"));
    bench.acquire(&wanted, None, 1);
    let mut op = bench.acquire_op(&wanted, None, 60);
    op.block_seconds = 600;
    let waiter = bench.ask(Op::Acquire(op));
    bench.slow = true;
    for number in 0..100 {
        let op = bench.acquire_op(&key(&format!("k{number}")), None, 600);
        bench.ask(Op::Acquire(op));
    }
    bench.now += 1500;
    assert!(bench.core.next_deadline().is_some_and(|at| at.0 <= bench.now), "the core wants to expire it");
    bench.feed(Input::Tick);
    bench.sync();
    assert!(matches!(bench.take(waiter), Some(Reply::Granted(_))));
}

#[test]
fn only_a_few_expiries_are_under_way_at_a_time() {
    let mut bench = Bench::new();
    for number in 0..200 {
        bench.acquire(&key(&format!("k{number}")), None, 1);
    }
    bench.slow = true;
    bench.now += 1500;
    for _ in 0..10 {
        bench.feed(Input::Tick);
    }
    assert_eq!(bench.core.held_leases(), 200 - 32);
    assert_eq!(bench.core.next_deadline(), None, "it waits for the disk and not in a loop");
    while bench.core.held_leases() > 0 {
        assert!(bench.sync_one());
        bench.feed(Input::Tick);
    }
}

#[test]
fn an_expiry_that_met_an_unreadable_record_is_tried_again() {
    let (mut bench, lost, other) = (Bench::new(), key("lost"), key("other"));
    for name in [&lost, &other] {
        let granted = bench.acquire(name, Some(txn(1)), 1);
        bench.stage(&granted);
    }
    for number in 0..400 {
        bench.acquire(&key(&format!("k{number}")), None, 3000);
    }
    bench.damaged.insert(lost);
    bench.pass(1500);
    assert_eq!(bench.core.held_leases(), 402);
    bench.damaged.clear();
    bench.pass(20_000);
    assert_eq!(bench.core.held_leases(), 400);
}
