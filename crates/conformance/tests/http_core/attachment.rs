//! Attachments: upload, list, download, delete, and what a release makes of them.

use lockd_conformance::digest::sha256_hex;
use lockd_conformance::http::{Request, Response};
use lockd_conformance::lease::{Client, Lease};
use lockd_conformance::{fresh, on_every_store};
use serde_json::{Value, json};

/// The names in a list of attachments.
#[track_caller]
fn names(list: Response) -> Vec<String> {
    let object = list.expect_status(200).object();
    let entries = object["attachments"].as_array().expect("attachments is an array");
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

/// A key with these committed attachments, each with its own name as content.
fn attached(client: &Client, attachments: &[&str]) -> String {
    let key = fresh::key("attached");
    let lease = client.acquire(&key);
    for name in attachments {
        client.call(lease.upload(name, *name)).expect_status(200);
    }
    client.call(lease.release()).expect_status(200);
    key
}

fn info(answer: &Response) -> Value {
    answer.object()["attachment"].clone()
}

on_every_store!(http_core_66_upload_and_commit, |client| {
    let key = fresh::key("upload");
    let lease = client.acquire(&key);
    let answer = client
        .call(lease.upload("report.txt", "hello").header("Content-Type", "text/plain"))
        .expect_status(200);
    let attachment = info(&answer);
    assert_eq!(attachment["size"], 5);
    assert_eq!(attachment["plaintext_sha256"], json!(sha256_hex(b"hello")));
    assert_eq!(attachment["content_type"], "text/plain");
    let id = attachment["id"].as_str().unwrap();
    assert!(fresh::is_uuid7(id), "{id}");
    answer
        .expect_header("x-attachment-id", id)
        .expect_members(json!({"version": 1}))
        .expect_no_member("noop");
    let public = client.call(lease.public_list());
    assert!(public.text().contains("\"attachments\":[]"), "{public}");
    assert_eq!(names(public), [""; 0]);
    let listed = client.call(lease.list()).expect_status(200).object();
    assert_eq!(listed["attachments"], json!([attachment]));
    client.call(lease.release()).expect_status(200);
    assert_eq!(names(client.call(lease.public_list())), ["report.txt"]);
    assert_eq!(client.describe(&key)["version"], 1);
});

on_every_store!(http_core_67_download, |client| {
    let lease = client.acquire(&fresh::key("download"));
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    client
        .call(lease.upload("b.bin", bytes.clone()).query("content_type", "image/x-test"))
        .expect_status(200);
    client.call(lease.release()).expect_status(200);
    let answer = client
        .call(lease.public_download("b.bin"))
        .expect_status(200)
        .expect_header("content-length", "100000")
        .expect_header("content-type", "image/x-test")
        .expect_header("x-attachment-size", "100000")
        .expect_header("x-attachment-name", "b.bin")
        .expect_header("x-attachment-sha256", &sha256_hex(&bytes));
    assert!(answer.body == bytes, "the bytes differ");
    client.call(lease.public_download("other")).expect_error(404, "attachment_not_found");
    let without_selector = lease.address(Request::get("/v1/attachment")).query("public", "1");
    client.call(without_selector).expect_error(400, "missing_attachment");
});

on_every_store!(http_core_68_replace, |client| {
    let key = attached(client, &["a"]);
    let lease = client.acquire(&key);
    let before = client.call(lease.list()).object()["attachments"][0].clone();
    let after = info(&client.call(lease.upload("a", "other content")).expect_status(200));
    assert_eq!((&after["id"], &after["created_at_unix"]), (&before["id"], &before["created_at_unix"]));
    client.call(lease.public_download("a")).expect_status(200).expect_text("a");
    client.call(lease.download("a")).expect_status(200).expect_text("other content");
    client.call(lease.release()).expect_status(200);
    client.call(lease.public_download("a")).expect_status(200).expect_text("other content");
});

on_every_store!(http_core_69_prevent_overwrite, |client| {
    let lease = client.acquire(&attached(client, &["a"]));
    let upload = || lease.upload("a", "new").query("prevent_overwrite", "1");
    let noop = client.call(upload()).expect_status(200).expect_members(json!({"noop": true}));
    assert_eq!(info(&noop)["size"], 1);
    client.call(lease.download("a")).expect_text("a");
    client.call(lease.delete("a")).expect_status(200).expect_members(json!({"deleted": true}));
    client.call(upload()).expect_status(200).expect_no_member("noop");
    client.call(lease.release()).expect_status(200);
    client.call(lease.public_download("a")).expect_status(200).expect_text("new");
});

on_every_store!(http_core_70_size_limit, |client| {
    let lease = client.acquire(&fresh::key("limit"));
    let upload = |bytes: &str, limit: &str| lease.upload("a", bytes).query("max_bytes", limit);
    client.call(upload("12", "3")).expect_status(200);
    client.call(upload("1234", "3")).expect_error(413, "attachment_too_large");
    client.call(upload("1234", "3").chunked(2)).expect_error(413, "attachment_too_large");
    client.call(lease.download("a")).expect_status(200).expect_text("12");
    client.call(upload("1", "-1")).expect_error(400, "invalid_max_bytes");
    client.call(upload("1", "x")).expect_error(400, "invalid_max_bytes");
    client.call(upload("123", "3")).expect_status(200);
    client.call(upload("1234", "0")).expect_status(200);
    client.call(lease.release()).expect_status(200);
    client.call(lease.public_download("a")).expect_status(200).expect_text("1234");
});

on_every_store!(http_core_71_delete, |client| {
    let key = attached(client, &["a", "b"]);
    let lease = client.acquire(&key);
    client.call(lease.delete("nope")).expect_status(200).expect_members(json!({"deleted": false}));
    client.call(lease.delete("a")).expect_status(200).expect_members(json!({"deleted": true}));
    assert_eq!(names(client.call(lease.list())), ["b"]);
    client.call(lease.upload("c", "c")).expect_status(200);
    client.call(lease.delete_all()).expect_status(200).expect_members(json!({"deleted": 2}));
    assert_eq!(names(client.call(lease.list())), [""; 0]);
    assert_eq!(names(client.call(lease.public_list())), ["a", "b"]);
    client.call(lease.rollback()).expect_status(200);
    assert_eq!(names(client.call(lease.public_list())), ["a", "b"]);
    client.call(lease.public_download("a")).expect_status(200).expect_text("a");
});

on_every_store!(http_core_72_attachments_and_remove, |client| {
    let with_state = |client: &Client| -> (String, Lease) {
        let key = attached(client, &["a"]);
        let lease = client.acquire(&key);
        client.call(lease.update("[1]")).expect_status(200);
        client.call(lease.release()).expect_status(200);
        let lease = client.acquire(&key);
        client.call(lease.remove()).expect_status(200).expect_members(json!({"removed": true}));
        (key, lease)
    };
    let (_, lease) = with_state(client);
    client.call(lease.release()).expect_status(200);
    assert_eq!(names(client.call(lease.public_list())), [""; 0]);

    let (_, lease) = with_state(client);
    client.call(lease.upload("b", "b")).expect_status(200);
    client.call(lease.release()).expect_status(200);
    assert_eq!(names(client.call(lease.public_list())), ["b"]);
    client.call(lease.public_download("b")).expect_status(200).expect_text("b");
});

on_every_store!(http_core_73_methods, |client| {
    client.call(Request::new("PATCH", "/v1/attachments")).expect_error(405, "method_not_allowed");
    client.call(Request::new("POST", "/v1/attachment")).expect_error(405, "method_not_allowed");
    let answer = client.call(Request::delete("/v1/namespace")).expect_error(405, "method_not_allowed");
    let allowed = answer.header("allow").unwrap_or_default().to_owned();
    for method in ["GET", "POST", "PUT"] {
        assert!(
            allowed.split(',').any(|name| name.trim() == method),
            "{method} is missing in Allow: {allowed}"
        );
    }
});

on_every_store!(http_core_83_names_with_control_characters, |client| {
    let lease = client.acquire(&fresh::key("names"));
    let name = "line\nbreak";
    let answer = client.call(lease.upload(name, "x")).expect_status(200);
    let id = info(&answer)["id"].as_str().unwrap().to_owned();
    client.call(lease.release()).expect_status(200);
    assert_eq!(names(client.call(lease.public_list())), [name]);
    let by_id = lease.address(Request::get("/v1/attachment")).query("id", &id).query("public", "1");
    client.call(by_id).expect_status(200).expect_text("x").expect_no_header("x-attachment-name");
    client.call(lease.public_download(name)).expect_status(200).expect_text("x");
});
