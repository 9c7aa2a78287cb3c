//! Acquire for update: take a key, load its state, change it, save it, release it; and all over again if the lease gets lost on
//! the way.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::{Error, Loss, Result};
use crate::options::AcquireOptions;
use crate::session::LeaseSession;

/// A key that is being updated: its state, and through `Deref` the session that holds its lease.
#[non_exhaustive]
pub struct Update<T> {
    /// The state. What it is when the closure returns is saved; `None` means that the key has no state.
    pub state: Option<T>,
    session: LeaseSession,
}

impl<T> Deref for Update<T> {
    type Target = LeaseSession;

    fn deref(&self) -> &LeaseSession {
        &self.session
    }
}

impl<T> DerefMut for Update<T> {
    fn deref_mut(&mut self) -> &mut LeaseSession {
        &mut self.session
    }
}

impl<T: fmt::Debug> fmt::Debug for Update<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("state", &self.state).field("session", &self.session).finish()
    }
}

/// How one round has ended.
enum Round<R> {
    Done(R),
    /// The lease is lost and nothing is committed.
    Lost(Error),
}

impl Client {
    /// Takes the lease on a key, loads the state, runs the closure, saves the state and releases the lease.
    ///
    /// * The lease is renewed while the closure runs.
    /// * If the closure fails or panics, or its future is dropped, everything is rolled back.
    /// * If the lease is lost, the closure is cancelled where it waits (or its error is passed over), and it **runs again** with the state as it is then, at most
    ///   [`AcquireOptions::rounds`] times in all. Nothing of the earlier rounds is committed in lockd; what else the closure does
    ///   must bear repetition, or be guarded by the [fencing token](LeaseSession::fencing_token).
    /// * A state that is the same as before is not written.
    /// * The error [`OutcomeUnknown`](Error::OutcomeUnknown), or another for which
    ///   [`is_outcome_unknown`](Error::is_outcome_unknown), means that the update may be committed; it is not repeated.
    ///
    /// To spawn the returned future on a multi-threaded runtime, make the closure `async move`, so that it borrows nothing.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use lockd_client::{AcquireOptions, Update};
    ///
    /// let next = client
    ///     .acquire_for_update("counters/orders", &AcquireOptions::new(), async |counter: &mut Update<u64>| {
    ///         let next = counter.state.unwrap_or(0) + 1;
    ///         counter.state = Some(next);
    ///         Ok::<_, lockd_client::Error>(next)
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn acquire_for_update<T, R, E, W>(
        &self,
        key: &str,
        options: &AcquireOptions,
        mut work: W,
    ) -> impl Future<Output = Result<R, E>> + use<T, R, E, W>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error>,
        W: AsyncFnMut(&mut Update<T>) -> Result<R, E>,
    {
        // Borrowing nothing keeps the future `Send` for closures that borrow.
        let (client, key, options) = (self.clone(), key.to_owned(), options.clone());
        async move {
            let mut rounds = 0;
            loop {
                let session = client.acquire(&key, &options).await?;
                rounds += 1;
                match round(session, &mut work).await? {
                    Round::Done(result) => return Ok(result),
                    Round::Lost(error) if rounds >= options.rounds => return Err(error.into()),
                    Round::Lost(error) => tracing::debug!(key, rounds, %error, "starting the update over"),
                }
            }
        }
    }
}

async fn round<T, R, E>(
    session: LeaseSession,
    work: &mut impl AsyncFnMut(&mut Update<T>) -> Result<R, E>,
) -> Result<Round<R>, E>
where
    T: Serialize + DeserializeOwned,
    E: From<Error>,
{
    let lost = session.lost();
    let loaded = match session.load_bytes().await {
        Ok(loaded) => loaded,
        Err(error) => return given_up(session, error).await,
    };
    let state = match loaded.as_ref().map(|loaded| session.decode::<T>(loaded)).transpose() {
        Ok(state) => state.map(|state| state.value),
        Err(error) => return given_up(session, error).await,
    };
    let before: Option<Bytes> = loaded.map(|loaded| loaded.value);
    let mut update = Update { state, session };
    let worked = tokio::select! {
        biased;
        loss = lost.wait() => Err(loss),
        worked = work(&mut update) => Ok(worked),
    };
    let Update { state, mut session } = update;
    let result = match worked {
        Ok(Ok(result)) => result,
        // Most likely the closure failed because the lease was lost.
        Ok(Err(_)) if lost.is_lost() && !session.is_coordinated() => {
            return given_up(session, lost.loss().unwrap_or(Loss::Expired)).await;
        }
        Ok(Err(error)) => {
            // The closure's own error is worth more than one of the rollback, which the lease's end makes up for.
            let _ = session.rollback().await;
            return Err(error);
        }
        Err(loss) => return given_up(session, loss).await,
    };
    if let Err(error) = store(&mut session, state.as_ref(), before.as_ref()).await {
        return given_up(session, error).await;
    }
    let is_coordinated = session.is_coordinated();
    match session.release().await {
        Ok(_) => Ok(Round::Done(result)),
        Err(error) if error.is_lease_lost() && !is_coordinated => Ok(Round::Lost(error)),
        Err(error) => Err(error.into()),
    }
}

/// Stages the state if it is not the one that was loaded.
async fn store<T: Serialize>(
    session: &mut LeaseSession,
    state: Option<&T>,
    before: Option<&Bytes>,
) -> Result<()> {
    let Some(state) = state else {
        return match before {
            Some(_) => session.remove().await.map(drop),
            None => Ok(()),
        };
    };
    let after = serde_json::to_vec(state)
        .map_err(|source| Error::Unencodable { key: session.key().to_owned(), source })?;
    match before {
        Some(before) if *before == after && !session.has_staged() => Ok(()),
        _ => session.update(after).await.map(drop),
    }
}

/// Ends a round that has failed: lost, or rolled back.
async fn given_up<R, E: From<Error>>(session: LeaseSession, why: impl Into<Failed>) -> Result<Round<R>, E> {
    let error = match why.into() {
        Failed::Error(error) => error,
        Failed::Loss(loss) => session.loss_error(loss),
    };
    if error.is_lease_lost() && !session.is_coordinated() {
        return Ok(Round::Lost(error));
    }
    let _ = session.rollback().await;
    Err(error.into())
}

enum Failed {
    Error(Error),
    Loss(Loss),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Error(error)
    }
}

impl From<Loss> for Failed {
    fn from(loss: Loss) -> Self {
        Failed::Loss(loss)
    }
}
