//! `kill -9` while messages come and go: what was acknowledged to a producer is delivered, and what was acknowledged
//! to a consumer is not delivered again.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockd_conformance::digest;
use lockd_conformance::fresh;
use lockd_conformance::http::{Connection, Trouble};
use lockd_conformance::lease::Client;
use lockd_conformance::queue::{consume, enqueue};
use lockd_conformance::server::{Launch, StoreKind};
use rustix::process::Signal;
use serde_json::json;

/// What the clients know.
#[derive(Default)]
struct Books {
    /// Message id and digest of its payload, of every enqueue that was answered.
    enqueued: Mutex<HashMap<String, String>>,
    acked: Mutex<HashSet<String>>,
    /// Acknowledgements that were sent and not answered: either outcome is right.
    doubtful: Mutex<HashSet<String>>,
}

fn produce(client: &Client, queue: &str, books: &Books, stop: &AtomicBool) -> Result<(), Trouble> {
    let mut connection = Connection::open(&client.address)?;
    while !stop.load(Ordering::Relaxed) {
        // Both kinds of payloads: those beside their record and those on their own.
        let size = if fastrand::u8(..) < 40 { 300_000 } else { 40 };
        let payload = vec![fastrand::alphanumeric() as u8; size];
        let answer = connection.call(&enqueue(&json!({"queue": queue}), &payload))?;
        let id = answer.expect_status(200).string("message_id");
        books.enqueued.lock().unwrap().insert(id, digest::sha256_hex(&payload));
    }
    Ok(())
}

fn work_off(client: &Client, queue: &str, books: &Books, stop: &AtomicBool) -> Result<(), Trouble> {
    let mut connection = Connection::open(&client.address)?;
    while !stop.load(Ordering::Relaxed) {
        let body = json!({"wait_seconds": 1, "visibility_timeout_seconds": 1800});
        let answer = connection.call(&consume("dequeue", queue, body))?;
        if answer.status == 409 {
            continue;
        }
        let delivery = answer.delivery();
        let id = delivery.id();
        assert!(!books.acked.lock().unwrap().contains(&id), "{id} was acknowledged and delivered again");
        match fastrand::u8(..) {
            0..80 => drop(connection.call(&delivery.nack(json!({"intent": "defer"})))?.expect_status(200)),
            // Left leased.
            80..100 => {}
            _ => {
                books.doubtful.lock().unwrap().insert(id.clone());
                connection.call(&delivery.ack())?.expect_status(200);
                books.doubtful.lock().unwrap().remove(&id);
                books.acked.lock().unwrap().insert(id);
            }
        }
    }
    Ok(())
}

#[test]
fn acknowledged_messages_survive_kills() {
    let kills = std::env::var("LOCKD_CRASH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let queue = fresh::key("crash");
    let books = Books::default();
    let mut server = Launch::fresh(StoreKind::Disk).start();
    for _ in 0..kills {
        let client = server.client();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| produce(&client, &queue, &books, &stop)))
                .chain((0..3).map(|_| scope.spawn(|| work_off(&client, &queue, &books, &stop))))
                .collect();
            std::thread::sleep(Duration::from_millis(fastrand::u64(50..700)));
            server.signal(Signal::KILL);
            server.wait_for_exit(Duration::from_secs(10));
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                // An error is the kill; a panic is a wrong answer.
                let _ = worker.join().unwrap();
            }
        });
        server = server.kill_and_restart();
    }
    audit(&server.client(), &queue, &books);
    server.stop();
}

/// Everything that is left must be there, be whole, and not be acknowledged. Leases that were open at a kill are
/// long, so the messages under them are found by describing their keys instead of by waiting.
fn audit(client: &Client, queue: &str, books: &Books) {
    let (enqueued, acked) = (books.enqueued.lock().unwrap(), books.acked.lock().unwrap());
    let doubtful = books.doubtful.lock().unwrap();
    let mut left: HashSet<&String> = enqueued.keys().filter(|id| !acked.contains(*id)).collect();
    let expected = left.len();
    loop {
        let answer = client.try_dequeue(queue, json!({"page_size": 64, "visibility_timeout_seconds": 1800}));
        if answer.status == 409 {
            break;
        }
        for delivery in answer.deliveries() {
            let id = delivery.id();
            assert!(!acked.contains(&id), "{id} was acknowledged and delivered again");
            // One that is not known here was enqueued without an answer.
            if let Some(sha256) = enqueued.get(&id) {
                assert_eq!(digest::sha256_hex(&delivery.payload), *sha256, "the payload of {id}");
                left.remove(&id);
            }
        }
    }
    left.retain(|id| !doubtful.contains(*id));
    // The rest must be under a lease.
    for id in &left {
        let described = client.describe(&format!("q/{queue}/msg/{id}"));
        assert!(
            described.contains_key("lease_id"),
            "{id} was acknowledged to its producer and is lost: {described:?}"
        );
    }
    println!(
        "{} enqueued, {} acknowledged, {expected} left, {} of them leased",
        enqueued.len(),
        acked.len(),
        left.len()
    );
    assert!(!acked.is_empty() && expected > 0, "the load did nothing");
}
