//! Bytes in and out of a connection, plain or through TLS, without ever waiting.

use super::connection::Connection;
use std::io::{self, Read, Write};

/// Reads through TLS that bring no bytes, before others get their turn.
const RECORDS: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(super) enum Received {
    Bytes(usize),
    Nothing,
    /// No bytes so far, but the kernel has more.
    Later,
    End,
    /// The connection is unusable.
    Broken,
    /// The handshake failed; there may be an alert to send.
    Refused,
}

impl Connection {
    /// Reads into `buffer`. Clears `readable` when the kernel has no more.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if self.tls.is_some() {
            return self.receive_tls(buffer);
        }
        loop {
            match self.socket.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    return Received::End;
                }
                Ok(count) => {
                    // A short read emptied the socket; asking again would only cost a system call.
                    if count < buffer.len() && !self.closing {
                        self.readable = false;
                    }
                    return Received::Bytes(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Received::Nothing;
                }
                Err(_) => return Received::Broken,
            }
        }
    }

    fn receive_tls(&mut self, buffer: &mut [u8]) -> Received {
        let Self { socket, tls, readable, hello, .. } = self;
        let Some(tls) = tls else { return Received::Broken };
        for _ in 0..RECORDS {
            match tls.reader().read(buffer) {
                Ok(0) => {
                    *readable = false;
                    return Received::End;
                }
                Ok(count) => return Received::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    // The peer closed without saying so in TLS; nobody signs the end of a stream of short requests.
                    *readable = false;
                    return Received::End;
                }
            }
            if !*hello {
                let mut first = [0; 11];
                match socket.peek(&mut first) {
                    // Not a TLS record: such a peer cannot read an alert either.
                    Ok(1..) if first[0] != 0x16 => return Received::Broken,
                    // A hello of TLS 1.1 or older: told so here, because it lacks what rustls looks at before the version.
                    Ok(11) if first[5] == 1 && first[9..] < [3, 3][..] => {
                        let _ = socket.write(&[0x15, 3, 1, 0, 2, 2, 70]);
                        return Received::Broken;
                    }
                    Ok(1..) => *hello = true,
                    Ok(_) => {
                        *readable = false;
                        return Received::End;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        *readable = false;
                        return Received::Nothing;
                    }
                    Err(_) => return Received::Broken,
                }
            }
            match tls.read_tls(socket) {
                Ok(0) => {
                    let _ = tls.process_new_packets();
                    *readable = false;
                    return Received::End;
                }
                Ok(_) => {
                    if tls.process_new_packets().is_err() {
                        return Received::Refused;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *readable = false;
                    return Received::Nothing;
                }
                Err(_) => return Received::Broken,
            }
        }
        Received::Later
    }

    /// Sends `bytes` behind everything unsent. What the kernel does not take is kept.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        if self.output.is_empty() {
            while !bytes.is_empty() {
                match self.socket.write(bytes) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        bytes = &bytes[count..];
                        self.sent += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends more of what is unsent.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        if self.output.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.output);
        self.send(&bytes)
    }
}
