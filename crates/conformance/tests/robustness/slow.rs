//! Clients that send one byte at a time, and bodies that stop half-way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockd_conformance::http::{Request, Trouble};
use lockd_conformance::lease::{Client, acquire_body};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

/// Sends these bytes one a second, then the rest at once, while another client works; returns the slowest answer that
/// the other client saw.
fn drip(
    client: &Client,
    slowly: &[u8],
    rest: &[u8],
    connection: &mut lockd_conformance::http::Connection,
) -> Duration {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let started = Instant::now();
                let lease = client.acquire(&fresh::key("other"));
                client.call(lease.update("[1]")).expect_status(200);
                client.call(lease.release()).expect_status(200);
                slowest = slowest.max(started.elapsed());
                std::thread::sleep(Duration::from_millis(20));
            }
            slowest
        });
        for byte in slowly {
            connection.send_raw(&[*byte]).expect("the server must not cut off a slow client within seconds");
            std::thread::sleep(Duration::from_secs(1));
        }
        let _ = connection.send_raw(rest);
        done.store(true, Ordering::Relaxed);
        other.join().unwrap()
    })
}

on_every_store!(a_slow_head_disturbs_nobody, |client| {
    let mut connection = client.connect();
    let request = Request::post("/v1/acquire").json(&acquire_body(&fresh::key("slow")));
    let mut bytes = request.head("localhost");
    bytes.extend_from_slice(&request.framed_body());
    let slowest = drip(client, &bytes[..4], &bytes[4..], &mut connection);
    connection.read_response(false).unwrap().lease();
    assert!(slowest < Duration::from_secs(2), "another client waited {slowest:?}");
});

on_every_store!(a_slow_body_disturbs_nobody, |client| {
    let lease = client.acquire(&fresh::key("slow"));
    let request = lease.update("[1,2,3]");
    let mut connection = client.connect();
    connection.send_head(&request).unwrap();
    let slowest = drip(client, b"[1,2", b",3]", &mut connection);
    connection.read_response(false).unwrap().expect_status(200);
    client.call(lease.get()).expect_text("[1,2,3]");
    assert!(slowest < Duration::from_secs(2), "another client waited {slowest:?}");
});

on_every_store!(a_body_that_stops_stages_nothing, |client| {
    let lease = client.acquire(&fresh::key("half"));
    client.call(lease.update("[1]")).expect_status(200);
    client.call(lease.upload("a", "first")).expect_status(200);
    let document = format!("[\"{}\"]", "x".repeat(100_000));
    let requests = [
        lease.update(document.clone()),
        lease.update(document.clone()).chunked(1000),
        lease.upload("a", document.clone()),
        lease.upload("a", document.clone()).chunked(1000),
        lease.upload("b", document).chunked(1000),
    ];
    for request in &requests {
        for half_close in [false, true] {
            let mut connection = client.connect();
            connection.send_head(request).unwrap();
            let body = request.framed_body();
            connection.send_raw(&body[..body.len() / 2]).unwrap();
            if half_close {
                // The rest cannot come any more: an error, or no answer at all.
                connection.finish_sending().unwrap();
                match connection.read_response(false) {
                    Ok(answer) => assert!(answer.status >= 400, "{request}: {answer}"),
                    Err(Trouble::NoAnswer | Trouble::Io(_)) => {}
                    Err(trouble) => panic!("{request}: {trouble}"),
                }
            }
        }
    }
    client.call(lease.get()).expect_status(200).expect_text("[1]");
    client.call(lease.download("a")).expect_status(200).expect_text("first");
    client.call(lease.release()).expect_status(200);
    let list = client.call(lease.public_list()).expect_status(200).object();
    assert_eq!(list["attachments"].as_array().unwrap().len(), 1, "{list:?}");
    client.public_get(&lease.key).expect_text("[1]");
});

on_every_store!(half_an_acquire_acquires_nothing, |client| {
    let key = fresh::key("half");
    let request = Request::post("/v1/acquire").json(&acquire_body(&key));
    let mut connection = client.connect();
    connection.send_head(&request).unwrap();
    let body = request.framed_body();
    connection.send_raw(&body[..body.len() - 1]).unwrap();
    drop(connection);
    client.try_acquire(&key, json!({"if_not_exists": true})).expect_status(200);
});
