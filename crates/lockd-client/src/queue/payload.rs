//! The payload of a message: in memory if it is short, else as it arrives.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::OwnedMutexGuard;

use super::deliveries::{Deliveries, read_rest};

/// The payload of a message. Up to a mebibyte of it is in memory already; more is read as it arrives.
///
/// ```no_run
/// # async fn example(mut message: lockd_client::Message) -> Result<(), Box<dyn std::error::Error>> {
/// let mut file = tokio::fs::File::create("payload").await?;
/// tokio::io::copy(message.payload(), &mut file).await?;
/// message.ack().await?;
/// # Ok(()) }
/// ```
pub struct Payload {
    length: u64,
    source: Source,
}

enum Source {
    Whole(Bytes),
    Stream(OwnedMutexGuard<Deliveries>),
}

impl Payload {
    pub(super) fn whole(bytes: Bytes) -> Payload {
        Payload { length: bytes.len() as u64, source: Source::Whole(bytes) }
    }

    pub(super) fn stream(deliveries: OwnedMutexGuard<Deliveries>) -> Payload {
        Payload { length: deliveries.left(), source: Source::Stream(deliveries) }
    }

    /// How long it is as a whole.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What has not been read of it, all at once. What is in memory already can be taken again and again.
    pub async fn bytes(&mut self) -> io::Result<Bytes> {
        match &mut self.source {
            Source::Whole(bytes) => Ok(bytes.clone()),
            Source::Stream(deliveries) => {
                let left = deliveries.left();
                let bytes = read_rest(&mut **deliveries, left).await?;
                self.source = Source::Whole(bytes.clone());
                Ok(bytes)
            }
        }
    }

    /// The same as a value.
    pub async fn json<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        serde_json::from_slice(&self.bytes().await?).map_err(io::Error::from)
    }
}

impl AsyncRead for Payload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.source {
            Source::Whole(bytes) => {
                let length = buffer.remaining().min(bytes.len());
                buffer.put_slice(&bytes[..length]);
                bytes.advance(length);
                Poll::Ready(Ok(()))
            }
            Source::Stream(deliveries) => Pin::new(&mut **deliveries).poll_read(context, buffer),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.length)
    }
}
