//! Serving on a unix socket.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use lockd_conformance::fresh;
use lockd_conformance::http::Request;
use lockd_conformance::server::{Launch, Store, StoreKind};

#[test]
fn a_unix_socket_is_served_and_cleaned_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lockd.sock");
    let launch = Launch::on(Store::fresh(StoreKind::Disk)).unix_socket(&path);
    let server = launch.start();
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(
        metadata.permissions().mode() & 0o777,
        0o600,
        "only the owner may connect unless told otherwise"
    );
    let client = server.client();
    let lease = client.acquire(&fresh::key("unix"));
    client.call(lease.update("[1]")).expect_status(200);
    client.call(lease.release()).expect_status(200);

    // A killed server leaves its socket behind; the next one takes the path over.
    let server = server.kill_and_restart();
    server.client().public_get(&lease.key).expect_status(200).expect_text("[1]");
    server.stop();
    assert!(!path.exists(), "a clean stop removes the socket");
}

#[test]
fn a_file_in_the_place_of_the_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let failure =
        Launch::on(Store::Mem).unix_socket(&path).try_start().expect_err("the server must not start");
    assert!(failure.status.is_some_and(|status| !status.success()), "{failure}");
    assert!(failure.log.contains("precious"), "the error names the path: {failure}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn the_socket_mode_can_be_chosen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lockd.sock");
    let server = Launch::on(Store::Mem).unix_socket(&path).with(&["--unix-socket-mode", "0660"]).start();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    server.client().call(Request::get("/healthz")).expect_status(200);
}
