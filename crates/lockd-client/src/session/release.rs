//! The end of a session: commit or rollback, and finding out what became of it.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{LeaseSession, View};
use crate::answer::{Outcome, Released};
use crate::call::Call;
use crate::error::{Error, Loss, Result};
use crate::vigil::Vigil;

/// What the answer says about the commit, if anything.
struct Answered {
    outcome: Option<Outcome>,
    /// An earlier attempt may have ended the lease.
    repeated: bool,
}

pub(super) fn call(vigil: &Vigil, rollback: bool) -> Call {
    #[derive(Serialize)]
    struct Request<'a> {
        namespace: &'a str,
        key: &'a str,
        lease_id: &'a str,
        txn_id: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        rollback: bool,
    }
    let lease = &vigil.lease;
    let mut call = Call::post("/v1/release");
    call.token(lease).timeout(vigil.client.inner.release_timeout).json(&Request {
        namespace: &lease.namespace,
        key: &lease.key,
        lease_id: &lease.lease_id,
        txn_id: &lease.txn_id,
        rollback,
    });
    call
}

impl LeaseSession {
    /// Commits what was staged and ends the lease.
    ///
    /// An error means that nothing was committed, unless it says that the outcome is unknown: see
    /// [`Error::is_outcome_unknown`].
    ///
    /// ```no_run
    /// # async fn example(session: lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// use lockd_client::Outcome;
    ///
    /// let released = session.release().await?;
    /// assert_eq!(released.outcome, Outcome::Committed);
    /// # Ok(()) }
    /// ```
    pub async fn release(mut self) -> Result<Released> {
        self.stop_watching();
        let view = self.view().clone();
        if !self.coordinated
            && view.staged.is_possible()
            && let Err(lost) = self.vigil.check()
        {
            // Dropping the session discards what may be left of it.
            return Err(lost);
        }
        let answered = self.end(false).await?;
        self.on_drop = None;
        self.settle(&view, answered).await
    }

    /// Discards what was staged and ends the lease. That the lease has ended before is no error.
    ///
    /// ```no_run
    /// # async fn example(session: lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// session.rollback().await?;
    /// # Ok(()) }
    /// ```
    pub async fn rollback(mut self) -> Result<Released> {
        self.stop_watching();
        let answered = self.end(true).await?;
        self.on_drop = None;
        Ok(Released { outcome: answered.outcome.unwrap_or(Outcome::RolledBack) })
    }

    /// Releases as the first of a transaction, so that nobody else can have decided it.
    pub(crate) async fn release_deciding(mut self) -> Result<Released> {
        self.coordinated = false;
        self.release().await
    }

    /// Ends the lease after its transaction was decided. Errors do not matter: the lease runs out by itself.
    pub(crate) async fn free(mut self, rollback: bool) {
        self.stop_watching();
        if let Err(error) = self.end(rollback).await {
            tracing::debug!(key = self.key(), %error, "a lease was not released after its transaction");
        }
        self.on_drop = None;
    }

    async fn end(&self, rollback: bool) -> Result<Answered> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            outcome: Option<String>,
        }
        let answer = match self.vigil.send_regardless(call(&self.vigil, rollback)).await {
            // There is nothing to release any more.
            Err(Error::LeaseLost { loss: Loss::Refused(refusal), .. }) => {
                return Ok(Answered { outcome: Some(Outcome::Nothing), repeated: refusal.maybe_applied });
            }
            answer => answer?,
        };
        let outcome = match answer.json::<Body>()?.outcome.as_deref() {
            Some("committed") => Some(Outcome::Committed),
            Some("rolled_back") => Some(Outcome::RolledBack),
            Some("none") => Some(Outcome::Nothing),
            _ => None,
        };
        Ok(Answered { outcome, repeated: answer.repeated })
    }

    /// Finds out whether the release has committed. Servers also answer "released" when the lease was gone, and the answer to
    /// a repeated request does not tell what the first one did.
    async fn settle(&self, view: &View, answered: Answered) -> Result<Released> {
        let Answered { outcome, repeated } = answered;
        // Nobody else can have ended a lease whose time is not over, except a partner in its transaction.
        let was_certain = self.vigil.deadline().is_some_and(|deadline| Instant::now() < deadline);
        let loss = || self.vigil.loss_error(self.vigil.lost().loss().unwrap_or(Loss::Expired));
        match outcome {
            Some(Outcome::Committed) => return Ok(Released { outcome: Outcome::Committed }),
            _ if !view.staged.is_possible() => {
                return Ok(Released { outcome: outcome.unwrap_or(Outcome::Nothing) });
            }
            Some(Outcome::RolledBack) => return Err(loss()),
            Some(Outcome::Nothing) if !repeated && !self.coordinated => {
                return match view.staged.certain {
                    true => Err(loss()),
                    false if was_certain => Ok(Released { outcome: Outcome::Nothing }),
                    false => Err(loss()),
                };
            }
            _ if was_certain => {
                let outcome = match self.coordinated {
                    true => Outcome::Nothing,
                    false => Outcome::Committed,
                };
                return Ok(Released { outcome });
            }
            _ => {}
        }
        // The lease may have run out before the release arrived. If no version was made since, nothing was committed.
        let lease = &self.vigil.lease;
        let described = self.vigil.client.in_namespace(&lease.namespace).describe(&lease.key).await;
        match (described, lease.version) {
            (Ok(description), Some(version))
                if description.version == version && view.staged.makes_a_version() =>
            {
                Err(self.vigil.loss_error(Loss::Expired))
            }
            _ => Err(Error::OutcomeUnknown { key: lease.key.clone() }),
        }
    }
}
