//! The answer to a call: its status, its headers, and its body as a whole or as it arrives.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::stream::ByteStream;

/// A good answer to a [`Call`](crate::Call): status 200 or 204.
#[derive(Debug)]
pub struct Answer {
    pub(crate) endpoint: Endpoint,
    /// Its place among the servers of the client.
    pub(crate) server: usize,
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) content: AnswerBody,
    /// An earlier attempt broke off and may have been carried out as well.
    pub(crate) repeated: bool,
}

/// The body of an [`Answer`]: read it as an [`AsyncRead`], piece by piece, or all at once.
#[derive(Debug)]
pub struct AnswerBody(pub(crate) Content);

#[derive(Debug)]
pub(crate) enum Content {
    Whole(Bytes),
    Stream(Box<ByteStream>),
}

impl Answer {
    /// The server that has answered.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// 200 or 204.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok().map(str::trim)
    }

    /// The `ETag` without quotes.
    pub fn etag(&self) -> Option<String> {
        self.header("etag").map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty())
    }

    /// Whether an earlier attempt broke off, and may have been carried out as well.
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// The body, unless the call was [streaming](crate::Call::streaming).
    pub fn bytes(&self) -> Result<&Bytes> {
        match &self.content.0 {
            Content::Whole(bytes) => Ok(bytes),
            Content::Stream(_) => Err(self.odd("its body was to be streamed")),
        }
    }

    /// The same as a value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.bytes()?).map_err(|error| self.odd(error))
    }

    /// The body, to be read.
    pub fn into_body(self) -> AnswerBody {
        self.content
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.header(name)?.parse().ok()
    }

    pub(crate) fn odd(&self, reason: impl std::fmt::Display) -> Error {
        Error::UnexpectedAnswer {
            endpoint: self.endpoint.clone(),
            path: self.path,
            reason: reason.to_string(),
        }
    }
}

impl AnswerBody {
    /// The next piece, which is not empty; `None` at the end. Dropping the future loses nothing.
    pub async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|context| self.poll_piece(context)).await
    }

    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match &mut self.0 {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(Ok(None)),
            Content::Whole(bytes) => Poll::Ready(Ok(Some(std::mem::take(bytes)))),
            Content::Stream(stream) => stream.poll_piece(context),
        }
    }

    /// How long the server may be silent from now on; `None` for as long as the connection lives.
    pub(crate) fn set_patience(&mut self, patience: Option<Duration>) {
        if let Content::Stream(stream) = &mut self.0 {
            stream.set_patience(patience);
        }
    }

    /// All that is left; fails if it is more than `most` bytes.
    pub async fn collect(self, most: usize) -> io::Result<Bytes> {
        match self.0 {
            Content::Whole(bytes) if bytes.len() > most => Err(crate::stream::too_long(most)),
            Content::Whole(bytes) => Ok(bytes),
            Content::Stream(stream) => stream.collect(most).await,
        }
    }
}

impl AsyncRead for AnswerBody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Content::Whole(bytes) => {
                let room = buffer.remaining().min(bytes.len());
                buffer.put_slice(&bytes[..room]);
                bytes.advance(room);
                Poll::Ready(Ok(()))
            }
            Content::Stream(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}
