//! Does the caller hold the lease? And what does the holder see?

use lockd_wire::TxnId;

use crate::moment::Moment;
use crate::op::{Claim, Document, Expect, ExpectEtag, Reason, Refusal, TxnClaim};
use crate::records::key::{Digest, Grant, KeyRecord, Lease, Overlay, Staged, StagedState};

impl Grant {
    /// Equality means expired.
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires_at <= now
    }
}

/// Checks a claim, first failure first: lease id, expiry, token, transaction.
pub fn prove<'a>(record: &'a KeyRecord, now: Moment, claim: &Claim) -> Result<&'a Grant, Refusal> {
    let grant = match &record.lease {
        Lease::Held(grant) if Some(grant.id) == claim.lease => grant,
        _ => return Err(record.refuse(Reason::LeaseRequired)),
    };
    if grant.is_expired(now) {
        return Err(record.refuse(Reason::LeaseExpired));
    }
    if u64::try_from(claim.token) != Ok(grant.token) {
        return Err(record.refuse(Reason::FencingMismatch));
    }
    match claim.txn {
        TxnClaim::NotNeeded => Ok(grant),
        TxnClaim::Missing => Err(record.refuse(Reason::MissingTxn)),
        TxnClaim::Is(txn) if txn == Some(grant.txn) => Ok(grant),
        TxnClaim::Is(_) => Err(record.refuse(Reason::TxnMismatch)),
    }
}

/// A lease that is not there, not this one, or not this token: releasing it has nothing to do and says so kindly.
pub fn lost(record: &KeyRecord, claim: &Claim) -> bool {
    match &record.lease {
        Lease::Free => true,
        Lease::Held(grant) => Some(grant.id) != claim.lease || u64::try_from(claim.token) != Ok(grant.token),
    }
}

impl KeyRecord {
    /// A refusal that shows the committed version and ETag.
    pub fn refuse(&self, reason: Reason) -> Refusal {
        Refusal { current: Some((self.version, self.etag())), ..reason.plain() }
    }

    pub fn etag(&self) -> Option<Digest> {
        self.state.map(|state| state.sha256)
    }

    pub fn overlay(&self) -> Option<&Overlay> {
        match &self.staged {
            Staged::Nothing => None,
            Staged::Of(overlay) => Some(overlay),
        }
    }

    /// The version that the holder's conditions are compared with.
    pub fn holder_version(&self) -> u64 {
        match self.overlay() {
            Some(overlay) if overlay.state != StagedState::Untouched => overlay.version,
            _ => self.version,
        }
    }

    /// The ETag that the holder's conditions are compared with: after a staged remove still the committed one.
    pub fn holder_etag(&self) -> Option<Digest> {
        match self.overlay() {
            Some(Overlay { state: StagedState::Set(stored), .. }) => Some(stored.sha256),
            _ => self.etag(),
        }
    }

    /// The document that the holder reads.
    pub fn holder_document(&self) -> Option<Document> {
        let committed = self.state.map(|stored| Document { stored, version: self.version });
        match self.overlay() {
            None => committed,
            Some(overlay) => match overlay.state {
                StagedState::Untouched => committed,
                StagedState::Set(stored) => Some(Document { stored, version: overlay.version }),
                StagedState::Removed => None,
            },
        }
    }

    /// The version after the staged changes, or the committed one.
    pub fn staged_version(&self) -> u64 {
        self.overlay().map_or(self.version, |overlay| overlay.version)
    }

    /// The attribute as the next commit would leave it.
    pub fn hidden_after_commit(&self) -> bool {
        self.overlay().and_then(|overlay| overlay.query_hidden).or(self.query_hidden).unwrap_or(false)
    }

    /// The holder's staged changes, begun now if there are none.
    pub(super) fn stage(&mut self, txn: TxnId) -> &mut Overlay {
        if matches!(self.staged, Staged::Nothing) {
            self.staged = Staged::Of(Overlay::new(txn, self.version + 1));
        }
        match &mut self.staged {
            Staged::Of(overlay) => overlay,
            Staged::Nothing => unreachable!("staged just above"),
        }
    }
}

/// Refuses to stage over another transaction's changes.
pub(super) fn no_foreign_changes(record: &KeyRecord, txn: TxnId) -> Result<(), Refusal> {
    match record.overlay() {
        Some(overlay) if overlay.txn != txn => Err(record.refuse(Reason::StagedByOther)),
        _ => Ok(()),
    }
}

/// Checks the holder's conditions, version first.
pub(super) fn meets(record: &KeyRecord, expect: &Expect) -> Result<(), Refusal> {
    let fail = |reason: Reason| Refusal {
        current: Some((record.holder_version(), record.holder_etag())),
        ..reason.plain()
    };
    if let Some(version) = expect.version {
        let version = u64::try_from(version).ok();
        // While only attributes or attachments are staged, clients may know either number.
        if version != Some(record.holder_version()) && version != Some(record.staged_version()) {
            return Err(fail(Reason::VersionConflict));
        }
    }
    let sees = || record.holder_document().map(|seen| (seen.version, seen.stored.sha256));
    if expect.seen.is_some_and(|seen| seen != sees()) {
        return Err(fail(Reason::SeenOther));
    }
    let met = match expect.etag {
        None => true,
        Some(ExpectEtag::Nothing) => record.holder_etag().is_none(),
        Some(ExpectEtag::Digest(digest)) => record.holder_etag() == Some(digest),
        Some(ExpectEtag::Foreign) => false,
    };
    if met { Ok(()) } else { Err(fail(Reason::EtagMismatch)) }
}
