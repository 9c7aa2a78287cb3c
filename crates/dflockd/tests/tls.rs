//! TLS as clients meet it: both versions, authentication inside, garbage outside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod daemon;

use daemon::Daemon;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

type Secure = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn start(more: &[&str]) -> Daemon {
    let (cert, key) = (fixture("cert.pem"), fixture("key.pem"));
    let mut flags = vec!["--tls-cert", &cert, "--tls-key", &key];
    flags.extend(more);
    Daemon::start(&flags)
}

fn connect(daemon: &Daemon, version: &'static rustls::SupportedProtocolVersion) -> Secure {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session =
        rustls::ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    Secure::new(session, TcpStream::connect(("127.0.0.1", daemon.port)).unwrap())
}

fn line(stream: &mut Secure) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn both_versions_speak_the_protocol_while_others_stand_still() {
    let mut daemon = start(&["--auth-token", "t"]);
    // One says nothing, one says garbage; neither is told anything, neither holds up the others.
    let _silent = daemon.connect();
    let mut plain = daemon.connect();
    plain.send("l\nk\n0\n");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = connect(&daemon, version);
        stream.write_all(b"auth\n_\nt\nl\nk\n0\n").unwrap();
        assert_eq!(line(&mut stream), "ok");
        assert!(line(&mut stream).starts_with("ok "));
        stream.write_all(b"stats\n\n\n").unwrap();
        assert!(line(&mut stream).contains("\"key\":\"k\""));
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
    daemon.pass(110);
    assert_eq!(plain.rest(), "");
    let mut wrong = connect(&daemon, &rustls::version::TLS13);
    wrong.write_all(b"auth\n_\nbad\n").unwrap();
    assert_eq!(line(&mut wrong), "error_auth");
    daemon.pass(110);
    assert_eq!(line(&mut wrong), "");
}

#[test]
fn garbage_that_looks_like_tls_ends_with_an_alert_at_most() {
    let daemon = start(&[]);
    // A ClientHello that offers TLS 1.1 and nothing newer.
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let mut old = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    old.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    old.read_to_end(&mut answer).unwrap();
    assert_eq!((answer[0], answer.last()), (0x15, Some(&70)), "an alert: protocol_version");
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..50 {
        let mut client = daemon.connect();
        let mut bytes = vec![0x16, 3, 1];
        bytes.extend((0..rng.usize(..300)).map(|_| rng.u8(..)));
        client.send(&bytes);
        client.half_close();
        assert!(!client.rest().contains("error"));
    }
    let mut stream = connect(&daemon, &rustls::version::TLS13);
    stream.write_all(b"ping\n\n\n").unwrap();
    assert_eq!(line(&mut stream), "ok");
}
