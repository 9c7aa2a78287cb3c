//! One keep-alive HTTP/1.1 connection that spends as little processor time as possible: a request is one
//! prepared byte string and one write, an answer is parsed in place.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::endpoint::{Endpoint, Socket};
use crate::fault::Fault;

const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    endpoint: Endpoint,
    socket: Option<Socket>,
    inbox: Vec<u8>,
    filled: usize,
    body: Vec<u8>,
}

/// An answer; the body borrows the connection's buffer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// Takes any status but 200 for a refusal.
    pub(crate) fn expect_ok(&self, call: &'static str) -> Result<(), Fault> {
        if self.status == 200 {
            return Ok(());
        }
        let shown = &self.body[..self.body.len().min(400)];
        Err(Fault::Refused {
            call,
            status: self.status,
            body: String::from_utf8_lossy(shown).trim_end().to_owned(),
        })
    }
}

impl Connection {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Connection, Fault> {
        let socket = endpoint.connect().await?;
        Ok(Connection {
            endpoint: endpoint.clone(),
            socket: Some(socket),
            inbox: vec![0; 16 * 1024],
            filled: 0,
            body: Vec::new(),
        })
    }

    /// Sends one request and waits for its answer. After a fault that breaks the connection the next call
    /// opens a new one.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, Fault> {
        if self.socket.is_none() {
            self.socket = Some(self.endpoint.connect().await?);
            self.filled = 0;
        }
        match self.try_exchange(request).await {
            Ok((status, start, end, in_inbox)) => {
                let body = if in_inbox { &self.inbox[start..end] } else { &self.body[start..end] };
                Ok(Answer { status, body })
            }
            Err(fault) => {
                self.socket = None;
                Err(fault)
            }
        }
    }

    async fn try_exchange(&mut self, request: &[u8]) -> Result<(u16, usize, usize, bool), Fault> {
        let Some(socket) = self.socket.as_mut() else { return Err(Fault::Closed) };
        socket.write_all(request).await?;
        self.filled = 0;
        let head = loop {
            match Head::parse(&self.inbox[..self.filled])? {
                // Interim answers (1xx) precede the real one.
                Some(head) if head.status < 200 => {
                    self.inbox.copy_within(head.len..self.filled, 0);
                    self.filled -= head.len;
                }
                Some(head) => break head,
                None if self.filled > MAX_HEAD_BYTES => {
                    return Err(Fault::Malformed(format!("its head is longer than {MAX_HEAD_BYTES} bytes")));
                }
                None => self.receive().await?,
            }
        };
        let place = match head.framing {
            Framing::Length(length) => {
                if length > MAX_BODY_BYTES {
                    return Err(Fault::Malformed(format!("its body of {length} bytes is too long")));
                }
                let end = head.len + length;
                while self.filled < end {
                    self.receive().await?;
                }
                if self.filled > end {
                    return Err(Fault::Malformed(format!(
                        "{} bytes follow the answer unasked",
                        self.filled - end
                    )));
                }
                (head.status, head.len, end, true)
            }
            Framing::Chunked => {
                self.body.clear();
                let mut at = head.len;
                loop {
                    match next_chunk(&self.inbox[at..self.filled])? {
                        Chunk::Partial => self.receive().await?,
                        Chunk::Data { skip, length } => {
                            let data = at + skip;
                            self.body.extend_from_slice(&self.inbox[data..data + length]);
                            if self.body.len() > MAX_BODY_BYTES {
                                return Err(Fault::Malformed("its chunked body is too long".to_owned()));
                            }
                            at = data + length + 2;
                        }
                        Chunk::End => break,
                    }
                }
                (head.status, 0, self.body.len(), false)
            }
        };
        if head.close {
            self.socket = None;
        }
        Ok(place)
    }

    async fn receive(&mut self) -> Result<(), Fault> {
        if self.filled == self.inbox.len() {
            self.inbox.resize(self.inbox.len() * 2, 0);
        }
        let Some(socket) = self.socket.as_mut() else { return Err(Fault::Closed) };
        let count = socket.read(&mut self.inbox[self.filled..]).await?;
        if count == 0 {
            return Err(Fault::Closed);
        }
        self.filled += count;
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    len: usize,
    framing: Framing,
    close: bool,
}

impl Head {
    /// `None` means that the head is not complete yet.
    fn parse(bytes: &[u8]) -> Result<Option<Head>, Fault> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let malformed = |what: &str| {
            let shown = String::from_utf8_lossy(&bytes[..end.min(120)]).into_owned();
            Fault::Malformed(format!("{what} in {shown:?}"))
        };
        let text = &bytes[..end];
        let status = match text.get(..12) {
            Some(start) if start.starts_with(b"HTTP/1.1 ") || start.starts_with(b"HTTP/1.0 ") => {
                parse_decimal(&start[9..12]).ok_or_else(|| malformed("bad status"))? as u16
            }
            _ => return Err(malformed("no HTTP/1.1 status line")),
        };
        let mut length = None;
        let mut chunked = false;
        let mut close = text.starts_with(b"HTTP/1.0");
        let mut rest = &text[memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)..];
        while !rest.is_empty() {
            let stop = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest[..stop].strip_suffix(b"\r").unwrap_or(&rest[..stop]);
            rest = rest.get(stop + 1..).unwrap_or_default();
            // Only three headers matter; their first letters sort out nearly all others.
            match line.first() {
                Some(b'c' | b'C') => {
                    if let Some(value) = header(line, b"content-length") {
                        length = Some(parse_decimal(value).ok_or_else(|| malformed("bad Content-Length"))?);
                    } else if let Some(value) = header(line, b"connection") {
                        close |= value.eq_ignore_ascii_case(b"close");
                    }
                }
                Some(b't' | b'T') => {
                    if let Some(value) = header(line, b"transfer-encoding") {
                        if !value.eq_ignore_ascii_case(b"chunked") {
                            return Err(malformed("unknown Transfer-Encoding"));
                        }
                        chunked = true;
                    }
                }
                _ => {}
            }
        }
        let framing = if status < 200 || status == 204 || status == 304 {
            Framing::Length(0)
        } else if chunked {
            Framing::Chunked
        } else if let Some(length) = length {
            Framing::Length(length)
        } else {
            return Err(malformed("neither Content-Length nor chunked"));
        };
        Ok(Some(Head { status, len: end + 4, framing, close }))
    }
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.get(name.len()..)?.strip_prefix(b":")?;
    line[..name.len()].eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn parse_decimal(bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() || bytes.len() > 18 {
        return None;
    }
    bytes
        .iter()
        .try_fold(0usize, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + usize::from(byte - b'0')))
}

pub(crate) enum Chunk {
    Partial,
    Data { skip: usize, length: usize },
    End,
}

/// Finds the next whole chunk at the start of `bytes`. Trailers are accepted and ignored.
pub(crate) fn next_chunk(bytes: &[u8]) -> Result<Chunk, Fault> {
    let Some(line_end) = memchr::memmem::find(bytes, b"\r\n") else {
        return if bytes.len() > 64 {
            Err(Fault::Malformed("chunk size line too long".into()))
        } else {
            Ok(Chunk::Partial)
        };
    };
    let size = bytes[..line_end].split(|byte| *byte == b';').next().unwrap_or_default();
    let length = std::str::from_utf8(size)
        .ok()
        .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
        .filter(|length| *length <= MAX_BODY_BYTES)
        .ok_or_else(|| {
            Fault::Malformed(format!("bad chunk size {:?}", String::from_utf8_lossy(&bytes[..line_end])))
        })?;
    let skip = line_end + 2;
    if length == 0 {
        let rest = &bytes[skip..];
        let complete = rest.starts_with(b"\r\n") || memchr::memmem::find(rest, b"\r\n\r\n").is_some();
        return Ok(if complete { Chunk::End } else { Chunk::Partial });
    }
    match bytes.get(skip + length..skip + length + 2) {
        Some(b"\r\n") => Ok(Chunk::Data { skip, length }),
        Some(_) => Err(Fault::Malformed("a chunk does not end where its size says".into())),
        None => Ok(Chunk::Partial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn alone<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Answers every request read with the next canned answer, written in pieces of `step` bytes.
    async fn canned(answers: Vec<&'static [u8]>, step: usize) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut request = [0; 1024];
            for answer in answers {
                assert!(socket.read(&mut request).await.unwrap() > 0);
                for piece in answer.chunks(step) {
                    socket.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        Endpoint::Tcp(address)
    }

    #[test]
    fn answers_of_every_framing_are_read_whole_however_they_are_split() {
        for step in [1, 7, 1000] {
            alone(async {
                let endpoint = canned(
                    vec![
                        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
                        b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
                        b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                    ],
                    step,
                )
                .await;
                let mut connection = Connection::open(&endpoint).await.unwrap();
                let mut seen = Vec::new();
                for _ in 0..4 {
                    let answer = connection.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
                    seen.push((answer.status, answer.body.to_vec()));
                }
                let expected: [(u16, &[u8]); 4] =
                    [(200, b"hello"), (204, b""), (409, b"abc0123456789"), (200, b"")];
                for (got, want) in seen.iter().zip(expected) {
                    assert_eq!((got.0, got.1.as_slice()), want, "pieces of {step}");
                }
            });
        }
    }

    #[test]
    fn a_cut_answer_is_a_fault_and_a_refusal_shows_its_body() {
        alone(async {
            let endpoint = canned(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"], 1000).await;
            let mut connection = Connection::open(&endpoint).await.unwrap();
            let fault = connection.exchange(b"x").await.unwrap_err();
            assert!(matches!(fault, Fault::Closed), "{fault}");
        });
        let refused =
            Answer { status: 409, body: b"{\"error\":\"waiting\"}\n" }.expect_ok("acquire").unwrap_err();
        assert_eq!(refused.to_string(), "acquire was answered 409: {\"error\":\"waiting\"}");
    }

    #[test]
    fn heads_that_cannot_be_framed_are_refused() {
        for head in [
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            assert!(Head::parse(head.as_bytes()).is_err(), "{head:?} was accepted");
        }
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nContent-Len").unwrap(), None);
    }

    #[test]
    fn a_closing_server_is_reconnected_to() {
        alone(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
            tokio::spawn(async move {
                for _ in 0..2 {
                    let (mut socket, _) = listener.accept().await.unwrap();
                    let mut request = [0; 64];
                    let _ = socket.read(&mut request).await.unwrap();
                    socket
                        .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                        .await
                        .unwrap();
                }
            });
            let mut connection = Connection::open(&endpoint).await.unwrap();
            assert_eq!(connection.exchange(b"a").await.unwrap().status, 200);
            assert_eq!(connection.exchange(b"b").await.unwrap().status, 200);
        });
    }
}
