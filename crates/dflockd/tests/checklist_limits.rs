//! Lines 59 to 80 of the checklist of the server's contract: budgets, connections that end, stats, secrets, flags, the end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod daemon;

use daemon::{Client, Daemon, command};
use rustix::process::Signal;
use serde_json::json;
use std::net::TcpStream;

fn clients<const N: usize>(flags: &[&str]) -> (Daemon, [Client; N]) {
    let daemon = Daemon::start(flags);
    let clients = std::array::from_fn(|_| daemon.connect());
    (daemon, clients)
}

#[test]
fn dflockd_server_59_the_budget_of_keys() {
    let (_daemon, [mut a]) = clients(&["--max-locks", "2"]);
    a.grant("l\na\n0\n", 33);
    a.grant("sl\ns\n0 2\n", 33);
    for request in ["l\nb\n0\n", "e\nb\n\n", "sl\nt\n0 2\n", "se\nt\n2\n"] {
        assert_eq!(a.ask(request), "error_max_locks", "{request:?}");
    }
    assert_eq!(a.ask("l\na\n0\n"), "timeout");
}

#[test]
fn dflockd_server_60_idle_keys_count() {
    let (_daemon, [mut a]) = clients(&["--max-locks", "1"]);
    let token = a.grant("l\na\n0\n", 33);
    assert_eq!(a.ask(format!("r\na\n{token}\n")), "ok");
    assert_eq!(a.ask("l\nb\n0\n"), "error_max_locks");
}

#[test]
fn dflockd_server_61_the_budget_of_waiters() {
    let (_daemon, [mut h, mut a, mut b]) = clients(&["--max-waiters", "1"]);
    h.grant("l\nk\n0\n", 33);
    a.send("l\nk\n10\n");
    h.sees_waiters(1);
    for request in ["l\nk\n0\n", "l\nk\n5\n", "e\nk\n\n"] {
        assert_eq!(b.ask(request), "error_max_waiters", "{request:?}");
    }
}

/// Decision 21: the mismatch is that of a semaphore.
#[test]
fn dflockd_server_62_which_refusal_comes_first() {
    let (_daemon, [mut h, mut a, mut b]) = clients(&["--max-waiters", "1", "--max-locks", "1"]);
    h.grant("sl\nk\n0 1\n", 33);
    a.send("sl\nk\n10 1\n");
    h.sees_waiters(1);
    assert_eq!(b.ask("sl\nk\n0 2\n"), "error_limit_mismatch");
    assert_eq!(b.ask("l\nother\n0\n"), "error_max_locks");
    assert_eq!(b.ask("sl\nk\n0 1\n"), "error_max_waiters");
}

#[test]
fn dflockd_server_63_connections_are_counted_exactly() {
    let (daemon, [mut a, mut b]) = clients(&["--max-connections", "2"]);
    a.is_open();
    b.is_open();
    // The one who leaves has made room before the next one asks, however close they follow each other.
    for _ in 0..100 {
        assert_eq!(daemon.connect().rest(), "");
        drop(std::mem::replace(&mut a, b));
        // On a busy machine even the loopback can deliver a later connection before an earlier end.
        daemon.delivered();
        b = daemon.connect();
        b.is_open();
    }
}

#[test]
fn dflockd_server_64_a_holder_that_ends_hands_over() {
    for reset in [false, true] {
        let (_daemon, [mut a, mut b]) = clients(&[]);
        a.grant("l\nk\n0\n", 33);
        b.send("l\nk\n10\n");
        a.sees_waiters(1);
        if reset {
            a.reset()
        } else {
            drop(a)
        }
        b.granted(33);
    }
}

#[test]
fn dflockd_server_65_everything_of_a_connection_is_released() {
    let (_daemon, [mut a, mut b]) = clients(&[]);
    for request in ["l\na\n0\n", "l\nb\n0\n", "sl\ns\n0 2\n", "sl\ns\n0 2\n"] {
        a.grant(request, 33);
    }
    drop(a);
    b.sees_connections(1);
    let stats = b.stats();
    assert_eq!((&stats["locks"], &stats["semaphores"]), (&json!([]), &json!([])));
    assert_eq!(stats["idle_locks"].as_array().unwrap().len(), 2);
    assert_eq!(stats["idle_semaphores"].as_array().unwrap().len(), 1);
}

#[test]
fn dflockd_server_66_an_e_leaves_the_queue_with_its_connection() {
    let (_daemon, [mut h, mut a]) = clients(&[]);
    h.grant("l\nk\n0\n", 33);
    assert_eq!(a.ask("e\nk\n\n"), "queued");
    drop(a);
    h.sees_connections(1);
    assert_eq!(h.stats()["locks"][0]["waiters"], 0);
}

fn slots_outlive_connections(flag: &str) {
    let (mut daemon, [mut a, mut b]) = clients(&[flag]);
    let token = a.grant("l\nk\n0 2\n", 2);
    drop(a);
    b.sees_connections(1);
    assert_eq!(b.ask("l\nk\n0\n"), "timeout");
    assert_eq!(b.ask(format!("n\nk\n{token} 2\n")), "ok 2");
    b.send("l\nk\n10\n");
    daemon.pass(1999);
    assert_eq!(b.arrived(), None);
    daemon.pass(1100);
    b.granted(33);
}

#[test]
fn dflockd_server_67_slots_outlive_connections_when_told_to() {
    slots_outlive_connections("--auto-release-on-disconnect=false");
}

#[test]
fn dflockd_server_68_also_by_the_other_name() {
    slots_outlive_connections("--no-auto-release-on-disconnect");
}

#[test]
fn dflockd_server_69_stats_of_an_empty_server() {
    let (_daemon, [mut a]) = clients(&[]);
    for request in ["stats\n_\n\n", "stats\n\n\n", "stats\na b\nc d\n"] {
        assert_eq!(
            a.ask(request),
            r#"ok {"connections":1,"locks":[],"semaphores":[],"idle_locks":[],"idle_semaphores":[]}"#
        );
    }
}

#[test]
fn dflockd_server_70_stats_sort_by_limit() {
    let (_daemon, [mut a]) = clients(&[]);
    a.grant("sl\ns\n0 1\n", 33);
    a.grant("sl\nt\n0 2\n", 33);
    let reply = a.ask("stats\n\n\n");
    assert!(reply.contains(r#""locks":[{"key":"s","owner_conn_id":1,"lease_expires_in_s":"#), "{reply}");
    assert!(reply.contains(r#""semaphores":[{"key":"t","limit":2,"holders":1,"waiters":0}]"#), "{reply}");
}

#[test]
fn dflockd_server_71_stats_spell_any_key() {
    let (_daemon, [mut a]) = clients(&[]);
    a.grant("l\nq\"\\<\n0\n", 33);
    assert_eq!(a.stats()["locks"][0]["key"], "q\"\\<");
}

#[test]
fn dflockd_server_72_no_secret_no_auth() {
    let (_daemon, [mut a]) = clients(&[]);
    assert_eq!(a.ask("auth\n_\nx\n"), "error");
    a.is_open();
}

#[test]
fn dflockd_server_73_the_secret_once() {
    let (_daemon, [mut a]) = clients(&["--auth-token", "s3cret"]);
    assert_eq!(a.ask("auth\n_\n  s3cret\t\n"), "ok");
    assert_eq!(a.ask("auth\n_\ns3cret\n"), "error");
    a.is_open();
}

#[test]
fn dflockd_server_74_every_other_first_word() {
    let mut daemon = Daemon::start(&["--auth-token", "s3cret", "--read-timeout", "2"]);
    let long = "x".repeat(300) + "\n";
    let mut strangers: Vec<Client> = ["auth\n_\nbad\n", "l\nk\n0\n", "stats\n\n\n", &long, "auth\n_\n\n", ""]
        .into_iter()
        .map(|first| {
            let mut stranger = daemon.connect();
            stranger.send(first);
            stranger
        })
        .collect();
    let silent = strangers.len() - 1;
    let ended = daemon.connect();
    ended.half_close();
    strangers.push(ended);
    for (number, stranger) in strangers.iter_mut().enumerate().filter(|entry| entry.0 != silent) {
        assert_eq!(stranger.line().as_deref(), Some("error_auth"), "stranger {number}");
    }
    daemon.pass(99);
    for stranger in &mut strangers {
        stranger.socket.set_nonblocking(true).unwrap();
        let end = std::io::Read::read(&mut stranger.socket, &mut [0]);
        // Only a debug build stands still for us.
        assert!(end.is_err() || !cfg!(debug_assertions), "the pause was left out");
        stranger.socket.set_nonblocking(false).unwrap();
    }
    daemon.pass(1);
    daemon.pass(1900);
    assert_eq!(strangers[silent].line().as_deref(), Some("error_auth"));
    daemon.pass(110);
    for stranger in &mut strangers {
        assert_eq!(stranger.rest(), "");
    }
}

#[test]
fn dflockd_server_75_what_follows_a_wrong_secret_is_not_executed() {
    let (mut daemon, [mut a, mut b]) = clients(&["--auth-token", "s3cret"]);
    assert_eq!(b.ask("auth\n_\ns3cret\n"), "ok");
    a.send("auth\n_\nbad\nl\nk\n0\n");
    assert_eq!(a.line().as_deref(), Some("error_auth"));
    daemon.pass(110);
    assert_eq!(a.rest(), "");
    b.grant("l\nk\n0\n", 33);
}

#[test]
fn dflockd_server_76_a_flag_beats_the_environment() {
    let daemon = Daemon::start_with(&["--max-locks", "2"], &[("DFLOCKD_MAX_LOCKS", "1")]);
    let mut a = daemon.connect();
    a.grant("l\na\n0\n", 33);
    a.grant("l\nb\n0\n", 33);
    assert_eq!(a.ask("l\nc\n0\n"), "error_max_locks");
    let daemon = Daemon::start_with(&[], &[("DFLOCKD_DEFAULT_LEASE_TTL_S", "5")]);
    daemon.connect().grant("l\nk\n0\n", 5);
    let daemon = Daemon::start_with(&[], &[("DFLOCKD_DEFAULT_LEASE_TTL_S", "abc")]);
    daemon.connect().grant("l\nk\n0\n", 33);
}

#[test]
fn dflockd_server_77_only_the_secret_of_the_environment_beats_the_flag() {
    let mut daemon = Daemon::start_with(&["--auth-token", "flagtok"], &[("DFLOCKD_AUTH_TOKEN", "envtok")]);
    assert_eq!(daemon.connect().ask("auth\n_\nenvtok\n"), "ok");
    let mut a = daemon.connect();
    assert_eq!(a.ask("auth\n_\nflagtok\n"), "error_auth");
    daemon.pass(110);
    assert_eq!(a.rest(), "");
    // The conflict was told at the start, the secrets were not.
    let warning = daemon.lines.iter().find(|line| line.contains("level=WARN")).unwrap();
    assert!(warning.contains("--auth-token") && !warning.contains("tok "), "{warning}");
}

#[test]
fn dflockd_server_78_a_port_that_is_none_and_the_version() {
    let output = command(&["--port", "70000"], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "configuration error: --port must be 0-65535 (got 70000)\n"
    );
    let output = command(&["--version"], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), concat!(env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn dflockd_server_79_a_drain() {
    let (mut daemon, [mut h, mut a, mut b]) = clients(&[]);
    let token = h.grant("l\nk\n0\n", 33);
    a.send("l\nk\n30\n");
    assert_eq!(b.ask("e\nk\n\n"), "queued");
    b.send("w\nk\n30\n");
    h.sees_waiters(2);
    daemon.pass(0);
    daemon.signal(Signal::TERM);
    daemon.log_line("shutting down");
    assert_eq!((a.line().as_deref(), b.line().as_deref()), (Some("error"), Some("error")));
    a.is_open();
    b.is_open();
    assert_eq!(h.ask(format!("n\nk\n{token}\n")), "ok 33");
    assert!(TcpStream::connect(("127.0.0.1", daemon.port)).is_err());
    drop((h, a, b));
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn dflockd_server_79_a_drain_keeps_sweeping() {
    let (mut daemon, [mut h, mut a]) = clients(&[]);
    h.grant("l\nk\n0 1\n", 1);
    a.grant("l\nk2\n0\n", 33);
    daemon.signal(Signal::TERM);
    daemon.log_line("shutting down");
    daemon.pass(2100);
    assert_eq!(a.stats()["idle_locks"][0]["key"], "k");
    drop((h, a));
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn dflockd_server_80_the_end_of_a_drain() {
    let (mut daemon, [mut a]) = clients(&["--shutdown-timeout", "1"]);
    a.is_open();
    daemon.signal(Signal::INT);
    daemon.log_line("shutting down");
    daemon.pass(999);
    assert_eq!(a.arrived(), None);
    assert!(daemon.child.try_wait().unwrap().is_none());
    daemon.pass(1);
    assert_eq!(a.rest(), "");
    assert_eq!(daemon.wait(), Some(0));
    let mut idle = Daemon::start(&[]);
    idle.signal(Signal::TERM);
    assert_eq!(idle.wait(), Some(0));
}
