//! Update: what is a document, how it is stored, and the conditions on it.

use lockd_conformance::digest::sha256_hex;
use lockd_conformance::lease::Client;
use lockd_conformance::server::{Launch, StoreKind};
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

on_every_store!(http_core_33_compaction_changes_nothing_but_blanks, |client| {
    let key = fresh::key("compact");
    let lease = client.acquire(&key);
    let stored = r#"{"a":1.0,"a":2,"s":"x y\u2028"}"#;
    client
        .call(lease.update(r#"{ "a" : 1.0 , "a":2, "s":"x y\u2028" }"#))
        .expect_status(200)
        .expect_members(json!({"bytes": stored.len(), "new_version": 1}));
    client.call(lease.get()).expect_status(200).expect_text(stored);
    client.call(lease.release()).expect_status(200);
    client.public_get(&key).expect_status(200).expect_text(stored);
});

on_every_store!(http_core_34_any_value_but_only_one, |client| {
    let lease = client.acquire(&fresh::key("values"));
    for document in ["[1]", "\"text\"", "1e400", "null", "true", " {} "] {
        client.call(lease.update(document)).expect_status(200);
        client.call(lease.get()).expect_status(200).expect_text(document.trim());
    }
    for document in ["{", r#"{"a":01}"#, "1 2", "", " ", "[1,]", "NaN", "\u{feff}{}", "'a'", "[\"\u{1}\"]"] {
        client.call(lease.update(document)).expect_error(400, "invalid_body");
    }
    client.call(lease.get()).expect_status(200).expect_text("{}");
});

on_every_store!(http_core_35_the_body_is_checked_before_the_lease, |client| {
    let mut lease = client.acquire(&fresh::key("order"));
    lease.lease_id = fresh::xid();
    client.call(lease.update("{")).expect_error(400, "invalid_body");
    client.call(lease.update("{}")).expect_error(403, "lease_required");
});

mod http_core_36_size_limit {
    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn check(store: StoreKind) {
        let server = Launch::fresh(store).with(&["--json-max", "64KiB"]).start();
        let client = server.client();
        let lease = client.acquire(&fresh::key("limit"));
        // Blanks count: the limit is on the submitted bytes.
        let document = |length: usize| format!("[{}]", " ".repeat(length - 2));
        client.call(lease.update(document(LIMIT))).expect_status(200).expect_members(json!({"bytes": 2}));
        client.call(lease.update(document(LIMIT)).chunked(1000)).expect_status(200);
        client.call(lease.update(document(LIMIT + 1))).expect_error(400, "invalid_body");
        client.call(lease.update(document(LIMIT + 1)).chunked(1000)).expect_error(400, "invalid_body");
        let text = format!("\"{}\"", "x".repeat(LIMIT - 2));
        client.call(lease.update(text.clone())).expect_status(200).expect_members(json!({"bytes": LIMIT}));
        client.call(lease.update(document(20 * LIMIT))).expect_error(400, "invalid_body");
        client.call(lease.get()).expect_status(200).expect_text(&text);
    }

    #[test]
    fn mem() {
        check(StoreKind::Mem);
    }

    #[test]
    fn disk() {
        check(StoreKind::Disk);
    }
}

on_every_store!(http_core_37_deep_nesting, |client| {
    let lease = client.acquire(&fresh::key("deep"));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    client.call(lease.update(nested(5000))).expect_status(200);
    client.call(lease.update(nested(10_000))).expect_status(200);
    client.call(lease.get()).expect_status(200).expect_text(&nested(10_000));
    let answer = client.call(lease.update(nested(1_000_000)));
    assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
    client.call(lease.update("1")).expect_status(200);
});

on_every_store!(http_core_38_one_lease_is_one_version, |client| {
    let key = fresh::key("versions");
    let lease = client.acquire(&key);
    for document in ["1", "2", "3"] {
        client
            .call(lease.update(document))
            .expect_status(200)
            .expect_members(json!({"new_version": 1}))
            .expect_header("x-key-version", "1");
    }
    client.call(lease.release()).expect_status(200);
    client.public_get(&key).expect_text("3").expect_header("x-key-version", "1");
});

on_every_store!(http_core_39_if_version_sees_the_staged_state, |client| {
    let lease = client.acquire(&fresh::key("cas"));
    let update = |version: &str| lease.update("[2]").header("X-If-Version", version);
    client.call(update("0")).expect_status(200);
    client
        .call(update("0"))
        .expect_error(409, "version_conflict")
        .expect_members(json!({"current_version": 1}));
    client.call(update("1")).expect_status(200);
});

on_every_store!(http_core_40_if_etag, |client| {
    let key = client.committed("cas", "[1]");
    let lease = client.acquire(&key);
    let etag = client.public_get(&key).header("etag").unwrap().to_owned();
    let update = |etag: &str| lease.update("[2]").header("X-If-State-ETag", etag);
    client
        .call(update("stale"))
        .expect_error(409, "etag_mismatch")
        .expect_members(json!({"current_version": 1, "current_etag": etag}));
    client.call(update(&format!("\"{etag}\""))).expect_status(200);
    client.call(update(&etag)).expect_error(409, "etag_mismatch");
    client.call(lease.update("[3]").header("X-If-Version", "x")).expect_error(400, "invalid_version");
});

on_every_store!(http_core_41_metadata_keeps_the_version_usable, |client| {
    for version in ["1", "2"] {
        let key = client.committed("cas", "[1]");
        let lease = client.acquire(&key);
        client.call(lease.metadata(r#"{"query_hidden":true}"#)).expect_status(200);
        client.call(lease.upload("a", "bytes")).expect_status(200);
        client
            .call(lease.update("[2]").header("X-If-Version", version))
            .expect_status(200)
            .expect_members(json!({"new_version": 2}));
    }
});

on_every_store!(http_core_42_expected_size_and_digest, |client| {
    let lease = client.acquire(&fresh::key("expected"));
    let document = " { \"a\" : 1 } ";
    let update = |name: &str, value: &str| lease.update(document).header(name, value);
    client.call(update("X-Expected-Bytes", "5")).expect_error(409, "expected_bytes_mismatch");
    let other = sha256_hex(b"other");
    client.call(update("X-Expected-SHA256", &other)).expect_error(409, "expected_sha256_mismatch");
    client.call(update("X-Expected-SHA256", "zz")).expect_error(400, "invalid_expected_sha256");
    client.call(update("X-Expected-Bytes", "-1")).expect_error(400, "invalid_expected_bytes");
    client.call(lease.get()).expect_status(204);
    let digest = sha256_hex(document.as_bytes()).to_uppercase();
    let right = update("X-Expected-Bytes", &document.len().to_string()).header("X-Expected-SHA256", &digest);
    client.call(right).expect_status(200);
    client.call(lease.get()).expect_text(r#"{"a":1}"#);
});

on_every_store!(http_core_43_metadata_header, |client| {
    let lease = client.acquire(&fresh::key("hidden"));
    let update = |value: &str| lease.update("{}").header("X-Lockd-Meta-Query-Hidden", value);
    client.call(update("maybe")).expect_error(400, "invalid_metadata");
    client
        .call(update("true"))
        .expect_status(200)
        .expect_members(json!({"metadata": {"query_hidden": true}}));
    client.call(update("f")).expect_status(200).expect_members(json!({"metadata": {}}));
});

on_every_store!(http_core_44_required_parts, |client| {
    let lease = client.acquire(&fresh::key("parts"));
    client.call(lease.update("1").without("X-Txn-ID")).expect_error(400, "missing_txn");
    client.call(lease.update("1").without("X-Lease-ID")).expect_error(400, "missing_lease");
    client.call(lease.update("1").without("X-Fencing-Token")).expect_error(400, "missing_fencing_token");
    client.call(lease.update("1").raw_query("namespace=default")).expect_error(400, "missing_key");
});

on_every_store!(http_core_82_conflict_values_belong_together, |client| {
    let lease = client.acquire(&client.committed("cas", "[1]"));
    let staged = client.call(lease.update("[2]")).expect_status(200).string("new_state_etag");
    client
        .call(lease.update("[3]").header("X-If-Version", "1"))
        .expect_error(409, "version_conflict")
        .expect_members(json!({"current_version": 2, "current_etag": staged}));
    let retried = lease.update("[3]").header("X-If-Version", "2").header("X-If-State-ETag", &staged);
    client.call(retried).expect_status(200);
});

on_every_store!(http_core_85_empty_etag_condition, |client| {
    let update = |client: &Client, key: &str, condition: &str| {
        let lease = client.acquire(key);
        let answer = client.call(lease.update("[2]").header("X-If-State-ETag", condition));
        client.call(lease.rollback()).expect_status(200);
        answer
    };
    let (fresh_key, with_state) = (fresh::key("none"), client.committed("some", "[1]"));
    update(client, &fresh_key, "\"\"").expect_status(200);
    update(client, &with_state, "\"\"").expect_error(409, "etag_mismatch");
    update(client, &with_state, " ").expect_status(200);
});
