//! Unix sockets: who may connect, what is cleared away, and what is left alone.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use lockd_server::{Bound, Endpoint};

fn bind(path: &Path, mode: u32) -> std::io::Result<Bound> {
    Bound::bind(&Endpoint::Unix { path: path.to_owned(), mode })
}

#[tokio::test(flavor = "multi_thread")]
async fn has_the_mode_asked_for_and_answers() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o660, 0o666] {
        let path = directory.path().join(format!("{mode:o}"));
        let bound = bind(&path, mode).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        let node = common::node();
        common::serve(bound, &node);
        UnixStream::connect(&path).unwrap();
    }
}

#[tokio::test]
async fn replaces_what_a_killed_server_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    drop(bind(&path, 0o600).unwrap());
    assert!(!path.exists());
}

#[tokio::test]
async fn leaves_files_and_living_servers_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert_eq!(bind(&file, 0o600).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");

    let path = directory.path().join("socket");
    let alive = UnixListener::bind(&path).unwrap();
    assert_eq!(bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert!(path.exists());
    drop(alive);
}
