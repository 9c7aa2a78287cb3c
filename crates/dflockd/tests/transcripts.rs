//! The recordings of the deployed daemon, replayed against this one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod daemon;

use daemon::{Client, Daemon, command};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Recordings that a decision overrides, with its number. Each of them has a test of the new behaviour elsewhere.
const OVERRIDDEN: &[(&str, &str)] = &[
    ("i_timeout_wrap", "23: D3"),
    ("i_lease_wrap_e", "23: D3"),
    ("i_range", "23: D3"),
    ("i_w_args", "23: D3"),
    ("e_then_l", "23: D1"),
    ("e_granted_expired_stale", "23: D1"),
    ("e_granted_expired_unswept", "23: D1"),
    ("d_blocked_waiter", "23: D4"),
    ("f_half_close_blocked", "23: D4"),
    ("d_no_auto_ghost", "23: D5"),
    ("cli_no_auto_release", "23: D6"),
    ("cli_help", "23: D7"),
    ("cli_version_bad_config", "23: D7"),
    ("cli_version_bad_env", "23: D7"),
    ("cli_ipv6_raw", "23: D8"),
    ("a_file_empty", "23: D9"),
    ("z_sweep_stops", "23: D10"),
    ("f_later_commands", "23: ping answers ok"),
    ("e_twice_mismatch", "21: e and se have their own keys"),
    ("e_twice", "21: e and se have their own keys"),
    ("s_mismatch", "21: l and sl have their own keys"),
    ("s_cross", "21: locks and semaphores have their own keys"),
    ("m_precedence", "21: locks and semaphores have their own keys"),
];

/// Recordings of leases that end: the deployed daemon hands over at its next sweep, this one at the deadline.
const EARLIER: &[&str] = &["l_expiry_handover", "s_expiry", "d_no_auto"];

/// How far from the recorded time, in milliseconds, an answer may come. What the machine needed is in the recordings, but
/// not in the time that the replay leads the daemon through.
const TOLERANCE: u64 = 60;
/// The recorder watched a connection for so long to see that it stays open.
const WATCHED: u64 = 80;
const LAST_PAUSE: u64 = 120;
const LINGER: u64 = 250;

/// Needs a client of TLS; tests/tls.rs plays these.
const WITH_TLS: &[&str] = &["tls_12", "tls_11", "tls_auth", "tls_silent_no_block"];

#[test]
fn every_recording_that_no_decision_overrides() {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transcripts.jsonl"),
    )
    .unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 168);
    let only = std::env::var("TRANSCRIPT").ok();
    let next = AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        // Most of the time of a recording is waiting.
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some(record) = records.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = record["name"].as_str().unwrap();
                    let skip = OVERRIDDEN.iter().any(|entry| entry.0 == name) || WITH_TLS.contains(&name);
                    if skip && only.is_none() || only.as_deref().is_some_and(|only| only != name) {
                        continue;
                    }
                    let passed = std::panic::catch_unwind(|| replay(record))
                        .unwrap_or_else(|_| Err("panicked".into()));
                    if let Err(failure) = passed {
                        failures.lock().unwrap().push(format!("{name}: {failure}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

fn replay(record: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap().to_owned();
    std::fs::write(folder.path().join("token.txt"), "  filetok \n\n").unwrap();
    std::fs::write(folder.path().join("token2.txt"), "file2tok\n").unwrap();
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    for name in ["cert.pem", "key.pem"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let _ = std::fs::copy(from, folder.path().join("tls").join(name));
    }
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let fill = |text: &str| text.replace("<DIR>", &place).replace("<PORT>", &port);
    let flags: Vec<String> =
        record["server_flags"].as_array().unwrap().iter().map(|flag| fill(flag.as_str().unwrap())).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let env: Vec<(String, String)> = record["server_env"]
        .as_object()
        .map(|env| env.iter().map(|(name, value)| (name.clone(), fill(value.as_str().unwrap()))).collect())
        .unwrap_or_default();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let steps = record["steps"].as_array().unwrap();
    if steps[0]["op"] == "run_to_exit" {
        return run_to_exit(&flags, &env, &steps[0], &fill);
    }
    let mut daemon = Daemon::start_with(&flags, &env);
    let mut clients: HashMap<&str, Client> = HashMap::new();
    let mut tokens = HashMap::new();
    for (number, step) in steps.iter().enumerate() {
        daemon.pass(step["delay_ms"].as_u64().unwrap_or(0));
        let label = step["conn"].as_str().unwrap_or_default();
        let earlier = EARLIER.iter().any(|name| record["name"] == *name);
        play(&mut daemon, &mut clients, &mut tokens, label, step, earlier)
            .map_err(|failure| format!("step {number} {step}: {failure}"))?;
    }
    Ok(())
}

fn play<'a>(
    daemon: &mut Daemon,
    clients: &mut HashMap<&'a str, Client>,
    tokens: &mut HashMap<String, String>,
    label: &'a str,
    step: &'a Value,
    earlier: bool,
) -> Result<(), String> {
    let sent = |tokens: &HashMap<String, String>| {
        let text = step["send"].as_str().unwrap_or_default();
        if text == "400 acquires of distinct 204-byte keys" {
            return (0..400).flat_map(|number| format!("l\n{number:0204}\n0 300\n").into_bytes()).collect();
        }
        if text.starts_with("stats request repeated 400 times") {
            return b"stats\n_\n\n".repeat(400);
        }
        bytes(text, tokens)
    };
    match step["op"].as_str() {
        Some("connect") => {
            clients.insert(label, daemon.connect());
        }
        Some("send_only") => clients.get_mut(label).unwrap().send(sent(tokens)),
        Some("half_close") => clients[label].half_close(),
        Some("close") => drop(clients.remove(label)),
        Some("reset") => {
            let client = clients.remove(label).unwrap();
            socket2::SockRef::from(&client.socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        Some(signal @ ("SIGTERM" | "SIGINT")) => {
            let number = if signal == "SIGINT" { Signal::INT } else { Signal::TERM };
            daemon.signal(number);
            daemon.log_line("shutting down, draining connections");
        }
        Some("connect_attempt") => {
            if TcpStream::connect(("127.0.0.1", daemon.port)).is_ok() {
                return Err("the connection was not refused".into());
            }
        }
        Some("wait_exit") => {
            // It stays for a client that has not taken the end of its connection.
            daemon.pass(LINGER);
            let code = daemon.wait();
            if code != Some(step["exit_code"].as_i64().unwrap() as i32) {
                return Err(format!("exit code {code:?}"));
            }
        }
        Some(other) => return Err(format!("unknown op {other}")),
        None => {
            let client = clients.get_mut(label).unwrap();
            match step["send_parts"].as_array() {
                Some(parts) => {
                    for (number, part) in parts.iter().enumerate() {
                        if number > 0 {
                            daemon.pass(step["part_delay_ms"].as_u64().unwrap_or(0));
                        }
                        client.send(bytes(part.as_str().unwrap(), tokens));
                    }
                }
                None => client.send(sent(tokens)),
            }
            let recorded = match step["send_parts"].as_array() {
                // Those pauses are over.
                Some(parts) => (parts.len() as u64 - 1) * step["part_delay_ms"].as_u64().unwrap_or(0),
                None => 0,
            };
            let recorded = step["elapsed_ms"].as_u64().unwrap_or(0).saturating_sub(recorded);
            if recorded > TOLERANCE {
                daemon.pass(recorded - TOLERANCE);
                let early = if earlier { None } else { client.arrived() };
                if let Some(line) = early {
                    return Err(format!("{line:?} came more than {TOLERANCE} ms early"));
                }
                daemon.pass(2 * TOLERANCE);
            }
            receive(client, tokens, step)?;
            if step["closed"] == true {
                // The recorded time is that of the last byte; after `error_auth` comes a pause.
                daemon.pass(LAST_PAUSE);
                if client.line().is_some() {
                    return Err("more bytes instead of the end".into());
                }
            } else {
                daemon.pass(WATCHED);
                if let Some(line) = client.arrived() {
                    return Err(format!("unexpected line {line:?}"));
                }
            }
        }
    }
    Ok(())
}

fn bytes(text: &str, tokens: &HashMap<String, String>) -> Vec<u8> {
    let mut text = text.to_owned();
    for (name, token) in tokens {
        text = text.replace(name, token);
    }
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

fn receive(client: &mut Client, tokens: &mut HashMap<String, String>, step: &Value) -> Result<(), String> {
    let wanted = step["recv"].as_str().unwrap_or_default();
    if wanted.starts_with("400 lines") {
        let all = (0..400)
            .all(|_| client.line().is_some_and(|line| line.starts_with("ok ") && line.ends_with(" 300")));
        return if all { Ok(()) } else { Err("not 400 grants".into()) };
    }
    for line in wanted.lines() {
        let got = client.line().ok_or_else(|| format!("the connection ended instead of {line:?}"))?;
        matches(line, &got, tokens)?;
    }
    Ok(())
}

fn matches(wanted: &str, got: &str, tokens: &mut HashMap<String, String>) -> Result<(), String> {
    let differ = || Err(format!("wanted {wanted:?}, got {got:?}"));
    if let (Some(wanted), Some(got)) = (wanted.strip_prefix("ok {"), got.strip_prefix("ok {")) {
        let read = |text: &str| {
            serde_json::from_str::<Value>(&format!("{{{}", text.replace("<FLOAT>", "0.5"))).unwrap()
        };
        // Both sides are bytes spelled as characters, so the texts compare as they are.
        let (mut wanted, mut got) = (read(wanted), read(got));
        level(&mut wanted);
        level(&mut got);
        return if wanted == got { Ok(()) } else { differ() };
    }
    let (mut left, mut right) = (wanted.split(' '), got.split(' '));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ok(()),
            (Some(name), Some(token)) if name.starts_with("<TOKEN") => {
                let digits =
                    token.len() == 32 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if !digits || tokens.get(name).is_some_and(|known| known != token) {
                    return differ();
                }
                if !tokens.contains_key(name) && tokens.values().any(|known| known == token) {
                    return Err(format!("{token} was granted twice"));
                }
                tokens.insert(name.to_owned(), token.to_owned());
            }
            (Some(word), Some(same)) if word == same => {}
            _ => return differ(),
        }
    }
}

/// Takes out of `stats` what no recording fixes: times and the order of keys.
fn level(stats: &mut Value) {
    for name in ["locks", "semaphores", "idle_locks", "idle_semaphores"] {
        let Some(array) = stats[name].as_array_mut() else { continue };
        for element in array.iter_mut() {
            for time in ["lease_expires_in_s", "idle_s"] {
                if element[time].is_number() {
                    element[time] = 0.into();
                }
            }
        }
        array.sort_by_key(|element| element["key"].to_string());
    }
}

fn run_to_exit(
    flags: &[&str],
    env: &[(&str, &str)],
    step: &Value,
    fill: &dyn Fn(&str) -> String,
) -> Result<(), String> {
    let mut child = command(flags, env).spawn().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    let code = child.wait().unwrap().code();
    let usage = step["usage_printed"] == true;
    // The usage itself may differ; the lines around it may not.
    let lines: Vec<String> = err
        .lines()
        .filter(|line| !usage || !line.starts_with(' '))
        .map(|line| match line.strip_prefix("time=").and_then(|rest| rest.split_once(' ')) {
            Some((_, rest)) => format!("time=<TIME> {rest}"),
            None => line.to_owned(),
        })
        .collect();
    let wanted: Vec<String> =
        step["stderr_lines"].as_array().unwrap().iter().map(|line| fill(line.as_str().unwrap())).collect();
    if code != Some(step["exit_code"].as_i64().unwrap() as i32)
        || out != step["stdout"].as_str().unwrap()
        || lines != wanted
    {
        return Err(format!("exit {code:?}, stdout {out:?}, stderr {lines:?}, wanted {step}"));
    }
    Ok(())
}
