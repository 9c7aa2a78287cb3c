//! What caused a batch?

use std::collections::BTreeSet;

use lockd_core::RequestId;
use lockd_core::op::{Op, Outcome};
use lockd_core::records::blob;
use lockd_core::records::namespace::{self, NamespaceRecord};
use lockd_core::records::txn::{Decided, Pending};
use lockd_store::{Batch, Change};
use lockd_wire::{KeyId, TxnId};

use super::market::TxnNews;
use super::{Oracle, Prepared};
use crate::disk::{apply, check_references, decode};
use crate::model::{KeyModel, Verdict};
use crate::shape::Shape;
use crate::violation::{Checked, Violation, broken, promise};

pub(super) struct Moved {
    pub(super) key: KeyId,
    pub(super) before: KeyModel,
    pub(super) after: KeyModel,
}

/// How a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
    /// By expiry or abandonment: nobody has decided anything.
    Alone,
}

impl End {
    fn by(op: &Op, commit: bool) -> End {
        match op {
            Op::Abandon(_) => End::Alone,
            _ if commit => End::Commit,
            _ => End::RollBack,
        }
    }
}

/// Which requests caused a batch.
#[derive(Default)]
pub(super) struct Explained {
    pub(super) sure: Vec<(RequestId, Shape)>,
    /// One of these.
    pub(super) either: Vec<(RequestId, Shape)>,
    /// Or time alone.
    pub(super) or_expiry: bool,
}

impl Explained {
    fn by(id: RequestId, shape: Shape) -> Explained {
        Explained { sure: vec![(id, shape)], ..Explained::default() }
    }
}

impl Oracle {
    /// A batch, and the request that the core has just been given, if it was one.
    pub fn batch(&mut self, seq: u64, batch: &Batch, hint: Option<RequestId>) -> Checked {
        promise(!self.failed, "nothing is written after a failure", || format!("batch {seq}"))?;
        self.newest = seq;
        apply(&mut self.written, batch);
        check_references(&self.written)?;
        let mut moved = Vec::new();
        let mut settings = None;
        let mut blobs_dropped = BTreeSet::new();
        let mut news = TxnNews::default();
        for change in &batch.changes {
            match change {
                Change::Put { key, value } => {
                    if let Some((key, record)) = decode(key, value)? {
                        let before = self.model(&key);
                        moved.push(Moved { key, before, after: KeyModel::of(&record) });
                    }
                    if let Ok(txn) = Decided::txn_of(key) {
                        news.decided.insert(txn, Decided::decode(value).ok());
                    }
                    if let Ok(txn) = Pending::txn_of(key) {
                        news.pending.insert(txn, Pending::decode(value).ok());
                    }
                    if let Ok(name) = namespace::namespace_of(key) {
                        settings = NamespaceRecord::decode(value).ok().map(|record| (name, record));
                    }
                }
                Change::Delete { key } if key.starts_with(b"K") => {
                    let name = key.get(1..).and_then(KeyId::from_bytes);
                    let of_queue = name.filter(|key| key.as_message().or(key.as_queue_state()).is_some());
                    let Some(key) = of_queue else {
                        return broken("the record of a key is never deleted", format!("{key:?}"));
                    };
                    let before = self.model(&key);
                    // A message may come and go in one batch, as far as the store is concerned.
                    if before != KeyModel::default() {
                        moved.push(Moved { key, before, after: KeyModel::default() });
                    }
                }
                Change::Delete { key } if Decided::txn_of(key).is_ok() => {
                    news.decided.extend(Decided::txn_of(key).map(|txn| (txn, None)));
                }
                Change::Delete { key } if Pending::txn_of(key).is_ok() => {
                    news.pending.extend(Pending::txn_of(key).map(|txn| (txn, None)));
                }
                Change::Delete { key } if key.starts_with(b"B") => {
                    blobs_dropped.insert(key.clone());
                }
                Change::Delete { .. } => {}
            }
        }
        let dead = batch.dead_blobs.iter().map(|&id| blob::storage_key(id)).collect();
        promise(blobs_dropped == dead, "a blob is deleted exactly when its record is", || {
            format!("batch {seq} drops {blobs_dropped:?}, declares dead {dead:?}")
        })?;
        let explained = match settings {
            Some((name, record)) => {
                promise(moved.is_empty(), "namespace settings change alone", || format!("batch {seq}"))?;
                let explained = self.explain_settings(name.as_str(), &record)?;
                let era = self.era(seq, Some(record));
                self.settings.entry(name.as_str().to_owned()).or_default().push(era);
                explained
            }
            None if self.market && !is_simple(&moved, &news) => {
                self.explain_market(seq, &moved, &news, hint)?
            }
            None => self.explain(&moved, hint)?,
        };
        self.remember_txns(seq, news);
        for moved in moved {
            let erased = moved.after == KeyModel::default();
            promise(
                erased
                    || moved.after.token >= moved.before.token && moved.after.token <= moved.before.token + 1,
                "the fencing token grows by one a grant",
                || format!("{}: {} to {}", moved.key, moved.before.token, moved.after.token),
            )?;
            promise(erased || moved.after.version >= moved.before.version, "versions never go back", || {
                format!("{}: {} to {}", moved.key, moved.before.version, moved.after.version)
            })?;
            let era = self.era(seq, moved.after);
            self.keys.entry(moved.key).or_default().push(era);
        }
        for (id, shape) in explained.sure {
            if let Some(asked) = self.requests.get_mut(&id) {
                asked.decided = Some((seq, shape));
                let earlier = asked.possible.take();
                self.rule_out(earlier);
            }
        }
        let only = explained.either.len() == 1 && !explained.or_expiry;
        if explained.or_expiry {
            self.maybe_expired.insert(seq);
        }
        for (id, shape) in explained.either {
            if let Some(asked) = self.requests.get_mut(&id) {
                let place = if only { &mut asked.decided } else { &mut asked.possible };
                *place = Some((seq, shape));
            }
        }
        self.look_around();
        Ok(())
    }

    fn remember_txns(&mut self, seq: u64, news: TxnNews) {
        for (txn, decided) in news.decided {
            let era = self.era(seq, decided);
            self.decided.entry(txn).or_default().push(era);
        }
        for (txn, pending) in news.pending {
            match pending {
                None => {
                    self.pending.remove(&txn);
                }
                Some(pending) => {
                    let (participants, term) = (pending.participants.clone(), pending.term);
                    self.prepared.push(Prepared { txn, batch: seq, step: self.step, participants, term });
                    self.pending.insert(txn, pending);
                }
            }
        }
    }

    fn explain(&self, moved: &[Moved], hint: Option<RequestId>) -> Checked<Explained> {
        let ends = |moved: &&Moved| match (&moved.before.lease, &moved.after.lease) {
            (Some(before), Some(after)) => before.id != after.id,
            (before, _) => before.is_some(),
        };
        let ended: Vec<&Moved> = moved.iter().filter(ends).collect();
        if ended.is_empty() {
            return match moved {
                [only] => self.explain_change(only, hint),
                _ => broken("several keys change together only when a transaction is decided", names(moved)),
            };
        }
        let mut failures: Vec<Violation> = Vec::new();
        let mut found: Option<Explained> = None;
        for moved_key in &ended {
            for (id, asked) in self.open(&moved_key.key, hint) {
                let Verdict::Decide { commit } = moved_key.before.apply(self.now, &asked.op, &self.limits)
                else {
                    continue;
                };
                match self.explain_end(moved, &moved_key.key, End::by(&asked.op, commit), hint) {
                    Ok((outcome, sure)) => {
                        let shape = match &asked.op {
                            Op::Release(_) => Shape::Released(outcome),
                            _ => Shape::Abandoned,
                        };
                        let found = found.get_or_insert_default();
                        found.sure = sure;
                        found.either.push((id, shape));
                        if hint == Some(id) {
                            return Ok(Explained {
                                either: found.either.split_off(found.either.len() - 1),
                                ..std::mem::take(found)
                            });
                        }
                    }
                    Err(failure) => failures.push(failure),
                }
            }
            if !moved_key.before.is_leased_at(self.now) {
                match self.explain_end(moved, &moved_key.key, End::Alone, hint) {
                    Ok((_, sure)) => {
                        let found = found.get_or_insert_default();
                        (found.sure, found.or_expiry) = (sure, true);
                    }
                    Err(failure) => failures.push(failure),
                }
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
        match failures.pop() {
            Some(failure) => Err(failure),
            None => broken(
                "a lease ends only by release, rollback, abandonment or expiry",
                format!("{} at {}", names(moved), self.now),
            ),
        }
    }

    /// One key changes under its lease, or is granted while it is free.
    fn explain_change(&self, moved: &Moved, hint: Option<RequestId>) -> Checked<Explained> {
        if moved.before.lease.is_none() && moved.after.lease.is_some() {
            let (id, shape) = self.explain_grant(&moved.key, &moved.before, &moved.after, hint)?;
            return Ok(Explained::by(id, shape));
        }
        for (id, asked) in self.open(&moved.key, hint) {
            if let Verdict::Change(after, shape) = moved.before.apply(self.now, &asked.op, &self.limits)
                && *after == moved.after
            {
                return Ok(Explained::by(id, shape));
            }
        }
        broken(
            "a key changes only as somebody has asked for",
            format!("{}: {:?} became {:?}", moved.key, moved.before, moved.after),
        )
    }

    /// The lease on `trigger` ended and took its transaction along.
    fn explain_end(
        &self,
        moved: &[Moved],
        trigger: &KeyId,
        end: End,
        hint: Option<RequestId>,
    ) -> Checked<(Outcome, Vec<(RequestId, Shape)>)> {
        let model = self.model(trigger);
        let Some(lease) = &model.lease else {
            return broken("a lease ends only once", trigger.to_string());
        };
        // Without changes of its own the key is no participant: that its holder is gone means nothing to the others.
        let decides = end != End::Alone || model.draft.is_some();
        let mut expected = if decides { self.participants(lease.txn) } else { BTreeSet::new() };
        expected.insert(trigger.clone());
        let ended: BTreeSet<KeyId> = moved.iter().map(|moved| moved.key.clone()).collect();
        promise(expected == ended, "a transaction is decided for all participants in one batch", || {
            format!("{} of {expected:?}, but {ended:?} changed", lease.txn)
        })?;
        let mut total = Outcome::Nothing;
        let mut explained = Vec::new();
        for moved in moved {
            let (between, outcome) =
                if end == End::Commit { moved.before.committed() } else { moved.before.rolled_back() };
            if outcome != Outcome::Nothing {
                total = outcome;
            }
            if between == moved.after {
                continue;
            }
            if moved.after.lease.is_none() {
                return broken(
                    "a decision commits exactly what was staged, or nothing",
                    format!("{} ({end:?}): {:?} became {:?}", moved.key, moved.before, moved.after),
                );
            }
            explained.push(self.explain_grant(&moved.key, &between, &moved.after, hint)?);
        }
        Ok((total, explained))
    }

    /// Keys with changes staged under a transaction that somebody has chosen.
    pub(super) fn participants(&self, txn: TxnId) -> BTreeSet<KeyId> {
        let mut chosen = false;
        let mut keys = BTreeSet::new();
        for (key, eras) in &self.keys {
            let Some(model) = eras.last().map(|era| &era.state) else { continue };
            if let Some(lease) = &model.lease
                && lease.txn == txn
            {
                chosen |= lease.coordinated;
                if model.draft.is_some() || lease.delivery {
                    keys.insert(key.clone());
                }
            }
        }
        let mut keys = if chosen { keys } else { BTreeSet::new() };
        keys.extend(self.pending.get(&txn).into_iter().flat_map(|pending| pending.participants.clone()));
        keys
    }

    pub(super) fn explain_grant(
        &self,
        key: &KeyId,
        free: &KeyModel,
        after: &KeyModel,
        hint: Option<RequestId>,
    ) -> Checked<(RequestId, Shape)> {
        let granted = after.lease.as_ref().map(|lease| lease.id);
        let asked = self
            .open(key, hint)
            .find(|(_, asked)| matches!(&asked.op, Op::Acquire(acquire) if Some(acquire.lease) == granted));
        let Some((id, asked)) = asked else {
            return broken("a lease is granted to whoever asked for it", format!("{key}: {after:?}"));
        };
        promise(!self.draining, "nothing is granted while draining", || format!("{key} to {id:?}"))?;
        promise(!asked.cancelled, "nothing is granted to somebody who has gone", || {
            format!("{key} to {id:?}")
        })?;
        for (other, waiting) in self.open(key, None) {
            promise(
                other >= id || !self.is_waiting(waiting),
                "leases are handed over in the order of arrival",
                || format!("{key} to {id:?} while {other:?} waits"),
            )?;
        }
        match free.apply(self.now, &asked.op, &self.limits) {
            Verdict::Change(expected, shape) if *expected == *after => Ok((id, shape)),
            verdict => broken(
                "a grant is a new lease with the next token over committed data",
                format!("{key}: {free:?} became {after:?}, expected {verdict:?}"),
            ),
        }
    }

    fn explain_settings(&self, name: &str, after: &NamespaceRecord) -> Checked<Explained> {
        for (&id, asked) in &self.requests {
            if let Op::ConfigureNamespace(op) = &asked.op
                && asked.decided.is_none()
                && op.namespace.as_str() == name
                && op.etag == after.etag
            {
                let before = self.settings.get(name).and_then(|eras| eras.last());
                let before = before.and_then(|era| era.state.as_ref());
                let engines = before.map_or(op.defaults, |before| before.engines);
                let allowed =
                    op.if_match.is_none() || op.if_match == before.map(|before| before.etag.to_string());
                promise(
                    allowed
                        && after.engines.preferred == op.preferred.unwrap_or(engines.preferred)
                        && after.engines.fallback == op.fallback.unwrap_or(engines.fallback),
                    "namespace settings change as asked",
                    || format!("{name}: {before:?} became {after:?}"),
                )?;
                return Ok(Explained::by(id, Shape::Configured { engines: after.engines, etag: after.etag }));
            }
        }
        broken("namespace settings change as asked", format!("{name}: {after:?}, and nobody asked"))
    }
}

/// One key changed under its lease, or was granted: the same as in a world without queues.
fn is_simple(moved: &[Moved], news: &TxnNews) -> bool {
    let [only] = moved else { return false };
    let ended = match (&only.before.lease, &only.after.lease) {
        (Some(before), Some(after)) => before.id != after.id,
        (before, _) => before.is_some(),
    };
    news.is_empty() && !ended && only.key.as_message().is_none() && only.after != KeyModel::default()
}

fn names(moved: &[Moved]) -> String {
    moved
        .iter()
        .map(|moved| format!("{}: {:?} became {:?}; ", moved.key, moved.before, moved.after))
        .collect()
}
