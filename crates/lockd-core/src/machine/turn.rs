//! Turns: everything that one running job does, and how it becomes a batch and answers.

use bytes::Bytes;
use lockd_store::Batch;
use lockd_wire::{KeyId, Namespace};
use smallvec::SmallVec;

use super::line::waited_enough;
use super::{Core, Output, RequestId};
use crate::decide::{self, Effects, Limits, Verdict};
use crate::lanes::Waiter;
use crate::lease_book::HeldLease;
use crate::moment::Moment;
use crate::op::{
    Abandon, Acquire, Attached, ConfigureNamespace, Detached, Op, Outcome, Reason, Refusal, Release, Removed,
    Reply,
};
use crate::records::key::{KeyRecord, Lease, Place, Staged};
use crate::records::namespace::NamespaceRecord;
use crate::records::{blob, content, held, key, namespace};

/// Everything that one running job does.
#[derive(Debug, Default)]
pub(super) struct Turn {
    changed: SmallVec<[KeyId; 2]>,
    freed: SmallVec<[KeyId; 2]>,
    effects: Effects,
    namespace: Option<(Namespace, NamespaceRecord)>,
    pub(super) answers: SmallVec<[(RequestId, Reply); 2]>,
    /// The newest batch that wrote what this turn has read.
    basis: u64,
}

/// Did a decision change the record?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

impl Changed {
    fn when(condition: bool) -> Changed {
        if condition { Changed::Yes } else { Changed::No }
    }
}

impl Turn {
    fn change(&mut self, key: &KeyId) {
        if !self.changed.contains(key) {
            self.changed.push(key.clone());
        }
    }
}

impl Core {
    /// Serves one request. All records that it needs are here. No reply: the request stands in line for its lease.
    pub(super) fn serve(&mut self, id: RequestId, op: Op, turn: &mut Turn) -> Option<Reply> {
        Some(match op {
            Op::Acquire(op) => return self.acquire(id, op, turn),
            Op::Release(op) => self.release(&op, turn),
            Op::Abandon(op) => self.abandon(&op, turn),
            Op::ConfigureNamespace(op) => self.configure(op, turn),
            Op::Keepalive(op) => self.under_lease(&op.key.clone(), turn, |record, now, limits, _| {
                decide::keepalive(record, now, &op, limits)
                    .map(|renewed| (Changed::Yes, Reply::Renewed(renewed)))
            }),
            Op::Update(op) => self.under_lease(&op.key.clone(), turn, |record, now, _, effects| {
                decide::update(record, now, op, effects)
                    .map(|updated| (Changed::Yes, Reply::Updated(updated)))
            }),
            Op::SetMetadata(op) => self.under_lease(&op.key.clone(), turn, |record, now, _, _| {
                let version = decide::set_metadata(record, now, &op)?;
                Ok((Changed::Yes, Reply::MetadataSet { version, query_hidden: op.query_hidden }))
            }),
            Op::Remove(op) => self.under_lease(&op.key.clone(), turn, |record, now, _, effects| {
                let removed = decide::remove(record, now, &op, effects)?;
                let changed = Changed::when(matches!(removed, Removed::Staged { .. }));
                Ok((changed, Reply::Removed(removed)))
            }),
            Op::Attach(op) => self.under_lease(&op.key.clone(), turn, |record, now, _, effects| {
                let attached = decide::attach(record, now, op, effects)?;
                let changed = Changed::when(matches!(attached, Attached::Stored { .. }));
                Ok((changed, Reply::Attached(attached)))
            }),
            Op::Detach(op) => self.under_lease(&op.key.clone(), turn, |record, now, _, effects| {
                let detached = decide::detach(record, now, &op, effects)?;
                let changed = Changed::when(matches!(detached, Detached::Staged { .. }));
                Ok((changed, Reply::Detached(detached)))
            }),
            Op::DetachAll(op) => self.under_lease(&op.key.clone(), turn, |record, now, _, effects| {
                let (count, version, token) = decide::detach_all(record, now, &op, effects)?;
                Ok((Changed::Yes, Reply::DetachedAll { count, version, token }))
            }),
        })
    }

    fn configure(&mut self, op: ConfigureNamespace, turn: &mut Turn) -> Reply {
        // Settings are few and rest on the newest batch, whichever wrote them.
        turn.basis = self.written;
        match decide::configure(self.namespaces.get(&op.namespace), &op) {
            Ok(record) => {
                turn.namespace = Some((op.namespace, record.clone()));
                Reply::NamespaceConfigured(record)
            }
            Err(refusal) => refusal.into(),
        }
    }

    fn abandon(&mut self, op: &Abandon, turn: &mut Turn) -> Reply {
        let is_it = |record: &KeyRecord| matches!(&record.lease, Lease::Held(grant) if grant.id == op.lease);
        if self.lanes.ready(&op.key).is_some_and(|lane| is_it(&lane.record)) {
            self.give_up(&op.key, turn);
        }
        Reply::Abandoned
    }

    /// An operation of a lease holder that stages something or extends the lease.
    fn under_lease(
        &mut self,
        key: &KeyId,
        turn: &mut Turn,
        decide: impl FnOnce(&mut KeyRecord, Moment, &Limits, &mut Effects) -> Result<(Changed, Reply), Refusal>,
    ) -> Reply {
        let (now, limits) = (self.now, self.settings.limits);
        let Some(lane) = self.lanes.ready(key) else { return Reason::Damaged.plain().into() };
        turn.basis = turn.basis.max(lane.written);
        match decide(&mut lane.record, now, &limits, &mut turn.effects) {
            Ok((Changed::Yes, reply)) => {
                turn.change(key);
                reply
            }
            Ok((Changed::No, reply)) => reply,
            Err(refusal) => {
                // The first to meet an expired lease clears it.
                self.expire(key, turn);
                refusal.into()
            }
        }
    }

    fn acquire(&mut self, id: RequestId, op: Acquire, turn: &mut Turn) -> Option<Reply> {
        if self.draining {
            return Some(Reason::Draining.plain().into());
        }
        self.expire(&op.key, turn);
        // Those in line come first: they are served before this request looks at the lease.
        self.hand_over_freed(turn);
        let (now, limits) = (self.now, self.settings.limits);
        let lane = self.lanes.ready(&op.key)?;
        turn.basis = turn.basis.max(lane.written);
        let until = match decide::acquire(&mut lane.record, now, &op, &limits) {
            Verdict::Granted(granted) => {
                turn.change(&op.key);
                return Some(Reply::Granted(granted));
            }
            Verdict::Exists => return Some(lane.record.refuse(Reason::AlreadyExists).into()),
            Verdict::Held { until } => until,
        };
        let deadline = match op.block_seconds {
            -1 => return Some(waited_enough(&lane.record, until, now).into()),
            0 => None,
            seconds => Some(match u64::try_from(seconds) {
                Ok(seconds) => now.after_full(seconds.saturating_mul(1000)),
                Err(_) => now.after_full(limits.acquire_block_ms),
            }),
        };
        let key = op.key.clone();
        lane.waiters.insert(id, Waiter { op: Box::new(op), deadline });
        self.waiting.insert(id, key);
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
        None
    }

    fn release(&mut self, op: &Release, turn: &mut Turn) -> Reply {
        self.expire(&op.key, turn);
        let now = self.now;
        let Some(lane) = self.lanes.ready(&op.key) else { return Reason::Damaged.plain().into() };
        turn.basis = turn.basis.max(lane.written);
        if decide::lost(&lane.record, &op.claim) {
            return Reply::Released(Outcome::Nothing);
        }
        match decide::prove(&lane.record, now, &op.claim) {
            Ok(_) => Reply::Released(self.decide_all(&op.key, !op.rollback, turn)),
            Err(refusal) => refusal.into(),
        }
    }

    /// Ends the lease on a key, and with it the transaction that it takes part in: all participants in this one turn.
    fn decide_all(&mut self, key: &KeyId, commit: bool, turn: &mut Turn) -> Outcome {
        let now = self.now;
        let txn = self.lanes.ready(key).and_then(|lane| match &lane.record.lease {
            Lease::Held(grant) => Some(grant.txn),
            Lease::Free => None,
        });
        let Some(txn) = txn else { return Outcome::Nothing };
        let mut keys = self.book.participants(txn);
        if !keys.contains(key) {
            keys.push(key.clone());
        }
        let mut decided = Outcome::Nothing;
        for key in keys {
            let Some(lane) = self.lanes.ready(&key) else {
                debug_assert!(false, "{key} takes part in the transaction but was not loaded");
                continue;
            };
            turn.basis = turn.basis.max(lane.written);
            let outcome = match commit {
                true => decide::commit(&mut lane.record, now, &mut turn.effects),
                false => decide::roll_back(&mut lane.record, now, &mut turn.effects),
            };
            if outcome != Outcome::Nothing {
                decided = outcome;
            }
            turn.change(&key);
            turn.freed.push(key);
        }
        decided
    }

    /// Clears the lease on a key if its time is over, and rolls back what was staged under it: nobody else can have decided
    /// its transaction, because deciding clears the lease in the same batch.
    pub(super) fn expire(&mut self, key: &KeyId, turn: &mut Turn) {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else { return };
        if matches!(&lane.record.lease, Lease::Held(grant) if grant.is_expired(now)) {
            self.give_up(key, turn);
        }
    }

    /// Ends a lease whose holder is gone. With changes staged the key takes part in its transaction, which is rolled back as a
    /// whole; without any the other participants do not care.
    fn give_up(&mut self, key: &KeyId, turn: &mut Turn) {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else { return };
        if matches!(lane.record.staged, Staged::Of(_)) {
            self.decide_all(key, false, turn);
            return;
        }
        turn.basis = turn.basis.max(lane.written);
        decide::roll_back(&mut lane.record, now, &mut turn.effects);
        turn.change(key);
        turn.freed.push(key.clone());
    }

    pub(super) fn hand_over_freed(&mut self, turn: &mut Turn) {
        for key in std::mem::take(&mut turn.freed) {
            self.hand_over(&key, turn);
        }
    }

    /// Gives a free lease to whoever has waited longest.
    fn hand_over(&mut self, key: &KeyId, turn: &mut Turn) {
        let (now, limits) = (self.now, self.settings.limits);
        let Some(lane) = self.lanes.ready(key) else { return };
        while matches!(lane.record.lease, Lease::Free) {
            let Some((id, waiter)) = lane.waiters.pop_first() else { return };
            self.waiting.remove(&id);
            if let Some(deadline) = waiter.deadline {
                self.deadlines.remove(&(deadline, id));
            }
            let reply = match decide::acquire(&mut lane.record, now, &waiter.op, &limits) {
                Verdict::Granted(granted) => Reply::Granted(granted),
                Verdict::Exists => lane.record.refuse(Reason::AlreadyExists).into(),
                Verdict::Held { until } => waited_enough(&lane.record, until, now).into(),
            };
            turn.change(key);
            turn.answers.push((id, reply));
        }
    }

    /// Turns what was done into a batch, and holds the answers until it is durable.
    pub(super) fn finish(&mut self, turn: Turn, out: &mut Vec<Output>) {
        let Turn { changed, effects, namespace, answers, mut basis, .. } = turn;
        let mut batch = Batch::default();
        let seq = self.written + 1;
        let owner = changed.first().map(|key| Bytes::copy_from_slice(key.as_bytes())).unwrap_or_default();
        for key in changed {
            let Some(lane) = self.lanes.ready(&key) else { continue };
            lane.written = seq;
            batch.put(key::storage_key(&key), lane.record.encode());
            let (lease, listed) = (HeldLease::of(&lane.record), self.book.get(&key));
            match (&lease, listed) {
                (Some(_), None) => batch.put(held::storage_key(&key), Bytes::new()),
                (None, Some(_)) => batch.delete(held::storage_key(&key)),
                _ => {}
            }
            if lease != listed {
                self.book.set(&key, lease);
            }
        }
        for (id, bytes) in effects.new_records {
            batch.put(content::storage_key(id), bytes);
        }
        for id in effects.new_blobs {
            batch.put(blob::storage_key(id), owner.clone());
        }
        for place in effects.dropped {
            match place {
                Place::Record(id) => batch.delete(content::storage_key(id)),
                Place::Blob(id) => {
                    batch.delete(blob::storage_key(id));
                    batch.dead_blobs.push(id);
                }
            }
        }
        if let Some((name, record)) = namespace {
            batch.put(namespace::storage_key(&name), record.encode());
            self.namespaces.insert(name, record);
        }
        if !batch.is_empty() {
            self.written = seq;
            basis = seq;
            out.push(Output::Write { seq, batch });
        }
        for (id, reply) in answers {
            if let Some(reply) = self.answers.hold(basis, id, reply) {
                out.push(Output::Answer { id, reply });
            }
        }
    }
}
