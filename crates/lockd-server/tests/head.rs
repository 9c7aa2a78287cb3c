//! HEAD requests get headers and no body, on both versions of HTTP, and a lease granted to one is given back.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use lockd_server::{Bound, Endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ACQUIRE: &str = r#"{"key":"k","owner":"o"}"#;

async fn connect() -> (TcpStream, std::sync::Arc<lockd_node::Node>) {
    let node = common::node();
    let bound = Bound::bind(&Endpoint::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let port = bound.port();
    common::serve(bound, &node);
    (TcpStream::connect(("127.0.0.1", port)).await.unwrap(), node)
}

/// The undoing of a grant follows the answer; it does not precede it.
async fn no_lease_is_left(node: &lockd_node::Node) {
    let gone = async {
        while node.held_leases() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the lease to be given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_1() {
    let (mut stream, node) = connect().await;
    let length = ACQUIRE.len();
    let head = "Host: x\r\nConnection: close\r\n";
    let request = format!("HEAD /v1/acquire HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{ACQUIRE}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nx-fencing-token: 1\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let length = answer.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(length.parse::<u64>().unwrap() > 100, "{answer}");
    no_lease_is_left(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2() {
    let (stream, node) = connect().await;
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let request = Request::head("http://x/v1/acquire").version(Version::HTTP_2).body(()).unwrap();
    let (answer, mut body) = requests.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(ACQUIRE.as_bytes()), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-fencing-token"]),
        (200, &"1".parse().unwrap())
    );
    assert!(answer.headers()["content-length"].to_str().unwrap().parse::<u64>().unwrap() > 100);
    assert!(answer.into_body().data().await.is_none());
    no_lease_is_left(&node).await;
}
