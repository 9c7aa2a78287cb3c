//! A connection: sending requests in one go or bit by bit, and reading answers strictly.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::response::parse_head;
use super::{Address, Request, Response, Trouble};

/// How long a client waits for an answer before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client waits for `100 Continue` before it sends the body anyway.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(5);
/// A larger body is sent by a second thread, because the server may answer before it has read all of it.
const SENT_INLINE: usize = 16 * 1024;
const MAX_HEAD: usize = 1 << 20;

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

    /// Reads the body that belongs to a head of [`Connection::read_head`].
    pub fn read_body(&mut self, mut response: Response, to_head: bool) -> Result<Response, Trouble> {
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
        while let Some(mut chunk) = self.next_chunk()? {
            body.append(&mut chunk);
        }
        Ok(())
    }

    /// Reads the next chunk of a chunked body whose head was read with [`Connection::read_head`]; `None` at its
    /// clean end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let line = self.read_line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| Trouble::Malformed(format!("chunk size {line:?}")))?;
        if size == 0 {
            // Trailers, then the empty line.
            while !self.read_line()?.is_empty() {}
            return Ok(None);
        }
        let mut chunk = Vec::with_capacity(size);
        self.read_exactly(size, &mut chunk)?;
        let line = self.read_line()?;
        if !line.is_empty() {
            return Err(Trouble::Malformed(format!("{line:?} after a chunk")));
        }
        Ok(Some(chunk))
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

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
