//! Tests that no connection keeps the others waiting, however fast it sends.

use super::Server;
use crate::config::{self, Config, Invocation};
use crate::log::Log;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

fn config() -> Config {
    let arguments = ["--port", "0", "--read-timeout", "3600"].map(String::from);
    match config::read(&arguments, |_| None).unwrap() {
        Invocation::Serve(config) => *config,
        other => panic!("{other:?}"),
    }
}

/// Lets a peer send `first` and then as much of `flood` as the kernel takes, and looks after it once.
fn one_turn(first: &[u8], flood: &[u8]) -> (Server, u32) {
    let mut server = Server::bind(config(), Log::start(false)).unwrap();
    let address = server.listener.as_ref().unwrap().address;
    // Accepted sockets inherit it: more than one turn may read must be there at once.
    socket2::SockRef::from(&server.listener.as_ref().unwrap().socket).set_recv_buffer_size(1 << 20).unwrap();
    let mut peer = TcpStream::connect(address).unwrap();
    while server.admitted == 0 {
        server.listener.as_mut().unwrap().pending = true;
        server.accept();
    }
    let slot = 0;
    peer.write_all(first).unwrap();
    peer.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut sent = 0;
    while let Ok(count @ 1..) = peer.write(flood) {
        sent += count;
    }
    assert!(sent > 256 << 10, "the kernel took only {sent} bytes");
    server.connections.get_mut(slot).unwrap().readable = true;
    server.drive(slot);
    // Dropped only now: its end would end the connection.
    drop(peer);
    (server, slot)
}

#[test]
fn a_flood_is_read_in_pieces_whatever_it_consists_of() {
    for (first, flood) in [
        (&[b'x'; 300][..], &[b'x'; 65536][..]),
        (&[b"x".repeat(300), b"\n".to_vec()].concat(), &[b'x'; 65536]),
        (b"l\nk\n0\n", &b"ping\n\n\n".repeat(8192)),
    ] {
        let (server, slot) = one_turn(first, flood);
        let phase = server.connections.get(slot).map(|connection| connection.phase);
        assert_eq!(
            server.runnable,
            [slot],
            "{phase:?} after {:?}: the connection stands in line for its next turn",
            &first[..6]
        );
    }
}
