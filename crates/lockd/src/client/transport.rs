//! HTTP to a server: one connection a request, the next server when one cannot be reached or is passive, errors in the
//! terms of the service.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use lockd_wire::header;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::endpoint::{self, Endpoint};
use super::failure::Refusal;
use super::request_log::RequestLog;
use super::{Failure, Invocation, Outcome};

const SEVERAL_SERVERS: Duration = Duration::from_secs(3);
/// Error bodies are small; more is not ours.
const ERROR_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Api {
    endpoints: Vec<Endpoint>,
    pub(super) timeout: Duration,
    pub(super) correlation_id: Option<String>,
    log: RequestLog,
}

/// What is sent.
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// Pieces from somewhere that can be read only once, or why there will be no more.
    Stream(mpsc::Receiver<Result<Bytes, String>>),
}

pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
    /// How long the answer may take; nothing waits for ever.
    pub(super) patience: Option<Duration>,
}

impl Call {
    pub(super) fn post(path: &'static str) -> Self {
        Call {
            method: "POST",
            path,
            query: vec![],
            headers: vec![],
            payload: Payload::Nothing,
            patience: None,
        }
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.payload = Payload::Bytes(body.to_string().into());
        self
    }

    fn target(&self, prefix: &str) -> String {
        if self.query.is_empty() {
            return format!("{prefix}{}", self.path);
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
        format!("{prefix}{}?{query}", self.path)
    }
}

/// The head of an answer, and its body to be read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    body: Incoming,
    timeout: Duration,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.header("content-length").parse().ok()
    }

    /// The next piece of the body. A server that falls silent in the middle of it is given up.
    pub(super) async fn piece(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            let next = tokio::time::timeout(self.timeout, self.body.frame()).await;
            let broken = |cause: String| Failure::Local(format!("lockd: the answer broke off: {cause}"));
            match next {
                Err(_) => {
                    return Err(broken(format!("nothing came for {}", crate::value::show(self.timeout))));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(broken(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    pub(super) async fn bytes(&mut self) -> Outcome<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    pub(super) async fn value(&mut self) -> Outcome<Value> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Local(format!("lockd: the answer is not JSON: {error}")))
    }
}

impl Api {
    pub(super) fn new(invocation: &Invocation) -> Outcome<Self> {
        let log = RequestLog::open(&invocation.settings)?;
        let endpoints = endpoint::endpoints(invocation)?;
        let timeout = match endpoints.len() > 1 && !invocation.timeout_given {
            true => SEVERAL_SERVERS,
            false => invocation.settings.timeout,
        };
        let correlation_id = invocation
            .correlation_id
            .clone()
            .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
        Ok(Api { endpoints, timeout, correlation_id, log })
    }

    /// The servers, as `--server` would name them.
    pub(super) fn servers(&self) -> String {
        self.endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(",")
    }

    /// Sends a request to the first server that takes it. Only 200 and 204 are success.
    pub(super) async fn send(&self, mut call: Call) -> Outcome<Answer> {
        if let Some(id) = &self.correlation_id {
            call.headers.push((header::CORRELATION_ID, id.clone()));
        }
        let mut last = String::new();
        let mut passive = None;
        for endpoint in &self.endpoints {
            match self.try_one(endpoint, &mut call).await {
                Ok(answer) if answer.status == 200 || answer.status == 204 => return Ok(answer),
                Ok(answer) => match refusal(answer).await {
                    refusal if refusal.status == 503 && matches!(&*refusal.code, "node_passive" | "") => {
                        passive = Some(refusal);
                    }
                    refusal => return Err(Failure::Service(refusal)),
                },
                Err(Trouble::Input(reason)) => return Err(Failure::Local(reason)),
                Err(Trouble::Connection(cause)) => last = cause,
            }
            if matches!(call.payload, Payload::Stream(ref pieces) if pieces.is_closed()) {
                break;
            }
        }
        match passive {
            Some(refusal) => Err(Failure::Service(refusal)),
            None => Err(Failure::Unreachable { attempted: self.servers(), cause: last }),
        }
    }

    async fn try_one(&self, endpoint: &Endpoint, call: &mut Call) -> Result<Answer, Trouble> {
        let (host, prefix) = match endpoint {
            Endpoint::Tcp { authority, prefix } => (authority.as_str(), prefix),
            Endpoint::Unix { prefix, .. } => ("localhost", prefix),
        };
        let target = call.target(prefix);
        let named = |cause: &dyn std::fmt::Display| {
            Trouble::Connection(format!("{} \"{endpoint}{target}\": {cause}", call.method))
        };
        let started = std::time::Instant::now();
        let mut sender = match endpoint {
            Endpoint::Tcp { authority, .. } => {
                let stream = self
                    .within(TcpStream::connect(authority.as_str()))
                    .await
                    .map_err(|error| named(&error))?;
                let _ = stream.set_nodelay(true);
                hand_shake(TokioIo::new(stream)).await
            }
            Endpoint::Unix { path, .. } => {
                let stream = self.within(UnixStream::connect(path)).await.map_err(|error| named(&error))?;
                hand_shake(TokioIo::new(stream)).await
            }
        }
        .map_err(|error| named(&error))?;
        let mut request = http::Request::builder().method(call.method).uri(&*target).header("host", host);
        for (name, value) in &call.headers {
            request = request.header(*name, value.as_bytes());
        }
        let patience = call.patience.or(match call.payload {
            Payload::Stream(_) => None,
            Payload::Nothing | Payload::Bytes(_) => Some(self.timeout),
        });
        let (failed, mut input_failure) = mpsc::channel::<String>(1);
        let body = match &mut call.payload {
            Payload::Nothing => Empty::new().map_err(|never: Infallible| match never {}).boxed(),
            Payload::Bytes(bytes) => {
                Full::new(bytes.clone()).map_err(|never: Infallible| match never {}).boxed()
            }
            Payload::Stream(pieces) => {
                let (_, closed) = mpsc::channel(1);
                Pieces { pieces: std::mem::replace(pieces, closed), failed }.boxed()
            }
        };
        let request = request.body(body).map_err(|error| Trouble::Input(format!("lockd: {error}")))?;
        let answered = async {
            match patience {
                None => sender.send_request(request).await.map_err(|error| error.to_string()),
                Some(patience) => tokio::time::timeout(patience, sender.send_request(request))
                    .await
                    .map_err(|_| format!("no answer within {}", crate::value::show(patience)))?
                    .map_err(|error| error.to_string()),
            }
        };
        match answered.await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let status = head.status.as_u16();
                self.log.request(call.method, &format!("{endpoint}{target}"), status, started.elapsed());
                Ok(Answer { status, headers: head.headers, body, timeout: self.timeout })
            }
            Err(cause) => match input_failure.try_recv() {
                Ok(reason) => Err(Trouble::Input(reason)),
                Err(_) => Err(named(&cause)),
            },
        }
    }

    async fn within<T>(&self, connecting: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
        tokio::time::timeout(self.timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::other("connecting took too long")))
    }
}

enum Trouble {
    /// This server did not answer; another may.
    Connection(String),
    /// The request itself cannot be made.
    Input(String),
}

type Body = BoxBody<Bytes, std::io::Error>;

async fn hand_shake<T>(stream: T) -> Result<http1::SendRequest<Body>, hyper::Error>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await?;
    // Ends by itself when the request is answered or given up; its errors come out of the request.
    tokio::spawn(connection);
    Ok(sender)
}

/// A body that is read once. When its source fails the request is cut off, so that the server stores nothing.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    failed: mpsc::Sender<String>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.pieces.poll_recv(context).map(|piece| match piece? {
            Ok(bytes) => Some(Ok(Frame::data(bytes))),
            Err(reason) => {
                let _ = self.failed.try_send(reason.clone());
                Some(Err(std::io::Error::other(reason)))
            }
        })
    }
}

async fn refusal(mut answer: Answer) -> Refusal {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.piece().await {
        body.extend_from_slice(&piece);
        if body.len() > ERROR_MAX {
            break;
        }
    }
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Refusal {
        status: answer.status,
        code: text("error"),
        detail: text("detail"),
        retry_after_seconds: value["retry_after_seconds"].as_u64().unwrap_or_default(),
        correlation_id: answer.header(header::CORRELATION_ID).to_owned(),
    }
}
