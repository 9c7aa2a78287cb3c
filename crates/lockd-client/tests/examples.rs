//! The examples do what they say, against a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use lockd_conformance::http::Address;
use lockd_conformance::server::{StoreKind, shared};

fn run(name: &str) -> String {
    let Address::Tcp(address) = shared(StoreKind::Mem).address().clone() else { panic!("not TCP") };
    // Cargo builds the examples before the tests, next to them.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let program = path.join("examples").join(name);
    let output = Command::new(&program)
        .env("LOCKD_CLIENT_SERVER", format!("http://{address}"))
        .output()
        .unwrap_or_else(|error| panic!("run {}: {error}; build the examples first", program.display()));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_work() {
    assert_eq!(run("exclusive_job"), "working with fencing token 1\ndone\n");
    let counted = run("counter");
    let mut counted: Vec<u64> = counted.lines().map(|line| line.parse().unwrap()).collect();
    counted.sort_unstable();
    assert_eq!(counted, (1..=10).collect::<Vec<_>>());
    assert!(run("config").ends_with("version 1: Config { workers: 1, verbose: false }\n"));
    let report = run("report");
    assert!(report.starts_with("12000 bytes") && report.ends_with("\"all is well\"\n"), "{report}");
    assert_eq!(run("transfer"), "a has Some(95), b has Some(5)\n");
    let worked = run("queue_worker");
    let mut worked: Vec<&str> = worked.lines().collect();
    assert_eq!(worked.pop(), Some("done"));
    worked.sort_unstable();
    let shipped = (1..=5).map(|number| format!("order {number} is shipped"));
    let mut wanted: Vec<String> = shipped.chain(["order 3 has to wait".to_owned()]).collect();
    wanted.sort();
    assert_eq!(worked, wanted);
    assert_eq!(run("workflow"), "Reserve\nPay\nShip\n");
}
