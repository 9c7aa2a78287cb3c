//! The coordinator's endpoints on a server that belongs to no cluster.

use lockd_conformance::http::Request;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::lease::{expect_committed, staged};

on_every_store!(txn_45_no_cluster, |client| {
    client.call(Request::get("/v1/tc/leader")).expect_error(503, "tc_unavailable");
    for endpoint in ["lease/acquire", "lease/renew", "lease/release"] {
        let request = Request::post(&format!("/v1/tc/{endpoint}")).json(&json!({}));
        client.call(request).expect_error(503, "tc_unavailable");
    }
    for endpoint in ["announce", "leave", "list"] {
        let request = Request::post(&format!("/v1/tc/cluster/{endpoint}")).json(&json!({}));
        client.call(request).expect_error(503, "tc_cluster_unavailable");
    }
    for endpoint in ["register", "unregister", "list"] {
        let request = Request::post(&format!("/v1/tc/rm/{endpoint}")).json(&json!({}));
        client.call(request).expect_error(503, "tc_rm_unavailable");
    }
    client.call(Request::get("/v1/tc/nonsense")).expect_error(404, "not_found");
    // Decisions are local then, and need no term.
    let txn = fresh::xid();
    let lease = staged(client, &txn, "[1]");
    client.decide(&txn, "commit", json!([])).expect_status(200);
    expect_committed(client, &lease, "[1]");
});
