//! A slot that is held: its renewals, its loss, its release.
//!
//! A task owns the connection while the slot is held. It is the only one that speaks there, so that a renewal and a release
//! never overlap, and it goes on when the futures and guards of the user are dropped.

use std::fmt;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::connection::{Connection, Kind, Token};
use crate::error::{Error, Loss};

const LEAST_INTERVAL: Duration = Duration::from_millis(100);
/// Below the server's read timeout of 23 s, so that it does not end a connection that holds a long lease.
const MOST_INTERVAL: Duration = Duration::from_secs(20);
/// How long a release waits for a renewal under way, and for its own reply.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);
/// Leases beyond this are as good as endless, and clocks can still add it.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What the task needs to know.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) connection: Connection,
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) token: Token,
    pub(crate) lease: Option<Duration>,
    pub(crate) renew_ratio: f64,
}

#[derive(Clone, Copy, Debug)]
struct State {
    lease: Duration,
    loss: Option<Loss>,
}

type Answer = oneshot::Sender<Result<(), Error>>;

/// A slot that is held, and renewed in the background until it is released or lost.
///
/// Dropping it releases the slot in the background. Use [`release`](Guard::release) to know when that is done, and whether the
/// slot was held to the end.
pub struct Guard {
    key: String,
    token: Token,
    state: watch::Receiver<State>,
    leave: oneshot::Sender<Answer>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = *self.state.borrow();
        f.debug_struct("Guard")
            .field("key", &self.key)
            .field("token", &self.token)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl Guard {
    pub(crate) fn new(holding: Holding, lease: Duration) -> Guard {
        let (state, seen) = watch::channel(State { lease, loss: None });
        let (leave, left) = oneshot::channel();
        let (key, token) = (holding.key.clone(), holding.token.clone());
        // The lease runs already, however long the task takes to begin.
        tokio::spawn(holding.keep(Instant::now(), lease, state, left));
        Guard { key, token, state: seen, leave }
    }

    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The length of the lease, as the server told it last.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.state.borrow().lease
    }

    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.state.borrow().loss.is_some()
    }

    /// A signal that outlives the guard and can be given to whatever has to stop when the slot is lost.
    #[must_use]
    pub fn lost(&self) -> Lost {
        Lost { state: self.state.clone() }
    }

    /// Gives the slot back and waits for the server's answer, or for 5 s. The slot is given back even if the future is
    /// dropped. [`Error::Lost`] tells that it was not held to the end.
    pub async fn release(self) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        let Guard { key, leave, mut state, .. } = self;
        if leave.send(answer).is_ok()
            && let Ok(outcome) = answered.await
        {
            return outcome;
        }
        // The task has ended: it says why before it does.
        let loss = state.wait_for(|state| state.loss.is_some()).await.ok().and_then(|state| state.loss);
        Err(Error::Lost { key, loss: loss.unwrap_or(Loss::Disconnected) })
    }
}

/// Becomes true when a slot is lost. It stays pending for ever when the slot is released.
#[derive(Clone, Debug)]
pub struct Lost {
    state: watch::Receiver<State>,
}

impl Lost {
    /// Waits for the loss. May be dropped and called again.
    pub async fn wait(&mut self) -> Loss {
        if let Ok(state) = self.state.wait_for(|state| state.loss.is_some()).await
            && let Some(loss) = state.loss
        {
            return loss;
        }
        // Released: nothing is lost any more.
        std::future::pending().await
    }
}

/// What ends the quiet between renewals.
enum Turn {
    /// With somebody to tell, unless the guard was dropped.
    Leave(Option<Answer>),
    Renew,
    Lost(Loss),
}

impl Holding {
    async fn keep(
        mut self,
        mut since: Instant,
        mut lease: Duration,
        state: watch::Sender<State>,
        mut left: oneshot::Receiver<Answer>,
    ) {
        let loss = loop {
            let deadline = since + lease.min(FOREVER);
            match self.quiet(since + self.interval(lease), &mut left).await {
                Turn::Leave(answer) => return self.leave(answer).await,
                Turn::Lost(loss) => break loss,
                Turn::Renew => {}
            }
            // The new lease began at the server between now and the reply; what counts here is the earlier moment.
            since = Instant::now();
            match self.renew(deadline, &mut left).await {
                (Some(Ok(renewed)), leaving) => {
                    lease = renewed;
                    state.send_modify(|state| state.lease = renewed);
                    if let Some(answer) = leaving {
                        return self.leave(answer).await;
                    }
                }
                (failed, leaving) => {
                    let loss = match failed {
                        Some(Err(Error::Refused { .. })) => Loss::Refused,
                        None if leaving.is_none() => Loss::Expired,
                        _ => Loss::Disconnected,
                    };
                    match leaving {
                        // The slot is freed by the end of the connection.
                        Some(answer) => return finish(answer, Err(self.lost(loss))),
                        None => break loss,
                    }
                }
            }
        };
        drop(self.connection);
        state.send_modify(|state| state.loss = Some(loss));
    }

    fn interval(&self, lease: Duration) -> Duration {
        lease.min(FOREVER).mul_f64(self.renew_ratio).clamp(LEAST_INTERVAL, MOST_INTERVAL)
    }

    async fn quiet(&mut self, next: Instant, left: &mut oneshot::Receiver<Answer>) -> Turn {
        tokio::select! {
            biased;
            answer = left => Turn::Leave(answer.ok()),
            () = self.connection.disturbance() => Turn::Lost(Loss::Disconnected),
            () = sleep_until(next) => Turn::Renew,
        }
    }

    /// Renews until the deadline, or for as long as somebody who wants to leave waits. Tells the outcome, if there was one, and
    /// who wants to leave.
    async fn renew(
        &mut self,
        deadline: Instant,
        left: &mut oneshot::Receiver<Answer>,
    ) -> (Option<Result<Duration, Error>>, Option<Option<Answer>>) {
        let mut leaving = None;
        // A renewal that starts late, because this process slept, still gets time for its answer: the server decides.
        let mut until = deadline.max(Instant::now() + LEAST_INTERVAL);
        let renewal = self.connection.renew_as(self.kind, &self.key, &self.token, self.lease);
        tokio::pin!(renewal);
        loop {
            tokio::select! {
                biased;
                outcome = &mut renewal => return (Some(outcome), leaving),
                answer = &mut *left, if leaving.is_none() => {
                    leaving = Some(answer.ok());
                    until = Instant::now() + RELEASE_PATIENCE;
                }
                () = sleep_until(until) => return (None, leaving),
            }
        }
    }

    async fn leave(mut self, answer: Option<Answer>) {
        let release = self.connection.release_as(self.kind, &self.key, &self.token);
        let outcome = match tokio::time::timeout(RELEASE_PATIENCE, release).await {
            Ok(outcome) => outcome,
            // The connection is closed, by which the slot is freed.
            Err(_) => Err(self.lost(Loss::Disconnected)),
        };
        drop(self.connection);
        finish(answer, outcome);
    }

    fn lost(&self, loss: Loss) -> Error {
        Error::Lost { key: self.key.clone(), loss }
    }
}

fn finish(answer: Option<Answer>, outcome: Result<(), Error>) {
    if let Some(answer) = answer {
        // Nobody may be waiting any more.
        let _ = answer.send(outcome);
    }
}
