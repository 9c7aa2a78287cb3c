//! Selection over NDJSON, against a `serde_json` tree and the obvious evaluator for the same job.
//!
//! `cargo bench -p lockd-lql --features oracle --bench select -- 4K` measures the documents of 4 KiB only.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockd_lql::{
    condition::{Condition, Instant},
    oracle,
    selector::Selector,
    stream::Matcher,
};
use serde_json::{Value, json};

/// A record of an order, about 300 bytes as JSON.
fn record(seed: &mut u64) -> Value {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let n = *seed >> 33;
    let status = ["pending", "packed", "shipped \"express\""][(n % 3) as usize];
    json!({
        "id": format!("{seed:016x}"),
        "sequence": n,
        "customer": {"name": "Müller & Söhne", "email": format!("c{n}@example.com"), "active": n.is_multiple_of(3)},
        "status": status,
        "total": n as f64 / 100.0,
        "discount": null,
        "tags": ["priority", "eu-west-1"],
        "at": format!("2025-{:02}-{:02}T10:00:00Z", n % 12 + 1, n % 28 + 1),
        "note": "Leave at the door; ring twice.\nThank you!",
    })
}

/// Lines of documents of about `length` bytes each, some megabytes in all.
fn ndjson(length: usize) -> String {
    let mut seed = 7;
    let mut lines = String::new();
    while lines.len() < 4 << 20 {
        let mut document = record(&mut seed);
        if length > 1000 {
            let mut items = Vec::new();
            let mut size = 0;
            while size + 300 < length {
                let item = record(&mut seed);
                size += item.to_string().len() + 1;
                items.push(item);
            }
            document["orders"] = Value::Array(items);
            document["region"] = json!({"eu": {"west": {"code": "eu-west-1"}}});
        } else {
            document["region"] = json!({"eu": {"west": {"code": "x"}}});
        }
        lines.push_str(&document.to_string());
        lines.push('\n');
    }
    lines
}

const SELECTORS: [(&str, &str); 8] = [
    ("top-level field", "/status=packed"),
    ("deep path", "/region/eu/west/code=eu-west-1"),
    ("wildcard", "eq{f=/customer/*,v=\"Nobody\"}"),
    ("contains in all strings", "contains{f=/...,v=nowhere}"),
    ("icontains in all strings", "icontains{f=/...,v=nowhere}"),
    ("range", "/total>=20000000"),
    (
        "all of five",
        "/status=packed,/discount!=1,/total>=10,exists{/customer/email},in{f=/tags,any=priority|late}",
    ),
    (
        "any of five",
        "or.eq{f=/status,v=lost},or.eq{f=/note,v=x},or.range{f=/total,lt=0},or.exists{/gone},or.prefix{f=/id,v=zz}",
    ),
];

fn compiled(text: &str) -> Condition {
    Selector::parse(text).unwrap().compile(Instant(0)).unwrap()
}

fn bench(c: &mut Criterion) {
    for (size, length) in [("300B", 300), ("4K", 4 << 10), ("1M", 1 << 20)] {
        let lines = ndjson(length);
        for (name, text) in SELECTORS {
            let condition = compiled(text);
            let mut group = c.benchmark_group(format!("{name}/{size}"));
            group.throughput(Throughput::Bytes(lines.len() as u64)).sample_size(10);
            let mut matcher = Matcher::new(&condition);
            let mut streamed = 0;
            group.bench_function(BenchmarkId::from_parameter("lockd-lql"), |b| {
                b.iter(|| {
                    streamed = 0;
                    matcher
                        .select(black_box(lines.as_bytes()), |candidate| {
                            streamed += usize::from(candidate.matched);
                            true
                        })
                        .unwrap();
                    streamed
                });
            });
            let mut plain = 0;
            group.bench_function(BenchmarkId::from_parameter("serde_json"), |b| {
                b.iter(|| {
                    plain = black_box(&lines)
                        .lines()
                        .filter(|line| {
                            oracle::candidate_matches(
                                &condition,
                                &serde_json::from_str::<Value>(line).unwrap(),
                            )
                        })
                        .count();
                    plain
                });
            });
            assert!(streamed == plain || streamed == 0 || plain == 0, "{name}: {streamed} and {plain}");
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
