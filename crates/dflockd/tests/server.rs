//! What decision 23 and the issue ask for beyond recordings and checklist: restarts, crowds, bad manners, the metrics page.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod daemon;

use daemon::{Client, Daemon, until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn a_waiter_that_left_is_gone_at_once() {
    let mut daemon = Daemon::start(&[]);
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
    daemon.pass(1000);
    assert_eq!(more.rest(), "timeout\nok\n");
}

#[test]
fn wrong_secrets_at_a_rate_disturb_nobody() {
    let mut daemon = Daemon::start(&["--auth-token", "s3cret"]);
    let mut friend = daemon.connect();
    assert_eq!(friend.ask("auth\n_\n  s3cret\t\n"), "ok");
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
        assert_eq!(stranger.line().as_deref(), Some("error_auth"));
    }
    daemon.pass(110);
    for stranger in &mut strangers {
        assert_eq!(stranger.rest(), "");
    }
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
    daemon.log_line("shutting down");
    daemon.pass(1000);
    assert_eq!(daemon.wait(), Some(0));

    let mut daemon = Daemon::start(&flags);
    let mut client = daemon.connect();
    assert_eq!(client.ask("l\nk\n0\n"), "timeout");
    assert_eq!(client.ask(format!("n\nk\n{token} 800\n")), "ok 800");
    assert!(client.token("l\nother\n0\n")[..16] > token[..16]);
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();

    let mut daemon = Daemon::start(&flags);
    let mut client = daemon.connect();
    assert_eq!(client.ask("l\nk\n0\n"), "timeout");
    assert_eq!(client.ask("e\nk2\n\n"), "queued");
    client.send("l\nk\n30\n");
    daemon.pass(1999);
    assert_eq!(client.arrived(), None);
    daemon.pass(1);
    client.granted(33);
    client.grant("w\nk2\n0\n", 33);
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
