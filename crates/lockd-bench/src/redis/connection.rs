//! One connection in Redis' own protocol: commands as arrays of byte strings, replies read without copying them.

use std::io::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::endpoint::{Endpoint, Socket};
use crate::fault::Fault;

#[derive(Debug)]
pub(crate) struct RedisConnection {
    socket: Socket,
    request: Vec<u8>,
    inbox: Vec<u8>,
}

impl RedisConnection {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<RedisConnection, Fault> {
        let socket = endpoint.connect().await?;
        Ok(RedisConnection { socket, request: Vec::with_capacity(8192), inbox: Vec::with_capacity(8192) })
    }

    /// Adds a command to what is sent next.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> Result<(), Fault> {
        write!(self.request, "*{}\r\n", parts.len())?;
        for part in parts {
            write!(self.request, "${}\r\n", part.len())?;
            self.request.extend_from_slice(part);
            self.request.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Sends the commands that were added and reads so many replies. Errors among them are faults.
    pub(crate) async fn send(&mut self, call: &'static str, replies: usize) -> Result<&[u8], Fault> {
        self.socket.write_all(&self.request).await?;
        self.request.clear();
        self.inbox.clear();
        loop {
            if self.socket.read_buf(&mut self.inbox).await? == 0 {
                return Err(Fault::Closed);
            }
            let mut at = 0;
            let mut whole = 0;
            while whole < replies {
                match reply_end(&self.inbox, at)? {
                    Some(end) => at = end,
                    None => break,
                }
                whole += 1;
            }
            if whole == replies {
                break;
            }
        }
        if self.inbox.first() == Some(&b'-') {
            let body = String::from_utf8_lossy(&self.inbox).trim_end().to_owned();
            return Err(Fault::Refused { call, status: 0, body });
        }
        Ok(&self.inbox)
    }
}

/// Where the reply that begins at `at` ends. `None`: it is not complete.
fn reply_end(bytes: &[u8], at: usize) -> Result<Option<usize>, Fault> {
    let Some((line, after)) = line(bytes, at) else { return Ok(None) };
    let malformed = || Fault::Malformed(format!("no Redis reply: {:?}", String::from_utf8_lossy(line)));
    let count = || {
        let digits = line.get(1..).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| digits.parse::<i64>().ok()).ok_or_else(malformed)
    };
    match line.first() {
        Some(b'+' | b'-' | b':') => Ok(Some(after)),
        Some(b'$') => match usize::try_from(count()?) {
            Ok(length) => Ok(Some(after + length + 2).filter(|&end| end <= bytes.len())),
            // The null string.
            Err(_) => Ok(Some(after)),
        },
        Some(b'*') => {
            let mut end = after;
            for _ in 0..count()?.max(0) {
                match reply_end(bytes, end)? {
                    Some(next) => end = next,
                    None => return Ok(None),
                }
            }
            Ok(Some(end))
        }
        _ => Err(malformed()),
    }
}

fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = memchr::memmem::find(rest, b"\r\n")?;
    Some((&rest[..end], at + end + 2))
}

/// The bulk strings of a reply, in order, however they are nested.
pub(crate) fn strings(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let (line, after) = line(bytes, at)?;
            at = after;
            if line.first() == Some(&b'$') {
                let length: usize = std::str::from_utf8(&line[1..]).ok()?.parse().ok()?;
                at = after + length + 2;
                return bytes.get(after..after + length);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_end_where_they_end() {
        let message = b"*1\r\n*2\r\n$1\r\nq\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\np\r\n$4\r\na\r\nb\r\n";
        assert_eq!(reply_end(message, 0).unwrap(), Some(message.len()));
        for cut in 0..message.len() {
            assert_eq!(reply_end(&message[..cut], 0).unwrap(), None, "cut at {cut}");
        }
        let found: Vec<&[u8]> = strings(message).collect();
        assert_eq!(found, [&b"q"[..], b"1-0", b"p", b"a\r\nb"]);
        assert_eq!(reply_end(b":1\r\n:1\r\n", 4).unwrap(), Some(8));
        assert_eq!(reply_end(b"*-1\r\n", 0).unwrap(), Some(5));
        assert!(reply_end(b"HTTP/1.1\r\n", 0).is_err());
    }
}
