//! The judge who sees only what clients see: requests, answers and reads. Each promise is checked in its plainest form.
//!
//! Every commit gives its key a new version, so the versions are the order of the writes; that a history is linearizable
//! then means: each version has one content, no reader goes back, and what was acknowledged is seen by everybody later.

use std::collections::{BTreeMap, BTreeSet};

use lockd_core::Limits;
use lockd_core::RequestId;
use lockd_core::op::{Ack, Claim, Nack, Op, Outcome, Reason, TxnAsk, TxnClaim};
use lockd_core::records::txn::Verdict;
use lockd_wire::{KeyId, LeaseId, TxnId};

use crate::model::{KeyModel, Value, value_of};
use crate::shape::Shape;
use crate::violation::{Checked, broken, promise};

#[derive(Debug, Default)]
pub struct History {
    keys: BTreeMap<KeyId, Seen>,
    holdings: BTreeMap<LeaseId, Holding>,
    /// Which transaction submitted a value, and when.
    writers: BTreeMap<Value, (Option<TxnId>, u64)>,
    /// When a commit of the transaction was last asked for, or last answered.
    commits: BTreeMap<TxnId, u64>,
    open: BTreeMap<RequestId, Open>,
    /// The latest time that any core has seen, and the one that now runs.
    latest: u64,
    now: u64,
    step: u64,
    draining: bool,
    /// Transactions that others than the holders of leases may decide: consumers of messages, or anybody by name.
    entrusted: BTreeSet<TxnId>,
    /// The transactions of deliveries.
    parcels: BTreeMap<LeaseId, TxnId>,
}

/// What somebody has been told about a key.
#[derive(Debug, Default)]
struct Seen {
    token: u64,
    version: u64,
    contents: BTreeMap<u64, Option<Value>>,
}

/// A lease as its client knows it.
#[derive(Debug)]
struct Holding {
    key: KeyId,
    txn: TxnId,
    token: u64,
    until: u64,
    /// Somebody asked to end it.
    over: bool,
    staged: Option<(u64, Option<Value>)>,
    /// Staging requests without an answer (for ever, after a crash).
    unsure: u32,
}

#[derive(Debug)]
struct Open {
    floor: u64,
    /// The transaction that the request wants to end, and whether by commit.
    ends: Option<(TxnId, bool)>,
    /// The key whose lease is wanted for as long as it takes.
    waits_for: Option<KeyId>,
    /// The lease that lasts no longer than this, once the request is carried out.
    shortens: Option<(LeaseId, u64)>,
    /// What a commit must make visible: leases on keys with the versions that clients were told.
    commits: Vec<(LeaseId, KeyId, u64)>,
}

impl History {
    pub fn turn(&mut self, step: u64, now: u64) {
        self.step = step;
        self.latest = self.latest.max(now);
        self.now = self.now.max(now);
    }

    pub fn asked(&mut self, id: RequestId, op: &Op, limits: &Limits) {
        let floor = op.key().and_then(|key| self.keys.get(key)).map_or(0, |seen| seen.version);
        let (mut commits, mut ends, mut shortens) = (Vec::new(), None, None);
        match op {
            Op::Release(op) => {
                let txn = op.claim.lease.and_then(|lease| self.holdings.get(&lease)).map(|own| own.txn);
                // If a lease of the transaction has expired, others may have been rolled back with it.
                let mates = || self.holdings.iter().filter(|(_, held)| Some(held.txn) == txn);
                let entrusted = txn.is_some_and(|txn| self.entrusted.contains(&txn));
                let doubtful = entrusted || mates().any(|(_, held)| held.until <= self.latest);
                for (lease, held) in mates() {
                    let sure = !held.over && (!doubtful || Some(*lease) == op.claim.lease);
                    if let Some((version, _)) = held.staged.filter(|_| sure) {
                        commits.push((*lease, held.key.clone(), version));
                    }
                }
                for holding in self.holdings.values_mut().filter(|held| Some(held.txn) == txn) {
                    holding.over = true;
                }
                ends = txn.map(|txn| (txn, !op.rollback));
                // The lease of a workflow state is nobody's holding, and decides all the same.
                if let (None, TxnClaim::Is(named)) = (txn, op.claim.txn) {
                    ends = self.entrust(named, !op.rollback);
                }
            }
            Op::Abandon(op) => {
                let txn = self.holdings.get(&op.lease).map(|own| own.txn);
                for holding in self.holdings.values_mut().filter(|held| Some(held.txn) == txn) {
                    holding.over = true;
                }
                ends = txn.map(|txn| (txn, false));
            }
            Op::Keepalive(op) => {
                let soonest = self.now + limits.ttl_ms(op.ttl_seconds);
                shortens = op.claim.lease.map(|lease| (lease, soonest));
                if let Some(holding) = op.claim.lease.and_then(|lease| self.holdings.get_mut(&lease)) {
                    holding.until = holding.until.min(soonest);
                }
            }
            Op::Ack(Ack { handle, .. }) | Op::Nack(Nack { handle, .. }) => {
                let known = || self.parcels.get(&handle.lease?).copied();
                let txn = handle.txn.flatten().or_else(known);
                ends = self.entrust(txn, matches!(op, Op::Ack(_)));
            }
            Op::Dequeue(op) => {
                self.entrust(op.txn, false);
            }
            Op::DecideTxn(op) => {
                ends = self.entrust(Some(op.txn), op.ask == TxnAsk::Decide(Verdict::Commit));
            }
            Op::Update(op) => self.staging(&op.claim, Some(value_of(op.content.sha256))),
            Op::Attach(op) => self.staging(&op.claim, Some(value_of(op.content.sha256))),
            Op::Remove(op) => self.staging(&op.claim, None),
            _ => {}
        }
        let waits_for = match op {
            Op::Acquire(op) if op.block_seconds == 0 && !op.if_not_exists => Some(op.key.clone()),
            _ => None,
        };
        self.open.insert(id, Open { floor, ends, waits_for, shortens, commits });
    }

    fn entrust(&mut self, txn: Option<TxnId>, commit: bool) -> Option<(TxnId, bool)> {
        self.entrusted.extend(txn);
        for holding in self.holdings.values_mut().filter(|held| Some(held.txn) == txn) {
            holding.over = true;
        }
        Some((txn?, commit))
    }

    /// Whoever asked has gone and wants nothing any more.
    pub fn cancelled(&mut self, id: RequestId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.waits_for = None;
        }
    }

    /// From now on whoever waits is sent away.
    pub fn draining(&mut self) {
        self.draining = true;
    }

    fn staging(&mut self, claim: &Claim, value: Option<Value>) {
        let holding = claim.lease.and_then(|lease| self.holdings.get_mut(&lease));
        if let Some(value) = value {
            self.writers.insert(value, (holding.as_ref().map(|holding| holding.txn), self.step));
        }
        if let Some(holding) = holding {
            holding.unsure += 1;
        }
    }

    pub fn answered(&mut self, id: RequestId, op: &Op, shape: &Shape) -> Checked {
        let Some(open) = self.open.remove(&id) else { return Ok(()) };
        if let Some((txn, true)) = open.ends {
            self.commits.insert(txn, self.step);
        }
        if let Shape::Delivered(deliveries) = shape {
            self.parcels.extend(deliveries.iter().map(|delivery| (delivery.lease, delivery.txn)));
        }
        let (Some(key), floor) = (op.key(), open.floor) else { return Ok(()) };
        // Messages and their states come and go; the ledger knows them.
        if key.as_queue_state().is_some() || key.as_message().is_some() {
            return Ok(());
        }
        let staging = match op {
            Op::Update(op) => Some(&op.claim),
            Op::Attach(op) => Some(&op.claim),
            Op::Remove(op) => Some(&op.claim),
            _ => None,
        };
        let lease = staging.and_then(|claim| claim.lease);
        let mut staged_on = lease.and_then(|lease| self.holdings.get_mut(&lease));
        let failed = matches!(shape, Shape::Refused { reason: Reason::StoreFailed, .. });
        if let Some(holding) = staged_on.as_mut().filter(|_| !failed) {
            holding.unsure -= 1;
        }
        match shape {
            Shape::Granted { lease, txn, expires, version, value, token, .. } => {
                let earlier = self.open.range(..id).find(|(_, open)| open.waits_for.as_ref() == Some(key));
                promise(earlier.is_none() || self.draining, "whoever came first is served first", || {
                    format!("{key}: {id:?} has the lease, {:?} still waits", earlier.map(|(id, _)| id))
                })?;
                self.granted(key, *lease, *txn, *token, *expires)?;
                self.observe(key, floor, *version, *value)
            }
            Shape::Renewed { expires, .. } => {
                let lease = if let Op::Keepalive(op) = op { op.claim.lease } else { None };
                // One that was sent after this may have been carried out, too, though nobody will ever hear of it.
                let others = self.open.values().filter_map(|open| open.shortens);
                let until = others.filter(|(other, _)| Some(*other) == lease).map(|(_, until)| until).min();
                if let Some(holding) = lease.and_then(|lease| self.holdings.get_mut(&lease)) {
                    holding.until = until.unwrap_or(*expires).min(*expires);
                }
                Ok(())
            }
            Shape::Updated { version, value, .. } => {
                if let Some(holding) = staged_on {
                    holding.staged = Some((*version, Some(*value)));
                }
                Ok(())
            }
            Shape::Removed { staged: true, version } => {
                if let Some(holding) = staged_on {
                    holding.staged = Some((*version, None));
                }
                Ok(())
            }
            Shape::Released(Outcome::Committed) => {
                // If a lease of them has expired meanwhile, the others may have been rolled back with it.
                let lasts =
                    |lease: &LeaseId| self.holdings.get(lease).is_some_and(|held| held.until > self.latest);
                let sure = open.commits.iter().all(|(lease, ..)| lasts(lease));
                let own = if let Op::Release(op) = op { op.claim.lease } else { None };
                for (lease, key, version) in open.commits {
                    if !sure && Some(lease) != own {
                        continue;
                    }
                    let seen = self.keys.entry(key).or_default();
                    seen.version = seen.version.max(version);
                }
                let own = if let Op::Release(op) = op { op.claim.lease } else { None };
                let own = own.and_then(|lease| self.holdings.get(&lease)).filter(|own| own.unsure == 0);
                match own.and_then(|own| own.staged) {
                    Some((version, value)) => self.remember(key, version, value),
                    None => Ok(()),
                }
            }
            Shape::Refused { reason: Reason::VersionConflict | Reason::EtagMismatch, .. } => Ok(()),
            Shape::Refused { current: Some((version, value)), .. } => {
                self.observe(key, floor, *version, *value)
            }
            _ => Ok(()),
        }
    }

    fn granted(&mut self, key: &KeyId, lease: LeaseId, txn: TxnId, token: u64, until: u64) -> Checked {
        let seen = self.keys.entry(key.clone()).or_default();
        // Two grants of one batch queue are answered in their order, so what was told last is the newest.
        promise(token > seen.token, "the tokens of a key strictly increase", || {
            format!("{key}: {token} after {}", seen.token)
        })?;
        seen.token = token;
        let expired: Vec<TxnId> =
            self.holdings.values().filter(|held| held.until <= self.latest).map(|held| held.txn).collect();
        for (other, held) in &self.holdings {
            let alive = !held.over && !expired.contains(&held.txn) && held.until > self.latest;
            promise(held.key != *key || !alive, "a key has one holder at a time", || {
                format!(
                    "{key}: {lease} with token {token} at {}, but {other} with token {} lasts until {}",
                    self.latest, held.token, held.until
                )
            })?;
        }
        // Whatever ended the leases before this one has ended their transactions too.
        let ended: Vec<TxnId> =
            self.holdings.values().filter(|held| held.key == *key).map(|held| held.txn).collect();
        self.holdings.retain(|_, held| held.key != *key);
        for held in self.holdings.values_mut().filter(|held| ended.contains(&held.txn)) {
            held.over = true;
        }
        let key = key.clone();
        // A decision about the transaction may already be on its way to the core.
        let over = self.entrusted.contains(&txn)
            || self.open.values().any(|open| open.ends.is_some_and(|(ends, _)| ends == txn));
        let holding = Holding { key, txn, token, until, over, staged: None, unsure: 0 };
        self.holdings.insert(lease, holding);
        Ok(())
    }

    /// The newest version of a key that anybody has been told; a read that starts now must not be older.
    pub fn floor(&self, key: &KeyId) -> u64 {
        self.keys.get(key).map_or(0, |seen| seen.version)
    }

    /// Somebody has seen committed data.
    pub fn observe(&mut self, key: &KeyId, floor: u64, version: u64, value: Option<Value>) -> Checked {
        promise(version >= floor, "nobody sees less than was acknowledged", || {
            format!("{key}: version {version} after {floor}")
        })?;
        if let Some(value) = value {
            self.is_committed(key, value)?;
        }
        self.remember(key, version, value)?;
        let seen = self.keys.entry(key.clone()).or_default();
        seen.version = seen.version.max(version);
        Ok(())
    }

    /// Has somebody asked to commit this, after it was staged?
    pub fn is_committed(&self, key: &KeyId, value: Value) -> Checked {
        let Some(&(writer, staged)) = self.writers.get(&value) else {
            return broken("readers see what somebody wrote", format!("{key}: {value}"));
        };
        let earlier = writer.and_then(|txn| self.commits.get(&txn)).is_some_and(|&ended| ended >= staged);
        let under_way =
            self.open.values().any(|open| writer.is_some_and(|txn| open.ends == Some((txn, true))));
        promise(earlier || under_way, "readers see committed data only", || {
            format!("{key}: {value} of {writer:?}")
        })
    }

    fn remember(&mut self, key: &KeyId, version: u64, value: Option<Value>) -> Checked {
        let seen = self.keys.entry(key.clone()).or_default();
        let known = *seen.contents.entry(version).or_insert(value);
        promise(known == value, "a version has one content", || {
            format!("{key}: version {version} was {known:?} and is {value:?}")
        })
    }

    /// A holder reads through its lease: what it was told to be staged is what it gets.
    pub fn holder_read(&self, lease: LeaseId, value: Option<Value>) -> Checked {
        let Some(holding) = self.holdings.get(&lease) else { return Ok(()) };
        match holding.staged {
            Some((_, staged)) if holding.unsure == 0 => {
                promise(staged == value, "a holder reads its own writes", || {
                    format!("{}: staged {staged:?}, read {value:?}", holding.key)
                })
            }
            _ => Ok(()),
        }
    }

    /// After a crash everything that anybody was told must still be there.
    pub fn crashed(&mut self, found: impl Fn(&KeyId) -> KeyModel) -> Checked {
        (self.now, self.draining) = (0, false);
        for open in std::mem::take(&mut self.open).into_values() {
            if let Some((txn, true)) = open.ends {
                self.commits.insert(txn, self.step);
            }
        }
        for (key, seen) in &self.keys {
            let found = found(key);
            promise(found.version >= seen.version, "no acknowledged commit is lost", || {
                format!("{key}: version {} was acknowledged, {} is left", seen.version, found.version)
            })?;
            promise(found.token >= seen.token, "no acknowledged grant is lost", || {
                format!("{key}: token {} was acknowledged, {} is left", seen.token, found.token)
            })?;
            let told = seen.contents.get(&found.version);
            promise(told.is_none_or(|told| *told == found.value), "a version has one content", || {
                format!("{key}: {told:?} was acknowledged, {:?} is left", found.value)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lockd_core::op::{Acquire, Content, Expect, Release, Source, TxnClaim, Update};
    use lockd_core::records::key::ContentId;
    use lockd_wire::{KeyName, Namespace, Uid, Xid};

    use super::*;
    use crate::model::digest_of;

    const LIMITS: Limits = Limits { default_ttl_ms: 1000, max_ttl_ms: 1000, acquire_block_ms: 1000 };

    fn key() -> KeyId {
        KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse("k").unwrap())
    }

    fn acquire(number: u8) -> Op {
        let (lease, own_txn) = (LeaseId(Xid([number; 12])), TxnId(Xid([number; 12])));
        Op::Acquire(Acquire {
            key: key(),
            owner: String::new(),
            ttl_seconds: 0,
            block_seconds: 0,
            if_not_exists: false,
            txn: None,
            lease,
            own_txn,
        })
    }

    fn granted(number: u8, token: u64, version: u64, value: Option<Value>) -> Shape {
        let (lease, txn) = (LeaseId(Xid([number; 12])), TxnId(Xid([number; 12])));
        Shape::Granted { key: key(), lease, txn, owner: String::new(), expires: 1000, version, value, token }
    }

    fn claim(number: u8) -> Claim {
        let id = Xid([number; 12]);
        Claim { lease: Some(LeaseId(id)), token: 1, txn: TxnClaim::Is(Some(TxnId(id))) }
    }

    fn update(number: u8, value: Value) -> Op {
        let source = Source::Inline(ContentId(Uid([number; 16])), bytes::Bytes::new());
        let content = Content { len: 0, sha256: digest_of(value), source };
        let (claim, expect) = (claim(number), Expect::default());
        Op::Update(Update { key: key(), claim, expect, content, query_hidden: None })
    }

    fn release(number: u8) -> Op {
        Op::Release(Release { key: key(), claim: claim(number), rollback: false })
    }

    /// A history in which each request is answered before the next one is made.
    fn tell(steps: &[(Op, Shape)]) -> Result<History, &'static str> {
        let mut history = History::default();
        for (place, (op, shape)) in steps.iter().enumerate() {
            let id = RequestId(place as u64);
            history.turn(place as u64, 0);
            history.asked(id, op, &LIMITS);
            history.answered(id, op, shape).map_err(|violation| violation.promise)?;
        }
        Ok(history)
    }

    fn committed() -> Vec<(Op, Shape)> {
        let updated = Shape::Updated { version: 1, value: 5, len: 0, hidden: false, token: 1 };
        vec![
            (acquire(1), granted(1, 1, 0, None)),
            (update(1, 5), updated),
            (release(1), Shape::Released(Outcome::Committed)),
        ]
    }

    #[test]
    fn a_second_holder_is_seen() {
        let second = tell(&[(acquire(1), granted(1, 1, 0, None)), (acquire(2), granted(2, 2, 0, None))]);
        assert_eq!(second.unwrap_err(), "a key has one holder at a time");
    }

    #[test]
    fn a_token_that_does_not_grow_is_seen() {
        let mut story = committed();
        story.push((acquire(2), granted(2, 1, 1, Some(5))));
        assert_eq!(tell(&story).unwrap_err(), "the tokens of a key strictly increase");
    }

    #[test]
    fn a_lost_commit_is_seen_by_readers_and_after_a_crash() {
        let mut story = committed();
        let mut history = tell(&story).unwrap();
        assert_eq!(
            history.crashed(|_| KeyModel { token: 1, ..KeyModel::default() }).unwrap_err().promise,
            "no acknowledged commit is lost"
        );
        story.push((acquire(2), granted(2, 2, 0, None)));
        assert_eq!(tell(&story).unwrap_err(), "nobody sees less than was acknowledged");
    }

    #[test]
    fn another_content_of_a_version_is_seen() {
        let mut history = tell(&committed()).unwrap();
        history.observe(&key(), 1, 1, Some(5)).unwrap();
        assert_eq!(history.observe(&key(), 1, 1, None).unwrap_err().promise, "a version has one content");
    }

    #[test]
    fn staged_data_in_public_is_seen() {
        let mut history = tell(&committed()[..2]).unwrap();
        let seen = history.observe(&key(), 0, 1, Some(5));
        assert_eq!(seen.unwrap_err().promise, "readers see committed data only");
    }

    #[test]
    fn an_overtaken_waiter_is_seen() {
        let mut history = History::default();
        history.asked(RequestId(1), &acquire(1), &LIMITS);
        history.asked(RequestId(2), &acquire(2), &LIMITS);
        let overtaken = history.answered(RequestId(2), &acquire(2), &granted(2, 1, 0, None));
        assert_eq!(overtaken.unwrap_err().promise, "whoever came first is served first");
    }
}
