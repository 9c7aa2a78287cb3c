//! Replays the recorded exchanges of the leases, state and attachments API, of the queue and of transactions against a server on every store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lockd_conformance::recording::{self, Body, Scenario, Step};
use lockd_conformance::replay;
use lockd_conformance::server::{StoreKind, shared};
use serde_json::Value;

const RECORDING: &str = include_str!("../fixtures/core-transcripts.jsonl");
const MUTATE: &str = include_str!("../fixtures/mutate-transcripts.jsonl");
const QUEUE: &str = include_str!("../fixtures/queue-transcripts.jsonl");
const TRANSACTIONS: &str = include_str!("../fixtures/txn-transcripts.jsonl");
/// Many scenarios mostly sleep, so there are more threads than processors.
const THREADS: usize = 16;
/// Those of the queue sleep even more.
const STREAM_THREADS: usize = 24;

fn scenarios() -> Vec<Scenario> {
    recording::parse(RECORDING).expect("the recording is valid")
}

#[test]
fn the_recording_is_complete() {
    let scenarios = scenarios();
    assert_eq!(scenarios.len(), 156);
    assert_eq!(scenarios.iter().map(|scenario| scenario.steps.len()).sum::<usize>(), 1293);
}

/// Checklist line 86.
#[test]
fn http_core_86_recordings_mem() {
    replay::run(&scenarios(), shared(StoreKind::Mem).address(), THREADS).expect_success();
}

#[test]
fn http_core_86_recordings_disk() {
    let mut scenarios = scenarios();
    prefer_the_index(&mut scenarios);
    replay::run(&scenarios, shared(StoreKind::Disk).address(), THREADS).expect_success();
}

#[test]
fn mutate_recordings_mem() {
    let scenarios = recording::parse(MUTATE).expect("the recording is valid");
    assert_eq!(scenarios.len(), 6);
    replay::run(&scenarios, shared(StoreKind::Mem).address(), THREADS).expect_success();
}

#[test]
fn mutate_recordings_disk() {
    let scenarios = recording::parse(MUTATE).expect("the recording is valid");
    replay::run(&scenarios, shared(StoreKind::Disk).address(), THREADS).expect_success();
}

/// Recorded steps that another rule overrides, and which. Their answers are replaced below.
const OVERRIDDEN: [(&str, usize, &str); 2] = [
    ("txn_everything_staged", 11, "decision 1 with PS-4: a staged removal is not seen by the public"),
    ("owner_is_free_text", 6, "queue chapter, section 8: nothing is left of an acknowledged message"),
];

/// The scenarios of a recording that say what the contract wants.
fn binding(recording: &str, count: usize) -> Vec<Scenario> {
    let mut scenarios = recording::parse(recording).expect("the recording is valid");
    assert_eq!(scenarios.len(), count);
    scenarios.retain(Scenario::is_binding);
    for (name, step, _) in OVERRIDDEN {
        let Some(scenario) = scenarios.iter_mut().find(|scenario| scenario.name == name) else { continue };
        let Step::Exchange { answer, .. } = &mut scenario.steps[step] else { panic!("{name} has changed") };
        match name {
            "txn_everything_staged" => {
                answer.status = 200;
                answer.headers.insert("x-key-version".to_owned(), "1".to_owned());
                answer.headers.insert("etag".to_owned(), "${etag1}".to_owned());
                answer.body = Body::Text(r#"{"old":1}"#.to_owned());
            }
            _ => {
                let Body::Json(Value::Object(members)) = &mut answer.body else {
                    panic!("{name} has changed")
                };
                assert!(members.remove("updated_at_unix").is_some());
            }
        }
    }
    scenarios
}

#[test]
fn queue_recordings_mem() {
    replay::run(&binding(QUEUE, 93), shared(StoreKind::Mem).address(), STREAM_THREADS).expect_success();
}

#[test]
fn queue_recordings_disk() {
    replay::run(&binding(QUEUE, 93), shared(StoreKind::Disk).address(), STREAM_THREADS).expect_success();
}

#[test]
fn transaction_recordings_mem() {
    replay::run(&binding(TRANSACTIONS, 25), shared(StoreKind::Mem).address(), THREADS).expect_success();
}

#[test]
fn transaction_recordings_disk() {
    replay::run(&binding(TRANSACTIONS, 25), shared(StoreKind::Disk).address(), THREADS).expect_success();
}

/// The recordings were made on a memory store, which prefers scans where nothing is configured. Every other store
/// prefers the index.
fn prefer_the_index(scenarios: &mut [Scenario]) {
    let defaults = scenarios.iter_mut().find(|scenario| scenario.name == "namespace_defaults").unwrap();
    let mut changed = 0;
    for step in &mut defaults.steps {
        if let Step::Exchange { answer, .. } = step
            && let Body::Json(json) = &mut answer.body
            && let Some(engine) = json.pointer_mut("/query/preferred_engine")
        {
            assert_eq!(engine, "scan");
            *engine = "index".into();
            changed += 1;
        }
    }
    assert_eq!(changed, 2);
}
