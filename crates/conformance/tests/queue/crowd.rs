//! Many consumers and many messages.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::http::Connection;
use lockd_conformance::lease::Client;
use lockd_conformance::queue::{consume, enqueue};
use lockd_conformance::server::{Launch, StoreKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::{ms, within};

mod queue_68_cap_on_consumers {
    use super::*;

    fn check(store: StoreKind) {
        let server = Launch::fresh(store).with(&["--queue-max-consumers", "2"]).start();
        let client = server.client();
        let queue = fresh::key("q");
        let one = client.start_dequeue(&queue, json!({}));
        let two = client.start_dequeue(&queue, json!({}));
        let refused = client.try_dequeue(&queue, json!({"wait_seconds": 5})).expect_error(503, "queue_busy");
        refused.expect_no_header("retry-after");
        client.call(consume("subscribe", &queue, json!({"wait_seconds": 5}))).expect_error(503, "queue_busy");
        one.abandon();
        client.await_consumers(&queue, 1);
        let third = client.start_dequeue(&queue, json!({}));
        for payload in ["a", "b"] {
            client.enqueue(&queue, payload);
        }
        assert_eq!(two.join().delivery().payload, b"a");
        assert_eq!(third.join().delivery().payload, b"b");
    }

    #[test]
    fn mem() {
        check(StoreKind::Mem);
    }

    #[test]
    fn disk() {
        check(StoreKind::Disk);
    }
}

/// The number of the checklist is in the slow lane.
#[test]
fn queue_69_one_queue_does_not_slow_another() {
    let slow = std::env::var("LOCKD_SLOW").is_ok_and(|value| value == "1");
    let count = if slow { 50_000 } else { 1_500 };
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let (full, other) = (fresh::key("full"), fresh::key("other"));
    let meta = json!({"queue": full, "delay_seconds": 3600});
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = client.connect();
                for _ in 0..count / 8 {
                    connection.call(&enqueue(&meta, b"x")).unwrap().expect_status(200);
                }
            });
        }
    });
    let _waiters: Vec<_> = (0..10).map(|_| client.start_dequeue(&full, json!({"wait_seconds": 0}))).collect();
    within(ms(0), ms(50), "a delivery on the other queue", || hand_over(&client, &other));
}

fn hand_over(client: &Client, queue: &str) -> Duration {
    let waiter = client.start_dequeue(queue, json!({}));
    client.enqueue(queue, "x");
    let enqueued = Instant::now();
    waiter.join().delivery();
    enqueued.elapsed()
}

mod five_thousand_consumers {
    use super::*;

    const CONSUMERS: usize = 5_000;

    /// Room for the connections of the test; the server it starts inherits it.
    fn raise_the_limit() -> bool {
        let limit = getrlimit(Resource::Nofile);
        let wanted = CONSUMERS as u64 + 1_000;
        if limit.maximum.is_some_and(|maximum| maximum < wanted) {
            println!("SKIPPED: no more than {:?} open files are allowed", limit.maximum);
            return false;
        }
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok()
    }

    fn check(store: StoreKind) {
        if !raise_the_limit() {
            return;
        }
        let server = Launch::fresh(store).with(&["--queue-max-consumers", "6000"]).start();
        let client = server.client();
        let queue = fresh::key("crowd");
        let request = consume("dequeue", &queue, json!({"wait_seconds": 0}));
        let mut crowd: Vec<Connection> = (0..CONSUMERS)
            .map(|_| {
                let mut connection = client.connect();
                connection.send(&request).unwrap();
                connection
            })
            .collect();
        client.await_consumers(&queue, CONSUMERS as i64);
        // A message goes to exactly one of them, and other queues are not held up.
        within(ms(0), ms(250), "a delivery beside the crowd", || hand_over(&client, &fresh::key("beside")));
        const SERVED: usize = 50;
        for n in 0..SERVED {
            client.enqueue(&queue, &n.to_string());
        }
        client.await_consumers(&queue, (CONSUMERS - SERVED) as i64);
        // The rest goes away, and leaves nothing behind.
        let rest = crowd.split_off(CONSUMERS / 2);
        drop(rest);
        drop(crowd);
        client.await_consumers(&queue, 0);
        let id = client.enqueue(&queue, "last");
        let last = client.dequeue_with(&queue, json!({"wait_seconds": 5}));
        assert_eq!(last.id(), id);
        assert_eq!(last.int("attempts"), 1, "no message is lost to those who left");
    }

    #[test]
    fn mem() {
        check(StoreKind::Mem);
    }

    #[test]
    fn disk() {
        check(StoreKind::Disk);
    }
}
