//! What decisions 21 and 23 and the checklist ask for beyond the recordings, against the built daemon. The number in a name is
//! the line of the checklist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod daemon;

use daemon::{Client, Daemon, until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn dflockd_server_08_to_10_the_line_limit() {
    let daemon = Daemon::start(&[]);
    let key = "k".repeat(256);
    daemon.connect().token(&format!("l\n{key}\n0\n"));
    for request in [format!("l\n{key}k\n0\n"), format!("l\n{key}\r\n0\n"), "x".repeat(300) + "\n"] {
        let mut client = daemon.connect();
        client.send(request);
        assert_eq!(client.rest(), "error\n");
    }
}

#[test]
fn dflockd_server_12_an_endless_line_is_refused_at_its_end() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.connect();
    client.send("x".repeat(400));
    client.half_close();
    assert_eq!(client.rest(), "error\n");
}

#[test]
fn dflockd_server_24_seconds_that_do_not_fit() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.connect();
    for request in
        ["l\nk\n9223372037\n", "e\nk\n9223372037\n", "l\nk\n0 18446744074\n", "l\nk\n9223372036854775807\n"]
    {
        assert_eq!(client.ask(request), "error", "{request:?}");
    }
    assert!(client.ask("l\nk\n0 9223372036\n").ends_with(" 9223372036"));
}

#[test]
fn dflockd_server_52_a_lapsed_grant_is_never_returned() {
    let daemon = Daemon::start(&[]);
    let (mut holder, mut first, mut second) = (daemon.connect(), daemon.connect(), daemon.connect());
    let token = holder.token("l\nk\n0\n");
    assert_eq!(first.ask("e\nk\n1\n"), "queued");
    assert_eq!(holder.ask(format!("r\nk\n{token}\n")), "ok");
    second.token("l\nk\n10\n");
    assert_eq!(first.ask("w\nk\n0\n"), "error_lease_expired");
    assert_eq!(first.ask("w\nk\n0\n"), "error_not_enqueued");
    assert_eq!(first.ask("e\nk\n1\n"), "queued");
}

#[test]
fn dflockd_server_56_58_locks_and_semaphores_have_their_own_keys() {
    let daemon = Daemon::start(&["--max-locks", "2"]);
    let mut client = daemon.connect();
    let lock = client.token("l\nk\n0\n");
    let slot = client.token("sl\nk\n0 3\n");
    assert_eq!(client.ask("l\nother\n0\n"), "error_max_locks");
    assert_eq!(client.ask(format!("sr\nk\n{lock}\n")), "error");
    assert_eq!(client.ask(format!("r\nk\n{slot}\n")), "error");
    assert_eq!(client.ask(format!("r\nk\n{lock}\n")), "ok");
    assert_eq!(client.ask(format!("sn\nk\n{slot} 5\n")), "ok 5");
    assert_eq!(client.ask("sl\nk\n0 2\n"), "error_limit_mismatch");
}

#[test]
fn dflockd_server_63_connections_are_counted_exactly() {
    let daemon = Daemon::start(&["--max-connections", "2"]);
    let (mut first, mut second) = (daemon.connect(), daemon.connect());
    assert_eq!((first.ask("ping\n\n\n"), second.ask("ping\n\n\n")), ("ok".into(), "ok".into()));
    assert_eq!(daemon.connect().rest(), "");
    drop(first);
    until(&mut second, "stats\n\n\n", |reply| reply.starts_with("ok {\"connections\":1,"));
    assert_eq!(daemon.connect().ask("ping\n\n\n"), "ok");
}

#[test]
fn dflockd_server_d4_a_waiter_that_left_is_gone_at_once() {
    let daemon = Daemon::start(&[]);
    let mut holder = daemon.connect();
    holder.token("l\nk\n0\n");
    let mut waiter = daemon.connect();
    waiter.send("l\nk\n1000\n");
    until(&mut holder, "stats\n\n\n", |reply| reply.contains("\"waiters\":1"));
    drop(waiter);
    until(&mut holder, "stats\n\n\n", |reply| {
        reply.contains("\"waiters\":0") && reply.contains("\"connections\":1")
    });
    let mut half = daemon.connect();
    half.send("l\nk\n1000\n");
    half.half_close();
    assert_eq!(half.rest(), "error\n");
    let mut more = daemon.connect();
    more.send("l\nk\n1\nping\n\n\n");
    more.half_close();
    assert_eq!(more.rest(), "timeout\nok\n");
}

#[test]
fn dflockd_server_68_slots_outlive_connections_when_told_to() {
    let daemon = Daemon::start(&["--no-auto-release-on-disconnect"]);
    let mut first = daemon.connect();
    let token = first.token("l\nk\n0 900\n");
    assert_eq!(first.ask("e\nk\n\n"), "queued");
    drop(first);
    let mut second = daemon.connect();
    until(&mut second, "stats\n\n\n", |reply| {
        reply.contains("\"connections\":1") && reply.contains("\"waiters\":0")
    });
    assert_eq!(second.ask("l\nk\n0\n"), "timeout");
    assert_eq!(second.ask(format!("n\nk\n{token} 2\n")), "ok 2");
    assert_eq!(second.ask(format!("r\nk\n{token}\n")), "ok");
}

#[test]
fn dflockd_server_74_wrong_secrets_at_a_rate_disturb_nobody() {
    let daemon = Daemon::start(&["--auth-token", "s3cret"]);
    let mut friend = daemon.connect();
    assert_eq!(friend.ask("auth\n_\n  s3cret\t\n"), "ok");
    let since = Instant::now();
    let mut strangers: Vec<Client> = (0..200).map(|_| daemon.connect()).collect();
    let attempts = [
        "auth\n_\nbad\nl\nk\n0\n".to_owned(),
        "l\nk\n0\n".into(),
        "stats\n\n\n".into(),
        "x".repeat(300) + "\n",
        "auth\n_\n\n".into(),
    ];
    for (number, stranger) in strangers.iter_mut().enumerate() {
        stranger.send(&attempts[number % attempts.len()]);
    }
    assert_eq!(friend.ask("l\nk\n0\n").split(' ').next(), Some("ok"));
    for stranger in &mut strangers {
        assert_eq!(stranger.rest(), "error_auth\n");
    }
    assert!(since.elapsed() >= Duration::from_millis(100), "the pause was left out");
    let silent = daemon.connect();
    silent.half_close();
    let mut silent = silent;
    assert_eq!(silent.rest(), "error_auth\n");
}

#[test]
fn dflockd_server_79_a_drain_keeps_sweeping() {
    let mut daemon = Daemon::start(&[]);
    let (mut holder, mut other) = (daemon.connect(), daemon.connect());
    holder.token("l\nk\n0 1\n");
    other.send("l\nk2\n0\n");
    other.line();
    daemon.signal(Signal::TERM);
    daemon.log_line("shutting down");
    until(&mut other, "stats\n\n\n", |reply| reply.contains("\"idle_locks\":[{\"key\":\"k\""));
    drop((holder, other));
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn tokens_grow_also_over_restarts() {
    let mut last = String::new();
    for _ in 0..3 {
        let daemon = Daemon::start(&[]);
        let mut client = daemon.connect();
        for key in 0..20 {
            let token = client.token(&format!("l\nk{key}\n0\n"));
            assert!(token[..16] > last[..last.len().min(16)]);
            last = token;
        }
    }
}

#[test]
fn held_slots_survive_a_planned_restart_and_a_crash_withholds_grants() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("held");
    let flags = ["--snapshot-file", file.to_str().unwrap(), "--shutdown-timeout", "1", "--crash-grace", "2"];
    let mut daemon = Daemon::start(&flags);
    let mut client = daemon.connect();
    let token = client.token("l\nk\n0 900\n");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));

    let mut daemon = Daemon::start(&flags);
    let mut client = daemon.connect();
    assert_eq!(client.ask("l\nk\n0\n"), "timeout");
    assert_eq!(client.ask(format!("n\nk\n{token} 800\n")), "ok 800");
    assert!(client.token("l\nother\n0\n")[..16] > token[..16]);
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();

    let daemon = Daemon::start(&flags);
    let mut client = daemon.connect();
    assert_eq!(client.ask("l\nk\n0\n"), "timeout");
    assert_eq!(client.ask("e\nk2\n\n"), "queued");
    client.token("l\nk\n30\n");
    assert_eq!(client.ask("w\nk2\n0\n").split(' ').next(), Some("ok"));
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let mut daemon = Daemon::start(&[]);
    let pid = rustix::process::Pid::from_child(&daemon.child);
    let small = rustix::process::Rlimit { current: Some(40), maximum: Some(40) };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, small).unwrap();
    let crowd: Vec<TcpStream> =
        (0..60).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    daemon.log_line("accept error");
    drop(crowd);
    assert_eq!(daemon.connect().ask("ping\n\n\n"), "ok");
}

#[test]
fn a_crowd_that_leaves_takes_its_locks_along() {
    let daemon = Daemon::start(&["--max-locks", "100000"]);
    let mut crowd = Vec::new();
    for number in 0..100 {
        let mut client = daemon.connect();
        let requests: String = (0..100).map(|key| format!("l\n{number}-{key}\n0\n")).collect();
        client.send(requests);
        (0..100).for_each(|_| assert!(client.line().unwrap().starts_with("ok ")));
        crowd.push(client);
    }
    let mut worker = daemon.connect();
    drop(crowd);
    for key in ["0-0", "50-7", "99-99"] {
        worker.token(&format!("l\n{key}\n30\n"));
    }
    until(&mut worker, "stats\n\n\n", |reply| reply.starts_with("ok {\"connections\":1,"));
}

#[test]
fn a_large_stats_reply_is_complete_json() {
    let daemon = Daemon::start(&["--max-locks", "100000"]);
    let mut client = daemon.connect();
    for block in 0..50 {
        let requests: String =
            (0..100).map(|key| format!("sl\n{block}-{key}\n0 {}\n", 1 + key % 2)).collect();
        client.send(requests);
        (0..100).for_each(|_| assert!(client.line().unwrap().starts_with("ok ")));
    }
    let reply = client.ask("stats\n\n\n");
    let stats: serde_json::Value = serde_json::from_str(reply.strip_prefix("ok ").unwrap()).unwrap();
    assert_eq!(stats["locks"].as_array().unwrap().len(), 2500);
    assert_eq!(stats["semaphores"].as_array().unwrap().len(), 2500);
    assert_eq!(client.ask("ping\n\n\n"), "ok");
}

#[test]
fn metrics_and_health_have_their_own_port() {
    let mut daemon = Daemon::start(&["--metrics-addr", "127.0.0.1:0"]);
    let line = daemon.log_line("metrics listening");
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    daemon.connect().token("l\nk\n0\n");
    let get = |path: &str| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get("/readyz").ends_with("ok\n"));
    assert!(get("/metrics").contains("\ndflockd_grants_total 1\n"));
    assert!(get("/other").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_blank_secret_is_no_secret_and_an_error() {
    let output = daemon::command(&["--port", "0", "--auth-token", "  "], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("configuration error: the auth token is blank")
    );
    let output = daemon::command(&["--help"], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}
