//! How answers look: JSON bodies, error envelopes, headers, streams.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use lockd_core::op::{Delivery, Reason, Refusal};
use lockd_core::records::key::Digest;
use lockd_json::ObjectWriter;
use lockd_node::{Node, ReadError};
use lockd_store::{BlobReader, StoreError};
use lockd_wire::{ErrorCode, KeyId, LeaseId, header};
use smallvec::{SmallVec, smallvec};
use tokio::sync::mpsc;

pub(crate) type Answer = Response<AnswerBody>;

/// Why a request has no good answer: everything that the error envelope shows.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) detail: String,
    pub(crate) current: Option<(u64, Option<Digest>)>,
    pub(crate) retry_after_seconds: Option<u64>,
    /// Methods that would have worked.
    pub(crate) allow: Option<&'static str>,
}

pub(crate) type Outcome = Result<Answer, Failure>;

impl Failure {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Failure {
        Failure { code, detail: detail.into(), current: None, retry_after_seconds: None, allow: None }
    }

    /// Something is wrong with us, not with the request: the log says what, the client only that.
    pub(crate) fn internal() -> Failure {
        Failure::new(ErrorCode::InternalError, "internal server error")
    }

    pub(crate) fn into_answer(self) -> Answer {
        let mut body = Vec::with_capacity(160);
        // Details repeat what the client sent, which may be long; SDKs read at most 8 KiB of an error.
        let detail = clip(&self.detail, 1024);
        let (version, etag) = self.current.unwrap_or_default();
        let etag = etag.map(|etag| etag.to_string()).unwrap_or_default();
        ObjectWriter::new(&mut body)
            .string("error", self.code.as_str())
            .string_unless_empty("detail", detail)
            .int_unless_zero("current_version", version)
            .string_unless_empty("current_etag", &etag)
            .int_unless_zero("retry_after_seconds", self.retry_after_seconds.unwrap_or(0))
            .end_line();
        let mut answer = json(body);
        *answer.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(seconds) = self.retry_after_seconds.filter(|&seconds| seconds > 0) {
            answer.headers_mut().insert(RETRY_AFTER, number(seconds));
        }
        if let Some(allow) = self.allow {
            answer.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

fn clip(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let (code, detail) = match refusal.reason {
            Reason::LeaseRequired => (ErrorCode::LeaseRequired, "active lease required"),
            Reason::LeaseExpired => (ErrorCode::LeaseExpired, "lease expired"),
            Reason::FencingMismatch => (ErrorCode::FencingMismatch, "fencing token mismatch"),
            Reason::MissingTxn => (ErrorCode::MissingTxn, "transaction id required"),
            Reason::TxnMismatch => (ErrorCode::TxnMismatch, "transaction mismatch"),
            Reason::StagedByOther => (ErrorCode::TxnMismatch, "different transaction already staged"),
            Reason::VersionConflict => (ErrorCode::VersionConflict, "state version mismatch"),
            Reason::EtagMismatch => (ErrorCode::EtagMismatch, "state etag mismatch"),
            Reason::SeenOther => (ErrorCode::CasMismatch, "the document keeps changing, try again"),
            Reason::Waiting => (ErrorCode::Waiting, "lease already held"),
            Reason::AlreadyExists => (ErrorCode::AlreadyExists, "key already exists"),
            Reason::Draining => (ErrorCode::ShutdownDraining, "server is draining existing leases"),
            Reason::NamespaceConflict => {
                (ErrorCode::NamespaceConfigConflict, "namespace configuration changed concurrently")
            }
            Reason::NoMessage => (ErrorCode::Waiting, "no messages available"),
            Reason::MessageNotFound => (ErrorCode::NotFound, "message not found"),
            Reason::MessageLeaseMismatch => {
                (ErrorCode::QueueMessageLeaseMismatch, "queue message lease mismatch")
            }
            Reason::MessageLeaseMissing => {
                (ErrorCode::QueueMessageLeaseMismatch, "queue message lease missing")
            }
            Reason::MessageLeaseExpired => {
                (ErrorCode::QueueMessageLeaseMismatch, "queue message lease expired")
            }
            Reason::StateLeaseMismatch => {
                (ErrorCode::QueueMessageLeaseMismatch, "queue state lease mismatch")
            }
            Reason::MessageChanged => (ErrorCode::CasMismatch, "message metadata changed"),
            Reason::StateMarkerMismatch => (ErrorCode::CasMismatch, "state etag mismatch"),
            Reason::TxnConflict => (ErrorCode::TxnConflict, "transaction already decided"),
            Reason::TxnNotFound => (ErrorCode::TxnNotFound, "no such transaction"),
            Reason::TermRequired => (ErrorCode::TcTermRequired, "tc_term required for this transaction"),
            Reason::TermStale => (ErrorCode::TcTermStale, "tc_term is lower than recorded term"),
            Reason::AttachmentNotFound => (ErrorCode::AttachmentNotFound, "no such attachment"),
            Reason::Cancelled | Reason::Damaged | Reason::StoreFailed => {
                (ErrorCode::InternalError, "internal server error")
            }
        };
        Failure {
            current: refusal.current,
            retry_after_seconds: refusal.retry_after_seconds,
            ..Failure::new(code, detail)
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::NoSpace(_) => Failure {
                retry_after_seconds: Some(1),
                ..Failure::new(ErrorCode::NoSpace, "the server's store has no space left")
            },
            error => {
                tracing::error!(sys = "storage.backend.core", %error, "storage operation failed");
                Failure::internal()
            }
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        match error {
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Store(error) => error.into(),
        }
    }
}

// ---- good answers ---------------------------------------------------------------------------------------------------

pub(crate) fn json(body: Vec<u8>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Some(body.into())));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.status_mut() = status;
    answer
}

/// The answer to a HEAD request: it says how long the body would be and has none. What the body would have carried to the
/// client counts as undelivered, a grant above all.
pub(crate) fn head_only(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(len) = body.size_hint().exact().filter(|&len| len > 0) {
        head.headers.insert(CONTENT_LENGTH, number(len));
    }
    Response::from_parts(head, AnswerBody::Done)
}

/// Sets headers of this API by name.
pub(crate) trait WithHeaders: Sized {
    fn with(self, name: &'static str, value: HeaderValue) -> Self;

    fn with_number(self, name: &'static str, value: u64) -> Self {
        self.with(name, number(value))
    }

    fn with_etag(self, etag: &Digest) -> Self {
        match HeaderValue::from_bytes(&etag.hex()) {
            Ok(value) => self.with("etag", value),
            Err(_) => self,
        }
    }

    /// Left out if the text cannot stand in a header.
    fn with_text(self, name: &'static str, text: &str) -> Self {
        match HeaderValue::from_bytes(text.as_bytes()) {
            Ok(value) if !text.is_empty() => self.with(name, value),
            _ => self,
        }
    }
}

impl WithHeaders for Answer {
    fn with(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers_mut().insert(HeaderName::from_static(name), value);
        self
    }
}

pub(crate) fn number(value: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(value)).unwrap_or(HeaderValue::from_static("0"))
}

/// A body of stored bytes.
pub(crate) fn stored(body: lockd_node::Body, len: u64, content_type: &str) -> Answer {
    let mut answer = Response::new(match body {
        lockd_node::Body::Whole(bytes) => AnswerBody::Whole(Some(bytes)),
        lockd_node::Body::Stream(reader) => AnswerBody::stream(reader, len),
    });
    let content_type = HeaderValue::from_bytes(content_type.as_bytes())
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer.headers_mut().insert(CONTENT_LENGTH, number(len));
    answer
}

/// The answer to an acquire: if it cannot be sent, the grant is given back.
pub(crate) fn grant(body: Vec<u8>, undo: Undo) -> Answer {
    undoable(body, "application/json", undo)
}

/// An answer that leases come with: if it cannot be sent, they are given back.
pub(crate) fn undoable(body: Vec<u8>, content_type: &str, undo: Undo) -> Answer {
    let mut answer = Response::new(AnswerBody::Grant { bytes: Some(body.into()), undo: Some(undo) });
    if let Ok(value) = HeaderValue::from_str(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, value);
    }
    answer
}

/// An answer that is written while it is sent.
pub(crate) fn streamed(body: Streamed, content_type: &str) -> Answer {
    let mut answer = Response::new(AnswerBody::Written(body));
    if let Ok(value) = HeaderValue::from_str(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, value);
    }
    answer
}

/// Gives leases back when dropped, unless it was disarmed.
#[derive(Debug)]
pub(crate) struct Undo {
    node: Arc<Node>,
    leases: SmallVec<[(KeyId, LeaseId); 1]>,
}

impl Undo {
    pub(crate) fn grant(node: &Arc<Node>, key: KeyId, lease: LeaseId) -> Undo {
        Undo { node: node.clone(), leases: smallvec![(key, lease)] }
    }

    pub(crate) fn of(node: &Arc<Node>, deliveries: &[Delivery]) -> Undo {
        Undo { node: node.clone(), leases: deliveries.iter().flat_map(Delivery::leases).collect() }
    }

    fn disarm(&mut self) {
        self.leases.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for (key, lease) in self.leases.drain(..) {
            self.node.abandon(key, lease);
        }
    }
}

/// A body that a task of its own writes, never more than a piece ahead of the connection.
#[derive(Debug)]
pub(crate) struct Streamed {
    pieces: mpsc::Receiver<Result<Bytes, BrokenBody>>,
    /// Until the connection takes the first piece.
    undo: Option<Undo>,
}

/// The writing end of a [`Streamed`] body.
#[derive(Debug)]
pub(crate) struct Outlet(mpsc::Sender<Result<Bytes, BrokenBody>>);

impl Streamed {
    pub(crate) fn spawn<F>(undo: Undo, write: impl FnOnce(Outlet) -> F) -> Streamed
    where
        F: Future<Output = Result<(), BrokenBody>> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(1);
        let writing = write(Outlet(sender.clone()));
        tokio::spawn(async move {
            if let Err(broken) = writing.await {
                tracing::debug!(sys = "api.http.server", error = %broken, "stream broken off");
                let _ = sender.send(Err(broken)).await;
            }
        });
        Streamed { pieces, undo: Some(undo) }
    }
}

impl Outlet {
    pub(crate) async fn send(&mut self, piece: Bytes) -> Result<(), BrokenBody> {
        self.0.send(Ok(piece)).await.map_err(|_| BrokenBody::Gone)
    }

    /// Sends stored bytes, exactly as many as their record says.
    pub(crate) async fn send_payload(&mut self, body: lockd_node::Body, len: u64) -> Result<(), BrokenBody> {
        let mut pieces = crate::deliveries::Pieces(body);
        let mut left = len;
        while let Some(piece) = pieces.next().await? {
            left = left.checked_sub(piece.len() as u64).ok_or(BrokenBody::Long)?;
            self.send(piece).await?;
        }
        if left == 0 { Ok(()) } else { Err(BrokenBody::Short(left)) }
    }

    /// Waits until everything that was sent has been taken by the connection.
    pub(crate) async fn ready(&self) -> Result<(), BrokenBody> {
        self.0.reserve().await.map(drop).map_err(|_| BrokenBody::Gone)
    }

    /// Resolves when the client has gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

type NextPiece =
    Pin<Box<dyn Future<Output = (Box<dyn BlobReader>, Result<Option<Bytes>, StoreError>)> + Send>>;

/// The body of an answer.
pub(crate) enum AnswerBody {
    Whole(Option<Bytes>),
    Grant { bytes: Option<Bytes>, undo: Option<Undo> },
    Written(Streamed),
    Stream { next: NextPiece, left: u64 },
    Done,
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerBody")
    }
}

impl AnswerBody {
    fn stream(reader: Box<dyn BlobReader>, left: u64) -> AnswerBody {
        AnswerBody::Stream { next: next_piece(reader), left }
    }
}

fn next_piece(mut reader: Box<dyn BlobReader>) -> NextPiece {
    Box::pin(async move {
        let piece = reader.read().await;
        (reader, piece)
    })
}

/// A body that breaks off: the connection is cut, so that nobody takes half a document for a whole one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenBody {
    #[error("reading a stored body: {0}")]
    Store(#[from] StoreError),
    #[error("a stored body has {0} bytes less than its record says")]
    Short(u64),
    #[error("a stored body is longer than its record says")]
    Long,
    #[error("the client has gone")]
    Gone,
    #[error("too many consumers")]
    Busy,
    #[error("the next messages cannot be fetched: {0:?}")]
    Refused(Reason),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match &mut *self {
            AnswerBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Grant { bytes, undo } => {
                // The connection takes the bytes: from here on they are on their way.
                if let Some(mut undo) = undo.take() {
                    undo.disarm();
                }
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            AnswerBody::Done => Poll::Ready(None),
            AnswerBody::Written(streamed) => {
                let piece = std::task::ready!(streamed.pieces.poll_recv(context));
                if let Some(mut undo) = streamed.undo.take() {
                    undo.disarm();
                }
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
            AnswerBody::Stream { next, left } => {
                let (reader, piece) = std::task::ready!(next.as_mut().poll(context));
                let broken = match piece {
                    Ok(Some(piece)) => match left.checked_sub(piece.len() as u64) {
                        Some(rest) => {
                            *left = rest;
                            *next = next_piece(reader);
                            return Poll::Ready(Some(Ok(Frame::data(piece))));
                        }
                        None => BrokenBody::Long,
                    },
                    Ok(None) if *left == 0 => {
                        *self = AnswerBody::Done;
                        return Poll::Ready(None);
                    }
                    Ok(None) => BrokenBody::Short(*left),
                    Err(error) => error.into(),
                };
                tracing::error!(sys = "storage.backend.core", error = %broken, "answer broken off");
                *self = AnswerBody::Done;
                Poll::Ready(Some(Err(broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, AnswerBody::Whole(None) | AnswerBody::Grant { bytes: None, .. } | AnswerBody::Done)
    }

    fn size_hint(&self) -> SizeHint {
        if matches!(self, AnswerBody::Written(_)) {
            return SizeHint::default();
        }
        SizeHint::with_exact(match self {
            AnswerBody::Whole(bytes) | AnswerBody::Grant { bytes, .. } => {
                bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
            }
            AnswerBody::Stream { left, .. } => *left,
            AnswerBody::Done | AnswerBody::Written(_) => 0,
        })
    }
}

pub(crate) const KEY_VERSION: &str = header::KEY_VERSION;
pub(crate) const FENCING_TOKEN: &str = header::FENCING_TOKEN;
