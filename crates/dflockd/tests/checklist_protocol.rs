//! Lines 1 to 31 of the checklist of the server's contract: framing, arguments, the socket's timeouts, plain locks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod daemon;

use daemon::{Client, Daemon};

fn pair(flags: &[&str]) -> (Daemon, Client, Client) {
    let daemon = Daemon::start(flags);
    let (a, b) = (daemon.connect(), daemon.connect());
    (daemon, a, b)
}

/// A fresh server, and one request that is refused without losing the connection.
fn refused(requests: &[&str]) {
    let daemon = Daemon::start(&[]);
    for request in requests {
        let mut a = daemon.connect();
        assert_eq!(a.ask(request), "error", "{request:?}");
        a.is_open();
    }
    // Nothing of it left a trace.
    let stats = daemon.connect().stats();
    assert_eq!((&stats["locks"], &stats["idle_locks"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn dflockd_server_01_a_lock() {
    Daemon::start(&[]).connect().grant("l\nk\n10\n", 33);
}

#[test]
fn dflockd_server_02_crlf_is_read_and_never_written() {
    Daemon::start(&[]).connect().grant("l\r\nk\r\n10\r\n", 33);
}

#[test]
fn dflockd_server_03_any_number_of_returns_is_taken_off() {
    Daemon::start(&[]).connect().grant("l\r\r\nk\r\r\n10\r\r\n", 33);
}

#[test]
fn dflockd_server_04_a_return_inside_of_a_key() {
    refused(&["l\na\rb\n10\n"]);
}

#[test]
fn dflockd_server_05_empty_lines() {
    refused(&["\n\n\n"]);
}

#[test]
fn dflockd_server_06_commands_know_their_case() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    assert_eq!(a.ask("L\nk\n10\n"), "error");
    a.grant("l\nk\n10\n", 33);
}

#[test]
fn dflockd_server_07_commands_are_not_trimmed() {
    refused(&[" l\nk\n10\n", "l \nk\n10\n"]);
}

#[test]
fn dflockd_server_08_a_line_of_256_bytes() {
    let daemon = Daemon::start(&[]);
    daemon.connect().grant(&format!("l\n{}\n0\n", "k".repeat(256)), 33);
}

#[test]
fn dflockd_server_09_a_line_of_257_bytes() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    a.send(format!("l\n{}\n0\n", "k".repeat(257)));
    assert_eq!(a.rest(), "error\n");
}

#[test]
fn dflockd_server_10_returns_count_for_the_limit() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    a.send(format!("l\n{}\r\n0\n", "k".repeat(256)));
    assert_eq!(a.rest(), "error\n");
}

#[test]
fn dflockd_server_11_a_long_line_is_answered_without_the_other_two() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    a.send("x".repeat(300) + "\n");
    assert_eq!(a.rest(), "error\n");
}

#[test]
fn dflockd_server_12_a_long_line_without_an_end_is_answered_at_the_end_of_input() {
    let mut daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    a.send("x".repeat(400));
    daemon.pass(100);
    assert_eq!(a.arrived(), None);
    a.half_close();
    assert_eq!(a.rest(), "error\n");
}

#[test]
fn dflockd_server_13_half_a_request_is_dropped_in_silence() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    a.send("l\nk\n10");
    a.half_close();
    assert_eq!(a.rest(), "");
}

#[test]
fn dflockd_server_14_a_half_closed_client_gets_its_answer_and_loses_its_lock() {
    let (_daemon, mut a, mut b) = pair(&[]);
    a.send("l\nk\n10\n");
    a.half_close();
    a.granted(33);
    assert_eq!(a.line(), None);
    b.sees_connections(1);
    b.grant("l\nk\n0\n", 33);
}

#[test]
fn dflockd_server_15_three_requests_in_one_write() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    a.send("l\na\n0\nbogus\nb\n0\nl\na\n0\n");
    a.granted(33);
    assert_eq!((a.line().as_deref(), a.line().as_deref()), (Some("error"), Some("timeout")));
}

#[test]
fn dflockd_server_16_silence_ends_a_connection() {
    let mut daemon = Daemon::start(&["--read-timeout", "1"]);
    let mut a = daemon.connect();
    daemon.pass(900);
    assert_eq!(a.arrived(), None);
    daemon.pass(110);
    assert_eq!(a.rest(), "error\n");
}

#[test]
fn dflockd_server_17_the_read_timeout_is_that_of_a_line() {
    let mut daemon = Daemon::start(&["--read-timeout", "1"]);
    let mut a = daemon.connect();
    for line in ["l\n", "k\n", "10\n"] {
        a.send(line);
        daemon.pass(700);
    }
    a.granted(33);
}

#[test]
fn dflockd_server_18_a_silent_holder_loses_its_lock() {
    let (mut daemon, mut a, mut b) = pair(&["--read-timeout", "1"]);
    a.grant("l\nk\n0 30\n", 30);
    b.send("l\nk\n10\n");
    daemon.pass(900);
    assert_eq!(b.arrived(), None);
    daemon.pass(110);
    b.granted(33);
    assert_eq!(a.rest(), "error\n");
}

#[test]
fn dflockd_server_19_the_read_timeout_does_not_run_while_a_request_waits() {
    let (mut daemon, mut a, mut b) = pair(&["--read-timeout", "1"]);
    let token = a.grant("l\nk\n0\n", 33);
    b.send("l\nk\n3\n");
    for _ in 0..5 {
        daemon.pass(590);
        assert_eq!(a.ask(format!("n\nk\n{token}\n")), "ok 33");
        assert_eq!(b.arrived(), None);
    }
    daemon.pass(60);
    assert_eq!(b.line().as_deref(), Some("timeout"));
}

#[test]
fn dflockd_server_20_keys_without_blanks() {
    refused(&["l\n\n10\n", "l\na b\n10\n", "l\na\tb\n10\n"]);
}

#[test]
fn dflockd_server_21_keys_are_bytes() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    for key in [b"a\0b", b"a\xffb"] {
        a.send([b"l\n", &key[..], b"\n10\n"].concat());
        a.granted(33);
    }
}

#[test]
fn dflockd_server_22_spellings_of_zero() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    for (number, timeout) in ["+0", "-0", "007", " 0 ", "\u{a0}0"].iter().enumerate() {
        a.grant(&format!("l\nk{number}\n{timeout}\n"), 33);
    }
}

#[test]
fn dflockd_server_23_what_is_no_timeout() {
    let timeouts = ["", "x", "1.5", "1_000", "0x10", "-1", "9223372036854775808"];
    let requests = timeouts.map(|timeout| format!("l\nk\n{timeout}\n"));
    refused(&requests.each_ref().map(String::as_str));
}

#[test]
fn dflockd_server_24_seconds_that_do_not_fit() {
    refused(&[
        "l\nk\n9223372037\n",
        "e\nk\n9223372037\n",
        "l\nk\n0 18446744074\n",
        "l\nk\n9223372036854775807\n",
    ]);
    let daemon = Daemon::start(&[]);
    daemon.connect().grant("l\nk\n0 9223372036\n", 9_223_372_036);
}

#[test]
fn dflockd_server_25_fields_of_l() {
    refused(&["l\nk\n0 33 5\n", "l\nk\n0 0\n", "l\nk\n0 -1\n"]);
    let daemon = Daemon::start(&[]);
    daemon.connect().grant("l\nk\n0 +7\n", 7);
}

#[test]
fn dflockd_server_26_fields_of_the_others() {
    refused(&[
        "e\nk\n5 5\n",
        "w\nk\n\n",
        "w\nk\n5 5\n",
        "sl\nk\n0\n",
        "sl\nk\n0 0\n",
        "se\nk\n\n",
        "r\nk\n \n",
        "n\nk\n\n",
    ]);
}

#[test]
fn dflockd_server_27_a_lock_is_not_reentrant() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    a.grant("l\nk\n0\n", 33);
    assert_eq!(a.ask("l\nk\n0\n"), "timeout");
}

#[test]
fn dflockd_server_28_a_wait_lasts_as_long_as_asked() {
    let (mut daemon, mut a, mut b) = pair(&[]);
    a.grant("l\nk\n0\n", 33);
    b.send("l\nk\n1\n");
    daemon.pass(999);
    assert_eq!(b.arrived(), None);
    daemon.pass(1);
    assert_eq!(b.line().as_deref(), Some("timeout"));
}

#[test]
fn dflockd_server_29_only_the_token_releases_and_only_once() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    let token = a.grant("l\nk\n0\n", 33);
    let wrong = format!("{}{}", &token[..31], if token.ends_with('0') { '1' } else { '0' });
    assert_eq!(a.ask(format!("r\nk\n{wrong}\n")), "error");
    assert_eq!(a.ask(format!("r\nother\n{token}\n")), "error");
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "ok");
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "error");
}

#[test]
fn dflockd_server_30_anybody_with_the_token_releases() {
    let (_daemon, mut a, mut b) = pair(&[]);
    let token = a.grant("l\nk\n10\n", 33);
    assert_eq!(b.ask(format!("r\nk\n{token}\n")), "ok");
}

#[test]
fn dflockd_server_31_tokens_are_trimmed_and_nothing_more() {
    let daemon = Daemon::start(&[]);
    let mut a = daemon.connect();
    let token = a.grant("l\nk\n0\n", 33);
    assert_eq!(a.ask(format!("r\nk\n{token} 5\n")), "error");
    assert_eq!(a.ask(format!("r\nk\n  {token} \t\n")), "ok");
}
