//! Multipart bodies on their way in, part by part, without holding more than a piece of one.

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::Incoming;
use lockd_wire::ErrorCode;
use memchr::memmem;

use crate::answer::Failure;
use crate::body::next_piece;

/// The header lines of one part.
const HEADERS_MAX: usize = 64 * 1024;

/// Longer boundaries are no boundaries.
const BOUNDARY_MAX: usize = 70;

#[derive(Debug)]
pub(crate) struct Multipart {
    body: Incoming,
    buffer: BytesMut,
    ended: bool,
    /// Line break, two dashes, boundary.
    delimiter: Vec<u8>,
}

fn broken(what: &str) -> Failure {
    Failure::new(ErrorCode::MultipartError, format!("multipart body: {what}; nothing was enqueued"))
}

/// The boundary that a content type names. `None`: it is no multipart type.
pub(crate) fn boundary(content_type: &str) -> Option<Result<String, Failure>> {
    let mut pieces = content_type.split(';');
    let kind = pieces.next()?.trim();
    if !kind.get(..10)?.eq_ignore_ascii_case("multipart/") {
        return None;
    }
    let found = pieces.find_map(|piece| {
        let (name, value) = piece.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    let valid = found.filter(|boundary| (1..=BOUNDARY_MAX).contains(&boundary.len()));
    Some(valid.ok_or_else(|| broken("the content type names no boundary of 1 to 70 characters")))
}

impl Multipart {
    pub(crate) fn new(body: Incoming, boundary: &str) -> Multipart {
        // The first delimiter may stand at the very beginning, without its line break.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Multipart { body, buffer, ended: false, delimiter: format!("\r\n--{boundary}").into_bytes() }
    }

    /// The name of the next part (empty if it has none), or `None` after the last. What is left of the part before is passed
    /// over.
    pub(crate) async fn next_part(&mut self) -> Result<Option<String>, Failure> {
        while self.data().await?.is_some() {}
        self.buffer.advance(self.delimiter.len());
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        let end = loop {
            // Blanks may follow the boundary; without headers the empty line comes at once.
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > HEADERS_MAX {
                return Err(broken("the headers of a part are too long"));
            }
            self.fill().await?;
        };
        let head = self.buffer.split_to(end + 2);
        // The line break before data belongs to the delimiter if the part is empty.
        self.buffer.advance(2);
        let text = String::from_utf8_lossy(&head);
        let Some((padding, lines)) = text.split_once("\r\n") else { return Err(broken("a delimiter line")) };
        if !padding.trim().is_empty() {
            return Err(broken("a delimiter is followed by something else"));
        }
        Ok(Some(part_name(lines)))
    }

    /// The next piece of the part; `None` at its end.
    pub(crate) async fn data(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if self.buffer.starts_with(&self.delimiter) {
                return Ok(None);
            }
            if let Some(at) = memmem::find(&self.buffer, &self.delimiter) {
                return Ok(Some(self.buffer.split_to(at).freeze()));
            }
            // A delimiter may have begun at the end of what is here.
            let safe = self.buffer.len().saturating_sub(self.delimiter.len());
            if safe > 0 {
                return Ok(Some(self.buffer.split_to(safe).freeze()));
            }
            self.fill().await?;
        }
    }

    /// All of a part, if it is not longer than that.
    pub(crate) async fn whole(&mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(piece) = self.data().await? {
            if (whole.len() + piece.len()) as u64 > limit {
                return Err(Failure::new(ErrorCode::InvalidBody, format!("meta exceeds {limit} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        if self.ended {
            return Err(broken("it ends in the middle of a part"));
        }
        match next_piece(&mut self.body).await {
            Ok(Some(piece)) => self.buffer.extend_from_slice(&piece),
            Ok(None) => self.ended = true,
            Err(error) => return Err(broken(&format!("it broke off: {error}"))),
        }
        Ok(())
    }
}

/// The name in a part's disposition, if that is `form-data`.
fn part_name(headers: &str) -> String {
    let disposition = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value.trim())
    });
    let Some((kind, rest)) = disposition.and_then(|value| value.split_once(';')) else {
        return String::new();
    };
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return String::new();
    }
    for parameter in rest.split(';') {
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("name")
        {
            return value.trim().trim_matches('"').to_owned();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        assert!(boundary("application/json").is_none() && boundary("").is_none());
        let found = |text| boundary(text).unwrap().ok();
        assert_eq!(found("multipart/related; boundary=x").as_deref(), Some("x"));
        assert_eq!(found("Multipart/form-data; charset=utf-8; Boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(found("multipart/related"), None);
        assert_eq!(found(&format!("multipart/related; boundary={}", "x".repeat(71))), None);
    }

    #[test]
    fn names_of_parts() {
        let name = |line: &str| part_name(&format!("Content-Type: text/plain\r\n{line}\r\n"));
        assert_eq!(name("Content-Disposition: form-data; name=\"meta\""), "meta");
        assert_eq!(name("content-disposition: form-data; filename=\"f\"; name=payload"), "payload");
        assert_eq!(name("Content-Disposition: attachment; name=\"meta\""), "");
        assert_eq!(name("X-Y: z"), "");
    }
}
