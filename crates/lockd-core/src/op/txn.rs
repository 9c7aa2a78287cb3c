//! What can be asked about transactions, and what is answered.

use lockd_wire::{KeyId, TxnId};

use crate::moment::Moment;
use crate::records::txn::Verdict;

/// Prepares or decides a transaction.
#[derive(Debug, Clone)]
pub struct DecideTxn {
    pub txn: TxnId,
    pub ask: TxnAsk,
    /// Participants that the client names, besides those that are known.
    pub participants: Vec<KeyId>,
    /// Unix milliseconds; zero leaves it to the server.
    pub expires_at: Moment,
    /// The coordinator's term; zero for none.
    pub term: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnAsk {
    /// Remember the participants.
    Prepare,
    Decide(Verdict),
    /// What has become of it?
    Tell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnState {
    Pending,
    Decided(Verdict),
}
