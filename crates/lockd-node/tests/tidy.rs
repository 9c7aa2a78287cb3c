//! One round of housekeeping removes every message whose time to live is over, however many others are in its way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::ops::Bound;
use std::time::Duration;

use lockd_core::records::mortal;
use lockd_core::{Limits, Moment};
use lockd_node::{NewMessage, Node, NodeSettings};
use lockd_store::Direction;
use lockd_wire::{Namespace, QueueId, QueueName};

const LONG_MS: u64 = 600_000;

fn mortals(node: &Node) -> usize {
    let (start, end) = mortal::range_until(Moment(u64::MAX - 1));
    let range = (Bound::Included(&*start), Bound::Excluded(&*end));
    node.snapshot().scan(range, Direction::Forward, usize::MAX).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_round_removes_all_that_are_dead() {
    let store = lockd_store::open("mem://", lockd_store::Options::default()).unwrap();
    let limits = Limits { default_ttl_ms: LONG_MS, max_ttl_ms: LONG_MS, acquire_block_ms: LONG_MS };
    let settings = NodeSettings { limits, idle_lanes: 64, idle_queues: 2, txn_retention_ms: LONG_MS };
    let node = Node::start(store.engine, store.blobs, settings).unwrap();
    let queue = QueueId::new(&Namespace::parse("n").unwrap(), &QueueName::parse("q").unwrap());
    let mut last = Moment(0);
    for _ in 0..600 {
        let message = NewMessage {
            queue: queue.clone(),
            correlation: "c".to_owned(),
            content_type: "text/plain".to_owned(),
            attributes: None,
            delay_seconds: 0,
            visibility_seconds: 0,
            ttl_seconds: 1,
            max_attempts: 0,
        };
        let payload = node.intake().finish().await.unwrap();
        last = node.enqueue(message, payload).await.unwrap().visible_at;
    }
    while node.now() <= last.after_full(1000) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.tidy_up().await.unwrap();
    assert_eq!(mortals(&node), 0);
}
