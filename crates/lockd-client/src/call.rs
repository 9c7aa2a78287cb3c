//! One call of the API: what it sends, and whether it may be sent twice.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use lockd_wire::header;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Duration;

use crate::body::{Outgoing, Payload};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::lease::Lease;
use crate::retry::RetryPolicy;
use crate::stream::ByteStream;

/// What may be done when nobody knows whether a server has carried out an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Send it again: a second time changes nothing.
    Freely,
    /// Give up. Such a call does not use connections that may have gone stale, either.
    Never,
}

/// What to do with the body of a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Whole,
    Stream,
}

/// A call, ready to be sent as often as it takes.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// What follows the question mark, encoded.
    query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) repeat: Repeat,
    pub(crate) reading: Reading,
    pub(crate) retry: RetryPolicy,
    /// How long a server may be silent: `None` waits for as long as the connection lives.
    pub(crate) patience: Option<Duration>,
    /// How long it may take to get a connection, and to read an answer that has begun.
    pub(crate) short_patience: Duration,
}

impl Call {
    pub(crate) fn new(client: &Client, method: Method, path: &'static str) -> Call {
        let mut call = Call {
            method,
            path,
            query: String::new(),
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
            repeat: Repeat::Freely,
            reading: Reading::Whole,
            retry: client.inner.retry,
            patience: Some(client.inner.timeout),
            short_patience: client.inner.timeout,
        };
        let id = client.correlation_id.as_deref().map_or_else(crate::correlation::fresh, str::to_owned);
        call.header(header::CORRELATION_ID, &id);
        call
    }

    pub(crate) fn post(client: &Client, path: &'static str) -> Call {
        Call::new(client, Method::POST, path)
    }

    pub(crate) fn get(client: &Client, path: &'static str) -> Call {
        Call::new(client, Method::GET, path)
    }

    pub(crate) fn param(&mut self, name: &str, value: &str) -> &mut Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(name);
        self.query.push('=');
        self.query.extend(form_urlencoded::byte_serialize(value.as_bytes()));
        self
    }

    /// Sets a header. A value that no header can carry is left out, so that the server says what is missing.
    pub(crate) fn header(&mut self, name: &'static str, value: &str) -> &mut Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub(crate) fn json(&mut self, body: &impl Serialize) -> &mut Self {
        // Maps with odd keys are what serde_json refuses, and our requests have none.
        self.payload = Payload::Bytes(serde_json::to_vec(body).unwrap_or_default().into());
        self.header("content-type", "application/json")
    }

    pub(crate) fn key(&mut self, namespace: &str, key: &str) -> &mut Self {
        self.param("key", key).param("namespace", namespace)
    }

    /// Names the key and proves the lease on it.
    pub(crate) fn lease(&mut self, lease: &Lease) -> &mut Self {
        self.key(&lease.namespace, &lease.key);
        self.header(header::LEASE_ID, &lease.lease_id);
        if !lease.txn_id.is_empty() {
            self.header(header::TXN_ID, &lease.txn_id);
        }
        self.token(lease)
    }

    /// What a call under a lease sends in any case.
    pub(crate) fn token(&mut self, lease: &Lease) -> &mut Self {
        if !lease.correlation_id.is_empty() {
            self.header(header::CORRELATION_ID, &lease.correlation_id);
        }
        self.header(header::FENCING_TOKEN, &lease.fencing_token.to_string())
    }

    pub(crate) fn timeout(&mut self, patience: Duration) -> &mut Self {
        self.patience = Some(patience);
        self.short_patience = patience;
        self
    }

    /// The request of one attempt.
    pub(crate) fn request(&self, endpoint: &Endpoint, body: Outgoing) -> Request<Outgoing> {
        let mut target = format!("{}{}", endpoint.prefix(), self.path);
        if !self.query.is_empty() {
            target.push('?');
            target.push_str(&self.query);
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        if let Ok(uri) = target.parse() {
            *request.uri_mut() = uri;
        }
        *request.headers_mut() = self.headers.clone();
        if let Ok(host) = HeaderValue::from_str(&endpoint.authority()) {
            request.headers_mut().insert(HOST, host);
        }
        request
    }
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) endpoint: Endpoint,
    /// Its place among the servers of the client.
    pub(crate) server: usize,
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) content: AnswerContent,
    /// An earlier attempt broke off and may have been carried out as well.
    pub(crate) repeated: bool,
}

pub(crate) enum AnswerContent {
    Whole(Bytes),
    Stream(Box<ByteStream>),
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let AnswerContent::Whole(bytes) = &self.content else { return Err(self.odd("a stream")) };
        serde_json::from_slice(bytes).map_err(|error| self.odd(error))
    }

    pub(crate) fn stream(self) -> Result<ByteStream> {
        match self.content {
            AnswerContent::Stream(stream) => Ok(*stream),
            AnswerContent::Whole(_) => Err(self.odd("no stream")),
        }
    }

    /// A header, if it is there and text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok().map(str::trim)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// The `ETag` without quotes.
    pub(crate) fn etag(&self) -> Option<String> {
        self.text("etag").map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty())
    }

    pub(crate) fn odd(&self, reason: impl std::fmt::Display) -> Error {
        Error::UnexpectedAnswer {
            endpoint: self.endpoint.clone(),
            path: self.path,
            reason: reason.to_string(),
        }
    }
}
