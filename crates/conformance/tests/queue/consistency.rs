//! Many producers and consumers of one queue: every message is acknowledged once, and no lease is granted twice.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockd_conformance::http::Connection;
use lockd_conformance::queue::{consume, enqueue};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

const PRODUCERS: usize = 4;
const CONSUMERS: usize = 8;
const EACH: usize = 50;

on_every_store!(every_message_once, |client| {
    let queue = fresh::key("q");
    let (enqueued, acked) = (Mutex::new(HashSet::new()), Mutex::new(HashSet::new()));
    let leases = Mutex::new(HashSet::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                let mut connection = Connection::open(&client.address).unwrap();
                for _ in 0..EACH {
                    let answer = connection.call(&enqueue(&json!({"queue": queue}), b"x")).unwrap();
                    assert!(enqueued.lock().unwrap().insert(answer.expect_status(200).string("message_id")));
                }
            });
        }
        for _ in 0..CONSUMERS {
            scope.spawn(|| {
                let mut connection = Connection::open(&client.address).unwrap();
                while acked.lock().unwrap().len() < PRODUCERS * EACH {
                    assert!(Instant::now() < deadline, "not everything is acknowledged within a minute");
                    let changes = json!({"wait_seconds": 1, "page_size": fastrand::u8(1..6)});
                    let answer = connection.call(&consume("dequeue", &queue, changes)).unwrap();
                    if answer.status == 409 {
                        answer.expect_error(409, "waiting");
                        continue;
                    }
                    for delivery in answer.deliveries() {
                        let grant = (delivery.id(), delivery.int("fencing_token"));
                        assert!(leases.lock().unwrap().insert(grant.clone()), "{grant:?} was granted twice");
                        let defer = json!({"intent": "defer"});
                        let give_back = fastrand::bool();
                        let request = if give_back { delivery.nack(defer) } else { delivery.ack() };
                        connection.call(&request).unwrap().expect_status(200);
                        if !give_back {
                            assert!(acked.lock().unwrap().insert(grant.0), "acknowledged twice");
                        }
                    }
                }
            });
        }
    });
    assert_eq!(*enqueued.lock().unwrap(), *acked.lock().unwrap());
    client.expect_empty(&queue);
});
