//! The built generator against a small fake server, an etcd where one is installed, and the real lockd where
//! it has been built.

// The lints know only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod fake;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockd-bench")).args(arguments).output().unwrap()
}

fn measured(arguments: &[&str]) -> Value {
    let output = bench(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {complaint}{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn on_fake(workload: &str, more: &[&str]) -> Value {
    let endpoint = format!("http://{}", fake::start(0));
    let mut arguments =
        vec![workload, "--endpoint", &endpoint, "--json", "--warmup", "0.05", "--duration", "20"];
    arguments.extend_from_slice(&["--ops", "300", "--runs", "1"]);
    arguments.extend_from_slice(more);
    measured(&arguments)
}

#[test]
fn every_workload_measures_what_it_was_asked_to() {
    for (workload, requests, phases, more) in [
        ("lock", 900, 3, &[][..]),
        ("lock", 900, 3, &["--keys", "fresh", "--threads", "2"]),
        ("public-read", 300, 1, &["--payload-bytes", "70000"]),
        ("health", 300, 1, &[]),
        ("keepalive", 300, 1, &[]),
        ("handover", 600, 4, &["--clients", "5"]),
        ("public-read", 300, 1, &["--rate", "3000"]),
    ] {
        let result = on_fake(workload, more);
        assert_eq!(result["valid"], true, "{workload}: {result}");
        let run = &result["runs"][0];
        assert_eq!(run["total"]["ops"], 300, "{workload} {more:?}: {run}");
        assert_eq!(run["requests"], requests, "{workload} {more:?}: {run}");
        assert_eq!(run["phases"].as_array().unwrap().len(), phases, "{workload}");
        assert!(run["total"]["p99_us"].as_f64().unwrap() > 0.0, "{workload}: {run}");
        assert!(result["host"]["kernel"].as_str().unwrap().contains('.'), "{result}");
    }
}

#[test]
fn refused_requests_invalidate_a_run_and_are_shown() {
    let endpoint = format!("http://{}", fake::start(50));
    let output = bench(&["lock", "--endpoint", &endpoint, "--ops", "300", "--runs", "1", "--warmup", "0"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("INVALID") && text.contains("out_of_space"), "{text}");
    assert!(text.contains("lock.update: ops=") && !text.contains("lock.update: ops=300 "), "{text}");
}

#[test]
fn text_output_has_header_phases_total_and_median() {
    let endpoint = format!("http://{}", fake::start(0));
    let output = bench(&["lock", "--endpoint", &endpoint, "--ops", "50", "--runs", "3", "--warmup", "0"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["# host=", " fs=", "durability=", "lock.acquire: ops=50 ", "\nlock: ops=50 ", "median run: "]
    {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

#[test]
fn what_cannot_be_measured_is_explained() {
    for (arguments, part, status) in [
        (&["health", "--endpoint", "http://127.0.0.1:1"][..], "cannot connect to http://127.0.0.1:1", 1),
        (&["health", "--server-bin", "/nonexistent/lockd"], "cannot start /nonexistent/lockd", 1),
        (&["health", "--server-bin", "/bin/false"], "ended with exit status: 1", 1),
        (&["lock", "--clients", "none"], "--clients \"none\"", 2),
    ] {
        let output = bench(arguments);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains(part), "{arguments:?}: {complaint}");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    }
}

#[test]
fn etcd_is_driven_through_whole_cycles() {
    if !Path::new("/usr/bin/etcd").exists() {
        eprintln!("skipped: no /usr/bin/etcd (package etcd-server)");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for connections in ["2", "4"] {
        let result = measured(&[
            "etcd-lock",
            "--root",
            root.path().to_str().unwrap(),
            "--clients=4",
            "--etcd-connections",
            connections,
            "--ops=40",
            "--runs=1",
            "--warmup=0",
            "--json",
        ]);
        let run = &result["runs"][0];
        assert_eq!((&result["valid"], &run["requests"]), (&Value::Bool(true), &Value::from(200)), "{result}");
        assert!(run["server_cost"]["us_per_operation"].as_f64().unwrap() > 0.0, "{run}");
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "run directories are left behind");
}

#[test]
fn held_leases_survive_a_kill_and_expire_on_the_real_server() {
    let lockd: PathBuf = Path::new(env!("CARGO_BIN_EXE_lockd-bench")).with_file_name("lockd");
    if !lockd.exists() {
        eprintln!("skipped: no {} yet", lockd.display());
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let result = measured(&[
        "held-leases",
        "--root",
        root.path().to_str().unwrap(),
        "--leases=200",
        "--ttl=20",
        "--clients=8",
        "--json",
    ]);
    assert_eq!(result["valid"], true, "{result}");
    assert_eq!(result["runs"][0]["restart"]["lost_leases"], 0, "{result}");
}
