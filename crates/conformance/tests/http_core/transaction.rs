//! Leases that share a transaction.

use std::time::Duration;

use lockd_conformance::lease::{Client, Lease};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

fn join(client: &Client, label: &str, txn: &str) -> Lease {
    client.acquire_with(&fresh::key(label), json!({"txn_id": txn}))
}

/// Two keys under one transaction, both with a staged state.
fn two_updated(client: &Client) -> (Lease, Lease) {
    let txn = fresh::xid();
    let (a, b) = (join(client, "a", &txn), join(client, "b", &txn));
    client.call(a.update(r#"{"k":"a"}"#)).expect_status(200);
    client.call(b.update(r#"{"k":"b"}"#)).expect_status(200);
    (a, b)
}

on_every_store!(http_core_74_one_release_commits_all, |client| {
    let (a, b) = two_updated(client);
    client.call(a.release()).expect_status(200);
    client.public_get(&a.key).expect_status(200).expect_text(r#"{"k":"a"}"#);
    client.public_get(&b.key).expect_status(200).expect_text(r#"{"k":"b"}"#);
    client.call(b.keepalive(30)).expect_error(403, "lease_required");
    client.call(b.release()).expect_status(200).expect_members(json!({"released": true}));
    assert_eq!(client.acquire(&b.key).version, 1);
});

on_every_store!(http_core_75_one_rollback_undoes_all, |client| {
    let (a, b) = two_updated(client);
    client.call(b.rollback()).expect_status(200);
    for lease in [a, b] {
        client.public_get(&lease.key).expect_status(204);
        assert_eq!(client.acquire(&lease.key).version, 0);
    }
});

on_every_store!(http_core_76_release_of_an_unmodified_participant, |client| {
    let txn = fresh::xid();
    let (a, b) = (join(client, "a", &txn), join(client, "b", &txn));
    client.call(b.update("[1]")).expect_status(200);
    client.call(a.release()).expect_status(200);
    client.acquire(&a.key);
    client.call(b.release()).expect_status(200);
    client.public_get(&b.key).expect_status(200).expect_text("[1]");
});

on_every_store!(http_core_77_keepalive_keeps_the_transaction, |client| {
    let lease = client.acquire_with(&fresh::key("long"), json!({"txn_id": fresh::xid(), "ttl_seconds": 2}));
    client.call(lease.update("[1]")).expect_status(200);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_secs(1));
        client.call(lease.keepalive(2)).expect_status(200);
    }
    client.call(lease.release()).expect_status(200);
    client.public_get(&lease.key).expect_status(200).expect_text("[1]");
});

on_every_store!(http_core_84_a_lost_lease_decides_nothing, |client| {
    let (a, b) = two_updated(client);
    client.call(a.release()).expect_status(200);
    let d = join(client, "d", &a.txn_id);
    client.call(d.update(r#"{"k":"d"}"#)).expect_status(200);
    client.call(b.release()).expect_status(200).expect_members(json!({"released": true}));
    client.public_get(&d.key).expect_status(204);
    client.call(d.get()).expect_status(200).expect_text(r#"{"k":"d"}"#);
    client.call(d.rollback()).expect_status(200);
    client.public_get(&d.key).expect_status(204);
});
