//! A client for raw HTTP/1.1 over TCP or a unix socket, for tests that care about single bytes: order and
//! repetition of headers, framing, `Expect: 100-continue`, half-sent bodies, several requests at once, and
//! connections that just go away.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a client waits for an answer before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client waits for `100 Continue` before it sends the body anyway.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(5);
/// A larger body is sent by a second thread, because the server may answer before it has read all of it.
const SENT_INLINE: usize = 16 * 1024;
const MAX_HEAD: usize = 1 << 20;

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

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request, built up in the order in which it is sent.
#[derive(Debug, Clone, Default)]
pub struct Request {
    method: String,
    path: String,
    raw_query: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunk: Option<usize>,
    expect_continue: bool,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    /// Adds a query parameter, form-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let query = self.raw_query.get_or_insert_default();
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish());
        self
    }

    /// Sends this query as it stands.
    pub fn raw_query(mut self, query: &str) -> Self {
        self.raw_query = Some(query.to_owned());
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes every header of this name, for tests about what happens without it.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub fn json(self, body: &serde_json::Value) -> Self {
        self.body(body.to_string())
    }

    /// Sends the body in chunks of this many bytes instead of with a `Content-Length`.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size.max(1));
        self
    }

    /// Sends `Expect: 100-continue` and keeps the body until the server asks for it.
    pub fn expect_continue(mut self) -> Self {
        self.expect_continue = true;
        self
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The request line and the headers, with the framing that fits the body.
    pub fn head(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {}", self.method, self.path);
        if let Some(query) = &self.raw_query {
            head.push('?');
            head.push_str(query);
        }
        head.push_str(&format!(" HTTP/1.1\r\nHost: {host}\r\n"));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            match self.chunk {
                Some(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
                None => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
            }
        }
        if self.expect_continue {
            head.push_str("Expect: 100-continue\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The body as it goes over the wire.
    pub fn framed_body(&self) -> Vec<u8> {
        let Some(body) = &self.body else { return Vec::new() };
        let Some(size) = self.chunk else { return body.clone() };
        let mut framed = Vec::with_capacity(body.len() + 64);
        for chunk in body.chunks(size) {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        framed
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if let Some(query) = &self.raw_query {
            write!(f, "?{query}")?;
        }
        Ok(())
    }
}

/// An answer. Header names are in lower case; values are without outer blanks.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub got_continue: bool,
    /// From sending the request to the last byte of the answer.
    pub elapsed: Duration,
    /// What was asked, for messages.
    pub request: String,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).and_then(|(_, value)| str::from_utf8(value).ok())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {} after {:?}", self.request, self.status, self.elapsed)?;
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {}", String::from_utf8_lossy(value))?;
        }
        let text = self.text();
        let shown: String = text.chars().take(2000).collect();
        write!(f, "  {shown}{}", if shown.len() < text.len() { "…" } else { "" })
    }
}

/// Why there is no complete answer.
#[derive(Debug)]
pub enum Trouble {
    /// The connection could not be made or used.
    Io(io::Error),
    /// The server closed the connection without a byte of an answer.
    NoAnswer,
    /// The answer began and then stopped without a clean end.
    Truncated(Box<Response>),
    /// What came is not HTTP/1.1.
    Malformed(String),
    /// Nothing came within [`PATIENCE`] or the time the caller allowed.
    TimedOut,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::NoAnswer => write!(f, "the server closed the connection without an answer"),
            Self::Truncated(part) => write!(f, "the answer stopped without a clean end:\n{part}"),
            Self::Malformed(why) => write!(f, "the answer is not HTTP/1.1: {why}"),
            Self::TimedOut => write!(f, "no answer in time"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// One connection to a server. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    host: String,
    buffer: Vec<u8>,
    reusable: bool,
}

impl Connection {
    pub fn open(address: &Address) -> io::Result<Self> {
        let (stream, host) = match address {
            Address::Tcp(to) => {
                let stream = TcpStream::connect_timeout(to, Duration::from_secs(10))?;
                stream.set_nodelay(true)?;
                (Stream::Tcp(stream), to.to_string())
            }
            Address::Unix(path) => (Stream::Unix(UnixStream::connect(path)?), "localhost".to_owned()),
        };
        stream.set_read_timeout(PATIENCE)?;
        Ok(Self { stream, host, buffer: Vec::new(), reusable: true })
    }

    /// Whether the next request may use this connection.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    pub fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(patience)
    }

    /// Says that nothing more will be sent, while answers can still be read.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// A handle that closes this connection while another thread reads from it.
    pub fn closer(&self) -> io::Result<Closer> {
        Ok(Closer(self.stream.try_clone()?))
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends the head of a request and nothing of its body.
    pub fn send_head(&mut self, request: &Request) -> io::Result<()> {
        let head = request.head(&self.host);
        self.stream.write_all(&head)
    }

    /// Sends a request completely (without waiting for `100 Continue`).
    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut bytes = request.head(&self.host);
        bytes.extend_from_slice(&request.framed_body());
        self.stream.write_all(&bytes)
    }

    /// Sends a request and reads its answer.
    pub fn call(&mut self, request: &Request) -> Result<Response, Trouble> {
        let started = Instant::now();
        let outcome = if request.expect_continue {
            self.call_expecting_continue(request)
        } else {
            let mut bytes = request.head(&self.host);
            let body = request.framed_body();
            if body.len() <= SENT_INLINE {
                bytes.extend_from_slice(&body);
                // The server may refuse and close early; its answer counts, not the failed write.
                let written = self.stream.write_all(&bytes);
                self.read_response(request.is_head()).map_err(|trouble| match (trouble, written) {
                    (Trouble::NoAnswer, Err(error)) => Trouble::Io(error),
                    (trouble, _) => trouble,
                })
            } else {
                let mut writer = self.stream.try_clone()?;
                std::thread::scope(|scope| {
                    let sending = scope.spawn(move || {
                        writer.write_all(&bytes)?;
                        writer.write_all(&body)
                    });
                    let outcome = self.read_response(request.is_head());
                    if outcome.is_err() || !sending.is_finished() {
                        // Answered (or failed) with the body half sent: this connection is of no more use.
                        let settled = Instant::now();
                        while !sending.is_finished() && settled.elapsed() < Duration::from_millis(200) {
                            std::thread::yield_now();
                        }
                        if !sending.is_finished() {
                            self.reusable = false;
                            let _ = self.stream.shutdown(Shutdown::Both);
                        }
                    }
                    if !matches!(sending.join(), Ok(Ok(()))) {
                        self.reusable = false;
                    }
                    outcome
                })
            }
        };
        outcome.map(|mut response| {
            response.elapsed = started.elapsed();
            response.request = request.to_string();
            response
        })
    }

    fn call_expecting_continue(&mut self, request: &Request) -> Result<Response, Trouble> {
        self.send_head(request)?;
        self.stream.set_read_timeout(CONTINUE_PATIENCE)?;
        let first = self.read_head();
        self.stream.set_read_timeout(PATIENCE)?;
        match first {
            Ok(head) if head.status == 100 => {
                self.stream.write_all(&request.framed_body())?;
                let mut response = self.read_response(false)?;
                response.got_continue = true;
                Ok(response)
            }
            Ok(head) => {
                // Refused before the body was wanted. The body was not sent, so the framing is out of step.
                self.reusable = false;
                self.read_body(head, false)
            }
            Err(Trouble::TimedOut) => {
                self.stream.write_all(&request.framed_body())?;
                self.read_response(false)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Reads the next answer, skipping interim ones.
    pub fn read_response(&mut self, to_head: bool) -> Result<Response, Trouble> {
        loop {
            let head = self.read_head()?;
            if head.status >= 200 {
                return self.read_body(head, to_head);
            }
        }
    }

    /// Reads a status line and headers only; the body is left to [`Connection::read_some`].
    pub fn read_head(&mut self) -> Result<Response, Trouble> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(Trouble::Malformed("the headers do not end".to_owned()));
            }
            if self.fill()? == 0 {
                return Err(if self.buffer.is_empty() {
                    Trouble::NoAnswer
                } else {
                    Trouble::Malformed(format!("{:?}", String::from_utf8_lossy(&self.buffer)))
                });
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        parse_head(&head[..end]).map_err(Trouble::Malformed)
    }

    fn read_body(&mut self, mut response: Response, to_head: bool) -> Result<Response, Trouble> {
        if response.closes() {
            self.reusable = false;
        }
        if to_head || matches!(response.status, 100..200 | 204 | 304) {
            return Ok(response);
        }
        let outcome =
            if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
                self.read_chunks(&mut response.body)
            } else if let Some(length) = response.header("content-length") {
                let Ok(length) = length.parse::<usize>() else {
                    return Err(Trouble::Malformed(format!("content-length: {length}")));
                };
                self.read_exactly(length, &mut response.body)
            } else {
                self.reusable = false;
                loop {
                    match self.fill() {
                        Ok(0) => break Ok(()),
                        Ok(_) => response.body.append(&mut self.buffer),
                        Err(error) => break Err(error.into()),
                    }
                }
            };
        match outcome {
            Ok(()) => Ok(response),
            Err(trouble) => {
                self.reusable = false;
                match trouble {
                    Trouble::Malformed(_) | Trouble::TimedOut => Err(trouble),
                    _ => Err(Trouble::Truncated(Box::new(response))),
                }
            }
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Trouble> {
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| Trouble::Malformed(format!("chunk size {line:?}")))?;
            if size == 0 {
                // Trailers, then the empty line.
                while !self.read_line()?.is_empty() {}
                return Ok(());
            }
            self.read_exactly(size, body)?;
            let line = self.read_line()?;
            if !line.is_empty() {
                return Err(Trouble::Malformed(format!("{line:?} after a chunk")));
            }
        }
    }

    fn read_line(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec())
                    .map_err(|_| Trouble::Malformed("a line that is not text".to_owned()));
            }
            if self.fill()? == 0 {
                return Err(Trouble::NoAnswer);
            }
        }
    }

    fn read_exactly(&mut self, length: usize, body: &mut Vec<u8>) -> Result<(), Trouble> {
        let mut left = length;
        loop {
            let ready = left.min(self.buffer.len());
            body.extend(self.buffer.drain(..ready));
            left -= ready;
            if left == 0 {
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err(Trouble::NoAnswer);
            }
        }
    }

    /// Reads whatever comes next into `out`, at most its length; 0 at the end.
    pub fn read_some(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            return self.stream.read(out);
        }
        let ready = out.len().min(self.buffer.len());
        out[..ready].copy_from_slice(&self.buffer[..ready]);
        self.buffer.drain(..ready);
        Ok(ready)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0u8; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(read) => {
                    self.buffer.extend_from_slice(&chunk[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Closes a connection from another thread.
#[derive(Debug)]
pub struct Closer(Stream);

impl Closer {
    pub fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Sends one request on a connection of its own.
pub fn call(address: &Address, request: &Request) -> Result<Response, Trouble> {
    Connection::open(address)?.call(request)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(head: &[u8]) -> Result<Response, String> {
    let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = line.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse::<u16>().ok());
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err(format!("status line {line:?}"));
    };
    let mut response = Response { status, ..Response::default() };
    for line in lines {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return Err(format!("header line {:?}", String::from_utf8_lossy(line)));
        };
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        response.headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
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
            while find(&seen, until).is_none() {
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
