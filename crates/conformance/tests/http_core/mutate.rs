//! Editing a document where it is.

use lockd_conformance::{
    fresh, on_every_store,
    server::{Launch, StoreKind},
};
use serde_json::json;

on_every_store!(lql_54_blank_items_are_no_mutations, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    for nothing in [json!([]), json!([""]), json!([" ", "\t\n"])] {
        client
            .call(lease.mutate(&nothing))
            .expect_error(400, "invalid_body")
            .expect_members(json!({"detail": "mutations required"}));
    }
    client.call(lease.get()).expect_status(204);
    // Between others they are dropped.
    client.call(lease.mutate(&json!([" ", "/a=1", ""]))).expect_status(200);
    client.call(lease.get()).expect_status(200).expect_text(r#"{"a":1}"#);
});

on_every_store!(lql_55_a_key_without_state_is_an_empty_object, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    client.call(lease.get()).expect_status(204);
    client.call(lease.mutate(&json!(["rm:/gone", "/o/*=1", "/a/b++"]))).expect_status(200);
    client.call(lease.get()).expect_status(200).expect_text(r#"{"a":{"b":1}}"#);
});

on_every_store!(lql_56_seven_headers_tell_what_was_done, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    client.call(lease.update(r#"{"text":"wide","n":9}"#)).expect_status(200);
    client
        .call(lease.mutate(&json!(["/n++"])))
        .expect_status(200)
        .expect_header("x-lockd-mutate-candidates-seen", "1")
        .expect_header("x-lockd-mutate-candidates-written", "1")
        .expect_header("x-lockd-mutate-bytes-read", "21")
        .expect_header("x-lockd-mutate-bytes-written", "22")
        .expect_header("x-lockd-mutate-bytes-captured", "0")
        .expect_header("x-lockd-mutate-spill-count", "0")
        .expect_header("x-lockd-mutate-spill-bytes", "0");
    client.call(lease.get()).expect_status(200).expect_text(r#"{"text":"wide","n":10}"#);
});

on_every_store!(lql_57_only_objects_are_mutated, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    for other in ["[1]", "[{}]", "7", "\"text\""] {
        client.call(lease.update(other)).expect_status(200);
        client
            .call(lease.mutate(&json!(["/a=1"])))
            .expect_error(400, "invalid_body")
            .expect_members(json!({"detail": "mutate stream mode requires top-level JSON object root"}));
        client.call(lease.get()).expect_status(200).expect_text(other);
    }
});

mod lql_58_documents_that_grow_too_large {
    use super::*;

    const LIMIT: usize = 64 << 10;

    fn check(store: StoreKind) {
        let server = Launch::fresh(store).with(&["--json-max", "64KiB"]).start();
        let client = server.client();
        let lease = client.acquire(&fresh::key("limit"));
        let document = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
        client.call(lease.update(document(LIMIT - 6))).expect_status(200);
        client.call(lease.mutate(&json!(["/b=10"]))).expect_error(413, "document_too_large");
        client.call(lease.get()).expect_status(200).expect_text(&document(LIMIT - 6));
        client.call(lease.mutate(&json!(["/b=1"]))).expect_status(200);
        client.call(lease.mutate(&json!(["/b++", "rm:/a"]))).expect_status(200);
        client.call(lease.get()).expect_status(200).expect_text(r#"{"b":2}"#);
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

on_every_store!(lql_52_file_values_are_refused, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    for file in ["file:/p=x", "textfile:/p=x", "base64file:/p=x", "/doc{textfile:/body=./x}"] {
        client
            .call(lease.mutate(&json!(["/a=1", file])))
            .expect_error(400, "invalid_mutations")
            .expect_members(json!({"detail": "file-backed mutations are disabled"}));
    }
    client.call(lease.get()).expect_status(204);
});

on_every_store!(http_core_55_mutate_starts_from_an_empty_object, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    client
        .call(lease.mutate(&json!(["/status=\"ready\"", "/count=1"])))
        .expect_status(200)
        .expect_members(json!({"new_version": 1, "metadata": {}}))
        .expect_header("x-lockd-mutate-candidates-seen", "1")
        .expect_header("x-lockd-mutate-candidates-written", "1")
        .expect_header("x-lockd-mutate-bytes-read", "2")
        .expect_header("x-lockd-mutate-bytes-written", "28")
        .expect_header("x-lockd-mutate-bytes-captured", "0")
        .expect_header("x-lockd-mutate-spill-count", "0")
        .expect_header("x-lockd-mutate-spill-bytes", "0");
    client.call(lease.get()).expect_status(200).expect_text(r#"{"count":1,"status":"ready"}"#);
});

on_every_store!(http_core_56_mutations_that_are_refused, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    for nothing in [json!([]), json!([" "])] {
        client.call(lease.mutate(&nothing)).expect_error(400, "invalid_body");
    }
    for wrong in ["/broken", "file:/p=x", "textfile:/p=x", "base64file:/p=x", "a=1"] {
        client.call(lease.mutate(&json!([wrong]))).expect_error(400, "invalid_mutations");
    }
    client.call(lease.update("[1]")).expect_status(200);
    client.call(lease.mutate(&json!(["/a=1"]))).expect_error(400, "invalid_body");
    client.call(lease.get()).expect_status(200).expect_text("[1]");
    client.call(lease.update(r#"{"n":"x"}"#)).expect_status(200);
    client.call(lease.mutate(&json!(["/a=1", "/n++"]))).expect_error(400, "invalid_body");
    client.call(lease.get()).expect_status(200).expect_text(r#"{"n":"x"}"#);
});

on_every_store!(http_core_57_mutate_under_a_condition, |client| {
    let key = client.committed("mutate", r#"{"n":1}"#);
    let lease = client.acquire(&key);
    let mutation = json!(["/n++"]);
    client.call(lease.mutate(&mutation).header("X-If-Version", "7")).expect_error(409, "version_conflict");
    client.call(lease.get()).expect_status(200).expect_text(r#"{"n":1}"#);
    client.call(lease.mutate(&mutation).header("X-If-Version", "1")).expect_status(200);
    client.call(lease.get()).expect_status(200).expect_text(r#"{"n":2}"#);
    client.call(lease.release()).expect_status(200);
    client.public_get(&key).expect_status(200).expect_text(r#"{"n":2}"#);
});

// Several requests under one lease at once: each edits what the one before it has left.
on_every_store!(concurrent_mutations_are_all_counted, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    // A document that changes under its hands too often may be given up; the client tries again then.
                    while client.call(lease.mutate(&json!(["/n++"]))).status == 409 {}
                }
            });
        }
    });
    client.call(lease.get()).expect_status(200).expect_text(r#"{"n":40}"#);
});

// A document that lives in a blob goes through in pieces.
on_every_store!(a_large_document_is_edited_where_it_is, |client| {
    let lease = client.acquire(&fresh::key("mutate"));
    let filler = "x".repeat(1 << 20);
    client.call(lease.update(format!(r#"{{"filler":"{filler}","n":1}}"#))).expect_status(200);
    client.call(lease.mutate(&json!(["/n++", "/new=true"]))).expect_status(200);
    client
        .call(lease.get())
        .expect_status(200)
        .expect_text(&format!(r#"{{"filler":"{filler}","n":2,"new":true}}"#));
});
