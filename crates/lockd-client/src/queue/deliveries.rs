//! Reads deliveries as they arrive: a multipart answer in which every message is a part about it and a part with its payload.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::time::{Duration, Instant};

use super::message::MessageLease;
use crate::answered::{Answer, AnswerBody};
use crate::error::{Error, Result};
use crate::vigil::unix_seconds;

/// Attributes are part of this; a server takes at most 100 MiB of them.
const LONGEST_META: usize = 128 << 20;
const LONGEST_HEAD: usize = 64 << 10;

/// The rest of an answer with deliveries.
pub(super) struct Deliveries {
    body: AnswerBody,
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    is_first: bool,
    /// What of the current payload has not been read yet.
    left: u64,
    /// About the message whose payload comes next.
    pending: Option<MessageLease>,
    /// What the server's clock said when the answer began, and when that was here.
    clock: Option<i64>,
    begun: Instant,
    pub(super) server: usize,
    /// How long the server may be silent within a delivery, and between two.
    patience: Duration,
    between: Option<Duration>,
}

/// What stands at the beginning of the buffer.
enum Ahead {
    /// That many bytes are about a message.
    Message(usize, Box<MessageLease>),
    End,
    Incomplete,
}

impl Deliveries {
    pub(super) fn new(answer: Answer, patience: Duration, between: Option<Duration>) -> Result<Deliveries> {
        let content_type = answer.header("content-type").unwrap_or_default();
        let Some(boundary) = boundary(content_type) else {
            return Err(answer.odd(format!("deliveries came as {content_type:?}")));
        };
        let delimiter = [b"--", boundary.as_bytes()].concat();
        let (clock, server) = (answer.header("date").and_then(unix_seconds), answer.server);
        let mut body = answer.into_body();
        body.set_patience(between);
        Ok(Deliveries {
            body,
            delimiter,
            buffer: BytesMut::new(),
            is_first: true,
            left: 0,
            pending: None,
            clock,
            begun: Instant::now(),
            server,
            patience,
            between,
        })
    }

    /// What is known about the next message; `None` at the end. What is left of the payload before it is passed over.
    /// Dropping the future loses nothing.
    pub(super) async fn next_about(&mut self) -> io::Result<Option<&MessageLease>> {
        while self.left > 0 {
            self.fill().await?;
            self.pass_over();
        }
        while self.pending.is_none() {
            match self.ahead()? {
                Ahead::Message(length, about) => {
                    self.buffer.advance(length);
                    self.is_first = false;
                    self.pending = Some(*about);
                }
                Ahead::End => {
                    self.end().await?;
                    return Ok(None);
                }
                Ahead::Incomplete => self.fill().await?,
            }
        }
        Ok(self.pending.as_ref())
    }

    fn pass_over(&mut self) {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.advance(here);
        self.left -= here as u64;
    }

    /// Takes the message that [`next_about`](Self::next_about) has found, with its whole payload.
    pub(super) async fn take_whole(&mut self) -> io::Result<Option<(MessageLease, Bytes)>> {
        let Some(about) = &self.pending else { return Ok(None) };
        let length = usize::try_from(about.payload_bytes).map_err(io::Error::other)?;
        self.body.set_patience(Some(self.patience));
        while self.buffer.len() < length {
            self.fill().await?;
        }
        self.body.set_patience(self.between);
        let Some(about) = self.pending.take() else { return Ok(None) };
        Ok(Some((about, self.buffer.split_to(length).freeze())))
    }

    /// Takes it without its payload, which is there to be read.
    pub(super) fn take_about(&mut self) -> Option<MessageLease> {
        let about = self.pending.take()?;
        self.left = about.payload_bytes;
        self.body.set_patience(Some(self.patience));
        Some(about)
    }

    /// How much of the payload that is being read is still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// For how long a message is certainly leased from now on. The clocks differ, but tell how much time has gone.
    pub(super) fn lives(&self, about: &MessageLease) -> Duration {
        let granted = Duration::from_secs(about.visibility_timeout_seconds);
        let Some(clock) = self.clock else { return granted };
        let left = about.lease_expires_at_unix.saturating_sub(clock);
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0)).saturating_sub(self.begun.elapsed());
        // The clocks show whole seconds, so one second less proves nothing.
        match left + Duration::from_secs(1) < granted {
            true => left,
            false => granted,
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.body.piece().await? {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece);
                Ok(())
            }
            None => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off between deliveries"))
            }
        }
    }

    /// Reads what follows the last delimiter, so that the connection can be used again.
    async fn end(&mut self) -> io::Result<()> {
        self.body.set_patience(Some(self.patience));
        while self.body.piece().await?.is_some() {}
        Ok(())
    }

    fn ahead(&self) -> io::Result<Ahead> {
        let mut place = Place { bytes: &self.buffer, at: 0 };
        if !self.is_first && !place.expect(b"\r\n")? {
            return Ok(Ahead::Incomplete);
        }
        if !place.expect(&self.delimiter)? {
            return Ok(Ahead::Incomplete);
        }
        if place.rest().starts_with(b"--") {
            return Ok(Ahead::End);
        }
        let Some(meta) = place.part(&self.delimiter, "meta")? else { return Ok(Ahead::Incomplete) };
        let about: MessageLease = serde_json::from_slice::<Envelope>(meta)
            .map_err(|error| odd(format!("what is said about a message is not understood: {error}")))?
            .message;
        let Some(headers) = place.head()? else { return Ok(Ahead::Incomplete) };
        check_name(headers, "payload")?;
        if header(headers, "content-length").and_then(|text| text.parse().ok()) != Some(about.payload_bytes) {
            return Err(odd("a payload is not as long as it was said to be"));
        }
        Ok(Ahead::Message(place.at, Box::new(about)))
    }
}

impl AsyncRead for Deliveries {
    /// Reads the payload that is under way.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while this.buffer.is_empty() {
            match ready!(this.body.poll_piece(context))? {
                Some(piece) => this.buffer.extend_from_slice(&piece),
                None => {
                    let why = "the payload broke off";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
                }
            }
        }
        let most = usize::try_from(this.left).unwrap_or(usize::MAX);
        let length = most.min(this.buffer.len()).min(buffer.remaining());
        buffer.put_slice(&this.buffer[..length]);
        this.buffer.advance(length);
        this.left -= length as u64;
        if this.left == 0 {
            this.body.set_patience(this.between);
        }
        Poll::Ready(Ok(()))
    }
}

#[derive(serde::Deserialize)]
struct Envelope {
    message: MessageLease,
}

/// A place in what has arrived so far. Its readers answer `false` or `None` where more has to arrive first.
struct Place<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Place<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn expect(&mut self, wanted: &[u8]) -> io::Result<bool> {
        let rest = self.rest();
        let here = rest.len().min(wanted.len());
        if rest[..here] != wanted[..here] {
            return Err(odd("there is no delimiter between parts"));
        }
        self.at += here;
        Ok(here == wanted.len())
    }

    /// The headers of the next part, after the line end that closes its delimiter.
    fn head(&mut self) -> io::Result<Option<&'a [u8]>> {
        if !self.expect(b"\r\n")? {
            return Ok(None);
        }
        let Some(length) = find(self.rest(), b"\r\n\r\n") else {
            return match self.rest().len() > LONGEST_HEAD {
                true => Err(odd("the headers of a part have no end")),
                false => Ok(None),
            };
        };
        let head = &self.rest()[..length];
        self.at += length + 4;
        Ok(Some(head))
    }

    /// The content of the next part, up to the delimiter after it.
    fn part(&mut self, delimiter: &[u8], name: &str) -> io::Result<Option<&'a [u8]>> {
        let Some(headers) = self.head()? else { return Ok(None) };
        check_name(headers, name)?;
        let end = [b"\r\n", delimiter].concat();
        let Some(length) = find(self.rest(), &end) else {
            return match self.rest().len() > LONGEST_META {
                true => Err(odd("what is said about a message has no end")),
                false => Ok(None),
            };
        };
        let content = &self.rest()[..length];
        self.at += length + end.len();
        Ok(Some(content))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn header<'a>(head: &'a [u8], wanted: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.split("\r\n");
    lines
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim()))
}

fn check_name(head: &[u8], wanted: &str) -> io::Result<()> {
    let disposition = header(head, "content-disposition").unwrap_or_default();
    match disposition.split(';').any(|piece| piece.trim() == format!("name=\"{wanted}\"")) {
        true => Ok(()),
        false => Err(odd(format!("the part {wanted:?} was expected, but there is {disposition:?}"))),
    }
}

fn odd(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap_or(value);
    (!value.is_empty()).then(|| value.to_owned())
}

/// The rest of a payload, all at once.
pub(super) async fn read_rest(reader: &mut (impl AsyncRead + Unpin), length: u64) -> io::Result<Bytes> {
    let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(1 << 20));
    reader.read_to_end(&mut whole).await?;
    Ok(whole.into())
}

/// An answer that broke off, as an error of the call.
pub(super) fn broken(error: &io::Error, path: &'static str, endpoint: crate::endpoint::Endpoint) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::UnexpectedAnswer { endpoint, path, reason: error.to_string() },
        kind => Error::Unreachable(Box::new(crate::error::Unreachable {
            path,
            attempts: 1,
            causes: vec![crate::error::Cause {
                endpoint,
                reason: error.to_string(),
                timed_out: kind == io::ErrorKind::TimedOut,
            }],
            maybe_applied: true,
        })),
    }
}
