//! Requests that have not been answered to the end. Connections do not tell: one that hangs in the middle of nothing has no work
//! left, and one of HTTP/2 may have a lot.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::answer::{AnswerBody, BrokenBody};

#[derive(Clone, Debug, Default)]
pub(crate) struct InProgress(Arc<AtomicUsize>);

impl InProgress {
    /// Counts a request until it, or the answer it was given to, is dropped.
    pub(crate) fn begin(&self) -> Begun {
        self.0.fetch_add(1, Ordering::Relaxed);
        Begun(self.0.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct Begun(Arc<AtomicUsize>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of the answer to a request that is in progress until the body has been sent.
#[derive(Debug)]
pub(crate) struct Accounted {
    pub(crate) body: AnswerBody,
    pub(crate) _request: Begun,
}

impl Body for Accounted {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
