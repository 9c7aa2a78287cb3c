//! Leases that share a transaction, and what their releases do.

use lockd_conformance::http::Request;
use lockd_conformance::lease::{Client, Lease, acquire_body, merged};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

pub(crate) fn join(client: &Client, txn: &str) -> Lease {
    client.acquire_with(&fresh::key("k"), json!({"txn_id": txn}))
}

/// A lease under the transaction with a staged document.
pub(crate) fn staged(client: &Client, txn: &str, document: &str) -> Lease {
    let lease = join(client, txn);
    client.call(lease.update(document)).expect_status(200);
    lease
}

#[track_caller]
pub(crate) fn expect_committed(client: &Client, lease: &Lease, document: &str) {
    client.call(lease.public_get()).expect_status(200).expect_text(document);
}

/// Asserts that nothing was committed and that the key can be leased at once.
#[track_caller]
pub(crate) fn expect_untouched(client: &Client, lease: &Lease) {
    client.call(lease.public_get()).expect_status(204);
    let next = client.acquire_with(&lease.key, json!({"namespace": lease.namespace}));
    assert_eq!(next.version, 0);
}

on_every_store!(txn_01_a_lease_has_a_transaction, |client| {
    let lease = client.acquire(&fresh::key("k"));
    assert!(fresh::is_xid(&lease.txn_id), "{lease:?}");
    client.call(lease.update("[1]")).expect_status(200);
    client.call(lease.release()).expect_status(200);
    // Nobody heard of it.
    let body = json!({"txn_id": lease.txn_id});
    client.call(Request::post("/v1/txn/replay").json(&body)).expect_error(404, "txn_not_found");
});

on_every_store!(txn_02_ids, |client| {
    let key = fresh::key("k");
    client.try_acquire(&key, json!({"txn_id": "not-an-xid"})).expect_error(400, "invalid_txn");
    let (body, header) = (fresh::xid(), fresh::xid());
    let request = Request::post("/v1/acquire")
        .header("X-Txn-ID", &header)
        .json(&merged(acquire_body(&key), json!({"txn_id": body})));
    assert_eq!(client.call(request).lease().txn_id, body);
});

on_every_store!(txn_03_one_release_commits_all, |client| {
    let txn = fresh::xid();
    let (a, b) = (staged(client, &txn, "[1]"), staged(client, &txn, "[2]"));
    client.call(a.release()).expect_status(200).expect_members(json!({"released": true}));
    expect_committed(client, &a, "[1]");
    expect_committed(client, &b, "[2]");
    for lease in [a, b] {
        assert_eq!(client.acquire(&lease.key).version, 1);
    }
});

on_every_store!(txn_04_one_rollback_undoes_all, |client| {
    let txn = fresh::xid();
    let (a, b) = (staged(client, &txn, "[1]"), staged(client, &txn, "[2]"));
    client.call(b.rollback()).expect_status(200);
    expect_untouched(client, &a);
    expect_untouched(client, &b);
});

// Decision 11 withdraws the trap that this line describes: the first key belongs to the transaction as well.
on_every_store!(txn_05_joining_the_id_of_a_first_key, |client| {
    let first = client.acquire(&fresh::key("k"));
    client.call(first.update("[1]")).expect_status(200);
    let second = staged(client, &first.txn_id, "[2]");
    client.call(first.release()).expect_status(200);
    expect_committed(client, &first, "[1]");
    expect_committed(client, &second, "[2]");
});

on_every_store!(txn_06_two_namespaces, |client| {
    for commit in [true, false] {
        let txn = fresh::xid();
        let leases = [fresh::key("ns-a"), fresh::key("ns-b")].map(|namespace| {
            let lease = client.acquire_with("same", json!({"namespace": namespace, "txn_id": txn}));
            client.call(lease.update("[1]")).expect_status(200);
            lease
        });
        client.call(if commit { leases[0].release() } else { leases[0].rollback() }).expect_status(200);
        for lease in &leases {
            if commit {
                expect_committed(client, lease, "[1]");
            } else {
                expect_untouched(client, lease);
            }
        }
    }
});

on_every_store!(txn_07_the_id_must_be_echoed, |client| {
    let lease = join(client, &fresh::xid());
    client.call(lease.update("[1]").without("x-txn-id")).expect_error(400, "missing_txn");
    let other = fresh::xid();
    let foreign = lease.update("[1]").without("x-txn-id").header("X-Txn-ID", &other);
    client.call(foreign).expect_error(409, "txn_mismatch");
    let body = |txn: serde_json::Value| merged(lease.body(), json!({"ttl_seconds": 30, "txn_id": txn}));
    client.call(lease.keepalive_with(body(json!(null)))).expect_error(400, "missing_txn");
    client.call(lease.keepalive_with(body(json!(other)))).expect_error(409, "txn_mismatch");
    client
        .call(lease.release_with(merged(lease.body(), json!({"txn_id": null}))))
        .expect_error(400, "missing_txn");
    client
        .call(lease.release_with(merged(lease.body(), json!({"txn_id": other}))))
        .expect_error(409, "txn_mismatch");
    client.call(lease.keepalive_with(body(json!(lease.txn_id)))).expect_status(200);
});

on_every_store!(txn_09_released_is_released, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    for _ in 0..2 {
        client.call(lease.release()).expect_status(200).expect_members(json!({"released": true}));
    }
    let mut wrong = client.acquire(&lease.key);
    wrong.token += 1;
    client.call(wrong.release()).expect_status(200).expect_members(json!({"released": true}));
    client.try_acquire(&lease.key, json!({})).expect_error(409, "waiting");
});

on_every_store!(txn_11_release_after_a_rollback_elsewhere, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    client.decide(&txn, "rollback", json!([])).expect_status(200);
    client.call(lease.release()).expect_status(200).expect_members(json!({"released": true}));
    expect_untouched(client, &lease);
});

on_every_store!(txn_15_attachments, |client| {
    for commit in [true, false] {
        let txn = fresh::xid();
        let lease = join(client, &txn);
        client.call(lease.upload("a", "bytes")).expect_status(200);
        client.call(lease.public_list()).expect_status(200).expect_members(json!({"attachments": []}));
        assert_ne!(client.call(lease.public_download("a")).status, 200);
        client.decide(&txn, if commit { "commit" } else { "rollback" }, json!([])).expect_status(200);
        let answer = client.call(lease.public_download("a"));
        if commit {
            answer.expect_status(200).expect_text("bytes");
        } else {
            assert_ne!(answer.status, 200, "{answer}");
        }
    }
});

on_every_store!(txn_39_the_public_sees_what_is_committed, |client| {
    let key = client.committed("k", "[1]");
    let lease = client.acquire_with(&key, json!({"txn_id": fresh::xid()}));
    client.call(lease.update("[2]")).expect_status(200);
    client.public_get(&key).expect_status(200).expect_text("[1]").expect_header("x-key-version", "1");
    client.call(lease.get()).expect_status(200).expect_text("[2]");
    client.call(lease.rollback()).expect_status(200);
    client.public_get(&key).expect_status(200).expect_text("[1]");
});
