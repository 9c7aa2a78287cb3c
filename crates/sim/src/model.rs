//! The reference: what one key should be after each operation, written from the contract and not from the core.
//!
//! Bytes are stood for by one number each ("value"), which is also what the digest of the bytes is made of.

pub mod message;

use std::collections::{BTreeMap, BTreeSet};

use lockd_core::Limits;
use lockd_core::op::{Claim, Expect, ExpectEtag, Op, Outcome, Reason, Selector, TxnClaim};
use lockd_core::records::key::{Digest, KeyRecord, Lease, Staged, StagedState, Stored};
use lockd_wire::{LeaseId, TxnId, Uid};

use self::message::MessageModel;
use crate::shape::Shape;

pub type Value = u64;

pub fn digest_of(value: Value) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&value.to_be_bytes());
    Digest(bytes)
}

pub fn value_of(digest: Digest) -> Value {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.0[..8]);
    Value::from_be_bytes(bytes)
}

fn value_in(stored: &Stored) -> Value {
    value_of(stored.sha256)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyModel {
    pub version: u64,
    pub value: Option<Value>,
    pub token: u64,
    pub hidden: Option<bool>,
    pub files: BTreeMap<String, File>,
    pub lease: Option<LeaseModel>,
    pub draft: Option<Draft>,
    /// The key is the lease of this message.
    pub message: Option<MessageModel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    pub id: Uid,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseModel {
    pub id: LeaseId,
    pub txn: TxnId,
    pub coordinated: bool,
    /// It came with a message.
    pub delivery: bool,
    pub owner: String,
    pub expires: u64,
    pub token: u64,
}

/// What the holder has staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub txn: TxnId,
    pub version: u64,
    pub state: DraftState,
    pub hidden: Option<bool>,
    pub files: BTreeMap<String, File>,
    pub deleted: BTreeSet<String>,
    pub cleared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftState {
    Untouched,
    Set(Value),
    Removed,
}

/// What should come of an operation.
#[derive(Debug)]
pub enum Verdict {
    /// The key becomes this, and the client is told that.
    Change(Box<KeyModel>, Shape),
    /// Nothing changes; the client is told that.
    Keep(Shape),
    /// The request stands in line.
    Wait,
    /// The lease ends, and with it its transaction.
    Decide { commit: bool },
}

impl KeyModel {
    pub fn of(record: &KeyRecord) -> KeyModel {
        let files = |attachments: &[lockd_core::records::key::Attachment]| {
            let file = |found: &lockd_core::records::key::Attachment| {
                (found.name.clone(), File { id: found.id, value: value_in(&found.stored) })
            };
            attachments.iter().map(file).collect()
        };
        KeyModel {
            message: record.message.as_deref().map(MessageModel::of),
            version: record.version,
            value: record.state.as_ref().map(value_in),
            token: record.fencing,
            hidden: record.query_hidden,
            files: files(&record.attachments),
            lease: match &record.lease {
                Lease::Free => None,
                Lease::Held(grant) => Some(LeaseModel {
                    id: grant.id,
                    txn: grant.txn,
                    coordinated: grant.coordinated,
                    delivery: grant.delivery,
                    owner: grant.owner.clone(),
                    expires: grant.expires_at.0,
                    token: grant.token,
                }),
            },
            draft: match &record.staged {
                Staged::Nothing => None,
                Staged::Of(overlay) => Some(Draft {
                    txn: overlay.txn,
                    version: overlay.version,
                    state: match &overlay.state {
                        StagedState::Untouched => DraftState::Untouched,
                        StagedState::Set(stored) => DraftState::Set(value_in(stored)),
                        StagedState::Removed => DraftState::Removed,
                    },
                    hidden: overlay.query_hidden,
                    files: files(&overlay.uploads),
                    deleted: overlay.deletions.iter().cloned().collect(),
                    cleared: overlay.clear_attachments,
                }),
            },
        }
    }

    pub fn is_leased_at(&self, now: u64) -> bool {
        self.lease.as_ref().is_some_and(|lease| now < lease.expires)
    }

    /// The operation against this key at this time.
    pub fn apply(&self, now: u64, op: &Op, limits: &Limits) -> Verdict {
        let outcome = match op {
            Op::Acquire(op) => return self.acquire(now, op, limits),
            Op::Abandon(op) if self.lease.as_ref().is_some_and(|lease| lease.id == op.lease) => {
                return Verdict::Decide { commit: false };
            }
            Op::Abandon(_) => return Verdict::Keep(Shape::Abandoned),
            Op::Release(op) => self.release(now, &op.claim, op.rollback),
            // Settings of namespaces, queues and transactions by name are no business of a key.
            Op::ConfigureNamespace(_)
            | Op::Enqueue(_)
            | Op::Dequeue(_)
            | Op::Ack(_)
            | Op::Nack(_)
            | Op::Extend(_)
            | Op::WatchQueue(_)
            | Op::Tend(_)
            | Op::DecideTxn(_)
            | Op::ForgetTxn(_) => return Verdict::Wait,
            Op::Keepalive(op) => self.prove(now, &op.claim).map(|mut lease| {
                lease.expires = expiry(now, limits.ttl_ms(op.ttl_seconds));
                let shape = Shape::Renewed {
                    expires: lease.expires,
                    token: lease.token,
                    version: self.seen_version(),
                    value: self.expected_value(),
                };
                change(KeyModel { lease: Some(lease), ..self.clone() }, shape)
            }),
            Op::Update(op) => self.prove(now, &op.claim).and_then(|lease| {
                self.meets(&op.expect)?;
                let mut draft = self.draft(&lease);
                draft.state = DraftState::Set(value_of(op.content.sha256));
                draft.hidden = op.query_hidden.or(draft.hidden);
                let shape = Shape::Updated {
                    version: draft.version,
                    value: value_of(op.content.sha256),
                    len: op.content.len,
                    hidden: draft.hidden.or(self.hidden).unwrap_or(false),
                    token: lease.token,
                };
                Ok(self.with(draft, shape))
            }),
            Op::SetMetadata(op) => self.prove(now, &op.claim).and_then(|lease| {
                self.meets(&Expect { version: op.if_version, ..Expect::default() })?;
                let mut draft = self.draft(&lease);
                draft.hidden = Some(op.query_hidden);
                let shape = Shape::MetadataSet { version: draft.version, hidden: op.query_hidden };
                Ok(self.with(draft, shape))
            }),
            Op::Remove(op) => self.prove(now, &op.claim).and_then(|lease| {
                self.meets(&Expect { etag: op.if_etag, ..Expect::default() })?;
                let mut draft = self.draft(&lease);
                if draft.state == DraftState::Untouched && self.value.is_none() {
                    return Ok(Verdict::Keep(Shape::Removed { staged: false, version: self.version }));
                }
                draft.version = self.draft.as_ref().map_or(self.version, |draft| draft.version) + 1;
                draft.state = DraftState::Removed;
                draft.hidden = None;
                draft.files.clear();
                let shape = Shape::Removed { staged: true, version: draft.version };
                Ok(self.with(draft, shape))
            }),
            Op::Attach(op) => self.prove(now, &op.claim).map(|lease| {
                let mut draft = self.draft(&lease);
                let shape = |token, file: &File, version| Shape::Attached {
                    token,
                    name: op.name.clone(),
                    id: file.id,
                    value: file.value,
                    version,
                };
                if op.prevent_overwrite
                    && let Some(file) = self.seen_files().get(&op.name)
                {
                    return Verdict::Keep(shape(None, file, self.staged_version()));
                }
                let earlier = draft.files.get(&op.name).or(self.files.get(&op.name));
                let id = earlier.map_or(op.id, |earlier| earlier.id);
                let file = File { id, value: value_of(op.content.sha256) };
                draft.files.insert(op.name.clone(), file);
                let shape = shape(Some(lease.token), &file, draft.version);
                self.with(draft, shape)
            }),
            Op::Detach(op) => self.prove(now, &op.claim).map(|lease| {
                let removed = self.draft.as_ref().is_some_and(|draft| draft.state == DraftState::Removed);
                let seen = self.seen_files();
                let Some(name) = seen.iter().find(|found| picks(&op.selector, found)).filter(|_| !removed)
                else {
                    return Verdict::Keep(Shape::Detached { token: None, version: self.staged_version() });
                };
                let name = name.0;
                let mut draft = self.draft(&lease);
                draft.files.remove(name);
                if self.files.contains_key(name) {
                    draft.deleted.insert(name.clone());
                }
                let shape = Shape::Detached { token: Some(lease.token), version: draft.version };
                self.with(draft, shape)
            }),
            Op::DetachAll(op) => self.prove(now, &op.claim).map(|lease| {
                let removed = self.draft.as_ref().is_some_and(|draft| draft.state == DraftState::Removed);
                let count = if removed { 0 } else { self.seen_files().len() as u64 };
                let mut draft = self.draft(&lease);
                draft.cleared = true;
                draft.deleted.clear();
                draft.files.clear();
                let shape = Shape::DetachedAll { count, version: draft.version, token: lease.token };
                self.with(draft, shape)
            }),
        };
        outcome.unwrap_or_else(Verdict::Keep)
    }

    fn acquire(&self, now: u64, op: &lockd_core::op::Acquire, limits: &Limits) -> Verdict {
        if op.if_not_exists && self.token > 0 {
            return Verdict::Keep(self.refuse(Reason::AlreadyExists));
        }
        if self.is_leased_at(now) {
            return match op.block_seconds {
                -1 => Verdict::Keep(self.refuse(Reason::Waiting)),
                _ => Verdict::Wait,
            };
        }
        let lease = LeaseModel {
            id: op.lease,
            txn: op.txn.unwrap_or(op.own_txn),
            coordinated: op.txn.is_some(),
            delivery: false,
            owner: op.owner.clone(),
            expires: expiry(now, limits.ttl_ms(op.ttl_seconds)),
            token: self.token + 1,
        };
        let shape = Shape::Granted {
            key: op.key.clone(),
            lease: lease.id,
            txn: lease.txn,
            owner: lease.owner.clone(),
            expires: lease.expires,
            version: self.version,
            value: self.value,
            token: lease.token,
        };
        let token = lease.token;
        change(KeyModel { token, lease: Some(lease), draft: None, ..self.clone() }, shape)
    }

    fn release(&self, now: u64, claim: &Claim, rollback: bool) -> Result<Verdict, Shape> {
        let nothing = Verdict::Keep(Shape::Released(Outcome::Nothing));
        let Some(lease) = self.lease.as_ref().filter(|lease| now < lease.expires) else { return Ok(nothing) };
        if Some(lease.id) != claim.lease || claim.token != lease.token as i64 {
            return Ok(nothing);
        }
        self.prove(now, claim)?;
        Ok(Verdict::Decide { commit: !rollback })
    }

    /// The key after its lease has ended by commit: what the holder saw is what everybody sees.
    pub fn committed(&self) -> (KeyModel, Outcome) {
        let mut after = KeyModel { lease: None, draft: None, ..self.clone() };
        let Some(draft) = &self.draft else { return (after, Outcome::Nothing) };
        let edits_files = draft.cleared || !draft.files.is_empty() || !draft.deleted.is_empty();
        if draft.state != DraftState::Untouched || edits_files {
            after.version = draft.version;
        }
        after.value = self.seen_value();
        after.files = self.seen_files();
        after.hidden = draft.hidden.or(self.hidden);
        (after, Outcome::Committed)
    }

    /// The key after its lease has ended by rollback or expiry.
    pub fn rolled_back(&self) -> (KeyModel, Outcome) {
        let outcome = if self.draft.is_some() { Outcome::RolledBack } else { Outcome::Nothing };
        (KeyModel { lease: None, draft: None, ..self.clone() }, outcome)
    }

    /// The lease, if the claim proves it; else the refusal.
    fn prove(&self, now: u64, claim: &Claim) -> Result<LeaseModel, Shape> {
        let lease = self.lease.as_ref().filter(|lease| claim.lease == Some(lease.id));
        let lease = lease.ok_or_else(|| self.refuse(Reason::LeaseRequired))?;
        let reason = if now >= lease.expires {
            Reason::LeaseExpired
        } else if claim.token != lease.token as i64 {
            Reason::FencingMismatch
        } else {
            match claim.txn {
                TxnClaim::Missing => Reason::MissingTxn,
                TxnClaim::Is(txn) if txn != Some(lease.txn) => Reason::TxnMismatch,
                TxnClaim::Is(_) | TxnClaim::NotNeeded => return Ok(lease.clone()),
            }
        };
        Err(self.refuse(reason))
    }

    fn meets(&self, expect: &Expect) -> Result<(), Shape> {
        let refuse =
            |reason| Shape::Refused { reason, current: Some((self.seen_version(), self.expected_value())) };
        let right =
            |version: i64| version == self.seen_version() as i64 || version == self.staged_version() as i64;
        if !expect.version.is_none_or(right) {
            return Err(refuse(Reason::VersionConflict));
        }
        let right = match expect.etag {
            None => true,
            Some(ExpectEtag::Nothing) => self.expected_value().is_none(),
            Some(ExpectEtag::Digest(digest)) => self.expected_value() == Some(value_of(digest)),
            Some(ExpectEtag::Foreign) => false,
        };
        if right { Ok(()) } else { Err(refuse(Reason::EtagMismatch)) }
    }

    pub fn refuse(&self, reason: Reason) -> Shape {
        Shape::Refused { reason, current: Some((self.version, self.value)) }
    }

    fn draft(&self, lease: &LeaseModel) -> Draft {
        self.draft.clone().unwrap_or(Draft {
            txn: lease.txn,
            version: self.version + 1,
            state: DraftState::Untouched,
            hidden: None,
            files: BTreeMap::new(),
            deleted: BTreeSet::new(),
            cleared: false,
        })
    }

    fn with(&self, draft: Draft, shape: Shape) -> Verdict {
        change(KeyModel { draft: Some(draft), ..self.clone() }, shape)
    }

    /// The document that the holder reads.
    pub fn seen_value(&self) -> Option<Value> {
        match self.draft.as_ref().map(|draft| draft.state) {
            Some(DraftState::Set(value)) => Some(value),
            Some(DraftState::Removed) => None,
            Some(DraftState::Untouched) | None => self.value,
        }
    }

    /// The document that the holder's conditions are about: after a staged remove still the committed one.
    fn expected_value(&self) -> Option<Value> {
        match self.draft.as_ref().map(|draft| draft.state) {
            Some(DraftState::Set(value)) => Some(value),
            _ => self.value,
        }
    }

    pub fn seen_version(&self) -> u64 {
        match &self.draft {
            Some(draft) if draft.state != DraftState::Untouched => draft.version,
            _ => self.version,
        }
    }

    fn staged_version(&self) -> u64 {
        self.draft.as_ref().map_or(self.version, |draft| draft.version)
    }

    pub fn seen_files(&self) -> BTreeMap<String, File> {
        let Some(draft) = &self.draft else { return self.files.clone() };
        let mut seen = self.files.clone();
        seen.retain(|name, _| {
            !draft.cleared && draft.state != DraftState::Removed && !draft.deleted.contains(name)
        });
        seen.extend(draft.files.clone());
        seen
    }
}

/// A promised time is kept in full, though the clock may hide a part of a millisecond.
pub fn expiry(now: u64, ttl: u64) -> u64 {
    now.saturating_add(ttl).saturating_add(1)
}

fn change(after: KeyModel, shape: Shape) -> Verdict {
    Verdict::Change(Box::new(after), shape)
}

fn picks(selector: &Selector, (name, file): &(&String, &File)) -> bool {
    selector.name.as_ref().is_none_or(|wanted| wanted == *name)
        && selector.id.is_none_or(|wanted| wanted == Some(file.id))
}
