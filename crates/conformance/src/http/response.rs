//! Answers, and what may come instead of one.

use std::fmt;
use std::io;
use std::time::Duration;

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

    pub(super) fn closes(&self) -> bool {
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
    /// Nothing came within [`PATIENCE`](super::PATIENCE), or the time the caller allowed.
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

/// Reads a status line and the header lines after it.
pub(super) fn parse_head(head: &[u8]) -> Result<Response, String> {
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
