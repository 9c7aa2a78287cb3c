//! The test server against the real lockd: found or built by the crate itself.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::peers::{PATIENCE, Peer};
use lockd_testing::{Chaos, Direction, Endpoint, Error, TestServer, lockd_binary};

/// Tries to acquire a key without waiting; the status of the answer.
fn acquire(at: &Endpoint, key: &str) -> Result<u16, std::io::Error> {
    let body = format!(r#"{{"key":"{key}","owner":"tester","ttl_seconds":600,"block_seconds":-1}}"#);
    let mut peer = Peer::to(at);
    let length = body.len();
    write!(
        peer,
        "POST /v1/acquire HTTP/1.1\r\nHost: lockd\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut head = [0; 12];
    peer.read_exact(&mut head)?;
    Ok(String::from_utf8_lossy(&head[9..]).parse().unwrap())
}

/// Whether this process is there, as another user of the machine would see it.
fn is_there(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie is dead, whoever has yet to notice.
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn until(what: &str, mut fulfilled: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fulfilled() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn servers_are_ready_and_keep_apart() {
    let (a, b) = (TestServer::start().unwrap(), TestServer::start().unwrap());
    assert_ne!(a.url(), b.url());
    for server in [&a, &b] {
        assert!(server.is_ready() && server.is_running());
        assert_eq!(server.url(), server.endpoint().to_string());
        assert_eq!(acquire(server.endpoint(), "same").unwrap(), 200);
    }
    assert_ne!(acquire(a.endpoint(), "same").unwrap(), 200);
}

#[test]
fn a_disk_store_outlives_a_crash_and_a_mem_store_does_not() {
    let disk = TestServer::builder().disk().start().unwrap();
    let mem = TestServer::builder().mem().start().unwrap();
    for (server, kept) in [(disk, true), (mem, false)] {
        let (url, pid) = (server.url(), server.pid().unwrap());
        assert_eq!(acquire(server.endpoint(), "lease").unwrap(), 200);
        server.kill();
        assert!(!server.is_running() && !server.is_ready() && !is_there(pid));
        assert_eq!(server.pid(), None);
        server.kill();
        server.restart().unwrap();
        assert_eq!(server.url(), url);
        assert_ne!(server.pid(), Some(pid));
        assert_eq!(acquire(server.endpoint(), "lease").unwrap() != 200, kept);
    }
}

#[test]
fn a_directory_of_the_test_is_used_and_left() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    for expected in [200, 409] {
        let server = TestServer::builder().disk_at(&store).start().unwrap();
        assert_eq!(acquire(server.endpoint(), "lease").unwrap(), expected);
    }
    assert!(store.is_dir());
}

#[test]
fn it_listens_on_a_unix_socket_too() {
    let server = TestServer::builder().unix_socket().start().unwrap();
    assert!(server.url().starts_with("unix:///"), "{}", server.url());
    assert_eq!(acquire(server.endpoint(), "lease").unwrap(), 200);
    // The socket of the dead process is in the way of the next one, which must cope.
    server.restart().unwrap();
    assert_eq!(acquire(server.endpoint(), "lease").unwrap(), 200);
}

#[test]
fn a_server_can_be_stopped_even_when_it_is_frozen() {
    let server = TestServer::start().unwrap();
    server.freeze().unwrap();
    assert!(!server.is_ready() && server.is_running());
    server.thaw().unwrap();
    until("it answers again", || server.is_ready());
    server.freeze().unwrap();
    let status = server.stop().unwrap();
    assert!(status.success(), "{status}");
    assert!(!server.is_running());
    assert!(matches!(server.stop(), Err(Error::NotRunning)));
    assert!(matches!(server.freeze(), Err(Error::NotRunning)));
    server.restart().unwrap();
    assert!(server.is_ready());
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let error = TestServer::builder().arg("--no-such-flag").start().unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(format!("{error:?}").contains("no-such-flag"), "{error}");
    let error = TestServer::builder().binary("/no/such/lockd").start().unwrap_err().to_string();
    assert!(error.contains("/no/such/lockd"), "{error}");
}

#[test]
fn a_server_that_never_gets_ready_is_given_up() {
    let mute = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testing/mute.sh");
    let error = TestServer::builder().binary(mute).ready_within(Duration::from_secs(5)).start().unwrap_err();
    assert!(matches!(&error, Error::NotReady { log, .. } if log.contains("hello")), "{error}");
}

#[test]
fn the_log_is_kept_over_restarts() {
    let server = TestServer::start().unwrap();
    let listening = |line: &str| line.contains("\"listening\"");
    assert!(server.log().wait_for(PATIENCE, listening).is_some());
    server.restart().unwrap();
    assert_eq!(server.log().lines().iter().filter(|line| listening(line)).count(), 2);
}

#[test]
fn nothing_is_left_when_the_last_one_is_dropped() {
    let server = TestServer::builder().disk().unix_socket().start().unwrap();
    let pid = server.pid().unwrap();
    let home = server.endpoint().unix().unwrap().parent().unwrap().to_owned();
    let clone = server.clone();
    drop(server);
    assert!(clone.is_ready() && home.is_dir() && is_there(pid));
    drop(clone);
    assert!(!home.exists() && !is_there(pid));
}

/// Not a test by itself: what another test starts as a process of its own.
#[test]
#[ignore = "started by other tests"]
fn child_with_a_server_that_is_never_dropped() {
    let server = TestServer::builder().disk().unix_socket().start().unwrap();
    let home = server.endpoint().unix().unwrap().parent().unwrap().to_owned();
    println!("\nchild: {} {}", server.pid().unwrap(), home.display());
    std::mem::forget(server);
    // Goes on until it is killed.
    let _ = std::io::stdin().read(&mut [0; 1]);
}

#[test]
fn nothing_is_left_when_the_test_program_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::child_with_a_server_that_is_never_dropped", "--ignored", "--nocapture"])
        .env("LOCKD_BIN", lockd_binary().unwrap())
        // What the user has set for a lockd of theirs is none of the test server's business.
        .env("LOCKD_STORE", "nonsense")
        .env("LOCKD_JSON_MAX", "nonsense")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("child: ")?.1.to_owned()));
    let told = told.expect("the child has a server");
    let (pid, home) = told.split_once(' ').unwrap();
    let (pid, home) = (pid.parse().unwrap(), Path::new(home));
    assert!(is_there(pid) && home.is_dir());
    child.kill().unwrap();
    child.wait().unwrap();
    until("the server is gone", || !is_there(pid));
    until("its files are gone", || !home.exists());
}

#[test]
fn an_answer_can_be_lost_though_the_work_is_done() {
    let server = TestServer::start().unwrap();
    let lost = Chaos::calm().reset(1.0).only(Direction::ToClient).after_bytes(0..=0).at_most(1);
    let proxy = server.proxy().seed(3).chaos(lost).start().unwrap();
    let error = acquire(proxy.endpoint(), "lease").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    assert_eq!(acquire(server.endpoint(), "lease").unwrap(), 409, "the lease is held all the same");
    assert_eq!(acquire(proxy.endpoint(), "other").unwrap(), 200);
}

#[test]
fn a_proxy_stays_when_the_server_restarts() {
    let server = TestServer::builder().disk().unix_socket().start().unwrap();
    let proxy = server.proxy().start().unwrap();
    assert_eq!(acquire(proxy.endpoint(), "lease").unwrap(), 200);
    server.kill();
    assert!(acquire(proxy.endpoint(), "lease").is_err());
    server.restart().unwrap();
    assert_eq!(acquire(proxy.endpoint(), "lease").unwrap(), 409);
    assert!(proxy.counts().unreachable >= 1, "{:?}", proxy.counts());
}

#[tokio::test(flavor = "current_thread")]
async fn it_works_on_a_runtime_with_one_thread() {
    let server = TestServer::start_async().await.unwrap();
    server.restart_async().await.unwrap();
    assert!(server.is_ready());
    assert!(server.stop_async().await.unwrap().success());
}
