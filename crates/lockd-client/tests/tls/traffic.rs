//! What goes over TLS once it is there: everything that goes without it.

use std::time::Duration;

use lockd_client::{AcquireOptions, Body, Client, DequeueOptions, EnqueueOptions};
use lockd_conformance::http::Address;
use lockd_conformance::server::{Launch, StoreKind};
use lockd_conformance::tls::{Front, FrontSettings};
use tokio::io::AsyncReadExt as _;

use super::{ask, authority, bundle, client, front, key, plain};

/// A deployment: its only server, and a client of it.
fn deployment() -> (Front, Client) {
    let ca = authority();
    let server = FrontSettings::new(ca.server()).only_clients_of(&ca).before(plain());
    let client = client(&server.url(), bundle(&ca.client()));
    (server, client)
}

#[tokio::test]
async fn a_lease_from_its_beginning_to_its_end() {
    let (_server, client) = deployment();
    let key = key();
    let mut session = client.acquire(&key, &AcquireOptions::new()).await.unwrap();
    session.save(&serde_json::json!({"n": 1})).await.unwrap();
    session.keepalive().await.unwrap();
    session.release().await.unwrap();
    let state = client.read::<serde_json::Value>(&key).await.unwrap().unwrap();
    assert_eq!(state.value, serde_json::json!({"n": 1}));
}

#[tokio::test]
async fn megabytes_go_up_and_come_back() {
    let (_server, client) = deployment();
    let content: Vec<u8> = (0..5u32 << 20).map(|place| (place % 251) as u8).collect();
    let session = client.acquire(&key(), &AcquireOptions::new()).await.unwrap();
    session.attach("streamed", Body::reader(std::io::Cursor::new(content.clone()))).await.unwrap();
    session.attach("whole", content.clone()).await.unwrap();
    for name in ["streamed", "whole"] {
        let mut attachment = session.attachment(name).await.unwrap();
        let mut back = Vec::new();
        attachment.read_to_end(&mut back).await.unwrap();
        assert!(back == content, "{name} came back as {} other bytes", back.len());
    }
    session.rollback().await.unwrap();
}

#[tokio::test]
async fn messages_arrive_as_they_come() {
    let (_server, client) = deployment();
    let queue = client.queue(key());
    let mut subscription = queue.subscribe(DequeueOptions::new());
    for text in ["one", "two"] {
        queue.enqueue(text, &EnqueueOptions::new()).await.unwrap();
        let mut delivery = subscription.next().await.unwrap().unwrap();
        assert_eq!(delivery.payload().bytes().await.unwrap(), text);
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_serves_one_call_after_the_other() {
    let (server, client) = deployment();
    for _ in 0..5 {
        ask(&client).await.unwrap();
    }
    assert_eq!(server.handshakes(), 1);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_taken_back() {
    let (_server, client) = deployment();
    let key = key();
    let held = client.acquire(&key, &AcquireOptions::new()).await.unwrap();
    let waiting = AcquireOptions::new();
    let waiting = client.acquire(&key, &waiting);
    tokio::time::timeout(Duration::from_millis(200), waiting).await.unwrap_err();
    held.release().await.unwrap();
    // Had the server not heard that nobody waits any more, it would have given the key away for half a minute.
    let patient = AcquireOptions::new().wait_at_most(Duration::from_secs(10));
    client.acquire(&key, &patient).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn endpoints_of_all_kinds_stand_side_by_side() {
    let ca = authority();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let local = Launch::fresh(StoreKind::Mem).unix_socket(&socket).start();
    assert!(matches!(local.address(), Address::Unix(_)));
    let (unix, http) = (format!("unix://{}", socket.display()), format!("http://{}", plain()));
    for url in [&unix, &http] {
        // Without TLS nobody looks at a certificate.
        ask(&client(url, bundle(&authority().client()))).await.unwrap();
        ask(&Client::connect(url).unwrap()).await.unwrap();
    }
    let untrusted = front(authority().server());
    for url in [&unix, &http] {
        ask(&client(&format!("{},{url}", untrusted.url()), bundle(&ca.client()))).await.unwrap();
    }
}
