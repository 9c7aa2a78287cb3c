//! Transactions over several keys: all that is staged under one id is committed together, or not at all.

use crate::answer::{Outcome, Released};
use crate::client::Client;
use crate::decision::{Decision, Participant};
use crate::error::{Error, Loss, Result};
use crate::lease::TxnId;
use crate::options::AcquireOptions;
use crate::queue::{DequeueOptions, Message, Queue};
use crate::session::LeaseSession;

/// A transaction over several keys. See [`Client::transaction`].
///
/// Releasing *any* of its sessions with something staged decides for all of them, so use
/// [`commit`](Self::commit) and [`rollback`](Self::rollback). If a lease runs out before, the whole transaction is rolled back.
///
/// Keys that are acquired while others are held invite deadlocks: let everybody acquire them in the same order.
#[derive(Debug, Clone)]
pub struct Transaction {
    client: Client,
    id: TxnId,
}

impl Transaction {
    pub(crate) fn new(client: Client) -> Transaction {
        Transaction::of(client, TxnId::fresh())
    }

    pub(crate) fn of(client: Client, id: TxnId) -> Transaction {
        Transaction { client, id }
    }

    /// Names the transaction, for [`AcquireOptions::txn`].
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// Takes the lease on a key as part of the transaction.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// let transaction = client.transaction();
    /// let mut order = transaction.acquire("orders/17", &Default::default()).await?;
    /// order.save(&"paid").await?;
    /// transaction.commit([order]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn acquire(&self, key: &str, options: &AcquireOptions) -> Result<LeaseSession> {
        self.client.acquire(key, &options.clone().txn(self.id)).await
    }

    /// Takes the next message of a queue as part of the transaction: it is acknowledged when the transaction is committed, and
    /// delivered again when that is rolled back. Settling the message by itself decides for all of the transaction.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use lockd_client::{AcquireOptions, DequeueOptions};
    ///
    /// let transaction = client.transaction();
    /// let options = DequeueOptions::new().no_wait();
    /// let Some(order) = transaction.dequeue(&client.queue("orders"), &options).await? else { return Ok(()) };
    /// let mut total = transaction.acquire("orders/total", &AcquireOptions::new()).await?;
    /// let sum = total.load::<u64>().await?.unwrap_or(0) + 1;
    /// total.save(&sum).await?;
    /// // The order is gone and counted, or neither.
    /// transaction.commit_with([total], [order]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn dequeue(&self, queue: &Queue, options: &DequeueOptions) -> Result<Option<Message>> {
        queue.dequeue(&options.clone().txn(self.id)).await
    }

    /// Commits what all sessions have staged and acknowledges all messages, and ends their leases. Pass all that takes part.
    ///
    /// A server keeps the decision, so that this knows what was decided even if an answer was lost on the way. It fails if a
    /// lease was lost or the transaction was rolled back; nothing is committed then.
    ///
    /// ```no_run
    /// # async fn example(transaction: lockd_client::Transaction, a: lockd_client::LeaseSession, m: lockd_client::Message) -> lockd_client::Result<()> {
    /// transaction.commit_with([a], [m]).await
    /// # }
    /// ```
    pub async fn commit_with(
        self,
        sessions: impl IntoIterator<Item = LeaseSession>,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<()> {
        let mut sessions: Vec<LeaseSession> = sessions.into_iter().collect();
        let mut messages: Vec<Message> = messages.into_iter().collect();
        for session in &sessions {
            session.check()?;
        }
        for message in &messages {
            message.check()?;
        }
        let participants = sessions.iter().map(Participant::from);
        let participants: Vec<Participant> =
            participants.chain(messages.iter().map(|message| Participant::from(&**message))).collect();
        let key = participants.first().map(|first| first.key_text().to_owned()).unwrap_or_default();
        let decided = self.client.txn_commit(self.id, participants).await;
        // Whatever was decided, there is nothing left that a dropped session or message would have to undo. If nobody knows, the
        // transaction ends with the leases at the latest.
        let is_known = decided.is_ok() || decided.as_ref().is_err_and(Error::is_outcome_unknown);
        if is_known {
            sessions.iter_mut().for_each(LeaseSession::forget);
            messages.iter_mut().for_each(Message::forget);
        }
        match decided? {
            Decision::Commit => Ok(()),
            _ => Err(Error::LeaseLost { key, loss: Loss::Expired }),
        }
    }

    /// Commits what all sessions have staged, and ends their leases. Pass all sessions of the transaction.
    ///
    /// Fails if the transaction cannot be committed because a lease was lost; nothing is committed then.
    ///
    /// ```no_run
    /// # async fn example(transaction: lockd_client::Transaction, a: lockd_client::LeaseSession, b: lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// transaction.commit([a, b]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn commit(self, sessions: impl IntoIterator<Item = LeaseSession>) -> Result<Released> {
        self.end(sessions, false).await
    }

    /// Discards what all sessions have staged, and ends their leases.
    ///
    /// ```no_run
    /// # async fn example(transaction: lockd_client::Transaction, a: lockd_client::LeaseSession, b: lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// transaction.rollback([a, b]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn rollback(self, sessions: impl IntoIterator<Item = LeaseSession>) -> Result<Released> {
        self.end(sessions, true).await
    }

    async fn end(self, sessions: impl IntoIterator<Item = LeaseSession>, rollback: bool) -> Result<Released> {
        let mut sessions: Vec<LeaseSession> = sessions.into_iter().collect();
        if !rollback {
            // One that is lost has been rolled back, and the others with it. Dropping the rest makes that so.
            for session in &sessions {
                session.check()?;
            }
        }
        // The one that decides should be one that knows afterwards whether it has.
        sessions.sort_by_key(|session| !session.has_staged());
        let mut sessions = sessions.into_iter();
        let Some(first) = sessions.next() else { return Ok(Released { outcome: Outcome::Nothing }) };
        let decided = match rollback {
            true => first.rollback().await?,
            false => first.release_deciding().await?,
        };
        for session in sessions {
            // The decision stands; what is left is to free keys on which nothing was staged.
            session.free(rollback).await;
        }
        Ok(decided)
    }
}
