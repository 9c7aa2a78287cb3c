//! A client for raw HTTP/1.1 over TCP or a unix socket, for tests that care about single bytes: order and
//! repetition of headers, framing, `Expect: 100-continue`, half-sent bodies, several requests at once, and
//! connections that just go away.

mod connection;
mod request;
mod response;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use connection::{Closer, Connection, PATIENCE};
pub use request::Request;
pub use response::{Response, Trouble};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Sends one request on a connection of its own.
pub fn call(address: &Address, request: &Request) -> Result<Response, Trouble> {
    Connection::open(address)?.call(request)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with fixed bytes after it has read until `until` was seen.
    fn canned(until: &'static [u8], answer: &'static [u8]) -> (Address, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut chunk = [0; 1024];
            while !seen.windows(until.len()).any(|window| window == until) {
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0, "closed early after {:?}", String::from_utf8_lossy(&seen));
                seen.extend_from_slice(&chunk[..read]);
            }
            stream.write_all(answer).unwrap();
            seen
        });
        (address, served)
    }

    #[test]
    fn a_request_is_sent_byte_for_byte() {
        let (address, served) =
            canned(b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: 1\r\na:  2 \r\nContent-Length: 2\r\n\r\nhi");
        let request = Request::post("/v1/update")
            .query("key", "a b")
            .query("x", "ä&")
            .header("X-A", " 1 ")
            .header("x-a", "2")
            .body("12345")
            .chunked(2);
        let response = call(&address, &request).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "hi"));
        assert_eq!(response.header("a"), Some("1"), "the first of two");
        let seen = String::from_utf8(served.join().unwrap()).unwrap();
        let (line, rest) = seen.split_once("\r\n").unwrap();
        assert_eq!(line, "POST /v1/update?key=a+b&x=%C3%A4%26 HTTP/1.1");
        assert!(rest.ends_with(
            "X-A:  1 \r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n2\r\n34\r\n1\r\n5\r\n0\r\n\r\n"
        ));
    }

    #[test]
    fn chunked_answers_and_interim_answers_are_read() {
        let (address, _served) = canned(
            b"\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        );
        assert_eq!(call(&address, &Request::get("/")).unwrap().text(), "abcd");
    }

    #[test]
    fn a_cut_body_is_not_a_clean_end() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ] {
            let (address, _served) = canned(b"\r\n\r\n", answer);
            let trouble = call(&address, &Request::get("/")).unwrap_err();
            assert!(matches!(&trouble, Trouble::Truncated(part) if part.body == b"abc"), "{trouble}");
        }
    }

    #[test]
    fn the_body_waits_for_100_continue() {
        let (address, served) = canned(b"\r\n\r\n", b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        let response = call(&address, &Request::post("/").body("never sent").expect_continue()).unwrap();
        assert_eq!((response.status, response.got_continue), (413, false));
        assert!(!String::from_utf8(served.join().unwrap()).unwrap().contains("never sent"));
    }
}
