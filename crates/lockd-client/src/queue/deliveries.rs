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
    /// Up to here there is no end of what is said about a message, so that it is not looked for again and again.
    searched: usize,
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
    /// More has to arrive. Up to here there is no end of what is said about the message.
    Incomplete(usize),
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
            searched: 0,
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
        self.pass_over();
        while self.left > 0 {
            self.fill().await?;
            self.pass_over();
        }
        while self.pending.is_none() {
            match self.ahead()? {
                Ahead::Message(length, about) => {
                    self.buffer.advance(length);
                    (self.searched, self.is_first) = (0, false);
                    self.pending = Some(*about);
                }
                Ahead::End => {
                    self.end().await?;
                    return Ok(None);
                }
                Ahead::Incomplete(searched) => {
                    self.searched = searched;
                    self.fill().await?;
                }
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
        // The clock shows whole seconds, so the lease may live for up to one more.
        let left = about.lease_expires_at_unix.saturating_sub(clock).saturating_add(1);
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        granted.min(left.saturating_sub(self.begun.elapsed()))
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
            return Ok(Ahead::Incomplete(0));
        }
        if !place.expect(&self.delimiter)? {
            return Ok(Ahead::Incomplete(0));
        }
        if place.rest().starts_with(b"--") {
            return Ok(Ahead::End);
        }
        let Some(meta) = place.part(&self.delimiter, "meta", self.searched)? else {
            return Ok(Ahead::Incomplete(self.buffer.len()));
        };
        let about: MessageLease = serde_json::from_slice::<Envelope>(meta)
            .map_err(|error| odd(format!("what is said about a message is not understood: {error}")))?
            .message;
        let Some(headers) = place.head()? else { return Ok(Ahead::Incomplete(0)) };
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
    fn part(&mut self, delimiter: &[u8], name: &str, searched: usize) -> io::Result<Option<&'a [u8]>> {
        let Some(headers) = self.head()? else { return Ok(None) };
        check_name(headers, name)?;
        let end = [b"\r\n", delimiter].concat();
        // The end may have begun before what is new.
        let start = searched.saturating_sub(end.len()).saturating_sub(self.at).min(self.rest().len());
        let Some(length) = find(&self.rest()[start..], &end).map(|length| start + length) else {
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
                lasting: false,
            }],
            maybe_applied: true,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answered::Content;

    const META: &str = r#"{"message":{"namespace":"n","queue":"q","message_id":"m","lease_id":"l","fencing_token":1,"payload_bytes":5}}"#;

    fn deliveries(arrived: &[u8], is_first: bool) -> Deliveries {
        Deliveries {
            body: AnswerBody(Content::Whole(Bytes::new())),
            delimiter: b"--b".to_vec(),
            buffer: arrived.into(),
            searched: 0,
            is_first,
            left: 0,
            pending: None,
            clock: Some(100),
            begun: Instant::now(),
            server: 0,
            patience: Duration::from_secs(1),
            between: None,
        }
    }

    fn head(length: &str) -> String {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"meta\"; filename=\"meta-0.json\"\r\nContent-Type: application/json\r\n\r\n{META}\n\r\n--b\r\ncontent-disposition: form-data; name=\"payload\"\r\nContent-Length: {length}\r\n\r\n"
        )
    }

    #[tokio::test]
    async fn a_message_is_read_wherever_its_bytes_are_cut() {
        for (before, is_first) in [("", true), ("\r\n", false)] {
            let whole = format!("{before}{}", head("5"));
            for cut in 0..whole.len() {
                let mut begun = deliveries(&whole.as_bytes()[..cut], is_first);
                let Ahead::Incomplete(searched) = begun.ahead().unwrap() else { panic!("complete at {cut}") };
                begun.searched = searched;
                begun.buffer.extend_from_slice(&whole.as_bytes()[cut..]);
                assert!(matches!(begun.ahead().unwrap(), Ahead::Message(..)), "{cut}");
            }
            let payload = "\r\n--b";
            let mut read = deliveries(format!("{whole}{payload}\r\n--b--\r\n").as_bytes(), is_first);
            assert_eq!(read.next_about().await.unwrap().unwrap().message_id, "m");
            assert_eq!(read.take_whole().await.unwrap().unwrap().1, payload);
            assert!(read.next_about().await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_payload_that_was_not_read_is_passed_over() {
        let mut read =
            deliveries(format!("{}12345\r\n{}67890\r\n--b--", head("5"), head("5")).as_bytes(), true);
        read.next_about().await.unwrap();
        read.take_about().unwrap();
        let mut two = [0; 2];
        read.read_exact(&mut two).await.unwrap();
        read.next_about().await.unwrap();
        read.take_about().unwrap();
        assert_eq!(read_rest(&mut read, 5).await.unwrap(), "67890");
        assert!(read.next_about().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn odd_answers_are_refused_and_broken_ones_are_noticed() {
        for odd in [
            "nonsense".to_owned(),
            head("4"),
            head("x"),
            head("5").replace("\"meta\"", "\"mate\""),
            head("5").replace("fencing_token", "token"),
        ] {
            let error = deliveries(odd.as_bytes(), true).next_about().await.err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{odd}");
        }
        let mut cut = deliveries(format!("{}123", head("5")).as_bytes(), true);
        cut.next_about().await.unwrap();
        assert_eq!(cut.take_whole().await.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        cut.take_about().unwrap();
        assert_eq!(read_rest(&mut cut, 5).await.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn boundaries_are_found() {
        assert_eq!(boundary("multipart/related; boundary=a1").as_deref(), Some("a1"));
        assert_eq!(boundary("Multipart/Mixed; x=y; Boundary=\"a 1\"").as_deref(), Some("a 1"));
        assert_eq!(boundary("application/json; boundary=a"), None);
        assert_eq!(boundary("multipart/related"), None);
    }

    #[test]
    fn a_lease_that_began_before_we_heard_of_it_ends_accordingly() {
        let mut about: MessageLease =
            serde_json::from_str::<Envelope>(META).map(|envelope| envelope.message).unwrap();
        about.visibility_timeout_seconds = 30;
        for (expires, lives) in [(130, 30), (129, 30), (110, 11), (90, 0)] {
            about.lease_expires_at_unix = expires;
            let found = deliveries(b"", true).lives(&about).as_secs();
            assert!(found == lives || found + 1 == lives, "{expires}: {found}");
        }
    }
}
