//! A subscription: one endless answer, read delivery by delivery.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::calls::{Delivery, consume_request};
use crate::connection::{Chunk, next_chunk};
use crate::endpoint::{Endpoint, Socket};
use crate::fault::Fault;

#[derive(Debug)]
pub(crate) struct Subscription {
    socket: Socket,
    /// As it came, in chunks.
    inbox: Vec<u8>,
    /// The body so far, from the next delivery on.
    body: Vec<u8>,
    begun: bool,
}

impl Subscription {
    /// Asks for deliveries. The answer begins with the first of them.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        queue: &str,
        prefetch: usize,
    ) -> Result<Subscription, Fault> {
        let mut socket = endpoint.connect().await?;
        let (mut request, mut body) = (Vec::new(), Vec::new());
        consume_request(&mut request, &mut body, "subscribe", queue, 0, prefetch)?;
        socket.write_all(&request).await?;
        Ok(Subscription { socket, inbox: Vec::new(), body: Vec::new(), begun: false })
    }

    pub(crate) async fn next(&mut self) -> Result<Delivery, Fault> {
        loop {
            if let Some((delivery, len)) = first_delivery(&self.body)? {
                self.body.drain(..len);
                return Ok(delivery);
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), Fault> {
        if self.socket.read_buf(&mut self.inbox).await? == 0 {
            return Err(Fault::Closed);
        }
        if !self.begun {
            let Some(end) = memchr::memmem::find(&self.inbox, b"\r\n\r\n") else { return Ok(()) };
            if !self.inbox.starts_with(b"HTTP/1.1 200") {
                let body = String::from_utf8_lossy(&self.inbox[end + 4..]).trim_end().to_owned();
                let status = std::str::from_utf8(self.inbox.get(9..12).unwrap_or_default());
                let status = status.ok().and_then(|status| status.parse().ok()).unwrap_or(0);
                return Err(Fault::Refused { call: "subscribe", status, body });
            }
            self.inbox.drain(..end + 4);
            self.begun = true;
        }
        let mut at = 0;
        loop {
            match next_chunk(&self.inbox[at..])? {
                Chunk::Partial => break,
                Chunk::Data { skip, length } => {
                    self.body.extend_from_slice(&self.inbox[at + skip..at + skip + length]);
                    at += skip + length + 2;
                }
                Chunk::End => return Err(Fault::Closed),
            }
        }
        self.inbox.drain(..at);
        Ok(())
    }
}

/// The delivery that the body begins with, and where it ends: before the delimiter of the next.
fn first_delivery(body: &[u8]) -> Result<Option<(Delivery, usize)>, Fault> {
    let find = |from: usize, what: &[u8]| {
        body.get(from..).and_then(|rest| memchr::memmem::find(rest, what)).map(|at| from + at + what.len())
    };
    let parts = || {
        let meta = find(0, b"\r\n\r\n")?;
        let meta_end = find(meta, b"\n")?;
        Some((meta, meta_end, find(meta_end, b"\r\n\r\n")?))
    };
    let Some((meta, meta_end, payload)) = parts() else { return Ok(None) };
    let delivery = Delivery::read(&body[meta..meta_end]).ok_or_else(|| Fault::Unexpected {
        call: "subscribe",
        detail: format!("no message in {:?}", String::from_utf8_lossy(&body[meta..meta_end])),
    })?;
    let end = payload + delivery.payload_bytes;
    match body.get(end..end + 4) {
        None => Ok(None),
        Some(b"\r\n--") => Ok(Some((delivery, end))),
        Some(_) => Err(Fault::Malformed("a payload does not end where its length says".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_told_apart_and_need_their_delimiter() {
        let one = |payload: &str| {
            format!(
                "\r\nX: y\r\n\r\n{{\"message\":{{\"message_id\":\"m\",\"payload_bytes\":{},\"lease_id\":\"l\",\"fencing_token\":1,\"txn_id\":\"t\",\"meta_etag\":\"e\"}}}}\n\r\n--b\r\nContent-Length: 1\r\n\r\n{payload}\r\n--b",
                payload.len()
            )
        };
        let body = format!("--b{}{}", one("a\r\n"), one("bc"));
        let (first, at) = first_delivery(body.as_bytes()).unwrap().unwrap();
        let (second, _) = first_delivery(&body.as_bytes()[at..]).unwrap().unwrap();
        assert_eq!((first.payload_bytes, second.payload_bytes), (3, 2));
        assert!(first_delivery(&body.as_bytes()[..at + 3]).unwrap().is_none());
        assert!(first_delivery(body.replace("bc", "b").as_bytes()).unwrap().is_some());
        assert!(first_delivery(&body.as_bytes()[at..].to_vec().as_slice()[..20]).unwrap().is_none());
    }
}
