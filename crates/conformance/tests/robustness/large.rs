//! Large bodies pass through in bounded memory, and a body that cannot be completed is cut, not finished.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::http::Request;
use lockd_conformance::lease::{Client, Lease};
use lockd_conformance::server::{Launch, Server, StoreKind};
use lockd_conformance::slow_lane;

use crate::alone;

const MIB: usize = 1 << 20;
/// How much more memory the server may use for one large body.
const ALLOWANCE_KIB: u64 = 64 * 1024;

/// Sends a body of this many bytes piece by piece; `piece` yields the bytes at an offset.
fn upload(client: &Client, request: &Request, length: usize, piece: impl Fn(usize, &mut Vec<u8>)) {
    let mut connection = client.connect();
    let head = String::from_utf8(request.head("localhost")).unwrap();
    let head = head.strip_suffix("\r\n").unwrap();
    connection.send_raw(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let mut sent = 0;
    while sent < length {
        bytes.clear();
        piece(sent, &mut bytes);
        bytes.truncate(length - sent);
        connection.send_raw(&bytes).unwrap();
        sent += bytes.len();
    }
    connection.read_response(false).unwrap().expect_status(200);
}

/// Reads a body of this many bytes and checks it against what `piece` yields.
fn check_download(client: &Client, request: &Request, length: usize, piece: impl Fn(usize, &mut Vec<u8>)) {
    let mut connection = client.connect();
    connection.send(request).unwrap();
    let head = connection.read_head().unwrap().expect_status(200);
    if let Some(announced) = head.header("content-length") {
        assert_eq!(announced, length.to_string());
    }
    let mut expected = Vec::new();
    let mut got = vec![0; MIB];
    let (mut read, mut place) = (0, 0);
    while read < length {
        let ready = connection.read_some(&mut got).unwrap();
        assert!(ready > 0, "the body ended after {read} of {length} bytes");
        let mut fresh = &got[..ready];
        while !fresh.is_empty() {
            if place == expected.len() {
                expected.clear();
                piece(read, &mut expected);
                place = 0;
            }
            let part = fresh.len().min(expected.len() - place);
            assert!(
                fresh[..part] == expected[place..place + part],
                "the body differs within {part} bytes of {read}"
            );
            fresh = &fresh[part..];
            place += part;
            read += part;
        }
    }
}

/// A mebibyte that depends on where it is.
fn pattern(offset: usize, bytes: &mut Vec<u8>) {
    let index = (offset / MIB) as u64;
    let mut random = fastrand::Rng::with_seed(index);
    bytes.resize(MIB, 0);
    random.fill(bytes);
}

/// A document of `length` bytes: one long string of letters.
fn document(length: usize) -> impl Fn(usize, &mut Vec<u8>) {
    move |offset, bytes| {
        bytes.extend((0..MIB).map(|n| b'a' + (n % 26) as u8));
        if offset == 0 {
            bytes[0] = b'"';
        }
        if offset + MIB >= length {
            bytes[length - offset - 1] = b'"';
        }
    }
}

fn large_bodies(attachment: usize, state: usize) {
    let _turn = alone();
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    // Touches everything once, so that what follows measures the body.
    let key = client.committed("warm", "[1]");
    let lease = client.acquire_with(&key, serde_json::json!({"ttl_seconds": 1000}));
    client.call(lease.upload("small", vec![1; MIB])).expect_status(200);
    let before = server.memory_kib("VmRSS");

    timed("upload", attachment, || {
        upload(
            &client,
            &lease.prove(Request::post("/v1/attachments")).query("name", "large"),
            attachment,
            pattern,
        );
    });
    timed("update", state, || {
        upload(&client, &lease.prove(Request::post("/v1/update")), state, document(state));
    });
    client.call(lease.release()).expect_status(200);
    timed("download", attachment, || {
        check_download(&client, &lease.public_download("large"), attachment, pattern);
    });
    timed("get", state, || {
        check_download(&client, &lease.public_get(), state, document(state));
    });
    if let (Some(before), Some(peak)) = (before, server.memory_kib("VmHWM")) {
        println!("resident memory before {before} KiB, peak {peak} KiB");
        assert!(peak < before + ALLOWANCE_KIB, "the peak is {} KiB above the start", peak - before);
    }
}

fn timed(what: &str, length: usize, work: impl FnOnce()) {
    let started = Instant::now();
    work();
    let speed = length as f64 / MIB as f64 / started.elapsed().as_secs_f64();
    println!("{what} of {} MiB: {speed:.0} MiB/s", length / MIB);
}

#[test]
fn bodies_larger_than_the_memory_allowance() {
    large_bodies(160 * MIB, 80 * MIB);
}

#[test]
fn slow_lane_bodies_of_the_largest_sizes() {
    if slow_lane("slow_lane_bodies_of_the_largest_sizes") {
        large_bodies(1024 * MIB, 100 * MIB);
    }
}

/// [F-21]: a body that cannot be read to its end is cut off; nothing is appended to it.
#[test]
fn a_body_that_cannot_be_completed_is_cut() {
    let _turn = alone();
    // No other file of a store is likely to have this size.
    let length = 61 * MIB;
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let lease = client.acquire(&fresh::key("cut"));
    upload(&client, &lease.prove(Request::post("/v1/attachments")).query("name", "large"), length, pattern);
    client.call(lease.release()).expect_status(200);

    let mut connection = client.connect();
    connection.set_patience(Duration::from_secs(30)).unwrap();
    connection.send(&lease.public_download("large")).unwrap();
    connection.read_head().unwrap().expect_status(200);
    // The rest of the payload disappears while it is being sent.
    let payload = payload_file(&server, length);
    std::fs::OpenOptions::new().write(true).open(&payload).unwrap().set_len(16 * MIB as u64).unwrap();

    let mut got = Vec::new();
    let mut chunk = vec![0; MIB];
    while let Ok(read) = connection.read_some(&mut chunk) {
        if read == 0 {
            break;
        }
        got.extend_from_slice(&chunk[..read]);
    }
    assert!(got.len() < length, "the payload was served from somewhere else than {}", payload.display());
    let mut expected = Vec::new();
    for offset in (0..got.len()).step_by(MIB) {
        pattern(offset, &mut expected);
        let end = got.len().min(offset + MIB);
        assert!(got[offset..end] == expected[..end - offset], "not the payload at {offset} of {}", got.len());
    }
    client.call(Request::get("/healthz")).expect_status(200);
    still_works(&client, &lease);
}

fn still_works(client: &Client, lease: &Lease) {
    let next = client.acquire(&lease.key);
    client.call(next.update("[1]")).expect_status(200);
    client.call(next.release()).expect_status(200);
}

/// The one file of the store that is as large as the payload.
fn payload_file(server: &Server, length: usize) -> PathBuf {
    let mut found = Vec::new();
    walk(&server.store().path().unwrap(), &mut |path, size| {
        if size >= length as u64 && size < (length + MIB) as u64 {
            found.push((path.to_owned(), modified(path)));
        }
    });
    found.sort_by_key(|(_, modified)| *modified);
    found.pop().expect("a file with the payload").0
}

fn modified(path: &Path) -> std::time::SystemTime {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(std::time::UNIX_EPOCH)
}

fn walk(directory: &Path, visit: &mut impl FnMut(&Path, u64)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path(), metadata.len());
        }
    }
}
