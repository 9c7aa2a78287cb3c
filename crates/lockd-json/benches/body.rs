//! The cost of reading an acquire request and of writing its response, with serde as the yardstick.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lockd_json::{Object, ObjectWriter};

const ACQUIRE: &[u8] = br#"{"namespace":"default","key":"orders/2024/0000017","owner":"worker-7@host-12","ttl_seconds":30,"block_seconds":-1,"if_not_exists":false,"txn_id":"c9p3q1m2v4k8d7n6b5a0"}"#;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "reading is what is measured")]
struct Acquire {
    namespace: Option<String>,
    key: Option<String>,
    owner: Option<String>,
    ttl_seconds: Option<i64>,
    block_seconds: Option<i64>,
    if_not_exists: Option<bool>,
    txn_id: Option<String>,
}

#[derive(serde::Serialize)]
struct Acquired<'a> {
    namespace: &'a str,
    key: &'a str,
    owner: &'a str,
    lease_id: &'a str,
    txn_id: &'a str,
    expires_at_unix: i64,
    version: u64,
    fencing_token: u64,
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("acquire");
    group.bench_function("read", |b| {
        b.iter(|| {
            let mut body = Object::parse(black_box(ACQUIRE)).unwrap();
            let texts = ["namespace", "key", "owner", "txn_id"].map(|name| body.string(name).unwrap());
            let numbers = ["ttl_seconds", "block_seconds"].map(|name| body.integer(name).unwrap());
            let flag = body.boolean("if_not_exists").unwrap();
            body.finish().unwrap();
            black_box((texts, numbers, flag))
        });
    });
    group.bench_function("read, serde_json", |b| {
        b.iter(|| serde_json::from_slice::<Acquire>(black_box(ACQUIRE)).unwrap());
    });
    let response = black_box(Acquired {
        namespace: "default",
        key: "orders/2024/0000017",
        owner: "worker-7@host-12",
        lease_id: "c9p3q1m2v4k8d7n6b5a0",
        txn_id: "c9p3q1m2v4k8d7n6b5a1",
        expires_at_unix: 1_717_171_717,
        version: 17,
        fencing_token: 123_456,
    });
    let mut out = Vec::with_capacity(1024);
    group.bench_function("write", |b| {
        b.iter(|| {
            out.clear();
            ObjectWriter::new(&mut out)
                .string("namespace", response.namespace)
                .string("key", response.key)
                .string("owner", response.owner)
                .string("lease_id", response.lease_id)
                .string("txn_id", response.txn_id)
                .int("expires_at_unix", response.expires_at_unix)
                .int("version", response.version)
                .int("fencing_token", response.fencing_token)
                .end_line();
            out.len()
        });
    });
    group.bench_function("write, serde_json", |b| {
        b.iter(|| {
            out.clear();
            serde_json::to_writer(&mut out, &response).unwrap();
            out.len()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = bench
}
criterion_main!(benches);
