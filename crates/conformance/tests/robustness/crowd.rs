//! Ten thousand clients at once.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::http::{Address, Connection, Request};
use lockd_conformance::lease::{acquire_body, merged};
use lockd_conformance::server::{Launch, Server, StoreKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{alone, connections};

fn tcp(server: &Server) -> std::net::SocketAddr {
    match server.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{} is not a TCP address", path.display()),
    }
}

#[test]
fn ten_thousand_idle_connections() {
    let _turn = alone();
    let count = connections(10_000);
    let server = Launch::fresh(StoreKind::Mem).start();
    let client = server.client();
    client.call(Request::get("/healthz")).expect_status(200);
    let before = server.memory_kib("VmRSS");
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = Connection::open(server.address()).expect("open one more connection");
        connection.call(&Request::get("/healthz")).unwrap().expect_status(200);
        idle.push(connection);
    }
    let after = server.memory_kib("VmRSS");
    if let (Some(before), Some(after)) = (before, after) {
        let each = (after.saturating_sub(before) * 1024) as usize / count;
        println!("{count} idle connections: {before} KiB -> {after} KiB, {each} bytes each");
        assert!(each < 64 * 1024, "{each} bytes of memory for an idle connection");
    }
    // Others are served as if the idle ones were not there.
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let started = Instant::now();
            let lease = client.acquire(&fresh::key("busy"));
            client.call(lease.release()).expect_status(200);
            started.elapsed()
        })
        .collect();
    times.sort();
    println!("acquire and release among them: median {:?}, slowest {:?}", times[100], times[199]);
    assert!(times[100] < Duration::from_millis(100), "median {:?}", times[100]);
    // The idle ones still work.
    for connection in idle.iter_mut().step_by(97) {
        connection.call(&Request::get("/healthz")).unwrap().expect_status(200);
    }
}

/// One client in the line: waits for its grant, reports its token, and releases at once.
async fn take_turn(mut stream: TcpStream, key: String) -> i64 {
    let answer = read_json(&mut stream).await;
    let token = answer["fencing_token"].as_i64().unwrap_or_else(|| panic!("not granted: {answer}"));
    let body = json!({"key": key, "lease_id": answer["lease_id"], "txn_id": answer["txn_id"]});
    let request = Request::post("/v1/release").header("X-Fencing-Token", &token.to_string()).json(&body);
    let mut bytes = request.head("localhost");
    bytes.extend_from_slice(&request.framed_body());
    stream.write_all(&bytes).await.unwrap();
    let answer = read_json(&mut stream).await;
    assert_eq!(answer["released"], true, "{answer}");
    token
}

/// Reads one small answer with a `Content-Length` and returns its body.
async fn read_json(stream: &mut TcpStream) -> Value {
    let mut bytes = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        let read = stream.read(&mut chunk).await.expect("read an answer");
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            })
            .expect("a JSON answer has a Content-Length");
        if body.len() >= length {
            return serde_json::from_str(body).expect("JSON");
        }
    }
}

#[test]
fn ten_thousand_waiters_on_one_key() {
    let _turn = alone();
    let count = connections(10_000);
    let server = Launch::fresh(StoreKind::Mem).start();
    let client = server.client();
    let key = fresh::key("crowd");
    let holder = client.acquire_with(&key, json!({"ttl_seconds": 600}));
    let before = server.memory_kib("VmRSS");
    let address = tcp(&server);
    let request =
        Request::post("/v1/acquire").json(&merged(acquire_body(&key), json!({"block_seconds": 300})));
    let mut bytes = request.head("localhost");
    bytes.extend_from_slice(&request.framed_body());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut waiters = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).await.expect("open one more connection");
            stream.write_all(&bytes).await.unwrap();
            waiters.push(stream);
            if waiters.len() % 500 == 0 {
                // Keeps the order of arrival close to the order of sending.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        if let (Some(before), Some(after)) = (before, server.memory_kib("VmRSS")) {
            let each = (after.saturating_sub(before) * 1024) as usize / count;
            println!("{count} waiters: {before} KiB -> {after} KiB, {each} bytes each");
            assert!(each < 64 * 1024, "{each} bytes of memory for a waiter");
        }
        // Every second one leaves.
        let mut left = 0;
        waiters.retain(|_| {
            left += 1;
            left % 2 == 0
        });
        let started = Instant::now();
        let tasks: Vec<_> =
            waiters.into_iter().map(|stream| tokio::spawn(take_turn(stream, key.clone()))).collect();
        let release = holder.release();
        let served = client.clone();
        tokio::task::spawn_blocking(move || served.call(release).expect_status(200)).await.unwrap();
        let mut tokens = Vec::with_capacity(tasks.len());
        for task in tasks {
            let turn = tokio::time::timeout(Duration::from_secs(60), task);
            tokens.push(turn.await.expect("every waiter gets its turn").expect("a turn"));
        }
        let elapsed = started.elapsed();
        println!("{} grants in turn took {elapsed:?}", tokens.len());

        let mut sorted: Vec<(i64, usize)> = tokens.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0].0 < pair[1].0), "a token was granted twice");
        let furthest =
            sorted.iter().enumerate().map(|(rank, (_, sent))| rank.abs_diff(*sent)).max().unwrap_or(0);
        println!("furthest displacement from the order of sending: {furthest} places");
        assert!(furthest <= 500, "granted {furthest} places out of order");
    });
    // Nobody holds it now, not even one of those who left.
    client.acquire(&key);
}
