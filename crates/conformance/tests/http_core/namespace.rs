//! Settings of a namespace.

use lockd_conformance::http::Request;
use lockd_conformance::lease::Client;
use lockd_conformance::server::StoreKind;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

fn read(namespace: &str) -> Request {
    Request::get("/v1/namespace").query("namespace", namespace)
}

fn write(method: &str, namespace: &str, engine: &str) -> Request {
    let body = json!({"query": {"preferred_engine": engine}});
    Request::new(method, "/v1/namespace").query("namespace", namespace).json(&body)
}

fn default_engine(client: &Client) -> &'static str {
    match client.store {
        StoreKind::Mem => "scan",
        StoreKind::Disk => "index",
    }
}

on_every_store!(http_core_78_defaults_and_writes, |client| {
    let namespace = fresh::key("space");
    let query = json!({"preferred_engine": default_engine(client), "fallback_engine": "none"});
    client
        .call(read(&namespace))
        .expect_status(200)
        .expect_members(json!({"namespace": namespace, "query": query}))
        .expect_no_header("etag");
    for (method, namespace) in [("POST", namespace), ("PUT", fresh::key("space"))] {
        let query = json!({"preferred_engine": "scan", "fallback_engine": "none"});
        let written = client
            .call(write(method, &namespace, "SCAN"))
            .expect_status(200)
            .expect_members(json!({"namespace": namespace, "query": query}));
        let etag = written.header("etag").expect("a write has an ETag").to_owned();
        client.call(read(&namespace)).expect_header("etag", &etag).expect_members(json!({"query": query}));
    }
});

on_every_store!(http_core_79_conditions_and_errors, |client| {
    let namespace = fresh::key("space");
    let conditional = |etag: &str, engine: &str| write("PUT", &namespace, engine).header("If-Match", etag);
    client.call(conditional("anything", "scan")).expect_error(409, "namespace_config_conflict");
    client.call(conditional("*", "scan")).expect_error(409, "namespace_config_conflict");
    let etag = |answer: lockd_conformance::http::Response| {
        answer.expect_status(200).header("etag").unwrap().to_owned()
    };
    let first = etag(client.call(write("POST", &namespace, "scan")));
    let second = etag(client.call(conditional(&first, "index")));
    assert_ne!(first, second);
    let third = etag(client.call(conditional(&format!("\"{second}\""), "scan")));
    client.call(conditional(&second, "index")).expect_error(409, "namespace_config_conflict");
    client.call(read(&namespace)).expect_status(200).expect_header("etag", &third);

    client.call(write("POST", &namespace, "foo")).expect_error(400, "invalid_namespace_request");
    let without_query = Request::post("/v1/namespace").query("namespace", &namespace).body("{}");
    client.call(without_query).expect_error(400, "invalid_namespace_request");
});
