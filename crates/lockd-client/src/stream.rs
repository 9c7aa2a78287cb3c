//! What is downloaded: the body of an answer as an `AsyncRead`, with the connection it comes over.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep};

use crate::answered::AnswerBody;
use crate::attachment::Attachment;
use crate::body::Progress;
use crate::connection::{Connection, Pool};
use crate::error::{Error, Result};

/// The rest of an answer. Reading fails with `TimedOut` if the server says nothing for the timeout of the client.
pub(crate) struct ByteStream {
    incoming: Incoming,
    piece: Bytes,
    connection: Option<Connection>,
    pool: Arc<Pool>,
    progress: Arc<Progress>,
    /// How long the server may be silent, if not for ever.
    patience: Option<Duration>,
    alarm: Pin<Box<Sleep>>,
    /// The alarm is set, because we wait for the server and not for our reader.
    waiting: bool,
}

impl ByteStream {
    pub(crate) fn new(
        incoming: Incoming,
        connection: Connection,
        pool: Arc<Pool>,
        progress: Arc<Progress>,
        patience: Duration,
    ) -> Self {
        let alarm = Box::pin(sleep(patience));
        Self {
            incoming,
            piece: Bytes::new(),
            connection: Some(connection),
            pool,
            progress,
            patience: Some(patience),
            alarm,
            waiting: false,
        }
    }

    pub(crate) fn set_patience(&mut self, patience: Option<Duration>) {
        self.patience = patience;
        self.waiting = false;
    }

    pub(crate) async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    /// Everything, unless it is more than `most` bytes.
    pub(crate) async fn collect(mut self, most: usize) -> io::Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if whole.len() + piece.len() > most {
                return Err(too_long(most));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The next piece, which is not empty; `None` at the end.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.piece.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.piece))));
        }
        loop {
            let polled = Pin::new(&mut self.incoming).poll_frame(context);
            if polled.is_ready() {
                self.waiting = false;
            }
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data()
                        && !piece.is_empty()
                    {
                        return Poll::Ready(Ok(Some(piece)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.connection = None;
                    let why = format!("the answer broke off: {}", chain(&error));
                    return Poll::Ready(Err(io::Error::other(why)));
                }
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => {
                    let Some(patience) = self.patience else { return Poll::Pending };
                    let Some(until) = Instant::now().checked_add(patience) else { return Poll::Pending };
                    if !std::mem::replace(&mut self.waiting, true) {
                        self.alarm.as_mut().reset(until);
                    }
                    ready!(self.alarm.as_mut().poll(context));
                    self.connection = None;
                    let why = format!("the answer stood still for {patience:?}");
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
                }
            }
        }
    }

    fn end(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.progress.is_complete()
        {
            self.pool.give_back(connection);
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = ready!(self.poll_piece(context))? {
            let room = buffer.remaining().min(piece.len());
            buffer.put_slice(&piece.split_to(room));
            self.piece = piece;
        }
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn too_long(most: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("the answer exceeds {most} bytes"))
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").finish_non_exhaustive()
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The JSON state of a key as it arrives. It is one consistent document, of this version and ETag.
///
/// ```no_run
/// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// if let Some(mut state) = client.read_stream("reports/large").await? {
///     println!("version {}", state.version());
///     tokio::io::copy(&mut state, &mut tokio::io::sink()).await?;
/// }
/// # Ok(()) }
/// ```
pub struct StateStream {
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) etag: String,
    pub(crate) length: Option<u64>,
    pub(crate) stream: AnswerBody,
}

impl StateStream {
    /// The version of the state.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Identifies the content.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// How many bytes there are, if the server says so.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// All of it.
    pub async fn bytes(self) -> io::Result<Bytes> {
        self.stream.collect(usize::MAX - 1).await
    }

    /// All of it, as a value.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let key = self.key.clone();
        let bytes = self.bytes().await.map_err(|source| Error::Undecodable {
            key: key.clone(),
            source: serde_json::Error::io(source),
        })?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Undecodable { key, source })
    }
}

impl AsyncRead for StateStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl fmt::Debug for StateStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateStream")
            .field("key", &self.key)
            .field("version", &self.version)
            .field("etag", &self.etag)
            .finish_non_exhaustive()
    }
}

/// An attachment as it arrives.
///
/// ```no_run
/// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut report = client.read_attachment("jobs/nightly", "report.txt").await?;
/// let mut file = tokio::fs::File::create("report.txt").await?;
/// tokio::io::copy(&mut report, &mut file).await?;
/// # Ok(()) }
/// ```
pub struct AttachmentStream {
    pub(crate) attachment: Attachment,
    pub(crate) stream: AnswerBody,
}

impl AttachmentStream {
    /// Its name, size, digest and so on.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// All of it.
    pub async fn bytes(self) -> io::Result<Bytes> {
        self.stream.collect(usize::MAX - 1).await
    }
}

impl AsyncRead for AttachmentStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl fmt::Debug for AttachmentStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachmentStream").field("attachment", &self.attachment).finish_non_exhaustive()
    }
}
