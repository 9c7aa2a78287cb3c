//! Readers while a writer commits: every answer is one consistent version, and versions never go back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockd_conformance::digest::sha256_hex;
use lockd_conformance::http::Request;
use lockd_conformance::lease::Client;
use lockd_conformance::{fresh, on_every_store};

const TIME: Duration = Duration::from_secs(3);

/// A payload whose every byte depends on its round; some are small, some larger than what fits beside a record.
fn payload(round: u64) -> String {
    let size = [10, 3_000, 40_000, 500_000][(round % 4) as usize];
    format!("\"{round}:{}\"", char::from(b'a' + (round % 26) as u8).to_string().repeat(size))
}

fn read_until(done: &AtomicBool, mut read: impl FnMut()) {
    while !done.load(Ordering::Relaxed) {
        read();
    }
}

/// Commits document and attachment of one key again and again; returns how often.
fn write(client: &Client, key: &str, done: &AtomicBool) -> u64 {
    let started = Instant::now();
    let mut round = 0;
    while started.elapsed() < TIME {
        round += 1;
        let lease = client.acquire(key);
        client.call(lease.update(payload(round))).expect_status(200);
        client.call(lease.upload("a", payload(round))).expect_status(200);
        client.call(lease.release()).expect_status(200);
        // What was acknowledged is what the next reader sees.
        client.public_get(key).expect_status(200).expect_text(&payload(round));
    }
    done.store(true, Ordering::Relaxed);
    round
}

on_every_store!(readers_see_whole_versions_in_order, |client| {
    let key = fresh::key("snapshot");
    let done = AtomicBool::new(false);
    let get = Request::get("/v1/get").query("key", &key).query("public", "1");
    let download = Request::get("/v1/attachment").query("key", &key).query("name", "a").query("public", "1");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                read_until(&done, || {
                    let answer = client.call(get.clone());
                    if answer.status == 204 {
                        assert_eq!(last, 0, "the state disappeared");
                        return;
                    }
                    let answer = answer.expect_status(200);
                    assert_eq!(
                        answer.header("etag"),
                        Some(sha256_hex(&answer.body).as_str()),
                        "body and ETag differ"
                    );
                    let version: u64 = answer.header("x-key-version").unwrap().parse().unwrap();
                    assert!(version >= last, "version {version} after {last}");
                    last = version;
                    // The writer makes one version a round.
                    assert!(answer.body == payload(version).as_bytes(), "version {version} has another body");
                });
            });
            scope.spawn(|| {
                read_until(&done, || {
                    let answer = client.call(download.clone());
                    if answer.status == 404 {
                        return;
                    }
                    let answer = answer.expect_status(200);
                    let digest = sha256_hex(&answer.body);
                    assert_eq!(
                        answer.header("x-attachment-sha256"),
                        Some(digest.as_str()),
                        "bytes and digest differ"
                    );
                });
            });
        }
        let rounds = write(client, &key, &done);
        println!("{rounds} commits were read while they happened");
        assert!(rounds > 3);
    });
});
