//! Requests, as exactly the bytes that a test wants to send.

use std::fmt;

/// A request, built up in the order in which it is sent.
#[derive(Debug, Clone, Default)]
pub struct Request {
    method: String,
    path: String,
    raw_query: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunk: Option<usize>,
    pub(super) expect_continue: bool,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    /// Adds a query parameter, form-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let query = self.raw_query.get_or_insert_default();
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish());
        self
    }

    /// Sends this query as it stands.
    pub fn raw_query(mut self, query: &str) -> Self {
        self.raw_query = Some(query.to_owned());
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes every header of this name, for tests about what happens without it.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub fn json(self, body: &serde_json::Value) -> Self {
        self.body(body.to_string())
    }

    /// Sends the body in chunks of this many bytes instead of with a `Content-Length`.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size.max(1));
        self
    }

    /// Sends `Expect: 100-continue` and keeps the body until the server asks for it.
    pub fn expect_continue(mut self) -> Self {
        self.expect_continue = true;
        self
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The request line and the headers, with the framing that fits the body.
    pub fn head(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {}", self.method, self.path);
        if let Some(query) = &self.raw_query {
            head.push('?');
            head.push_str(query);
        }
        head.push_str(&format!(" HTTP/1.1\r\nHost: {host}\r\n"));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            match self.chunk {
                Some(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
                None => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
            }
        }
        if self.expect_continue {
            head.push_str("Expect: 100-continue\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The body as it goes over the wire.
    pub fn framed_body(&self) -> Vec<u8> {
        let Some(body) = &self.body else { return Vec::new() };
        let Some(size) = self.chunk else { return body.clone() };
        let mut framed = Vec::with_capacity(body.len() + 64);
        for chunk in body.chunks(size) {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        framed
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if let Some(query) = &self.raw_query {
            write!(f, "?{query}")?;
        }
        Ok(())
    }
}
