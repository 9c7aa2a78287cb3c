//! HTTP/2 with prior knowledge on a plaintext listener.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use lockd_conformance::http::Address;
use lockd_conformance::lease::{Client, acquire_body, merged};
use lockd_conformance::{fresh, on_every_store};
use serde_json::{Value, json};

type Sender = SendRequest<Bytes>;

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("done within a minute")
    })
}

async fn connect(client: &Client) -> Sender {
    let Address::Tcp(address) = client.address else { panic!("not a TCP server") };
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.expect("an HTTP/2 handshake");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.ready().await.unwrap()
}

fn request(method: &str, path_and_query: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://localhost{path_and_query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn send(sender: &Sender, request: Request<()>, body: &[u8]) -> Response<Bytes> {
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, mut stream) = sender.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
    }
    let (parts, mut body) = answer.await.expect("an answer").into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("the body");
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    Response::from_parts(parts, bytes.into())
}

async fn json_of(sender: &Sender, request: Request<()>, body: &Value) -> Value {
    let answer = send(sender, request, body.to_string().as_bytes()).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    serde_json::from_slice(answer.body()).unwrap()
}

on_every_store!(the_life_of_a_lease_over_http2, |client| {
    let key = fresh::key("h2");
    run(async {
        let sender = connect(client).await;
        let lease = json_of(&sender, request("POST", "/v1/acquire", &[]), &acquire_body(&key)).await;
        let text = |name: &str| lease[name].as_str().unwrap().to_owned();
        let (lease_id, txn_id) = (text("lease_id"), text("txn_id"));
        let proof = [("x-lease-id", lease_id.as_str()), ("x-txn-id", &txn_id), ("x-fencing-token", "1")];
        let query = format!("?key={key}");
        let document = json!({"text": "x".repeat(100_000)});
        let update = request("POST", &format!("/v1/update{query}"), &proof);
        assert_eq!(json_of(&sender, update, &document).await["new_version"], 1);
        let read = send(&sender, request("GET", &format!("/v1/get{query}"), &proof), b"").await;
        assert_eq!((read.status().as_u16(), read.body().as_ref()), (200, document.to_string().as_bytes()));
        let release = request("POST", "/v1/release", &[("x-fencing-token", "1")]);
        let body = json!({"key": key, "lease_id": lease_id, "txn_id": txn_id});
        assert_eq!(json_of(&sender, release, &body).await["released"], true);
        let refused = send(&sender, request("POST", "/v1/acquire", &[]), b"{").await;
        assert_eq!(refused.status(), 400);
    });
    client.public_get(&key).expect_status(200);
});

on_every_store!(a_reset_stream_leaves_the_line, |client| {
    // As with a closed connection: only a grant at the very moment of the reset may be made and undone.
    let never_granted = (0..3).any(|_| {
        let key = fresh::key("h2");
        let holder = client.acquire(&key);
        run(wait_and_reset(client, &key));
        client.call(holder.release()).expect_status(200);
        client.acquire(&key).token == 2
    });
    assert!(never_granted, "the lease went to a stream that had been reset");
});

async fn wait_and_reset(client: &Client, key: &str) {
    let mut sender = connect(client).await;
    let body = merged(acquire_body(key), json!({"owner": "ghost", "block_seconds": 0})).to_string();
    let (answer, mut stream) = sender.send_request(request("POST", "/v1/acquire", &[]), false).unwrap();
    stream.send_data(body.into(), true).unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(300), answer).await;
    assert!(waiting.is_err(), "answered while it should wait");
    stream.send_reset(h2::Reason::CANCEL);
    drop(stream);
    // A later stream on the same connection is served after the reset was.
    assert_eq!(send(&sender, request("GET", "/healthz", &[]), b"").await.status(), 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
}

on_every_store!(streams_of_one_connection_do_not_block_each_other, |client| {
    let key = fresh::key("h2");
    let holder = client.acquire(&key);
    run(async {
        let sender = connect(client).await;
        let body = merged(acquire_body(&key), json!({"block_seconds": 30}));
        let waiter = {
            let sender = sender.clone();
            tokio::spawn(async move { json_of(&sender, request("POST", "/v1/acquire", &[]), &body).await })
        };
        for _ in 0..50 {
            json_of(&sender, request("POST", "/v1/acquire", &[]), &acquire_body(&fresh::key("h2"))).await;
        }
        assert!(!waiter.is_finished());
        let release = request("POST", "/v1/release", &[("x-fencing-token", "1")]);
        json_of(&sender, release, &holder.body()).await;
        assert_eq!(waiter.await.unwrap()["fencing_token"], 2);
    });
});

on_every_store!(the_queue_over_http2, |client| {
    let queue = fresh::key("h2");
    run(async {
        let sender = connect(client).await;
        let open = async |path: &str, body: Value| {
            let mut sender = sender.clone().ready().await.unwrap();
            let (answer, mut stream) = sender.send_request(request("POST", path, &[]), false).unwrap();
            stream.send_data(Bytes::from(body.to_string()), true).unwrap();
            [answer]
        };
        let named = json!({"queue": queue});
        let [watch] = open("/v1/queue/watch", named.clone()).await;
        let watch = watch.await.expect("an answer");
        assert_eq!(watch.status(), 200);
        assert!(!watch.headers().contains_key("connection"), "HTTP/2 has no such header");
        let mut events = watch.into_body();
        let event = events.data().await.expect("an event").unwrap();
        assert!(event.starts_with(b"id: 1\nevent: queue_watch\n"), "{event:?}");

        // A consumer whose stream is reset does not wait any longer.
        let consume = json!({"queue": queue, "owner": "w", "wait_seconds": 0});
        let [waiting] = open("/v1/queue/dequeue", consume.clone()).await;
        let count = async || json_of(&sender, request("POST", "/v1/queue/stats", &[]), &named).await;
        let reach = async |wanted: i64| {
            while count().await["waiting_consumers"] != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        reach(1).await;
        drop(waiting);
        reach(0).await;

        let [stream] = open("/v1/queue/subscribe", consume).await;
        reach(1).await;
        let id = client.enqueue(&queue, "x");
        let mut body = stream.await.expect("an answer").into_body();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("\r\n\r\nx\r\n--") {
            seen.extend_from_slice(&body.data().await.expect("the stream stays open").unwrap());
        }
        assert!(String::from_utf8_lossy(&seen).contains(&id));
    });
});
