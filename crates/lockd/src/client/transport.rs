//! Calls to servers through the SDK: where they go is what `--server` says, what comes of them is told in the terms of the
//! service.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockd_client::{AnswerBody, Body, Client, Error, RetryPolicy};
use lockd_wire::header;
use serde_json::Value;
use tokio::sync::mpsc;

use super::bundle;
use super::endpoint::{self, Endpoint};
use super::failure::Refusal;
use super::lease::whole_seconds;
use super::request_log::RequestLog;
use super::{Failure, Invocation, Outcome};
use crate::flags::ClientSettings;

const SEVERAL_SERVERS: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    endpoints: Vec<Endpoint>,
    trust: Vec<(&'static str, String)>,
    pub(super) timeout: Duration,
    pub(super) correlation_id: Option<String>,
}

/// What is sent.
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// Pieces from somewhere that can be read only once, or why there will be no more.
    Stream(mpsc::Receiver<std::io::Result<Bytes>>),
}

pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
    /// How long the answer may take to begin.
    pub(super) patience: Option<Duration>,
    /// How long the server may be silent in the middle of an answer.
    pub(super) silence: Option<Duration>,
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
            silence: None,
        }
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.payload = Payload::Bytes(body.to_string().into());
        self
    }

    /// Path and query, as errors name them.
    fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.to_owned();
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
        format!("{}?{query}", self.path)
    }

    fn into_sdk(self) -> lockd_client::Call {
        let method = self.method.parse().unwrap_or_default();
        let mut call = lockd_client::Call::new(method, self.path);
        for (name, value) in &self.query {
            call.query(name, value);
        }
        for (name, value) in &self.headers {
            call.header(name, value);
        }
        if let Some(silence) = self.silence {
            call.timeout(silence);
        }
        if self.patience.is_some() {
            call.answer_within(self.patience);
        }
        match self.payload {
            Payload::Nothing => {}
            Payload::Bytes(bytes) => {
                call.body(bytes);
            }
            Payload::Stream(pieces) => {
                // Whoever produces the pieces may take his time.
                call.body(Body::pieces(pieces)).answer_within(None);
            }
        }
        call.retry(RetryPolicy::none()).streaming();
        call
    }
}

/// The head of an answer, and its body to be read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: http::HeaderMap,
    body: AnswerBody,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// How long a lease lives for which this time was asked.
    pub(super) fn granted_span(&self, grant: &Value, wished: Duration) -> Duration {
        let expires = grant["expires_at_unix"].as_i64().unwrap_or_default();
        let date = Some(self.header("date"));
        lockd_client::granted_span(date, expires, whole_seconds(wished)).min(wished)
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.header("content-length").parse().ok()
    }

    /// The next piece of the body. A server that falls silent in the middle of it is given up.
    pub(super) async fn piece(&mut self) -> Outcome<Option<Bytes>> {
        self.body.piece().await.map_err(|error| Failure::Local(format!("lockd: {error}")))
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

fn trust(settings: &ClientSettings) -> Vec<(&'static str, String)> {
    let mut variables = vec![("LOCKD_CLIENT_DISABLE_MTLS", settings.disable_mtls.to_string())];
    if let Some(bundle) = &settings.bundle {
        // The command may work in another directory.
        let path = std::path::absolute(bundle).unwrap_or_else(|_| bundle.clone());
        variables.push(("LOCKD_CLIENT_BUNDLE", path.display().to_string()));
    }
    variables
}

impl Api {
    pub(super) fn new(invocation: &Invocation) -> Outcome<Self> {
        let log = Arc::new(RequestLog::open(&invocation.settings)?);
        let bundle = match invocation.settings.disable_mtls {
            true => None,
            false => Some(bundle::load(invocation)?),
        };
        let endpoints = endpoint::endpoints(&invocation.settings)?;
        let timeout = match endpoints.len() > 1 && !invocation.timeout_given {
            true => SEVERAL_SERVERS,
            false => invocation.settings.timeout,
        };
        let correlation_id = invocation
            .correlation_id
            .clone()
            .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
        let mut builder =
            endpoints.iter().fold(Client::builder(), |builder, endpoint| builder.endpoint(endpoint));
        if let Some(bundle) = bundle {
            builder = builder.tls(bundle);
        }
        let client = builder
            .timeout(timeout)
            .retry(RetryPolicy::none())
            .observe(move |attempt| {
                if let Some(status) = attempt.status {
                    log.request(&attempt.method, &attempt.url, status, attempt.duration);
                }
            })
            .build()
            .map_err(|error| Failure::Local(format!("lockd: {error}")))?;
        Ok(Api { client, endpoints, trust: trust(&invocation.settings), timeout, correlation_id })
    }

    /// The servers, as `--server` would name them.
    pub(super) fn servers(&self) -> String {
        self.endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(",")
    }

    /// The variables with which a command that we start trusts the same servers as we do.
    pub(super) fn trust(&self) -> &[(&'static str, String)] {
        &self.trust
    }

    /// Sends a request to the first server that takes it. Only 200 and 204 are success.
    pub(super) async fn send(&self, mut call: Call) -> Outcome<Answer> {
        if let Some(id) = &self.correlation_id {
            call.headers.push((header::CORRELATION_ID, id.clone()));
        }
        let (method, target) = (call.method, call.target());
        match self.client.send(call.into_sdk()).await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                Ok(Answer { status, headers, body: answer.into_body() })
            }
            Err(error) => Err(self.failure(error, method, &target)),
        }
    }

    fn failure(&self, error: Error, method: &str, target: &str) -> Failure {
        match error {
            Error::Refused(refusal) => Failure::Service(Refusal {
                status: refusal.status,
                retry_after_seconds: refusal.retry_after.map(|time| time.as_secs()).unwrap_or_default(),
                code: refusal.code,
                detail: refusal.detail,
                correlation_id: refusal.correlation_id.unwrap_or_default(),
            }),
            Error::Unreachable(unreachable) => {
                let last = unreachable.causes.last();
                Failure::Unreachable {
                    attempted: self.servers(),
                    cause: last.map_or_else(String::new, |cause| {
                        format!("{method} \"{}{target}\": {}", cause.endpoint, cause.reason)
                    }),
                }
            }
            Error::Source { source, .. } => Failure::Local(source.to_string()),
            error => Failure::Local(format!("lockd: {error}")),
        }
    }
}
