//! One attempt at a call: one request to one server, and its answer or the way in which it failed.

use std::future::Future;
use std::io;
use std::sync::Arc;

use http::HeaderMap;
use tokio::time::{Duration, Instant, sleep_until};

use crate::answered::{AnswerBody, Content};
use crate::body::Progress;
use crate::call::{Call, Patience, Reading, Repeat};
use crate::connection::{Connection, Obstacle, Pool};
use crate::endpoint::Endpoint;
use crate::stream::{ByteStream, chain};
use crate::tls::{Secure, late_refusal};

/// Larger answers are streamed; this much JSON about a key is not an answer of lockd.
const MOST_WHOLE: usize = 64 << 20;

/// One server of a client.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    /// How to get a TLS connection, if that is what the endpoint asks for.
    secure: Option<Secure>,
    pool: Arc<Pool>,
}

/// Any answer, good or bad.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) content: AnswerBody,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// No server has got a request.
    NotSent(Obstacle),
    /// The connection broke after the request may have been read.
    Broken(String),
    /// The server said nothing for this long.
    Silent(Duration),
    /// The reader of the caller failed, so the request was never complete.
    Source(io::Error),
}

impl Server {
    pub(crate) fn new(endpoint: Endpoint, secure: Option<Secure>) -> Self {
        Self { endpoint, secure, pool: Arc::default() }
    }

    pub(crate) async fn attempt(&self, call: &mut Call, usual: Duration) -> Result<Response, Failure> {
        let (patience, reading) = (call.short_patience.unwrap_or(usual), call.reading);
        let until_answer = match call.patience {
            Patience::Usual => Some(usual),
            Patience::AtMost(patience) => Some(patience),
            Patience::After(moment) => {
                let left = moment.saturating_duration_since(Instant::now());
                Some(left.saturating_add(usual).saturating_add(Duration::from_secs(1)))
            }
            Patience::Forever => None,
        };
        let may_be_stale =
            (call.reuses_connections || call.repeat == Repeat::Freely) && !call.payload.is_reader();
        let mut connection = match may_be_stale {
            true => self.connection(patience).await?,
            false => self.fresh(patience).await?,
        };
        let progress = Progress::new();
        let Some(body) = call.payload.take(&progress) else {
            return Err(Failure::NotSent(Obstacle::passing("the reader has been read already")));
        };
        let mut request = call.request(&self.endpoint, body);
        loop {
            let answered = connection.sender.try_send_request(request);
            let mut trouble = match within(until_answer, &progress, answered).await {
                Err(silence) => return Err(Failure::Silent(silence)),
                Ok(Ok(response)) => {
                    return self.read((reading, patience), response, connection, progress).await;
                }
                Ok(Err(trouble)) => trouble,
            };
            match trouble.take_message() {
                // The server had closed this connection before it saw the request.
                Some(unsent) if connection.reused => request = unsent,
                Some(unsent) => {
                    call.payload.put_back(unsent.into_body());
                    return Err(Failure::NotSent(never_used(connection, trouble.into_error()).await));
                }
                None => {
                    return Err(match progress.failure() {
                        Some(error) => Failure::Source(error),
                        None => broken(&connection, trouble.error()),
                    });
                }
            }
            connection = match self.connection(patience).await {
                Ok(connection) => connection,
                Err(failure) => {
                    call.payload.put_back(request.into_body());
                    return Err(failure);
                }
            };
        }
    }

    async fn connection(&self, patience: Duration) -> Result<Connection, Failure> {
        match self.pool.take().await {
            Some(connection) => Ok(connection),
            None => self.fresh(patience).await,
        }
    }

    async fn fresh(&self, patience: Duration) -> Result<Connection, Failure> {
        Connection::open(&self.endpoint, self.secure.as_ref(), patience).await.map_err(Failure::NotSent)
    }

    async fn read(
        &self,
        (reading, patience): (Reading, Duration),
        response: http::Response<hyper::body::Incoming>,
        connection: Connection,
        progress: Arc<Progress>,
    ) -> Result<Response, Failure> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let stream = ByteStream::new(body, connection, self.pool.clone(), progress, patience);
        let content = match (reading, status) {
            (Reading::Stream, 200) => Content::Stream(Box::new(stream)),
            _ => match stream.collect(MOST_WHOLE).await {
                Ok(bytes) => Content::Whole(bytes),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Failure::Silent(patience));
                }
                Err(error) => return Err(Failure::Broken(error.to_string())),
            },
        };
        Ok(Response { status, headers: head.headers, content: AnswerBody(content) })
    }
}

/// Why a new connection took no request. It knows more about that than who wanted to send one.
async fn never_used(mut connection: Connection, error: hyper::Error) -> Obstacle {
    let error = connection.end().await.unwrap_or(error);
    late_refusal(&error).unwrap_or_else(|| error.into())
}

/// What it means that a connection failed after a request went into it.
fn broken(connection: &Connection, error: &hyper::Error) -> Failure {
    match late_refusal(error) {
        _ if connection.reused || !connection.is_secure => Failure::Broken(chain(error)),
        // A server reads no request before it knows whose it is.
        Some(refusal) => Failure::NotSent(refusal),
        None => Failure::Broken(format!(
            "{}; a server that does not accept the certificate of this client may end a connection like this",
            chain(error)
        )),
    }
}

/// Waits for the future for as long as the server makes progress.
async fn within<T>(
    patience: Option<Duration>,
    progress: &Progress,
    future: impl Future<Output = T>,
) -> Result<T, Duration> {
    let Some(patience) = patience else { return Ok(future.await) };
    let mut future = std::pin::pin!(future);
    loop {
        // Beyond the end of the clock is for ever.
        let Some(until) = progress.since().checked_add(patience) else { return Ok(future.await) };
        tokio::select! {
            biased;
            done = &mut future => return Ok(done),
            () = sleep_until(until) => {
                if progress.since().checked_add(patience).is_some_and(|until| until <= Instant::now()) {
                    return Err(patience);
                }
            }
        }
    }
}
