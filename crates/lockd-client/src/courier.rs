//! Brings a call to a server that answers it: tries the others when one cannot be reached or is passive, and pauses before it
//! starts over.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};

use crate::answered::{Answer, AnswerBody, Content};
use crate::builder::{Attempt, Observer};
use crate::call::{Call, Repeat};
use crate::connection::Obstacle;
use crate::error::{Cause, Error, Refusal, Result, Unreachable};
use crate::exchange::{Failure, Response, Server};
use crate::retry::RetryPolicy;

/// What all copies of a client share.
pub(crate) struct Courier {
    pub(crate) servers: Vec<Server>,
    /// The server that answered last.
    pub(crate) preferred: AtomicUsize,
    /// Which servers have announced their end: one flag each.
    pub(crate) draining: watch::Sender<Vec<bool>>,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) release_timeout: Duration,
    pub(crate) owner: String,
    pub(crate) observer: Option<Observer>,
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

/// What has happened to a call so far.
#[derive(Default)]
struct Course {
    attempts: u32,
    /// An attempt that failed may have been carried out all the same.
    maybe_applied: bool,
    hint: Option<Duration>,
    /// What happened last at every server that did not answer.
    causes: Vec<Cause>,
    /// A passive server of this round.
    passive: Option<Error>,
    /// Something of this round may be better in the next.
    hopeful: bool,
}

fn may_repeat(call: &Call, course: &Course) -> bool {
    call.payload.is_ready() && (call.repeat == Repeat::Freely || !course.maybe_applied)
}

impl Courier {
    /// Sends the call until it is answered or refused, or the retry policy gives up.
    pub(crate) async fn send(&self, mut call: Call) -> Result<Answer> {
        if let Some((name, value)) = call.unsendable.take() {
            return Err(Error::InvalidOption {
                name: "header",
                value: format!("{name}: {value}"),
                reason: "HTTP cannot carry it; remove line ends and other control characters".into(),
            });
        }
        let begun = Instant::now();
        let retry = call.retry.unwrap_or(self.retry);
        let mut place = self.preferred.load(Ordering::Relaxed);
        let mut course = Course::default();
        let (mut pauses, mut passed_over) = (0, 0);
        loop {
            let server = &self.servers[place];
            course.attempts += 1;
            let tried = Instant::now();
            let attempt = server.attempt(&mut call, self.timeout).await;
            self.observe(server, &call, tried, &attempt);
            let (error, next) = match attempt {
                Ok(response) => {
                    self.note_draining(place, &response);
                    match self.judge(place, &call, response, &mut course) {
                        Ok(answer) => {
                            self.preferred.store(place, Ordering::Relaxed);
                            return Ok(answer);
                        }
                        Err(judged) => judged,
                    }
                }
                Err(failure) => judge_failure(failure, server, &call, &mut course),
            };
            tracing::debug!(path = call.path, endpoint = %server.endpoint, attempts = course.attempts, %error, "attempt failed");
            match next {
                Next::Fail => return Err(error),
                Next::Elsewhere => {
                    place = (place + 1) % self.servers.len();
                    passed_over += 1;
                }
                Next::Later => passed_over = self.servers.len(),
            }
            if passed_over >= self.servers.len() {
                let pause = retry.pause(pauses, course.hint.take());
                if !course.hopeful
                    || pauses >= retry.retries
                    || begun.elapsed().saturating_add(pause) > retry.give_up_after
                {
                    return Err(match (error, course.passive) {
                        // That a server is there but passive says more than that another is not there.
                        (Error::Unreachable(_), Some(passive)) => passive,
                        (error, _) => error,
                    });
                }
                sleep(pause).await;
                pauses += 1;
                passed_over = 0;
                course.passive = None;
                course.hopeful = false;
            }
        }
    }

    fn observe(&self, server: &Server, call: &Call, begun: Instant, attempt: &Result<Response, Failure>) {
        let Some(observer) = &self.observer else { return };
        observer.0(&Attempt {
            method: call.method.as_str().to_owned(),
            url: format!("{}{}", server.endpoint, call.target()),
            status: attempt.as_ref().ok().map(|response| response.status),
            duration: begun.elapsed(),
        });
    }

    fn judge(
        &self,
        place: usize,
        call: &Call,
        response: Response,
        course: &mut Course,
    ) -> Result<Answer, (Error, Next)> {
        course.hopeful = true;
        let Response { status, headers, content } = response;
        let endpoint = self.servers[place].endpoint.clone();
        let body = match content {
            content if matches!(status, 200 | 204) => {
                let repeated = course.maybe_applied;
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
            AnswerBody(Content::Whole(body)) => body,
            AnswerBody(Content::Stream(_)) => bytes::Bytes::new(),
        };
        let mut refusal = Refusal::read(status, &headers, &body);
        let is_passive = status == 503 && (refusal.code == "node_passive" || body.is_empty());
        // A server that has an error of its own, or stands before one that has, may have done the work before.
        // That a lockd server is not available, it finds before it does anything; of a proxy that is not known.
        let is_untouched = status == 501 || status == 503 && (is_passive || !refusal.code.is_empty());
        course.maybe_applied |= status >= 500 && !is_untouched;
        refusal.maybe_applied = course.maybe_applied;
        course.hint = course.hint.max(refusal.retry_after);
        let again = may_repeat(call, course);
        let is_final = call.conflicts_are_final && refusal.status == 409;
        let next = match is_retryable(&refusal) && !is_final {
            true if again && is_passive => Next::Elsewhere,
            true if again => Next::Later,
            _ => Next::Fail,
        };
        if is_passive {
            course.passive = Some(Error::Refused(Box::new(refusal.clone())));
        }
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

fn judge_failure(failure: Failure, server: &Server, call: &Call, course: &mut Course) -> (Error, Next) {
    course.maybe_applied |= matches!(failure, Failure::Broken(_) | Failure::Silent(_));
    let timed_out = matches!(failure, Failure::Silent(_));
    let Obstacle { reason, lasting } = match failure {
        Failure::Source(source) => return (Error::Source { path: call.path, source }, Next::Fail),
        Failure::NotSent(obstacle) => obstacle,
        Failure::Broken(reason) => Obstacle::passing(reason),
        Failure::Silent(patience) => Obstacle::passing(format!("no answer within {patience:?}")),
    };
    course.hopeful |= !lasting;
    course.causes.retain(|cause| cause.endpoint != server.endpoint);
    course.causes.push(Cause { endpoint: server.endpoint.clone(), reason, timed_out, lasting });
    let error = Error::Unreachable(Box::new(Unreachable {
        path: call.path,
        attempts: course.attempts,
        causes: course.causes.clone(),
        maybe_applied: course.maybe_applied,
    }));
    match may_repeat(call, course) {
        true => (error, Next::Elsewhere),
        false => (error, Next::Fail),
    }
}
