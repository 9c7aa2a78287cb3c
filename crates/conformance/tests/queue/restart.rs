//! A queue after its server was killed and started again.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::queue::SOON;
use lockd_conformance::server::{Launch, StoreKind};
use serde_json::json;

#[test]
fn queue_65_restart() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let (queue, delayed, stateful) = (fresh::key("q"), fresh::key("q"), fresh::key("q"));
    client.enqueue(&queue, "acked");
    client.enqueue(&queue, "nacked");
    client.enqueue(&stateful, "x");
    let (one, two) = (client.dequeue(&queue), client.dequeue(&queue));
    let with_state = client.dequeue_with_state(&stateful, json!({}));
    client.call(with_state.state().update(r#"{"step":1}"#)).expect_status(200);
    let before = Instant::now();
    let due = client.enqueue_with(&delayed, json!({"delay_seconds": 3}), "due");

    let server = server.kill_and_restart();
    let client = server.client();
    let waiter = client.start_dequeue(&delayed, json!({"wait_seconds": 30}));
    client.call(one.ack()).expect_status(200);
    client.call(one.ack()).expect_error(404, "not_found");
    client.call(two.nack(json!({}))).expect_status(200);
    let again = client.dequeue(&queue);
    assert_eq!((again.payload.as_slice(), again.int("attempts")), (&b"nacked"[..], 2));
    client.call(with_state.state().get()).expect_status(200).expect_text(r#"{"step":1}"#);
    client.call(with_state.nack(json!({}))).expect_status(200);
    let state = client.dequeue_with_state(&stateful, json!({})).state();
    client.call(state.get()).expect_status(200).expect_text(r#"{"step":1}"#);
    assert_eq!(waiter.join().delivery().id(), due);
    assert!(before.elapsed() >= Duration::from_secs(3), "{:?} is too early", before.elapsed());
    assert!(before.elapsed() < Duration::from_secs(3) + SOON, "{:?} is too late", before.elapsed());
}
