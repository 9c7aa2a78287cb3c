//! Callers that go away: whatever the moment, they leave no lease, no waiter and no slot behind.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lockd_core::Limits;
use lockd_core::op::{Acquire, Claim, Release, TxnClaim};
use lockd_node::{Node, NodeSettings};
use lockd_wire::{KeyId, KeyName, Namespace};

const LONG_MS: u64 = 600_000;

fn node(url: &str) -> Arc<Node> {
    let store = lockd_store::open(url, lockd_store::Options::default()).unwrap();
    let limits = Limits { default_ttl_ms: LONG_MS, max_ttl_ms: LONG_MS, acquire_block_ms: LONG_MS };
    // So few idle lanes that records have to be loaded again and again.
    Arc::new(
        Node::start(
            store.engine,
            store.blobs,
            NodeSettings { limits, idle_lanes: 2, idle_queues: 2, txn_retention_ms: 60_000 },
        )
        .unwrap(),
    )
}

fn acquire(node: &Node, key: &KeyId) -> Acquire {
    Acquire {
        key: key.clone(),
        owner: "somebody".to_owned(),
        ttl_seconds: 0,
        block_seconds: 0,
        if_not_exists: false,
        txn: None,
        lease: node.mint_lease(),
        own_txn: node.mint_txn(),
    }
}

/// Polls at most so many times; `None` if that was not enough.
async fn patient<T>(rounds: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..rounds {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(value) = polled {
            return Some(value);
        }
        tokio::task::yield_now().await;
    }
    None
}

async fn come_and_go(node: Arc<Node>, keys: Arc<Vec<KeyId>>, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let key = &keys[dice.usize(..keys.len())];
        let granted = patient(dice.usize(0..40), node.acquire(acquire(&node, key))).await;
        if let Some(granted) = granted {
            let granted = granted.unwrap();
            if dice.bool() {
                // As a connection does that cannot send the answer.
                node.abandon(granted.key, granted.lease);
                continue;
            }
            let claim = Claim {
                lease: Some(granted.lease),
                token: granted.token.try_into().unwrap(),
                txn: TxnClaim::Is(Some(granted.txn)),
            };
            // A release that nobody waits for any longer is carried out all the same.
            patient(dice.usize(1..40), node.release(Release { key: granted.key, claim, rollback: false }))
                .await;
        }
    }
}

async fn nothing_is_left(url: &str) {
    let node = node(url);
    let namespace = Namespace::parse("n").unwrap();
    let key = |n| KeyId::new(&namespace, &KeyName::parse(&format!("k{n}")).unwrap());
    let keys: Arc<Vec<KeyId>> = Arc::new((0..5).map(key).collect());
    let crowd: Vec<_> =
        (0..32).map(|seed| tokio::spawn(come_and_go(node.clone(), keys.clone(), seed))).collect();
    for somebody in crowd {
        somebody.await.unwrap();
    }
    let calm = async {
        loop {
            let footprint = node.footprint();
            if (footprint.held_leases, footprint.waiters, footprint.unanswered, footprint.loading)
                == (0, 0, 0, 0)
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), calm).await;
    ended.unwrap_or_else(|_| panic!("something is left: {:?}", node.footprint()));
    node.close().unwrap();
}

/// A waiter that goes away leaves the line at once, not when its turn comes.
#[tokio::test]
async fn from_the_line_of_waiters() {
    let node = node("mem://");
    let key = KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse("k").unwrap());
    node.acquire(acquire(&node, &key)).await.unwrap();
    let mut waiting = Box::pin(node.acquire(acquire(&node, &key)));
    let polled = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    assert_eq!(node.footprint().waiters, 1);
    drop(waiting);
    assert_eq!((node.footprint().waiters, node.held_leases()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_a_node_in_memory() {
    nothing_is_left("mem://").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_a_node_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    nothing_is_left(&format!("disk://{}?sync=never", directory.path().display())).await;
}
