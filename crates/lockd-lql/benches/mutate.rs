//! Throughput of mutations, in bytes of the document, beside the same edit on a `serde_json` tree.
//!
//! `cargo bench -p lockd-lql --bench mutate -- compact/1M` runs the documents of one MiB.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockd_lql::{
    condition::Instant,
    mutation::{EditLimits, Mutations, ParseOptions},
};
use serde_json::{Value, json};

/// Records as people keep them in such a service: names, prose, identifiers, integers, decimals, flags, short lists.
fn records(length: usize) -> Value {
    let status = ["pending", "packed", "shipped \"express\""];
    let mut list = Vec::new();
    let mut seed = 7u64;
    let mut size = 0;
    while size < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let n = seed >> 33;
        let record = json!({
            "id": format!("{seed:016x}"),
            "sequence": n,
            "customer": {"name": "Müller & Söhne", "email": format!("c{n}@example.com")},
            "status": status[(n % 3) as usize],
            "total": n as f64 / 100.0,
            "discount": null,
            "tags": ["priority", "eu-west-1"],
            "position": [n % 180, 0.5],
            "note": "Leave at the door; ring twice.\nThank you!",
        });
        size += record.to_string().len();
        list.push(record);
    }
    json!({"orders": list, "version": 3})
}

/// One member for every record, instead of one list.
fn members(length: usize) -> Value {
    let Value::Array(list) = records(length)["orders"].take() else { return Value::Null };
    let mut members: serde_json::Map<_, _> =
        list.into_iter().enumerate().map(|(n, record)| (format!("order-{n}"), record)).collect();
    members.insert("version".into(), json!(3));
    Value::Object(members)
}

fn bench(c: &mut Criterion) {
    let mut documents = Vec::new();
    for (size, length) in [("300B", 200), ("4K", 4 << 10), ("1M", 1 << 20)] {
        documents.push((format!("compact/{size}"), records(length).to_string()));
        documents.push((format!("pretty/{size}"), serde_json::to_string_pretty(&records(length)).unwrap()));
    }
    documents.push(("members/1M".into(), members(1 << 20).to_string()));
    documents
        .push(("prose/1M".into(), json!({"version": 3, "body": "Lorem ipsum. ".repeat(80_000)}).to_string()));
    let edits: &[(&str, &[&str])] = &[
        ("one field", &["/version++"]),
        ("new field", &["/updated=now"]),
        ("five fields", &["/version++", "/a/b=1", "/a/c=2", "time:/at=NOW", "rm:/lock"]),
        ("each record", &["/orders[]/sequence++"]),
        ("any depth", &["rm:/.../email"]),
    ];
    for (name, document) in &documents {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(document.len() as u64));
        let mut out = Vec::with_capacity(document.len() * 2);
        for (edit, items) in edits {
            let program = Mutations::parse_list(items, &ParseOptions::default()).unwrap().compile(Instant(0));
            let mut editor = program.editor(EditLimits::default());
            group.bench_function(BenchmarkId::from_parameter(edit), |b| {
                b.iter(|| {
                    out.clear();
                    editor.push(black_box(document.as_bytes()), &mut out).unwrap();
                    editor.finish(&mut out).unwrap();
                    out.len()
                });
            });
        }
        group.bench_function("compaction only", |b| {
            b.iter(|| {
                out.clear();
                lockd_json::compact(black_box(document.as_bytes()), &mut out).unwrap();
                out.len()
            });
        });
        group.bench_function("serde_json, one field", |b| {
            b.iter(|| {
                out.clear();
                let mut value: Value = serde_json::from_str(black_box(document)).unwrap();
                let version = value["version"].as_i64().unwrap();
                value["version"] = json!(version + 1);
                serde_json::to_writer(&mut out, &value).unwrap();
                out.len()
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(1));
    targets = bench
}
criterion_main!(benches);
