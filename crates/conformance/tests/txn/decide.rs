//! Decisions that are asked for by name.

use lockd_conformance::http::{Request, Response};
use lockd_conformance::lease::{Client, Lease};
use lockd_conformance::{fresh, on_every_store};
use serde_json::{Value, json};

use crate::lease::{expect_committed, expect_untouched, join, staged};

pub(crate) fn participant(lease: &Lease) -> Value {
    json!({"namespace": lease.namespace, "key": lease.key})
}

fn post(client: &Client, endpoint: &str, body: &Value) -> Response {
    client.call(Request::post(&format!("/v1/txn/{endpoint}")).json(body))
}

on_every_store!(txn_16_implicit_and_explicit, |client| {
    let txn = fresh::xid();
    let explicit = staged(client, &txn, "[1]");
    let first = client.acquire(&fresh::key("k"));
    client.call(first.update("[2]")).expect_status(200);
    // An implicit lease has its own id; it is named by that one.
    client.decide(&first.txn_id, "commit", json!([participant(&first)])).expect_status(200);
    client.decide(&txn, "commit", json!([participant(&explicit)])).expect_status(200);
    expect_committed(client, &explicit, "[1]");
    expect_committed(client, &first, "[2]");
    // Both under the id of the implicit one.
    let first = client.acquire(&fresh::key("k"));
    client.call(first.update("[3]")).expect_status(200);
    let second = staged(client, &first.txn_id, "[4]");
    let both = json!([participant(&first), participant(&second)]);
    client.decide(&first.txn_id, "commit", both).expect_status(200);
    expect_committed(client, &first, "[3]");
    expect_committed(client, &second, "[4]");
});

on_every_store!(txn_17_the_same_decision_again, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    for _ in 0..3 {
        client
            .decide(&txn, "commit", json!([participant(&lease)]))
            .expect_status(200)
            .expect_members(json!({"txn_id": txn, "state": "commit"}));
    }
    expect_committed(client, &lease, "[1]");
    assert_eq!(client.acquire(&lease.key).version, 1);
});

on_every_store!(txn_18_the_first_decision_wins, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    client.decide(&txn, "commit", json!([])).expect_status(200);
    client.decide(&txn, "rollback", json!([])).expect_status(200).expect_members(json!({"state": "commit"}));
    expect_committed(client, &lease, "[1]");
    let txn = fresh::xid();
    let with_term = |state: &str, term: u64| {
        post(client, "decide", &json!({"txn_id": txn, "state": state, "tc_term": term}))
    };
    with_term("commit", 3).expect_status(200).expect_members(json!({"state": "commit"}));
    with_term("rollback", 3).expect_error(409, "txn_conflict");
});

on_every_store!(txn_19_terms, |client| {
    let txn = fresh::xid();
    let decide = |term: Value| {
        let body = lockd_conformance::lease::merged(
            json!({"txn_id": txn, "state": "commit"}),
            json!({"tc_term": term}),
        );
        post(client, "decide", &body)
    };
    decide(json!(5)).expect_status(200);
    decide(json!(4)).expect_error(409, "tc_term_stale");
    decide(Value::Null).expect_error(400, "tc_term_required");
    decide(json!(6)).expect_status(200);
});

on_every_store!(txn_20_parameters, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    let request = Request::post("/v1/txn/decide").query("txn_id", &txn).query("state", "commit");
    client.call(request).expect_status(200).expect_members(json!({"txn_id": txn, "state": "commit"}));
    expect_committed(client, &lease, "[1]");
    client.call(Request::post("/v1/txn/replay").query("txn_id", &txn)).expect_error(400, "invalid_body");
});

on_every_store!(txn_21_what_is_wrong_with_a_decision, |client| {
    let txn = fresh::xid();
    let refused = |body: Value, code: &str| {
        post(client, "decide", &body).expect_error(400, code);
    };
    refused(json!({"state": "commit"}), "missing_txn_id");
    refused(json!({"txn_id": "nope", "state": "commit"}), "invalid_txn_id");
    refused(json!({"txn_id": txn, "state": "maybe"}), "invalid_state");
    let with = |namespace: &str, key: &str| json!({"txn_id": txn, "state": "commit", "participants": [{"namespace": namespace, "key": key}]});
    refused(with(".txns", "a"), "invalid_namespace");
    refused(with("", "a"), "invalid_namespace");
    refused(with("default", ""), "invalid_key");
    // The endpoint's own members are looked at before the participants.
    let participants = json!([{"namespace": ".txns", "key": "a"}]);
    refused(json!({"txn_id": txn, "state": "maybe", "participants": participants}), "invalid_state");
    let elsewhere = json!({"txn_id": txn, "target_backend_hash": "x", "participants": participants});
    post(client, "commit", &elsewhere).expect_error(409, "txn_backend_mismatch");
    post(client, "replay", &json!({"txn_id": txn})).expect_error(404, "txn_not_found");
});

on_every_store!(txn_22_namespaces_in_lower_case, |client| {
    let (txn, namespace) = (fresh::xid(), fresh::key("mixed"));
    let lease = client.acquire_with("k", json!({"namespace": namespace, "txn_id": txn}));
    client.call(lease.update("[1]")).expect_status(200);
    let shouted = json!([{"namespace": namespace.to_uppercase(), "key": "k"}]);
    client.decide(&txn, "commit", shouted).expect_status(200);
    expect_committed(client, &lease, "[1]");
});

on_every_store!(txn_23_the_other_endpoint, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    post(client, "commit", &json!({"txn_id": txn, "state": "commit"})).expect_error(409, "txn_pending");
    let unknown = json!({"txn_id": fresh::xid(), "state": "commit"});
    post(client, "commit", &unknown).expect_error(404, "txn_not_found");
    client.call(lease.public_get()).expect_status(204);
    client.call(lease.rollback()).expect_status(200);
});

on_every_store!(txn_24_another_backend, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    let foreign = json!({"txn_id": txn, "state": "commit", "target_backend_hash": "elsewhere"});
    post(client, "commit", &foreign).expect_error(409, "txn_backend_mismatch");
    client.call(lease.rollback()).expect_status(200);
});

on_every_store!(txn_32_pending_stays_pending, |client| {
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    post(client, "replay", &json!({"txn_id": txn}))
        .expect_status(200)
        .expect_members(json!({"state": "pending"}));
    client.call(lease.get()).expect_status(200).expect_text("[1]");
    client.call(lease.release()).expect_status(200);
    expect_committed(client, &lease, "[1]");
    post(client, "replay", &json!({"txn_id": txn}))
        .expect_status(200)
        .expect_members(json!({"state": "commit"}));
});

on_every_store!(txn_71_a_key_that_was_forgotten, |client| {
    let txn = fresh::xid();
    let (lease, forgotten) = (staged(client, &txn, "[1]"), client.acquire(&fresh::key("k")));
    client.call(forgotten.rollback()).expect_status(200);
    client.decide(&txn, "commit", json!([participant(&lease)])).expect_status(200);
    expect_committed(client, &lease, "[1]");
    // An implicit lease keeps its id after the decision about the id.
    let implicit = client.acquire(&fresh::key("k"));
    client.call(implicit.update("[2]")).expect_status(200);
    client
        .decide(&implicit.txn_id, "commit", json!([participant(&join(client, &fresh::xid()))]))
        .expect_status(200);
    client
        .decide(&implicit.txn_id, "commit", json!([participant(&implicit)]))
        .expect_status(200)
        .expect_members(json!({"state": "commit"}));
    expect_committed(client, &implicit, "[2]");
    // And the same for a rollback, asked for as a commit: the first decision wins.
    let implicit = client.acquire(&fresh::key("k"));
    client.call(implicit.update("[3]")).expect_status(200);
    client
        .decide(&implicit.txn_id, "rollback", json!([participant(&join(client, &fresh::xid()))]))
        .expect_status(200);
    client
        .decide(&implicit.txn_id, "commit", json!([participant(&implicit)]))
        .expect_status(200)
        .expect_members(json!({"state": "rollback"}));
    expect_untouched(client, &implicit);
});
