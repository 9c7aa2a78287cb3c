//! The built generator against a small fake server, an etcd where one is installed, and the real lockd where
//! `LOCKD_SERVER_BIN` names one.

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
        ("queue", 900, 3, &["--clients", "5", "--threads", "2"]),
        ("queue", 900, 3, &["--clients", "5", "--rate", "1000"]),
        ("queue-handover", 900, 4, &[]),
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
fn redis_is_driven_through_whole_cycles() {
    if !Path::new("/usr/bin/redis-server").exists() {
        eprintln!("skipped: no /usr/bin/redis-server (package redis-server)");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    let result = measured(&[
        "redis-queue",
        "--root",
        root,
        "--clients=4",
        "--ops=40",
        "--runs=1",
        "--warmup=0",
        "--json",
    ]);
    let run = &result["runs"][0];
    assert_eq!((&result["valid"], &run["requests"]), (&Value::Bool(true), &Value::from(120)), "{result}");
}

#[test]
fn queues_of_the_real_server_are_filled_and_drained() {
    let Ok(lockd) = std::env::var("LOCKD_SERVER_BIN") else {
        eprintln!("skipped: set LOCKD_SERVER_BIN to a built lockd");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    let common = ["--server-bin", &lockd, "--root", root, "--runs=1", "--json", "--warmup=0"];
    let drain = ["queue-drain", "--messages=800", "--clients=2", "--prefetch=4", "--acks"];
    let drained = measured(&[&drain[..], &common[..]].concat());
    assert_eq!(drained["valid"], true, "{drained}");
    for means in ["dequeue", "subscribe"] {
        assert_eq!(drained[means][0]["total"]["ops"], 768, "{means}: {drained}");
    }
    let depth = ["queue-depth", "--messages=600", "--ops=50"];
    let deep = measured(&[&depth[..], &common[..]].concat());
    assert_eq!(deep["valid"], true, "{deep}");
    assert!(deep["ready_ratios"][0].as_f64().unwrap() > 0.0, "{deep}");
}

/// Not a test: what `fake_binary` runs, so that the fake can be started, stopped and killed as a process.
#[test]
#[ignore = "serves until it is killed"]
fn serve_as_a_process() {
    let Ok(address) = std::env::var("FAKE_LISTEN") else { return };
    fake::run(std::net::TcpListener::bind(address).unwrap(), 0);
}

/// A program that takes lockd's arguments and serves the fake.
fn fake_binary(directory: &Path) -> PathBuf {
    let path = directory.join("fake-lockd");
    let script = format!(
        "#!/bin/sh\nfor a; do [ \"$p\" = --listen ] && export FAKE_LISTEN=\"$a\"; p=\"$a\"; done\n\
         exec '{}' --ignored --exact serve_as_a_process --nocapture\n",
        std::env::current_exe().unwrap().display()
    );
    // Written by another process: one that this process forks for another test must not inherit the open file,
    // or the kernel would call the program busy.
    let written = Command::new("/bin/sh")
        .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 700 \"$2\"", "sh", &script, path.to_str().unwrap()])
        .status()
        .unwrap();
    assert!(written.success());
    path
}

#[test]
fn a_started_server_is_charged_for_its_work_and_compared() {
    let root = tempfile::tempdir().unwrap();
    let fake = fake_binary(root.path());
    let (root_path, fake) = (root.path().to_str().unwrap(), fake.to_str().unwrap());
    let common = ["--server-bin", fake, "--root", root_path, "--runs=2", "--warmup=0.05", "--json"];
    let ratio = measured(&[&["read-ratio", "--clients=2", "--duration=0.3"], &common[..]].concat());
    let rounds = &ratio["comparisons"][0];
    assert_eq!((&ratio["valid"], rounds["ratios"].as_array().unwrap().len()), (&Value::Bool(true), 2));
    for side in ["reference", "subject"] {
        let run = &rounds[side][0];
        assert!(run["server_cost"]["us_per_request"].as_f64().unwrap() > 0.0, "{side}: {run}");
        assert!(run["disturbance"]["other_processes_percent"].is_number(), "{side}: {run}");
    }
    if Path::new("/usr/bin/etcd").exists() {
        let counts = ["compare", "--client-counts=1,3", "--duration=20", "--ops=30"];
        let compared = measured(&[&counts[..], &common[..]].concat());
        let comparisons = compared["comparisons"].as_array().unwrap();
        assert_eq!(comparisons.len(), 2, "{compared}");
        for comparison in comparisons {
            assert!(comparison["median_ratio"].as_f64().unwrap() > 0.0, "{comparison}");
            assert_eq!(comparison["reference"][1]["requests"], 5 * 30, "{comparison}");
            assert_eq!(comparison["subject"][1]["requests"], 3 * 30, "{comparison}");
        }
    }
}

#[test]
fn held_leases_are_counted_and_seen_to_expire() {
    let root = tempfile::tempdir().unwrap();
    let fake = fake_binary(root.path());
    let (root_path, fake) = (root.path().to_str().unwrap(), fake.to_str().unwrap());
    let result = measured(&[
        "held-leases",
        "--server-bin",
        fake,
        "--root",
        root_path,
        "--store=mem",
        "--leases=200",
        "--ttl=12",
        "--freeze",
        "--clients=8",
        "--json",
    ]);
    assert_eq!(result["valid"], true, "{result}");
    let run = &result["runs"][0];
    assert_eq!(run["still_held_after_expiry"], 0, "{run}");
    assert_eq!(run["during"]["reads"]["ops"], 3000, "{run}");
    assert!(run["restart"].is_null(), "memory does not survive a kill: {run}");
}

#[test]
fn held_leases_survive_a_kill_of_the_real_server() {
    let Ok(lockd) = std::env::var("LOCKD_SERVER_BIN") else {
        eprintln!("skipped: set LOCKD_SERVER_BIN to a built lockd");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let result = measured(&[
        "held-leases",
        "--server-bin",
        &lockd,
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
