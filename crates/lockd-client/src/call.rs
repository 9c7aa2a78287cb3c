//! One call of the API: what it sends, and whether it may be sent twice.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use lockd_wire::header;
use serde::Serialize;
use tokio::time::{Duration, Instant};

#[cfg(doc)]
use crate::answered::Answer;
use crate::body::{Body, Outgoing, Payload};
#[cfg(doc)]
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::lease::Lease;
use crate::retry::RetryPolicy;

/// What may be done when nobody knows whether a server has carried out a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
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

/// How long a server may be silent before it begins to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Usual,
    AtMost(Duration),
    /// As usual after this moment, until which it may wait for something.
    After(Instant),
    /// For as long as the connection lives.
    Forever,
}

/// One call of the HTTP API, for what the rest of this crate does not offer: every other method is built on it.
///
/// [`Client::send`] brings it to a server, with the retries, the turning to other servers and the correlation id that all
/// calls have.
///
/// ```no_run
/// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
/// use lockd_client::Call;
///
/// let mut call = Call::get("/v1/describe");
/// call.query("key", "jobs/nightly").query("namespace", client.namespace());
/// let answer = client.send(call).await?;
/// println!("{} {}", answer.status(), answer.json::<serde_json::Value>()?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// What follows the question mark, encoded.
    query: String,
    pub(crate) headers: HeaderMap,
    /// The first header that cannot be sent. Without it the call would mean something else.
    pub(crate) unsendable: Option<(String, String)>,
    pub(crate) payload: Payload,
    pub(crate) repeat: Repeat,
    pub(crate) reading: Reading,
    /// That of the client, if there is none.
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) patience: Patience,
    /// How long it may take to get a connection, and to read more of an answer that has begun, if not as long as usual.
    pub(crate) short_patience: Option<Duration>,
    /// A connection that may have gone stale is good enough although the call does not bear repetition: it is used much, and a
    /// stale connection is noticed before it is sent nearly always.
    pub(crate) reuses_connections: bool,
    /// `cas_mismatch` is an answer, not a reason to try again.
    pub(crate) conflicts_are_final: bool,
}

impl Call {
    /// A call without a body that bears repetition.
    pub fn new(method: Method, path: &'static str) -> Call {
        Call {
            method,
            path,
            query: String::new(),
            headers: HeaderMap::new(),
            unsendable: None,
            payload: Payload::Nothing,
            repeat: Repeat::Freely,
            reading: Reading::Whole,
            retry: None,
            patience: Patience::Usual,
            short_patience: None,
            reuses_connections: false,
            conflicts_are_final: false,
        }
    }

    /// The same with POST.
    pub fn post(path: &'static str) -> Call {
        Call::new(Method::POST, path)
    }

    /// The same with GET.
    pub fn get(path: &'static str) -> Call {
        Call::new(Method::GET, path)
    }

    /// Adds a parameter of the query.
    pub fn query(&mut self, name: &str, value: &str) -> &mut Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        self.query.push('=');
        self.query.extend(form_urlencoded::byte_serialize(value.as_bytes()));
        self
    }

    /// Sets a header. With one that HTTP cannot carry the call fails before it is sent: left out, a condition would not hold.
    pub fn header(&mut self, name: &str, value: &str) -> &mut Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            // That is for the log only.
            _ if name.eq_ignore_ascii_case(header::CORRELATION_ID) => {}
            _ if self.unsendable.is_none() => self.unsendable = Some((name.to_owned(), value.to_owned())),
            _ => {}
        }
        self
    }

    /// Sends these bytes, or what this reader yields. With a reader the call [is not repeated](Repeat::Never) once a server
    /// has seen any of it, and it is cut off if the reader fails.
    pub fn body(&mut self, body: impl Into<Body>) -> &mut Self {
        self.payload = body.into().into();
        if self.payload.is_reader() {
            self.repeat = Repeat::Never;
        }
        self
    }

    /// Sends this value as JSON. What has no JSON form, such as a map with odd keys, is sent as nothing, so that the server
    /// says what is missing.
    pub fn json(&mut self, body: &impl Serialize) -> &mut Self {
        self.payload = Payload::Bytes(serde_json::to_vec(body).unwrap_or_default().into());
        self.header("content-type", "application/json")
    }

    /// Whether the call bears repetition. It does unless told otherwise.
    pub fn repeat(&mut self, repeat: Repeat) -> &mut Self {
        self.repeat = repeat;
        self
    }

    /// How persistent this call is, instead of what the [client](crate::ClientBuilder::retry) is.
    pub fn retry(&mut self, retry: RetryPolicy) -> &mut Self {
        self.retry = Some(retry);
        self
    }

    /// How long a server may be silent in one attempt, instead of the [client's timeout](crate::ClientBuilder::timeout).
    pub fn timeout(&mut self, patience: Duration) -> &mut Self {
        self.patience = Patience::AtMost(patience);
        self.short_patience = Some(patience);
        self
    }

    /// How long a server may take to begin its answer, or `None` for as long as the connection lives: for calls that wait
    /// for something. Getting the connection and reading the answer have the usual time.
    pub fn answer_within(&mut self, patience: Option<Duration>) -> &mut Self {
        self.patience = patience.map_or(Patience::Forever, Patience::AtMost);
        self
    }

    /// Returns when the head of a good answer is there, and leaves its body to be [read](Answer::into_body). Without this a
    /// body that breaks off is part of the attempt.
    pub fn streaming(&mut self) -> &mut Self {
        self.reading = Reading::Stream;
        self
    }

    pub(crate) fn key(&mut self, namespace: &str, key: &str) -> &mut Self {
        self.query("key", key).query("namespace", namespace)
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

    /// The path and the query.
    pub(crate) fn target(&self) -> String {
        match self.query.is_empty() {
            true => self.path.to_owned(),
            false => format!("{}?{}", self.path, self.query),
        }
    }

    /// The request of one attempt.
    pub(crate) fn request(&self, endpoint: &Endpoint, body: Outgoing) -> Request<Outgoing> {
        let target = format!("{}{}", endpoint.prefix(), self.target());
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
