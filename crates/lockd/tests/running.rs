//! The server as a process: what it logs, where it listens, how it ends. Names that start with `cli_` carry the number
//! of the line of the contract's checklist that they prove.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what the tests share is part of the tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const MEMORY: [&str; 5] = ["--store", "mem://", "--disable-mtls", "--disable-storage-encryption", "--listen"];

struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    /// Also the place for files of a test.
    home: TempDir,
}

impl Server {
    fn start(home: TempDir, args: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lockd"))
            .args(args)
            .env_clear()
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Server { child, stdout, stderr, home }
    }

    fn in_memory(args: &[&str]) -> Server {
        Server::start(tempfile::tempdir().unwrap(), &[&MEMORY[..], args].concat())
    }

    fn next_line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Log lines up to and including the one with this message.
    fn lines_until(&mut self, message: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &Value| line["msg"] != message) {
            match self.next_line() {
                Some(line) => lines.push(line),
                None => panic!("the server ended without saying {message:?}: {lines:?}"),
            }
        }
        lines
    }

    /// The address it listens on.
    fn address(&mut self) -> String {
        self.lines_until("listening").last().unwrap()["address"].as_str().unwrap().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn rest_of_log(&mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn health(stream: impl Read + Write) -> String {
    exchange(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

fn acquire(address: &str) {
    let body = r#"{"key":"k","owner":"me","ttl_seconds":60}"#;
    let request = format!(
        "POST /v1/acquire HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(TcpStream::connect(address).unwrap(), &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Connects as soon as somebody listens there, for servers that do not say so.
fn connect(path: &Path) -> UnixStream {
    let since = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) => assert!(since.elapsed() < Duration::from_secs(20), "{}: {error}", path.display()),
        }
        std::thread::yield_now();
    }
}

#[test]
fn cli_01_a_server_needs_no_file() {
    let mut server = Server::in_memory(&["127.0.0.1:0"]);
    let lines = server.lines_until("listening");
    assert!(lines[0]["msg"].as_str().unwrap().starts_with("welcome to lockd v"), "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!((&last["network"], &last["mtls"]), (&"tcp".into(), &false.into()));
    assert!(lines.iter().all(|line| line["lvl"] == "info" && line["app"] == "lockd"), "{lines:?}");
    let answer = health(TcpStream::connect(last["address"].as_str().unwrap()).unwrap());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn the_log_says_which_file_was_read_and_what_is_odd_about_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("lockd.yaml");
    std::fs::write(&file, "store: mem://\nmtls: false\nlisten: 0.0.0.0:0\nbogus: 1\njson-util: stdlib\n")
        .unwrap();
    let mut server = Server::start(home, &["-c", "lockd.yaml"]);
    let lines = server.lines_until("listening");
    assert_eq!((&lines[1]["msg"], &lines[1]["path"]), (&"loaded config file".into(), &"lockd.yaml".into()));
    let warnings: Vec<_> = lines.iter().filter(|line| line["lvl"] == "warn").collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(warnings[0]["listen"], "0.0.0.0:0");
    assert_eq!(warnings[1]["setting"], "json-util");
    assert_eq!(
        (&warnings[2]["msg"], &warnings[2]["key"]),
        (&"config key not recognised".into(), &"bogus".into())
    );
}

#[test]
fn cli_27_a_unix_socket_comes_and_goes_with_the_server() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    let args = [&MEMORY[..], &["s", "--listen-proto", "unix"]].concat();
    let mut server = Server::start(home, &args);
    assert_eq!(server.address(), "s");
    assert!(health(UnixStream::connect(&path).unwrap()).starts_with("HTTP/1.1 200"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists());

    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s");
    std::fs::write(&path, "precious").unwrap();
    let mut server = Server::start(home, &args);
    assert_eq!(server.wait().code(), Some(1));
    assert!(server.rest_of_log().contains("command failed"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn cli_30_a_signal_ends_the_server_after_the_drain() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::in_memory(&["127.0.0.1:0", "--drain-grace", "100ms"]);
        let address = server.address();
        acquire(&address);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{}", server.rest_of_log());
    }
}

#[test]
fn a_shutdown_that_cuts_a_request_says_so() {
    let mut server = Server::in_memory(&["127.0.0.1:0", "--drain-grace", "0", "--shutdown-timeout", "300ms"]);
    let mut client = std::net::TcpStream::connect(server.address()).unwrap();
    let head = "POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 21];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(1));
    let log = server.rest_of_log();
    assert!(log.contains("shutdown incomplete: answering requests did not finish within 300ms"), "{log}");
}

#[test]
fn connections_without_a_request_cut_nothing() {
    let mut server = Server::in_memory(&["127.0.0.1:0", "--drain-grace", "0", "--shutdown-timeout", "300ms"]);
    let address = server.address();
    let mut half = std::net::TcpStream::connect(&address).unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    // A peer that speaks HTTP/2 and hangs.
    let mut hung = std::net::TcpStream::connect(&address).unwrap();
    hung.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    hung.read_exact(&mut [0; 9]).unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.rest_of_log());
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let mut server = Server::in_memory(&["127.0.0.1:0", "--drain-grace", "60s", "--shutdown-timeout", "0"]);
    let address = server.address();
    // The lease keeps the drain from ending early.
    acquire(&address);
    server.signal(Signal::TERM);
    server.lines_until("stopping");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(143));
}

#[test]
fn cli_63_level_none_leaves_the_welcome_line_only() {
    let mut server = Server::in_memory(&["s", "--listen-proto", "unix", "--log-level", "none"]);
    assert!(health(connect(&server.home.path().join("s"))).starts_with("HTTP/1.1 200"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    let log = server.rest_of_log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("welcome to lockd"), "{log}");
}

#[test]
fn what_the_development_server_prints_can_be_typed() {
    let mut server = Server::start(tempfile::tempdir().unwrap(), &["dev", "--listen", "127.0.0.1:0"]);
    let mut greeting = String::new();
    while !greeting.contains("to stop") {
        assert_ne!(server.stdout.read_line(&mut greeting).unwrap(), 0, "{}", server.rest_of_log());
    }
    assert!(server.home.path().join(".local/share/lockd").is_dir() || cfg!(target_os = "macos"));
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl to try the commands with");
        return;
    }
    let answers: Vec<Value> = greeting
        .lines()
        .filter(|line| line.trim().starts_with("curl "))
        .map(|line| {
            let output = Command::new("sh").args(["-c", line]).output().unwrap();
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}"))
        })
        .collect();
    assert_eq!(answers.len(), 3, "{greeting}");
    assert_eq!(answers[0]["owner"], "me", "{answers:?}");
    assert_eq!(answers[1]["owner"], "me", "{answers:?}");
    assert_eq!(answers[2]["error"], "waiting", "{answers:?}");
}
