//! Get and describe: who sees what, and how the parameters are read.

use lockd_conformance::http::Request;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

on_every_store!(http_core_30_staged_then_committed, |client| {
    let key = fresh::key("staged");
    let lease = client.acquire(&key);
    let document = r#"{"n":1}"#;
    let etag = client.call(lease.update(document)).expect_status(200).string("new_state_etag");
    client
        .call(lease.get())
        .expect_status(200)
        .expect_text(document)
        .expect_header("x-key-version", "1")
        .expect_header("x-fencing-token", "1")
        .expect_header("etag", &etag);
    client.public_get(&key).expect_status(204);
    client.call(lease.release()).expect_status(200);
    client
        .public_get(&key)
        .expect_status(200)
        .expect_text(document)
        .expect_header("etag", &etag)
        .expect_header("x-key-version", "1");
});

on_every_store!(http_core_31_public_reads_are_never_dirty, |client| {
    let key = client.committed("dirty", r#"{"v":1}"#);
    let lease = client.acquire(&key);
    client.call(lease.update(r#"{"v":2}"#)).expect_status(200);
    client.public_get(&key).expect_status(200).expect_text(r#"{"v":1}"#).expect_header("x-key-version", "1");
    client.call(lease.get()).expect_status(200).expect_text(r#"{"v":2}"#).expect_header("x-key-version", "2");
});

on_every_store!(http_core_32_staged_metadata_hides_nothing, |client| {
    let key = client.committed("metadata", r#"{"v":1}"#);
    let lease = client.acquire(&key);
    client.call(lease.metadata(r#"{"query_hidden":true}"#)).expect_status(200);
    client.call(lease.get()).expect_status(200).expect_text(r#"{"v":1}"#).expect_header("x-key-version", "1");
    client.public_get(&key).expect_status(200).expect_text(r#"{"v":1}"#);
});

on_every_store!(http_core_50_missing_parameters, |client| {
    client.call(Request::get("/v1/get")).expect_error(400, "missing_params");
    client.call(Request::get("/v1/get").query("key", "  ")).expect_error(400, "missing_params");
    let request = Request::get("/v1/get").query("key", &fresh::key("params")).query("public", "0");
    client.call(request.clone().header("X-Fencing-Token", "1")).expect_error(400, "missing_params");
    client.call(request).expect_error(400, "missing_fencing_token");
});

on_every_store!(http_core_51_a_lease_id_wins_over_public, |client| {
    let lease = client.acquire(&fresh::key("both"));
    client.call(lease.update("[1]")).expect_status(200);
    client.call(lease.get().query("public", "1")).expect_status(200).expect_text("[1]");
    client
        .call(lease.get().query("public", "1").without("X-Lease-ID").header("X-Lease-ID", " "))
        .expect_status(204);
});

on_every_store!(http_core_52_any_method, |client| {
    let key = client.committed("method", "[1]");
    let empty = fresh::key("empty");
    let send = |method: &str, key: &str| {
        client.call(Request::new(method, "/v1/get").query("key", key).query("public", "1"))
    };
    for (key, status) in [(&key, 200), (&empty, 204)] {
        let (get, post) = (send("GET", key).expect_status(status), send("POST", key).expect_status(status));
        assert_eq!(get.body, post.body);
        for name in ["etag", "x-key-version", "content-type"] {
            assert_eq!(get.header(name), post.header(name), "{name}");
        }
    }
    for method in ["GET", "POST"] {
        let answer = send(method, &empty).expect_no_header("etag").expect_no_header("x-key-version");
        assert!(answer.body.is_empty(), "{answer}");
    }
});

on_every_store!(http_core_53_unknown_key, |client| {
    let key = fresh::key("unknown");
    let request = Request::get("/v1/get").query("key", &key);
    let request = request.header("X-Lease-ID", &fresh::xid()).header("X-Fencing-Token", "1");
    client.call(request).expect_error(403, "lease_required");
    client.public_get(&key).expect_status(204);
});

on_every_store!(http_core_54_query_parameters, |client| {
    let (a, b) = (client.committed("first", r#"["a"]"#), client.committed("second", r#"["b"]"#));
    let request = Request::get("/v1/get").query("key", &a).query("key", &b);
    client.call(request.clone().query("public", "1")).expect_status(200).expect_text(r#"["a"]"#);
    for yes in ["YES", "true", " On ", "1"] {
        client.call(request.clone().query("public", yes)).expect_status(200);
    }
    for no in ["2", "", "y", "enabled"] {
        client.call(request.clone().query("public", no)).expect_error(400, "missing_fencing_token");
    }
    client.call(request.query("public", "0").query("public", "1")).expect_error(400, "missing_fencing_token");
});

on_every_store!(http_core_65_describe, |client| {
    let key = fresh::key("describe");
    let unknown = client.describe(&key);
    assert_eq!((&unknown["version"], &unknown["metadata"]), (&json!(0), &json!({})));
    for name in ["owner", "lease_id", "expires_at_unix", "state_etag", "updated_at_unix"] {
        assert!(!unknown.contains_key(name), "{unknown:?}");
    }
    let lease = client.acquire(&key);
    let held = client.describe(&key);
    assert_eq!(held["owner"], "tester");
    assert_eq!(held["lease_id"], json!(lease.lease_id));
    assert_eq!(held["expires_at_unix"], json!(lease.expires_at));
    assert_eq!(
        (&held["namespace"], &held["key"], &held["version"]),
        (&json!("default"), &json!(key), &json!(0))
    );
});
