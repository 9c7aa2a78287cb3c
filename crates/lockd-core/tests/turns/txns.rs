//! Transactions that somebody has prepared, and decisions that come twice.

use lockd_core::Moment;
use lockd_core::op::{DecideTxn, Extend, Op, Reason, Reply, TxnAsk, TxnState};
use lockd_core::records::txn::Verdict;
use lockd_wire::{KeyId, TxnId};

use crate::bench::{Bench, key, queue, txn};

const COMMIT: TxnAsk = TxnAsk::Decide(Verdict::Commit);

#[test]
fn a_prepared_transaction_lives_as_long_as_its_leases_are_kept_alive() {
    let (mut bench, a) = (Bench::new(), key("a"));
    let granted = bench.acquire(&a, Some(txn(1)), 10);
    bench.stage(&granted);
    assert_eq!(bench.decide(txn(1), TxnAsk::Prepare, &[]), Ok(TxnState::Pending));
    for _ in 0..20 {
        bench.pass(5000);
        assert!(matches!(bench.keep_alive(&granted, 10), Reply::Renewed(_)));
    }
    assert_eq!(bench.decide(txn(1), COMMIT, &[]), Ok(TxnState::Decided(Verdict::Commit)));
    assert!(bench.record(&a).unwrap().state.is_some());
}

#[test]
fn a_prepared_transaction_lives_as_long_as_its_longest_lease() {
    let (mut bench, a) = (Bench::new(), key("a"));
    let granted = bench.acquire(&a, Some(txn(1)), 300);
    bench.stage(&granted);
    bench.decide(txn(1), TxnAsk::Prepare, &[]).unwrap();
    bench.pass(120_000);
    assert_eq!(bench.decide(txn(1), TxnAsk::Tell, &[]), Ok(TxnState::Pending));
    bench.pass(200_000);
    assert_eq!(bench.decide(txn(1), TxnAsk::Tell, &[]), Ok(TxnState::Decided(Verdict::Rollback)));
}

#[test]
fn a_prepared_transaction_lives_as_long_as_its_messages_are_extended() {
    let (mut bench, q) = (Bench::new(), queue("q"));
    let message = bench.enqueue(&q, 0);
    let mut op = bench.dequeue_op(&q, -1, false, 1);
    op.txn = Some(txn(1));
    let mut delivery = bench.deliveries(op).remove(0);
    bench.decide(txn(1), TxnAsk::Prepare, &[]).unwrap();
    for _ in 0..5 {
        bench.pass(40_000);
        match bench.get(Op::Extend(Extend { handle: delivery.handle(), by_seconds: 60 })) {
            Reply::Extended(extended) => delivery.meta_etag = extended.meta_etag,
            other => panic!("{other:?}"),
        }
    }
    bench.decide(txn(1), COMMIT, &[]).unwrap();
    assert!(bench.record(&KeyId::of_message(&q, message)).is_none());
}

#[test]
fn a_repeated_decision_reaches_all_others_after_one_that_refuses() {
    let (mut bench, q, z) = (Bench::new(), queue("q"), key("z"));
    let message = bench.enqueue(&q, 0);
    let op = bench.dequeue_op(&q, -1, false, 1);
    bench.deliveries(op);
    bench.decide(txn(1), COMMIT, &[]).unwrap();
    // Staged under the id without having joined.
    let mut op = bench.acquire_op(&z, None, 600);
    op.own_txn = txn(1);
    let Reply::Granted(granted) = bench.get(Op::Acquire(op)) else { panic!("not granted") };
    bench.stage(&granted);
    let named = [KeyId::of_message(&q, message), z.clone()];
    assert_eq!(bench.decide(txn(1), COMMIT, &named), Err(Reason::MessageLeaseMismatch));
    assert!(bench.record(&z).unwrap().state.is_some(), "committed in spite of the other");
}

fn prepare_until(bench: &mut Bench, txn: TxnId, participants: &[KeyId], until: u64) {
    let expires_at = Moment(until);
    let op =
        DecideTxn { txn, ask: TxnAsk::Prepare, participants: participants.to_vec(), expires_at, term: 0 };
    assert!(matches!(bench.get(Op::DecideTxn(op)), Reply::Txn(TxnState::Pending)));
}

#[test]
fn an_expired_transaction_is_rolled_back_also_if_another_is_in_the_same_turn() {
    let (mut bench, k) = (Bench::new(), key("k"));
    let granted = bench.acquire(&k, Some(txn(1)), 1);
    bench.stage(&granted);
    let until = bench.now + 1000;
    prepare_until(&mut bench, txn(1), std::slice::from_ref(&k), until);
    prepare_until(&mut bench, txn(2), &[key("named")], until);
    bench.now += 1500;
    assert_eq!(bench.decide(txn(2), COMMIT, &[k]), Ok(TxnState::Decided(Verdict::Rollback)));
}

#[test]
fn preparing_does_not_revive_what_is_over() {
    let mut bench = Bench::new();
    let prepare = |term| DecideTxn {
        txn: txn(1),
        ask: TxnAsk::Prepare,
        participants: vec![key("k")],
        expires_at: Moment(2000),
        term,
    };
    assert!(matches!(bench.get(Op::DecideTxn(prepare(5))), Reply::Txn(TxnState::Pending)));
    // Nobody has come to it yet when its time is over. Another one with its id knows nothing of its term.
    bench.now = 3000;
    let again = DecideTxn { expires_at: Moment(9000), ..prepare(0) };
    assert!(matches!(bench.get(Op::DecideTxn(again)), Reply::Txn(TxnState::Pending)));
    assert_eq!(bench.decide(txn(1), TxnAsk::Tell, &[]), Ok(TxnState::Pending));
}

#[test]
fn nobody_is_told_of_a_transaction_that_is_not_durable_yet() {
    let mut bench = Bench::new();
    bench.slow = true;
    let tell = |ask| DecideTxn { txn: txn(1), ask, participants: vec![], expires_at: Moment(0), term: 0 };
    bench.ask(Op::DecideTxn(tell(TxnAsk::Prepare)));
    let asked = bench.ask(Op::DecideTxn(tell(TxnAsk::Tell)));
    assert!(bench.take(asked).is_none(), "told of what may be lost");
    bench.sync();
    assert!(matches!(bench.take(asked), Some(Reply::Txn(TxnState::Pending))));
}

#[test]
fn a_refusal_rests_on_what_it_has_seen() {
    let (mut bench, q) = (Bench::new(), queue("q"));
    let message = bench.enqueue(&q, 0);
    bench.decide(txn(1), COMMIT, &[]).unwrap();
    bench.slow = true;
    let op = bench.dequeue_op(&q, -1, false, 1);
    bench.ask(Op::Dequeue(op));
    let participants = vec![KeyId::of_message(&q, message)];
    let op = DecideTxn { txn: txn(1), ask: COMMIT, participants, expires_at: Moment(0), term: 0 };
    let asked = bench.ask(Op::DecideTxn(op));
    assert!(bench.take(asked).is_none(), "the lease it speaks of may be lost");
    bench.sync();
    assert!(
        matches!(bench.take(asked), Some(Reply::Refused(refusal)) if refusal.reason == Reason::MessageLeaseMismatch)
    );
}

#[test]
fn a_lease_that_is_shortened_does_not_keep_a_prepared_transaction() {
    let (mut bench, a) = (Bench::new(), key("a"));
    let granted = bench.acquire(&a, Some(txn(1)), 3000);
    let until = bench.now + 1000;
    prepare_until(&mut bench, txn(1), std::slice::from_ref(&a), until);
    bench.pass(5000);
    assert!(matches!(bench.keep_alive(&granted, 10), Reply::Renewed(_)));
    bench.pass(20_000);
    assert_eq!(bench.core.footprint().pending_txns, 0);
}
