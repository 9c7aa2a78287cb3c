//! Multipart answers of the queue: the deliveries in them, read as strictly as the SDKs read them.

use serde_json::{Map, Value};

use crate::http::Response;

/// One message as it was delivered.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub message: Map<String, Value>,
    pub payload: Vec<u8>,
    /// The bytes of the meta part.
    pub meta_text: String,
    /// The header lines of the meta part and of the payload part.
    pub headers: (String, String),
}

/// The boundary of a multipart content type.
pub fn boundary(response: &Response) -> Result<String, String> {
    let kind = response.header("content-type").unwrap_or_default();
    match kind.split_once("; boundary=") {
        Some(("multipart/related", boundary)) if !boundary.is_empty() && boundary.len() <= 70 => {
            Ok(boundary.to_owned())
        }
        _ => Err(format!("expected multipart/related with a boundary, got content-type {kind:?}")),
    }
}

/// Reads one delivery, from the delimiter before its meta part to the last byte of its payload, and how many bytes
/// that took; `Ok(None)` when it has not come completely.
pub fn delivery(bytes: &[u8], boundary: &str, first: bool) -> Result<Option<(Delivery, usize)>, String> {
    let mut reader = Reader { bytes, at: 0 };
    let delimiter = format!("{}--{boundary}\r\n", if first { "" } else { "\r\n" });
    let Some(()) = reader.literal(&delimiter)? else { return Ok(None) };
    let Some(meta_headers) = reader.until("\r\n\r\n") else { return Ok(None) };
    let between = format!("\r\n--{boundary}\r\n");
    let Some(meta_text) = reader.until(&between) else { return Ok(None) };
    let Some(payload_headers) = reader.until("\r\n\r\n") else { return Ok(None) };
    let length = payload_headers
        .split("\r\n")
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .and_then(|digits| digits.parse::<usize>().ok())
        .ok_or_else(|| format!("the payload part has no Content-Length: {payload_headers:?}"))?;
    let Some(payload) = bytes.get(reader.at..reader.at + length) else { return Ok(None) };
    let meta: Value = serde_json::from_str(&meta_text).map_err(|why| format!("meta {meta_text:?}: {why}"))?;
    let message = match meta.get("message") {
        Some(Value::Object(message)) => message.clone(),
        _ => return Err(format!("meta has no message: {meta_text:?}")),
    };
    let delivery =
        Delivery { message, payload: payload.to_vec(), meta_text, headers: (meta_headers, payload_headers) };
    Ok(Some((delivery, reader.at + length)))
}

/// All deliveries of a complete body, which must end with the closing delimiter.
pub fn deliveries(response: &Response) -> Result<Vec<Delivery>, String> {
    let boundary = boundary(response)?;
    let mut all = Vec::new();
    let mut rest = response.body.as_slice();
    let end = format!("\r\n--{boundary}--\r\n");
    while rest != end.as_bytes() {
        match delivery(rest, &boundary, all.is_empty())? {
            Some((delivery, taken)) => {
                all.push(delivery);
                rest = &rest[taken..];
            }
            None => return Err(format!("the body breaks off at {:?}", String::from_utf8_lossy(rest))),
        }
    }
    Ok(all)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Steps over these bytes; `None` when fewer have come, an error when others have.
    fn literal(&mut self, expected: &str) -> Result<Option<()>, String> {
        let rest = &self.bytes[self.at..];
        let common = rest.len().min(expected.len());
        if rest[..common] != expected.as_bytes()[..common] {
            let shown = String::from_utf8_lossy(&rest[..rest.len().min(200)]);
            return Err(format!("expected {expected:?}, got {shown:?}"));
        }
        if common < expected.len() {
            return Ok(None);
        }
        self.at += expected.len();
        Ok(Some(()))
    }

    fn until(&mut self, mark: &str) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(mark.len()).position(|window| window == mark.as_bytes())?;
        self.at += end + mark.len();
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Response {
        Response {
            status: 200,
            headers: vec![("content-type".to_owned(), b"multipart/related; boundary=B".to_vec())],
            body: body.replace('|', "\r\n").into_bytes(),
            ..Response::default()
        }
    }

    #[test]
    fn deliveries_are_read_by_their_length() {
        let one = "--B|A: m||{\"message\":{\"n\":1}}\n|--B|Content-Length: 4||x|y|--B--|";
        let all = deliveries(&answer(one)).unwrap();
        assert_eq!((all.len(), all[0].payload.as_slice()), (1, &b"x\r\ny"[..]));
        assert_eq!(all[0].meta_text, "{\"message\":{\"n\":1}}\n");
        deliveries(&answer(&one.replace("--B--|", "--B|"))).unwrap_err();
        deliveries(&answer(&one.replace("Length: 4", "Length: 3"))).unwrap_err();
        deliveries(&answer(&one.replace("Content-Length: 4", "X: 1"))).unwrap_err();
        let half = &answer(one).body[..40];
        assert!(delivery(half, "B", true).unwrap().is_none());
    }
}
