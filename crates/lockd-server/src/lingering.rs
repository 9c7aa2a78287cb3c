//! Closing a connection while the client is still sending: an answer that refuses a body would be destroyed by the reset that
//! the system sends when a socket with unread bytes is closed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long the client may take to read the answer and stop sending.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream that, once its writing side is shut down, throws away what still arrives for a while.
#[derive(Debug)]
pub(crate) struct Lingering<S> {
    stream: S,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    No,
    /// The writing side is shut down; the client is still sending.
    Until(Pin<Box<Sleep>>),
    Done,
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S) -> Self {
        Lingering { stream, closing: Closing::No }
    }
}

impl<S: AsyncRead + Unpin> Lingering<S> {
    /// Throws away what is there. `None`: nothing is there yet.
    fn discard(&mut self, context: &mut Context<'_>) -> Option<usize> {
        let mut waste = [0; 16 * 1024];
        let mut buffer = ReadBuf::new(&mut waste);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => Some(buffer.filled().len()),
            Poll::Ready(Err(_)) => Some(0),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::No) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            // An idle client is not waited for; one in the middle of a body has filled the socket's buffer.
            self.closing = match self.discard(context) {
                None | Some(0) => Closing::Done,
                Some(_) => Closing::Until(Box::pin(tokio::time::sleep(PATIENCE))),
            };
        }
        loop {
            let Closing::Until(deadline) = &mut self.closing else { return Poll::Ready(Ok(())) };
            if deadline.as_mut().poll(context).is_ready() {
                self.closing = Closing::Done;
                continue;
            }
            match self.discard(context) {
                None => return Poll::Pending,
                Some(0) => self.closing = Closing::Done,
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A server that answers without having read a megabyte, and a client that reads the answer when it has sent all.
    #[tokio::test]
    async fn an_answer_survives_the_bytes_that_nobody_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut stream = Lingering::new(listener.accept().await.unwrap().0);
            let mut first = [0];
            stream.read_exact(&mut first).await.unwrap();
            stream.write_all(b"too large").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..256 {
            client.write_all(&[7; 16 * 1024]).await.unwrap();
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "too large");
        drop(client);
        server.await.unwrap();
    }
}
