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
fn a_planned_restart_does_not_end_the_grace_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("held");
    let flags =
        ["--snapshot-file", file.to_str().unwrap(), "--shutdown-timeout", "1", "--crash-grace", "900"];
    let mut daemon = Daemon::start(&flags);
    daemon.connect().token("l\nk\n0 800\n");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    for notice in ["the last run crashed", "a run before the last crashed", "a run before the last crashed"] {
        let mut daemon = Daemon::start(&flags);
        assert!(daemon.lines.iter().any(|line| line.contains(notice)), "{:?}", daemon.lines);
        assert_eq!(daemon.connect().ask("l\nk\n0\n"), "timeout");
        daemon.signal(Signal::TERM);
        daemon.log_line("shutting down");
        daemon.pass(1000);
        assert_eq!(daemon.wait(), Some(0));
    }
}

#[test]
fn a_waiter_whose_peer_broke_off_goes_even_when_it_had_sent_more_than_is_kept() {
    let daemon = Daemon::start(&[]);
    let mut holder = daemon.connect();
    holder.token("l\nk\n0\n");
    let mut waiter = daemon.connect();
    waiter.send("l\nk\n100\n");
    holder.sees_waiters(1);
    waiter.send("ping\n\n\n".repeat(10_000));
    daemon.delivered();
    socket2::SockRef::from(&waiter.socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(waiter);
    holder.sees_waiters(0);
}

#[test]
fn keys_that_are_forgotten_do_not_hide_leases_that_expire() {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.connect();
    for key in 0..1000 {
        let token = client.token(&format!("l\n{key}\n0\n"));
        assert_eq!(client.ask(format!("r\n{key}\n{token}\n")), "ok");
    }
    client.token("l\nheld\n0 64\n");
    daemon.pass(20_000);
    client.is_open();
    daemon.pass(20_000);
    client.is_open();
    daemon.pass(20_000);
    client.is_open();
    daemon.pass(10_000);
    daemon.log_line("lease expired");
    let suppressed = daemon.lines.iter().find(|line| line.contains("suppressed"));
    assert_eq!(suppressed, None);
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
    for blank in ["", "  "] {
        let output = daemon::command(&["--port", "0", "--auth-token", blank], &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&output.stderr)
                .starts_with("configuration error: the auth token is blank")
        );
    }
    let output = daemon::command(&["--help"], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

/// A value of `/proc/<pid>/status` in KiB.
fn status_kib(daemon: &Daemon, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Processor time that the daemon has used, in ticks of the kernel (mostly 10 ms).
fn cpu_ticks(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", daemon.child.id())).unwrap();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn readers_that_never_read_cost_a_bounded_buffer() {
    let mut daemon = Daemon::start(&["--max-locks", "100000", "--write-timeout", "3"]);
    let mut worker = daemon.connect();
    for block in 0..50 {
        let requests: String = (0..100).map(|key| format!("l\n{block}-{key:0>180}\n0 900\n")).collect();
        worker.send(requests);
        (0..100).for_each(|_| assert!(worker.line().unwrap().starts_with("ok ")));
    }
    let before = status_kib(&daemon, "VmRSS");
    // Each of the replies has more than a megabyte.
    let mut lazy: Vec<Client> = (0..20).map(|_| daemon.connect()).collect();
    for client in &mut lazy {
        client.send("stats\n_\n\n".repeat(50));
    }
    daemon.pass(0);
    worker.is_open();
    let grown = status_kib(&daemon, "VmRSS").saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more for 20 readers that do not read");
    // They are cut after the write timeout; the worker is not.
    worker.send("ping\n\n\n");
    daemon.pass(3100);
    assert_eq!(worker.line().as_deref(), Some("ok"));
    worker.sees_connections(1);
}

#[test]
fn thousands_that_leave_at_once_take_everything_along() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
    let room = limit.current.unwrap_or(u64::MAX).saturating_sub(500);
    let count = room.min(10_000);
    let mut daemon = Daemon::start(&["--max-locks", "100000"]);
    let mut worker = daemon.connect();
    let mut crowd: Vec<Client> = (0..count).map(|_| daemon.connect()).collect();
    for (number, client) in crowd.iter_mut().enumerate() {
        client.send(format!("l\n{number}\n0 900\n"));
    }
    for client in &mut crowd {
        client.granted(900);
    }
    // One waits for what the last of them holds.
    let mut waiter = daemon.connect();
    waiter.send(format!("l\n{}\n900\n", count - 1));
    worker.sees_waiters(1);
    for (number, client) in crowd.into_iter().enumerate() {
        // Ends by a reset leave nothing behind in the kernel that would slow down the tests after this one.
        if number % 20 == 0 { drop(client) } else { client.reset() }
    }
    waiter.granted(33);
    worker.sees_connections(2);
    daemon.pass(0);
    assert_eq!(worker.stats()["locks"].as_array().unwrap().len(), 1);
}

#[test]
fn out_of_descriptors_it_neither_spins_nor_stops() {
    // By the time of the machine, because what is measured is how often it tries again.
    let mut daemon = Daemon::start_timed(&["--read-timeout", "900"]);
    let mut friend = daemon.connect();
    friend.is_open();
    let pid = rustix::process::Pid::from_child(&daemon.child);
    let small = rustix::process::Rlimit { current: Some(40), maximum: Some(40) };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, small).unwrap();
    let crowd: Vec<TcpStream> =
        (0..60).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    daemon.log_line("accept error");
    let before = cpu_ticks(&daemon);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let used = cpu_ticks(&daemon) - before;
    assert!(used < 50, "{used} ticks of work in a second and a half without anything to do");
    friend.is_open();
    drop(crowd);
    daemon.connect().is_open();
}

#[test]
fn noise_on_some_connections_does_not_reach_the_others() {
    let daemon = Daemon::start(&["--max-locks", "64"]);
    let mut worker = daemon.connect();
    let mut rng = fastrand::Rng::with_seed(5);
    let words = [
        "l", "e", "w", "r", "n", "sl", "se", "k", "0", "1 2", "\n", "\n", "\r", "\0", "stats", "\u{a0}", "-",
    ];
    for round in 0..60 {
        let token = worker.grant("l\nmine\n0\n", 33);
        let mut noisy = daemon.connect();
        for _ in 0..rng.usize(1..60) {
            let noise: Vec<u8> = if rng.u8(..4) == 0 {
                (0..rng.usize(..400)).map(|_| rng.u8(..)).collect()
            } else {
                (0..rng.usize(..40)).flat_map(|_| rng.choice(words).unwrap().bytes()).collect()
            };
            noisy.send(noise);
        }
        if round % 2 == 0 {
            noisy.half_close();
        }
        assert_eq!(worker.ask(format!("n\nmine\n{token} 44\n")), "ok 44");
        assert_eq!(worker.ask(format!("r\nmine\n{token}\n")), "ok");
    }
    worker.sees_connections(1);
}

#[test]
fn a_peer_that_vanished_without_a_word_is_found_by_the_read_timeout() {
    // Half open: the socket stays, nothing is ever sent again. Its locks go after the read timeout.
    let mut daemon = Daemon::start(&["--read-timeout", "5"]);
    let mut vanished = daemon.connect();
    vanished.grant("l\nk\n0 900\n", 900);
    let mut waiter = daemon.connect();
    waiter.send("l\nk\n100\n");
    daemon.pass(4999);
    assert_eq!(waiter.arrived(), None);
    daemon.pass(1);
    waiter.granted(33);
}
