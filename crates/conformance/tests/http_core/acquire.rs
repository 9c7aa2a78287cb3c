//! Acquire: its body, names, ids and TTLs, and `if_not_exists`.

use std::time::Duration;

use lockd_conformance::fresh;
use lockd_conformance::http::Request;
use lockd_conformance::lease::{acquire_body, merged};
use lockd_conformance::on_every_store;
use serde_json::json;

on_every_store!(http_core_01_new_key, |client| {
    let key = fresh::key("new");
    let answer = client
        .try_acquire(&key, json!({}))
        .expect_status(200)
        .expect_members(
            json!({"namespace": "default", "key": key, "owner": "tester", "version": 0, "fencing_token": 1}),
        )
        .expect_no_member("state_etag")
        .expect_header("content-type", "application/json")
        .expect_header("x-key-version", "0")
        .expect_header("x-fencing-token", "1");
    assert!(answer.body.ends_with(b"}\n"), "a JSON answer is one object and a line feed: {answer}");
    assert_eq!(answer.header("x-correlation-id"), Some(answer.string("correlation_id").as_str()));
});

on_every_store!(http_core_02_ids_are_xids, |client| {
    let lease = client.acquire(&fresh::key("ids"));
    assert!(fresh::is_xid(&lease.lease_id), "{lease:?}");
    assert!(fresh::is_xid(&lease.txn_id), "{lease:?}");
    assert_ne!(lease.lease_id, lease.txn_id);
});

on_every_store!(http_core_03_body_is_strict, |client| {
    let key = fresh::key("strict");
    client.try_acquire(&key, json!({"surprise": 1})).expect_error(400, "invalid_body");
    let body = acquire_body(&key).to_string();
    client.acquire_raw(format!("{body}{{}}")).expect_error(400, "invalid_body");
    client.acquire_raw(format!("{body} \t\r\n ")).expect_status(200);
});

on_every_store!(http_core_04_duplicate_and_null_members, |client| {
    let (a, b) = (fresh::key("dup-a"), fresh::key("dup-b"));
    let body = format!(r#"{{"key":"{a}","key":"{b}","owner":"w","block_seconds":-1}}"#);
    client.acquire_raw(body).expect_status(200).expect_members(json!({"key": b}));
    let generated =
        client.acquire_raw(r#"{"key":null,"owner":"w","block_seconds":-1}"#).expect_status(200).string("key");
    assert!(fresh::is_uuid7(&generated), "{generated}");
});

on_every_store!(http_core_05_integers_are_integers, |client| {
    for ttl in ["5.0", "\"5\"", "1e1", "9223372036854775808", "true"] {
        let body = format!(r#"{{"key":"{}","owner":"w","ttl_seconds":{ttl}}}"#, fresh::key("ttl"));
        client.acquire_raw(body).expect_error(400, "invalid_body");
    }
});

on_every_store!(http_core_06_empty_and_null_body, |client| {
    client.acquire_raw("").expect_error(400, "invalid_body");
    client.call(Request::post("/v1/acquire")).expect_error(400, "invalid_body");
    client.acquire_raw("null").expect_error(400, "missing_owner");
});

on_every_store!(http_core_07_owner_is_required, |client| {
    let key = fresh::key("owner");
    client.try_acquire(&key, json!({"owner": null})).expect_error(400, "missing_owner");
    client.try_acquire(&key, json!({"owner": ""})).expect_error(400, "missing_owner");
    client.try_acquire(&key, json!({"owner": " "})).expect_status(200).expect_members(json!({"owner": " "}));
});

on_every_store!(http_core_08_namespace, |client| {
    let key = fresh::key("space");
    for namespace in [".txns", "a b", "ä", "a/b", &"n".repeat(129)] {
        client.try_acquire(&key, json!({"namespace": namespace})).expect_error(400, "invalid_namespace");
    }
    let namespace = fresh::key("Team_A");
    client
        .try_acquire(&key, json!({"namespace": namespace}))
        .expect_status(200)
        .expect_members(json!({"namespace": namespace.to_lowercase()}));
});

on_every_store!(http_core_09_key_syntax, |client| {
    let base = fresh::key("syntax");
    let long = |length: usize| format!("{base}{}", "x".repeat(length - base.len()));
    for key in
        [long(129), format!("{base}//b"), format!("{base}/"), format!("{base}/ä"), format!("{base}/..")]
    {
        client.try_acquire(&key, json!({})).expect_error(400, "invalid_key");
    }
    client.try_acquire(&long(128), json!({})).expect_status(200).expect_members(json!({"key": long(128)}));
});

on_every_store!(http_core_10_key_is_echoed_as_written, |client| {
    let base = fresh::key("orders");
    client
        .try_acquire(&format!("/{base}/Orders/A"), json!({}))
        .expect_status(200)
        .expect_members(json!({"key": format!("{base}/Orders/A")}));
    client.try_acquire(&format!("{base}/orders/a"), json!({})).expect_error(409, "waiting");
});

on_every_store!(http_core_11_namespace_prefix_is_dropped, |client| {
    let key = fresh::key("prefix");
    client
        .try_acquire(&format!("default/{key}"), json!({}))
        .expect_status(200)
        .expect_members(json!({"key": key}));
    client.try_acquire(&key, json!({})).expect_error(409, "waiting");
});

on_every_store!(http_core_12_txn_id_is_an_xid, |client| {
    let key = fresh::key("txn");
    client.try_acquire(&key, json!({"txn_id": "not-an-xid"})).expect_error(400, "invalid_txn");
    let request = Request::post("/v1/acquire").header("X-Txn-ID", "not-an-xid").json(&acquire_body(&key));
    client.call(request).expect_error(400, "invalid_txn");
});

on_every_store!(http_core_13_body_txn_id_wins, |client| {
    let (body, header) = (fresh::xid(), fresh::xid());
    let request = |body| Request::post("/v1/acquire").header("X-Txn-ID", &header).json(&body);
    let with_both = merged(acquire_body(&fresh::key("txn")), json!({"txn_id": body}));
    client.call(request(with_both)).expect_status(200).expect_members(json!({"txn_id": body}));
    let with_header = acquire_body(&fresh::key("txn"));
    client.call(request(with_header)).expect_status(200).expect_members(json!({"txn_id": header}));
});

on_every_store!(http_core_14_ttl_default_and_clamp, |client| {
    for (ttl, expected) in [(0, 30), (-5, 30), (1_000_000_000, 1800), (7, 7)] {
        let key = fresh::key("ttl");
        let before = fresh::now();
        let lease = client.acquire_with(&key, json!({"ttl_seconds": ttl}));
        let after = fresh::now();
        let range = before + expected..=after + expected;
        assert!(range.contains(&lease.expires_at), "ttl {ttl}: {} not in {range:?}", lease.expires_at);
    }
});

on_every_store!(http_core_21_if_not_exists, |client| {
    let key = fresh::key("create");
    let lease = client.acquire_with(&key, json!({"if_not_exists": true}));
    let again = || client.try_acquire(&key, json!({"if_not_exists": true, "block_seconds": 5}));
    let held = again().expect_error(409, "already_exists");
    client.call(lease.release()).expect_status(200);
    let released = again().expect_error(409, "already_exists");
    for answer in [held, released] {
        assert!(answer.elapsed < Duration::from_secs(2), "must not wait: {answer}");
    }
});

on_every_store!(http_core_22_one_creator_wins, |client| {
    let key = fresh::key("creators");
    let body = merged(acquire_body(&key), json!({"if_not_exists": true}));
    let start = std::sync::Barrier::new(20);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = client.connect();
                    start.wait();
                    connection.call(&Request::post("/v1/acquire").json(&body)).unwrap()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1, "{won:?}");
    for answer in lost {
        answer.expect_error(409, "already_exists");
    }
});

on_every_store!(http_core_23_correlation_id, |client| {
    let send = |id: &str| {
        let body = acquire_body(&fresh::key("correlation"));
        client
            .call(Request::post("/v1/acquire").header("X-Correlation-Id", id).json(&body))
            .expect_status(200)
    };
    let id: String = (0..128).map(|n| char::from(b'!' + (n % 94) as u8)).collect();
    send(&id).expect_header("x-correlation-id", &id).expect_members(json!({"correlation_id": id}));
    let answer = send(&format!("{id}x"));
    let minted = answer.string("correlation_id");
    assert!(fresh::is_uuid7(&minted), "{minted}");
    answer.expect_header("x-correlation-id", &minted);
});
