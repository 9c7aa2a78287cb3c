//! Transactions by their id: decided from outside, over keys and messages that others may hold.

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::client::Client;
use crate::error::Result;
use crate::lease::TxnId;
use crate::queue::Delivery;
use crate::session::LeaseSession;

/// What is known or wanted of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// Not decided yet.
    Pending,
    /// All of it becomes visible, and its messages are acknowledged.
    Commit,
    /// All of it is discarded, and its messages are delivered again.
    Rollback,
}

/// Something that takes part in a transaction. What was acquired or taken as part of it is known to the server already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Participant {
    namespace: String,
    key: String,
}

impl Participant {
    /// A key.
    pub fn key(namespace: impl Into<String>, key: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), key: key.into() }
    }

    pub(crate) fn key_text(&self) -> &str {
        &self.key
    }

    /// A message.
    pub fn message(namespace: impl Into<String>, queue: &str, message_id: &str) -> Self {
        Self::key(namespace, format!("q/{queue}/msg/{message_id}"))
    }
}

impl From<&LeaseSession> for Participant {
    fn from(session: &LeaseSession) -> Self {
        Self::key(session.namespace(), session.key())
    }
}

impl From<&Delivery> for Participant {
    fn from(delivery: &Delivery) -> Self {
        Self::message(delivery.namespace(), delivery.queue(), delivery.id())
    }
}

impl Client {
    /// Commits a transaction: all that has taken part in it on the server, and these participants. Answers the decision that is
    /// recorded, which is another one if that was made before.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client, id: lockd_client::TxnId) -> lockd_client::Result<()> {
    /// use lockd_client::Decision;
    ///
    /// if client.txn_commit(id, []).await? != Decision::Commit {
    ///     println!("it was rolled back before");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn txn_commit(
        &self,
        id: TxnId,
        participants: impl IntoIterator<Item = Participant>,
    ) -> Result<Decision> {
        self.txn_decide(id, Decision::Commit, participants).await
    }

    /// Rolls a transaction back. See [`txn_commit`](Self::txn_commit).
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client, id: lockd_client::TxnId) -> lockd_client::Result<()> {
    /// client.txn_rollback(id, []).await?;
    /// # Ok(()) }
    /// ```
    pub async fn txn_rollback(
        &self,
        id: TxnId,
        participants: impl IntoIterator<Item = Participant>,
    ) -> Result<Decision> {
        self.txn_decide(id, Decision::Rollback, participants).await
    }

    /// Records and carries out a decision; with [`Decision::Pending`] only records who takes part. Repeating it is safe.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client, id: lockd_client::TxnId) -> lockd_client::Result<()> {
    /// use lockd_client::{Decision, Participant};
    ///
    /// let parts = [Participant::key("default", "orders/17"), Participant::key("default", "stock/widget")];
    /// client.txn_decide(id, Decision::Commit, parts).await?;
    /// # Ok(()) }
    /// ```
    pub async fn txn_decide(
        &self,
        id: TxnId,
        decision: Decision,
        participants: impl IntoIterator<Item = Participant>,
    ) -> Result<Decision> {
        #[derive(Serialize)]
        struct Request {
            txn_id: String,
            state: Decision,
            participants: Vec<Participant>,
        }
        let mut call = Call::post("/v1/txn/decide");
        call.json(&Request {
            txn_id: id.to_string(),
            state: decision,
            participants: participants.into_iter().collect(),
        });
        decided(&self.send(call).await?)
    }

    /// Carries out what is recorded of a transaction, or rolls it back if its time is over, and answers what that is. Fails with
    /// `txn_not_found` if nothing is recorded.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client, id: lockd_client::TxnId) -> lockd_client::Result<()> {
    /// println!("{:?}", client.txn_replay(id).await?);
    /// # Ok(()) }
    /// ```
    pub async fn txn_replay(&self, id: TxnId) -> Result<Decision> {
        let mut call = Call::post("/v1/txn/replay");
        call.json(&serde_json::json!({ "txn_id": id.to_string() }));
        decided(&self.send(call).await?)
    }
}

fn decided(answer: &crate::answered::Answer) -> Result<Decision> {
    #[derive(Deserialize)]
    struct Recorded {
        state: Decision,
    }
    Ok(answer.json::<Recorded>()?.state)
}
