//! Metadata of a key.

use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

on_every_store!(http_core_58_metadata_alone_keeps_the_version, |client| {
    let key = fresh::key("hidden");
    let lease = client.acquire(&key);
    client
        .call(lease.metadata(r#"{"query_hidden":true}"#))
        .expect_status(200)
        .expect_members(
            json!({"version": 1, "metadata": {"query_hidden": true}, "key": key, "namespace": "default"}),
        )
        .expect_header("x-key-version", "1");
    client.call(lease.release()).expect_status(200);
    let described = client.describe(&key);
    assert_eq!(described["version"], 0);
    assert_eq!(described["metadata"], json!({"query_hidden": true}));
});

on_every_store!(http_core_59_header_and_body, |client| {
    let lease = client.acquire(&fresh::key("hidden"));
    client.call(lease.metadata("")).expect_error(400, "invalid_metadata");
    client.call(lease.metadata(r#"{"query_hidden":null}"#)).expect_error(400, "invalid_metadata");
    client
        .call(lease.metadata(r#"{"query_hidden":true}"#).header("X-Lockd-Meta-Query-Hidden", "false"))
        .expect_status(200)
        .expect_members(json!({"metadata": {}}));
    for value in ["yes", "2", "tRUE"] {
        let request = lease.metadata("").header("X-Lockd-Meta-Query-Hidden", value);
        client.call(request).expect_error(400, "invalid_metadata");
    }
    client
        .call(lease.metadata("").header("X-Lockd-Meta-Query-Hidden", "t"))
        .expect_status(200)
        .expect_members(json!({"metadata": {"query_hidden": true}}));
});

on_every_store!(http_core_60_body_is_strict_and_small, |client| {
    let lease = client.acquire(&fresh::key("hidden"));
    let long = format!(r#"{{"query_hidden":true{}}}"#, " ".repeat(5000));
    for body in [r#"{"query_hidden":true,"more":1}"#, r#"{"query_hidden":"yes"}"#, &long, "[]"] {
        client.call(lease.metadata(body)).expect_error(400, "invalid_metadata");
    }
});
