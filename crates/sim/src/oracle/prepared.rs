//! How long a prepared transaction lives: until its time, and as long as the lease of a participant lasts.

use lockd_core::records::txn::Pending;
use lockd_wire::TxnId;

use super::Oracle;

impl Oracle {
    /// When a prepared transaction is rolled back, as things stand.
    pub(super) fn prepared_ends(&self, txn: TxnId) -> Option<u64> {
        let pending = self.pending.get(&txn)?;
        let participants = self.participants(txn);
        let leases = participants.iter().filter_map(|key| self.model(key).lease);
        let expiries = leases.filter(|lease| lease.txn == txn).map(|lease| lease.expires);
        Some(expiries.fold(pending.expires_at.0, u64::max))
    }

    pub(super) fn is_overdue(&self, txn: TxnId) -> bool {
        self.prepared_ends(txn).is_some_and(|end| end <= self.now)
    }

    /// What a new announcement adds to: nothing if the earlier one is over, even if nobody has come to it yet.
    pub(super) fn prepared_before(&self, txn: TxnId) -> Pending {
        self.pending.get(&txn).filter(|_| !self.is_overdue(txn)).cloned().unwrap_or_default()
    }

    pub(super) fn first_prepared_end(&self) -> Option<u64> {
        self.pending.keys().filter_map(|&txn| self.prepared_ends(txn)).min()
    }
}
