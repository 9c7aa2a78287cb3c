//! Brings a call to a server that answers it: tries the others when one cannot be reached or is passive, and pauses before it
//! starts over.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};

use crate::call::{Answer, AnswerContent, Call, Repeat};
use crate::error::{Error, Refusal, Result};
use crate::exchange::{Failure, Response, Server};
use crate::retry::RetryPolicy;

/// What all copies of a client share.
pub(crate) struct Courier {
    pub(crate) servers: Vec<Server>,
    /// The server that answered last.
    preferred: AtomicUsize,
    /// Which servers have announced their end: one flag each.
    pub(crate) draining: watch::Sender<Vec<bool>>,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) release_timeout: Duration,
    pub(crate) owner: String,
}

/// What an attempt without success means for the next.
enum Next {
    /// Nobody can do better.
    Fail,
    /// Another server may.
    Elsewhere,
    /// The same server may, later.
    Later,
}

impl Courier {
    pub(crate) fn new(
        servers: Vec<Server>,
        retry: RetryPolicy,
        timeout: Duration,
        keepalive_timeout: Duration,
        release_timeout: Duration,
        owner: String,
    ) -> Self {
        let draining = watch::Sender::new(vec![false; servers.len()]);
        let preferred = AtomicUsize::new(0);
        Self { servers, preferred, draining, retry, timeout, keepalive_timeout, release_timeout, owner }
    }

    /// Sends the call until it is answered or refused, or the retry policy gives up.
    pub(crate) async fn send(&self, mut call: Call) -> Result<Answer> {
        let begun = Instant::now();
        let mut place = self.preferred.load(Ordering::Relaxed);
        // Whether an attempt that failed may have been carried out all the same.
        let mut maybe_applied = false;
        let mut hint = None;
        let (mut attempts, mut pauses, mut passed_over) = (0, 0, 0);
        loop {
            let server = &self.servers[place];
            attempts += 1;
            let (error, next) = match server.attempt(&mut call).await {
                Ok(response) => {
                    self.note_draining(place, &response);
                    match self.judge(place, &call, response, &mut maybe_applied, &mut hint) {
                        Ok(answer) => {
                            self.preferred.store(place, Ordering::Relaxed);
                            return Ok(answer);
                        }
                        Err(judged) => judged,
                    }
                }
                Err(failure) => judge_failure(failure, server, &call, attempts, &mut maybe_applied),
            };
            tracing::debug!(path = call.path, endpoint = %server.endpoint, attempts, %error, "attempt failed");
            match next {
                Next::Fail => return Err(error),
                Next::Elsewhere => {
                    place = (place + 1) % self.servers.len();
                    passed_over += 1;
                }
                Next::Later => passed_over = self.servers.len(),
            }
            if passed_over >= self.servers.len() {
                let pause = call.retry.pause(pauses, hint.take());
                if pauses >= call.retry.retries || begun.elapsed() + pause > call.retry.give_up_after {
                    return Err(error);
                }
                sleep(pause).await;
                pauses += 1;
                passed_over = 0;
            }
        }
    }

    fn judge(
        &self,
        place: usize,
        call: &Call,
        response: Response,
        maybe_applied: &mut bool,
        hint: &mut Option<Duration>,
    ) -> Result<Answer, (Error, Next)> {
        let Response { status, headers, content } = response;
        let endpoint = self.servers[place].endpoint.clone();
        let body = match content {
            content if matches!(status, 200 | 204) => {
                let repeated = *maybe_applied;
                return Ok(Answer {
                    endpoint,
                    server: place,
                    path: call.path,
                    status,
                    headers,
                    content,
                    repeated,
                });
            }
            AnswerContent::Whole(body) => body,
            AnswerContent::Stream(_) => bytes::Bytes::new(),
        };
        let mut refusal = Refusal::read(status, &headers, &body);
        let is_passive = status == 503 && (refusal.code == "node_passive" || body.is_empty());
        // A server that has an error of its own, or stands before one that has, may have done the work before.
        *maybe_applied |= status >= 500 && !matches!(status, 501 | 503);
        refusal.maybe_applied = *maybe_applied;
        *hint = (*hint).max(refusal.retry_after);
        let again = call.payload.is_ready() && (call.repeat == Repeat::Freely || !*maybe_applied);
        let next = match is_retryable(&refusal) {
            true if again && is_passive => Next::Elsewhere,
            true if again => Next::Later,
            _ => Next::Fail,
        };
        Err((Error::Refused(Box::new(refusal)), next))
    }

    fn note_draining(&self, place: usize, response: &Response) {
        let drains = response
            .headers
            .get(lockd_wire::header::SHUTDOWN_IMMINENT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        self.draining.send_if_modified(|flags| std::mem::replace(&mut flags[place], drains) != drains);
    }
}

/// Whether the same request may fare better in a while.
pub(crate) fn is_retryable(refusal: &Refusal) -> bool {
    match refusal.status {
        429 => true,
        501 => false,
        500.. => true,
        409 => refusal.is(lockd_wire::ErrorCode::CasMismatch),
        _ => false,
    }
}

fn judge_failure(
    failure: Failure,
    server: &Server,
    call: &Call,
    attempts: u32,
    maybe_applied: &mut bool,
) -> (Error, Next) {
    *maybe_applied |= matches!(failure, Failure::Broken(_) | Failure::Silent(_));
    let (path, endpoint, maybe) = (call.path, server.endpoint.clone(), *maybe_applied);
    let error = match failure {
        Failure::Source(source) => return (Error::Source { path, source }, Next::Fail),
        Failure::NotSent(reason) | Failure::Broken(reason) => {
            Error::Unreachable { endpoint, path, attempts, reason, maybe_applied: maybe }
        }
        Failure::Silent(patience) => {
            Error::TimedOut { endpoint, path, attempts, patience, maybe_applied: maybe }
        }
    };
    match call.payload.is_ready() && (call.repeat == Repeat::Freely || !maybe) {
        true => (error, Next::Elsewhere),
        false => (error, Next::Fail),
    }
}
