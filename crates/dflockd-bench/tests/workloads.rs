//! The built generator against the built server, and Redis where it is installed.

// The lints know only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// `DFLOCKD_BIN`, or what cargo builds from this workspace, in the profile of the tests.
fn server() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var("DFLOCKD_BIN").unwrap_or_else(|_| build()))
}

fn build() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--package", "dflockd", "--bin", "dflockd"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("run cargo to build dflockd");
    assert!(output.status.success(), "cargo could not build dflockd; set DFLOCKD_BIN to test another binary");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "dflockd")
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .expect("cargo did not say where it put dflockd")
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dflockd-bench")).args(arguments).output().unwrap()
}

fn measured(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["--server-bin", server(), "--json"]].concat());
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {complaint}{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn redis() -> bool {
    let installed = Path::new("/usr/bin/redis-server").exists();
    if !installed {
        eprintln!("left out: there is no /usr/bin/redis-server (package redis-server)");
    }
    installed
}

const SHORT: [&str; 6] = ["--duration", "0.3", "--warmup", "0.05", "--runs", "1"];

#[test]
fn every_workload_measures_what_it_was_asked_to() {
    for (workload, requests, phases, more) in [
        ("lock", 2, 2, &[][..]),
        ("lock", 2, 2, &["--clients", "3", "--keys", "2"]),
        ("hot", 2, 2, &["--clients", "8"]),
        ("semaphore", 2, 2, &["--clients", "12", "--limit", "2"]),
        ("two-phase", 3, 3, &["--clients", "8"]),
        ("handover", 2, 4, &["--clients", "10"]),
        ("lock", 2, 2, &["--rate", "300"]),
        ("floor", 2, 2, &[]),
        ("redis", 2, 2, &[]),
    ] {
        if workload == "redis" && !redis() {
            continue;
        }
        let result = measured(&[&[workload], &SHORT[..], more].concat());
        assert_eq!(result["valid"], true, "{workload}: {result}");
        let run = &result["runs"][0];
        let operations = run["total"]["ops"].as_u64().unwrap();
        assert!(operations > 0, "{workload}: {run}");
        assert_eq!(run["requests"].as_u64().unwrap(), requests * operations, "{workload} {more:?}: {run}");
        assert_eq!(run["phases"].as_array().unwrap().len(), phases, "{workload}");
        assert!(run["total"]["p99_us"].as_f64().unwrap() > 0.0, "{workload}: {run}");
        assert!(run["server_cost"]["us_per_operation"].is_number(), "{workload}: {run}");
        if more.contains(&"--rate") {
            assert_eq!(operations, 90, "a schedule has as many arrivals as it says: {run}");
        }
    }
}

#[test]
fn redis_and_both_kinds_of_keys_are_compared() {
    if !redis() {
        return;
    }
    let result = measured(&[&["compare", "--clients", "8"], &SHORT[..]].concat());
    assert_eq!(result["valid"], true, "{result}");
    for figure in
        ["cpu_lock_over_redis", "cpu_floor_over_redis", "throughput_lock_over_redis", "cpu_hot_over_lock"]
    {
        assert!(result[figure].as_f64().unwrap() > 0.0, "{figure}: {result}");
    }
}

#[test]
fn memory_is_told_for_each_kind() {
    let result = measured(&["memory", "--crowd", "300", "--held", "20000"]);
    // Sixteen bytes of key, twice the token: a figure below that is not of this earth.
    assert!(result["bytes_per_held_key"].as_f64().unwrap() > 16.0, "{result}");
    assert!(result["bytes_per_idle_connection"].is_number(), "{result}");
    assert!(result["bytes_per_blocked_waiter"].is_number(), "{result}");
}

#[test]
fn a_crowd_leaves_while_others_work() {
    let result = measured(&["leave", "--crowd", "20", "--runs", "1", "--rate", "200", "--clients", "4"]);
    let spans = result["spans"].as_array().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| span["during"].as_str().unwrap()).collect();
    assert_eq!(names, ["before", "leaving-with-one-key-each", "before", "leaving-with-all-keys"]);
    assert_eq!(spans[3]["pairs"]["ops"], 600, "{result}");
}

#[test]
fn keys_expire_and_are_collected_while_others_work() {
    let result = measured(&["expiry", "--held", "5000", "--rate", "200", "--clients", "4"]);
    let spans = result["spans"].as_array().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| span["during"].as_str().unwrap()).collect();
    assert_eq!(names, ["before", "expiry", "collection"]);
}

#[test]
fn refused_requests_invalidate_a_run_and_are_shown() {
    // With one key for the whole server, all clients but the first are refused.
    let arguments = [&["lock", "--clients", "4", "--server-bin", server()], &SHORT[..]].concat();
    let output = bench(&[&arguments[..], &["--server-arg=--max-locks", "--server-arg=1"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("INVALID") && text.contains("error_max_locks"), "{text}");
}

#[test]
fn what_cannot_be_measured_is_explained() {
    let missing = PathBuf::from("/nonexistent/dflockd");
    for (arguments, part, status) in [
        (&["lock", "--server-bin", missing.to_str().unwrap()][..], "cannot start /nonexistent/dflockd", 1),
        (&["lock", "--server-bin", "/bin/false"], "ended with exit status: 1", 1),
        (&["lock", "--clients", "none"], "--clients \"none\"", 2),
    ] {
        let output = bench(arguments);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains(part), "{arguments:?}: {complaint}");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    }
}
