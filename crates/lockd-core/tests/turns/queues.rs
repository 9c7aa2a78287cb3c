//! Queues: what is freed is listed, what belongs to others is left alone, and nobody waits behind somebody who cannot be served.

use lockd_core::op::{Abandon, Ack, Extend, Intent, Nack, Op, Reason, Reply, Tend};
use lockd_core::records::key::Lease;
use lockd_wire::KeyId;

use crate::bench::{Bench, key, queue, txn};

#[test]
fn a_message_that_is_freed_while_another_queue_is_served_can_be_delivered_again() {
    let (mut bench, qa, qb) = (Bench::new(), queue("qa"), queue("qb"));
    let (m1, m2) = (bench.enqueue(&qa, 0), bench.enqueue(&qb, 0));
    let state = bench.acquire(&KeyId::of_queue_state(&qa, m1), Some(txn(1)), 1);
    bench.stage(&state);
    let mut op = bench.dequeue_op(&qb, -1, false, 1);
    op.txn = Some(txn(1));
    assert_eq!(bench.deliveries(op)[0].message, m2);
    // The time of the state's lease is over, and whoever asks for its message is the first to see it.
    bench.now += 1500;
    let op = bench.dequeue_op(&qa, -1, true, 1);
    assert_eq!(bench.deliveries(op)[0].message, m1);
    let op = bench.dequeue_op(&qb, -1, false, 1);
    let again = bench.deliveries(op);
    assert_eq!(again.iter().map(|delivery| delivery.message).collect::<Vec<_>>(), [m2]);
}

#[test]
fn a_message_that_is_freed_while_its_own_queue_is_served_is_delivered_to_who_waits() {
    let (mut bench, q) = (Bench::new(), queue("q"));
    let (m1, m2) = (bench.enqueue(&q, 0), bench.enqueue(&q, 0));
    let state = bench.acquire(&KeyId::of_queue_state(&q, m2), Some(txn(1)), 1);
    bench.stage(&state);
    let mut op = bench.dequeue_op(&q, -1, false, 1);
    op.txn = Some(txn(1));
    assert_eq!(bench.deliveries(op)[0].message, m1);
    bench.now += 1500;
    let op = bench.dequeue_op(&q, 10, true, 2);
    let mut found: Vec<_> = bench.deliveries(op).iter().map(|delivery| delivery.message).collect();
    found.sort();
    assert_eq!(found, [m1, m2]);
}

#[test]
fn a_consumer_that_holds_messages_is_answered_behind_one_that_cannot_be_served() {
    let (mut bench, q) = (Bench::new(), queue("q"));
    let m1 = bench.enqueue(&q, 0);
    bench.acquire(&KeyId::of_queue_state(&q, m1), None, 600);
    let op = bench.dequeue_op(&q, 0, true, 1);
    let first = bench.ask(Op::Dequeue(op));
    let op = bench.dequeue_op(&q, 12, false, 10);
    let got = bench.deliveries(op);
    assert_eq!(got.iter().map(|delivery| delivery.message).collect::<Vec<_>>(), [m1]);
    assert!(bench.take(first).is_none());
}

/// A message that was delivered with state, twice given back, and whose state somebody else has leased since.
fn with_a_stranger(bench: &mut Bench) -> (lockd_wire::QueueId, KeyId, lockd_core::op::Granted) {
    let q = queue("q");
    let message = bench.enqueue(&q, 0);
    let state_key = KeyId::of_queue_state(&q, message);
    for _ in 0..2 {
        let op = bench.dequeue_op(&q, -1, true, 1);
        let delivery = bench.deliveries(op).remove(0);
        let nack = Nack { handle: delivery.handle(), delay_seconds: 0, intent: Intent::Defer };
        assert!(matches!(bench.get(Op::Nack(nack)), Reply::Requeued { .. }));
    }
    let stranger = bench.acquire(&state_key, Some(txn(3)), 600);
    assert_eq!(stranger.token, 3);
    bench.stage(&stranger);
    (q, state_key, stranger)
}

#[test]
fn an_ack_leaves_a_strangers_lease_on_the_state_alone() {
    let mut bench = Bench::new();
    let (q, state_key, stranger) = with_a_stranger(&mut bench);
    let op = bench.dequeue_op(&q, -1, false, 1);
    let delivery = bench.deliveries(op).remove(0);
    let ack = Ack { handle: delivery.handle(), state_etag: None };
    assert!(matches!(bench.get(Op::Ack(ack)), Reply::Acked { .. }));
    let op = bench.acquire_op(&state_key, None, 60);
    assert!(matches!(bench.get(Op::Acquire(op)), Reply::Refused(_)), "two hold one lease");
    assert!(matches!(bench.keep_alive(&stranger, 600), Reply::Renewed(_)));
    // Nothing of the message is left, and the counter goes on after the lease.
    bench.pass(700_000);
    assert_eq!(bench.record(&state_key).map(|record| record.state.is_some()), Some(false));
    assert_eq!(bench.acquire(&state_key, None, 60).token, 4);
}

#[test]
fn the_end_of_a_dead_letter_leaves_a_strangers_lease_on_the_state_alone() {
    let mut bench = Bench::new();
    let (q, state_key, stranger) = with_a_stranger(&mut bench);
    let mut message_key = key("none");
    for _ in 0..5 {
        let op = bench.dequeue_op(&q, -1, false, 1);
        let delivery = bench.deliveries(op).remove(0);
        message_key = KeyId::of_message(&q, delivery.message);
        let nack = Nack { handle: delivery.handle(), delay_seconds: 0, intent: Intent::Failure(None) };
        assert!(matches!(bench.get(Op::Nack(nack)), Reply::Requeued { .. }));
    }
    assert!(matches!(bench.get(Op::Tend(Tend::Purge(message_key.clone()))), Reply::Tended(true)));
    assert!(bench.record(&message_key).is_none());
    let record = bench.record(&state_key).expect("the stranger's lease");
    assert!(matches!(&record.lease, Lease::Held(grant) if grant.id == stranger.lease));
}

#[test]
fn an_unreadable_participant_of_a_states_lease_holds_nobody_up() {
    let (mut bench, q, lost) = (Bench::new(), queue("q"), key("lost"));
    let (m1, m2) = (bench.enqueue(&q, 0), bench.enqueue(&q, 0));
    let other = bench.acquire(&lost, Some(txn(1)), 1);
    bench.stage(&other);
    let state = bench.acquire(&KeyId::of_queue_state(&q, m1), Some(txn(1)), 1);
    bench.stage(&state);
    // Enough of other keys, so that the record is not in memory any more.
    for number in 0..400 {
        bench.acquire(&key(&format!("k{number}")), None, 3000);
    }
    bench.damaged.insert(lost.clone());
    bench.now += 1500;
    let op = bench.dequeue_op(&q, 60, true, 1);
    assert_eq!(bench.deliveries(op)[0].message, m2, "the next one is served");
    let op = bench.dequeue_op(&q, 600, true, 1);
    let waits = bench.ask(Op::Dequeue(op));
    assert!(bench.take(waits).is_none());
    // It is looked at again when the trouble may be over.
    bench.damaged.clear();
    bench.pass(20_000);
    match bench.take(waits) {
        Some(Reply::Delivered(deliveries)) => assert_eq!(deliveries[0].message, m1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_extend_rests_on_the_state_it_has_seen() {
    let (mut bench, q) = (Bench::new(), queue("q"));
    bench.enqueue(&q, 0);
    let op = bench.dequeue_op(&q, -1, true, 1);
    let delivery = bench.deliveries(op).remove(0);
    let state = delivery.state.as_ref().unwrap();
    bench.slow = true;
    let key = KeyId::of_queue_state(&q, delivery.message);
    bench.ask(Op::Abandon(Abandon { key, lease: state.lease }));
    let asked = bench.ask(Op::Extend(Extend { handle: delivery.handle(), by_seconds: 60 }));
    assert!(bench.take(asked).is_none(), "the end of the state's lease may be lost");
    bench.sync();
    assert!(
        matches!(bench.take(asked), Some(Reply::Refused(refusal)) if refusal.reason == Reason::LeaseRequired)
    );
}

/// Each look at the queue needs the records of all the messages that it passes by, and of their states.
#[test]
fn a_stateful_consumer_passes_by_more_than_fits_into_memory() {
    let mut bench = Bench::with_idle_lanes(1);
    let jobs = queue("jobs");
    for _ in 0..6 {
        let message = bench.enqueue(&jobs, 0);
        bench.acquire(&KeyId::of_queue_state(&jobs, message), None, 60);
    }
    let op = bench.dequeue_op(&jobs, 30, true, 1);
    let waiting = bench.ask(Op::Dequeue(op));
    assert!(bench.take(waiting).is_none());
    let free = bench.enqueue(&jobs, 0);
    let Some(Reply::Delivered(deliveries)) = bench.take(waiting) else { panic!("it is not served") };
    assert_eq!(deliveries[0].message, free);
}
