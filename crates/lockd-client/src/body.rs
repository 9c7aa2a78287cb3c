//! What is uploaded: bytes that can be sent again, or a reader that can be read once.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

/// How much of a reader goes into one piece.
const PIECE: usize = 64 * 1024;

type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// A document or an attachment to upload.
///
/// Bytes, strings and vectors can be sent again if a connection breaks. A reader is streamed in constant memory, but only
/// once: if the connection breaks on the way, the call fails, and it is for you to start over.
///
/// ```
/// use lockd_client::Body;
///
/// let whole = Body::from(r#"{"done": 3}"#);
/// let streamed = Body::reader(tokio::io::empty());
/// let announced = Body::reader_of_length(&b"hello"[..], 5);
/// ```
pub struct Body(pub(crate) Content);

pub(crate) enum Content {
    Bytes(Bytes),
    Reader { reader: Reader, length: Option<u64> },
}

impl Body {
    /// Streams what the reader yields.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Body {
        Body(Content::Reader { reader: Box::pin(reader), length: None })
    }

    /// Streams the pieces that come out of a channel, until its sender is dropped. A piece that is an error cuts the call off,
    /// so that the server keeps nothing of it.
    pub fn pieces(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Body {
        Body::reader(Pieces { pieces, rest: Bytes::new() })
    }

    /// Streams exactly this many bytes, and tells the server in advance. The upload fails if the reader ends before.
    pub fn reader_of_length(reader: impl AsyncRead + Send + 'static, length: u64) -> Body {
        Body(Content::Reader { reader: Box::pin(reader), length: Some(length) })
    }
}

/// A channel as a reader.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.pieces.poll_recv(context)) {
                Some(piece) => self.rest = piece?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let room = buffer.remaining().min(self.rest.len());
        buffer.put_slice(&self.rest.split_to(room));
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Content::Reader { length: Some(length), .. } => write!(f, "Body(a reader of {length} bytes)"),
            Content::Reader { length: None, .. } => write!(f, "Body(a reader)"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body(Content::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Nothing => f.write_str("Nothing"),
            Payload::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Payload::Made(_) => f.write_str("Made"),
            Payload::Reader(_) => f.write_str("Reader"),
        }
    }
}

/// What a call sends, and whether it can send it again.
pub(crate) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// Made anew for every attempt, because it names the time that is left.
    Made(Box<dyn Fn() -> Bytes + Send + Sync>),
    Reader(Option<(Reader, Option<u64>)>),
}

impl From<Body> for Payload {
    fn from(body: Body) -> Self {
        match body.0 {
            Content::Bytes(bytes) => Payload::Bytes(bytes),
            Content::Reader { reader, length } => Payload::Reader(Some((reader, length))),
        }
    }
}

impl Payload {
    /// The body of the next attempt; `None` if it was a reader that has been read.
    pub(crate) fn take(&mut self, progress: &Arc<Progress>) -> Option<Outgoing> {
        let source = match self {
            Payload::Nothing => Source::Bytes(Bytes::new()),
            Payload::Bytes(bytes) => Source::Bytes(bytes.clone()),
            Payload::Made(make) => Source::Bytes(make()),
            Payload::Reader(reader) => {
                let (reader, left) = reader.take()?;
                Source::Reader { reader, left, buffer: vec![0; PIECE].into_boxed_slice() }
            }
        };
        if matches!(&source, Source::Bytes(bytes) if bytes.is_empty()) {
            progress.complete.store(true, Ordering::Relaxed);
        }
        Some(Outgoing { source, progress: progress.clone() })
    }

    /// Takes back a body that was never touched.
    pub(crate) fn put_back(&mut self, unsent: Outgoing) {
        if let (Payload::Reader(place), Source::Reader { reader, left, .. }) = (self, unsent.source) {
            *place = Some((reader, left));
        }
    }

    pub(crate) fn is_reader(&self) -> bool {
        matches!(self, Payload::Reader(_))
    }

    /// Whether another attempt has something to send.
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self, Payload::Reader(None))
    }
}

/// How far the upload of one attempt has come, seen by whoever waits for its answer.
pub(crate) struct Progress {
    start: Instant,
    /// When the server last took something, in milliseconds after the start.
    last: AtomicU64,
    /// The reader has nothing to give at the moment, which is not the server's fault.
    starved: AtomicBool,
    complete: AtomicBool,
    failure: Mutex<Option<io::Error>>,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            starved: AtomicBool::new(false),
            complete: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    /// Whether the whole request was handed over.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    fn made(&self) {
        self.last.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Since when the server owes us something.
    pub(crate) fn since(&self) -> Instant {
        match self.starved.load(Ordering::Relaxed) {
            true => Instant::now(),
            false => self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)),
        }
    }

    /// The error of the reader, if that is what broke the upload.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body of one attempt.
pub(crate) struct Outgoing {
    source: Source,
    progress: Arc<Progress>,
}

enum Source {
    Bytes(Bytes),
    Reader { reader: Reader, left: Option<u64>, buffer: Box<[u8]> },
}

impl Outgoing {
    fn fail(&self, error: io::Error) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let seen = io::Error::new(error.kind(), error.to_string());
        *self.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Poll::Ready(Some(Err(seen)))
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        this.progress.made();
        match &mut this.source {
            Source::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                if bytes.is_empty() {
                    this.progress.complete.store(true, Ordering::Relaxed);
                }
                Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
            }
            Source::Reader { reader, left, buffer } => {
                let room = left.map_or(buffer.len(), |left| buffer.len().min(left as usize));
                if room == 0 {
                    this.progress.complete.store(true, Ordering::Relaxed);
                    return Poll::Ready(None);
                }
                let mut piece = ReadBuf::new(&mut buffer[..room]);
                this.progress.starved.store(true, Ordering::Relaxed);
                let read = ready!(reader.as_mut().poll_read(context, &mut piece));
                this.progress.starved.store(false, Ordering::Relaxed);
                this.progress.made();
                if let Err(error) = read {
                    return this.fail(error);
                }
                let piece = Bytes::copy_from_slice(piece.filled());
                match (piece.len() as u64, left) {
                    (0, None) => {
                        this.progress.complete.store(true, Ordering::Relaxed);
                        Poll::Ready(None)
                    }
                    (0, Some(left)) => {
                        let missing = format!("it ended {left} bytes before its announced length");
                        this.fail(io::Error::new(io::ErrorKind::UnexpectedEof, missing))
                    }
                    (read, left) => {
                        if let Some(left) = left {
                            *left -= read;
                            if *left == 0 {
                                this.progress.complete.store(true, Ordering::Relaxed);
                            }
                        }
                        Poll::Ready(Some(Ok(Frame::data(piece))))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_empty(),
            Source::Reader { left, .. } => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Reader { left: Some(left), .. } => SizeHint::with_exact(*left),
            Source::Reader { left: None, .. } => SizeHint::default(),
        }
    }
}
