//! Throughput of the compactor, with serde_json as the yardstick.
//!
//! `cargo bench -p lockd-json --bench compact -- pretty2` runs the documents indented by two spaces.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::{fmt::Write, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockd_json::{Compactor, Limits, compact};
use serde::de::IgnoredAny;
use serde_json::{Value, ser::PrettyFormatter};

/// Records as people keep them in such a service: names, prose, identifiers, integers, decimals, flags, short lists.
fn records(length: usize) -> Value {
    let status = ["pending", "packed", "shipped \"express\""];
    let mut list = Vec::new();
    let mut seed = 7u64;
    let mut size = 0;
    while size < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let n = seed >> 33;
        let record = serde_json::json!({
            "id": format!("{seed:016x}"),
            "sequence": n,
            "customer": {"name": "Müller & Söhne", "email": format!("c{n}@example.com"), "active": n.is_multiple_of(3)},
            "status": status[(n % 3) as usize],
            "total": n as f64 / 100.0,
            "discount": null,
            "tags": ["priority", "eu-west-1"],
            "position": [n % 180, -(((n / 7) % 90) as i64), 0.5],
            "note": "Leave at the door; ring twice.\nThank you!",
        });
        size += record.to_string().len();
        list.push(record);
    }
    serde_json::json!({"orders": list, "version": 3})
}

fn numbers(length: usize) -> Value {
    Value::from((0..length as i64 / 8).map(|n| n * 7919 % 1_000_003).collect::<Vec<_>>())
}

fn prose(length: usize) -> Value {
    let mut text = String::new();
    while text.len() < length {
        let _ = write!(text, "The quick brown fox no. {} jumps over the lazy dog. ", text.len());
    }
    serde_json::json!({"body": text})
}

fn pretty(value: &Value, indent: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer).unwrap();
    out
}

fn bench(c: &mut Criterion) {
    let mut documents = Vec::new();
    for (size, length) in [("512B", 300), ("4K", 2 << 10), ("1M", 512 << 10)] {
        documents.push((format!("pretty2/{size}"), pretty(&records(length), b"  ")));
        documents.push((format!("pretty4/{size}"), pretty(&records(length), b"    ")));
        documents.push((format!("compact/{size}"), records(2 * length).to_string().into_bytes()));
    }
    documents.push(("numbers/1M".into(), numbers(1 << 20).to_string().into_bytes()));
    documents.push(("pretty-numbers/1M".into(), pretty(&numbers(1 << 19), b"  ")));
    documents.push(("prose/1M".into(), prose(1 << 20).to_string().into_bytes()));

    for (name, document) in &documents {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(document.len() as u64));
        let mut out = Vec::with_capacity(document.len() + 64);
        group.bench_function("lockd-json", |b| {
            b.iter(|| {
                out.clear();
                compact(black_box(document), &mut out).unwrap();
                out.len()
            });
        });
        group.bench_function(BenchmarkId::new("lockd-json, pieces of", 1400), |b| {
            b.iter(|| {
                out.clear();
                let mut compactor = Compactor::new(Limits::default());
                for piece in black_box(document).chunks(1400) {
                    compactor.push(piece, &mut out).unwrap();
                }
                compactor.finish(&mut out).unwrap()
            });
        });
        group.bench_function("serde_json, only validating", |b| {
            b.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(document)).unwrap());
        });
        group.bench_function("serde_json, through Value", |b| {
            b.iter(|| {
                let value: Value = serde_json::from_slice(black_box(document)).unwrap();
                out.clear();
                serde_json::to_writer(&mut out, &value).unwrap();
                out.len()
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600))
        .sample_size(20);
    targets = bench
}
criterion_main!(benches);
