//! Turns: everything that one running job does, and how it becomes a batch and answers.

use bytes::Bytes;
use lockd_store::Batch;
use lockd_wire::{KeyId, LeaseId, Namespace, QueueId, TxnId};
use smallvec::SmallVec;

use super::distinct::Distinct;
use super::job::Task;
use super::line::waited_enough;
use super::{Core, Output, RequestId};
use crate::decide::{self, Effects, Limits, Verdict as Grantable};
use crate::lanes::Waiter;
use crate::lease_book::HeldLease;
use crate::listing::Listing;
use crate::moment::Moment;
use crate::op::{
    Abandon, Acquire, Attached, ConfigureNamespace, Detached, Op, Outcome, Reason, Refusal, Release, Removed,
    Reply,
};
use crate::records::key::{KeyRecord, Lease, Place, Staged};
use crate::records::namespace::NamespaceRecord;
use crate::records::ready::Place as ReadyPlace;
use crate::records::txn::{Decided, Pending, Verdict};
use crate::records::{blob, content, held, key, namespace};

/// Everything that one running job does.
#[derive(Debug, Default)]
pub(super) struct Turn {
    changed: Distinct<KeyId>,
    /// Changed since the windows of the queues were last brought up to date.
    unlisted: SmallVec<[KeyId; 2]>,
    freed: SmallVec<[KeyId; 2]>,
    pub(super) effects: Effects,
    namespace: Option<(Namespace, NamespaceRecord)>,
    /// Messages that the indexes are to say something else of, and what they said before this turn.
    relisted: Distinct<KeyId>,
    listed_before: SmallVec<[Listing; 1]>,
    /// Queues in which something has happened that somebody may be waiting for.
    touched: Distinct<QueueId>,
    /// Index pages to be read.
    pub(super) scans: SmallVec<[(QueueId, Option<ReadyPlace>, usize); 1]>,
    pub(super) pending_txns: SmallVec<[(TxnId, Option<Pending>); 1]>,
    pub(super) decided_txns: SmallVec<[(TxnId, Option<Decided>); 1]>,
    /// What the store said of a transaction, if the job asked.
    pub(super) decision: Option<(TxnId, Option<Decided>)>,
    /// What is to be done when this turn is over.
    pub(super) next: SmallVec<[Task; 1]>,
    pub(super) answers: SmallVec<[(RequestId, Reply); 2]>,
    /// The newest batch that wrote what this turn has read.
    pub(super) basis: u64,
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
    /// A turn of a job that has had a decision record read.
    pub(super) fn knowing(decision: Option<(TxnId, Option<Decided>)>) -> Turn {
        Turn { decision, ..Turn::default() }
    }

    pub(super) fn change(&mut self, key: &KeyId) {
        self.changed.add(key.clone());
        self.unlisted.push(key.clone());
    }

    /// What this very turn has decided.
    pub(super) fn decided(&self, txn: TxnId) -> Option<&Decided> {
        let mut decided = self.decided_txns.iter().rev();
        decided.find(|(known, _)| *known == txn).and_then(|(_, decided)| decided.as_ref())
    }

    pub(super) fn free(&mut self, key: &KeyId) {
        self.freed.push(key.clone());
    }

    pub(super) fn touch(&mut self, queue: QueueId) {
        self.touched.add(queue);
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
            Op::Enqueue(op) => self.enqueue(op, turn),
            Op::Dequeue(op) => return self.dequeue(id, op, turn),
            Op::WatchQueue(op) => return self.watch(id, op, turn),
            Op::Ack(op) => self.ack(&op, turn),
            Op::Nack(op) => self.nack(&op, turn),
            Op::Extend(op) => self.extend(&op, turn),
            Op::Tend(op) => self.tend(&op, turn),
            Op::DecideTxn(op) => self.decide_txn(op, turn),
            Op::ForgetTxn(txn) => self.forget_txn(txn, turn),
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
        match self.lanes.ready(&op.key) {
            Some(lane) if is_it(&lane.record) => {
                // A delivery goes back alone; its transaction goes on without it.
                let delivery = matches!(&lane.record.lease, Lease::Held(grant) if grant.delivery);
                if delivery {
                    self.end_lease(&op.key, false, turn);
                } else {
                    self.give_up(&op.key, turn)
                }
            }
            _ => {}
        }
        Reply::Abandoned
    }

    /// Undoes a delivery that its consumer never got. Its transaction goes on without it.
    pub(super) fn give_back(&mut self, key: &KeyId, lease: LeaseId, turn: &mut Turn) {
        let is_it = |record: &KeyRecord| matches!(&record.lease, Lease::Held(grant) if grant.id == lease);
        if self.lanes.ready(key).is_some_and(|lane| is_it(&lane.record)) {
            self.end_lease(key, false, turn);
        }
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
            Grantable::Granted(granted) => {
                turn.change(&op.key);
                return Some(Reply::Granted(granted));
            }
            Grantable::Exists => return Some(lane.record.refuse(Reason::AlreadyExists).into()),
            Grantable::Held { until } => until,
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
    pub(super) fn decide_all(&mut self, key: &KeyId, commit: bool, turn: &mut Turn) -> Outcome {
        let txn = self.lanes.ready(key).and_then(|lane| match &lane.record.lease {
            Lease::Held(grant) => Some(grant.txn),
            Lease::Free => None,
        });
        let Some(txn) = txn else { return Outcome::Nothing };
        let participants = self.participants(txn);
        if participants.is_empty() {
            return self.end_lease(key, commit, turn);
        }
        let verdict = if commit { Verdict::Commit } else { Verdict::Rollback };
        // A key with nothing staged is no participant, but the lease that decides ends as well.
        let own = Some(key).filter(|key| !participants.contains(key)).cloned();
        self.decide_participants(txn, verdict, participants.into_iter().chain(own), 0, turn).0
    }

    /// Ends the lease on one key, with what was staged or without.
    pub(super) fn end_lease(&mut self, key: &KeyId, commit: bool, turn: &mut Turn) -> Outcome {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else {
            debug_assert!(false, "{key} is to be decided but was not loaded");
            return Outcome::Nothing;
        };
        turn.basis = turn.basis.max(lane.written);
        let outcome = match commit {
            true => decide::commit(&mut lane.record, now, &mut turn.effects),
            false => decide::roll_back(&mut lane.record, now, &mut turn.effects),
        };
        turn.change(key);
        turn.free(key);
        outcome
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

    /// Ends a lease whose holder is gone. With changes staged (and always with a message) the key takes part in its transaction,
    /// which is rolled back as a whole; else the other participants do not care.
    fn give_up(&mut self, key: &KeyId, turn: &mut Turn) {
        let Some(lane) = self.lanes.ready(key) else { return };
        let takes_part = matches!(lane.record.staged, Staged::Of(_))
            || matches!(&lane.record.lease, Lease::Held(grant) if grant.delivery);
        if takes_part {
            self.decide_all(key, false, turn);
        } else {
            self.end_lease(key, false, turn);
        }
    }

    pub(super) fn hand_over_freed(&mut self, turn: &mut Turn) {
        for key in std::mem::take(&mut turn.freed) {
            self.hand_over(&key, turn);
        }
    }

    /// Gives what the turn has freed to those who wait for it, until nothing is left to give: serving a queue may clear leases
    /// that are over, which frees messages of others.
    pub(super) fn settle(&mut self, turn: &mut Turn) {
        loop {
            self.hand_over_freed(turn);
            self.relist_changed(turn);
            let Some(queue) = turn.touched.pop() else { return };
            self.attend(&queue, turn);
        }
    }

    pub(super) fn relist_changed(&mut self, turn: &mut Turn) {
        for key in std::mem::take(&mut turn.unlisted) {
            self.relist(&key, turn);
        }
    }

    /// Brings a queue's window up to date with one of its messages.
    pub(super) fn relist(&mut self, key: &KeyId, turn: &mut Turn) {
        let Some((queue, id)) = key.as_message() else {
            // A message may have been waiting for its workflow state to be free.
            if let Some((queue, _)) = key.as_queue_state()
                && self.queues.known(&queue).is_some()
            {
                turn.touch(queue);
            }
            return;
        };
        let (batch, durable) = (self.written + 1, self.answers.durable());
        let Some(lane) = self.lanes.ready(key) else { return };
        let now_listed = Listing::of(id, &lane.record);
        let before = lane.listed.as_deref().copied().unwrap_or_default();
        if now_listed == before {
            return;
        }
        lane.listed = (now_listed != Listing::default()).then(|| Box::new(now_listed));
        if turn.relisted.add(key.clone()) {
            turn.listed_before.push(before);
        }
        let known = self.queues.get(&queue);
        known.written = batch;
        let gone = before.ready.filter(|old| now_listed.ready.is_none_or(|new| new.place != old.place));
        if let Some(old) = gone {
            known.window.set(old.place, None, batch, durable);
        }
        if let Some(new) = now_listed.ready {
            known.window.set(new.place, Some(new.dies_at), batch, durable);
        }
        turn.touch(queue);
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
                Grantable::Granted(granted) => Reply::Granted(granted),
                Grantable::Exists => lane.record.refuse(Reason::AlreadyExists).into(),
                Grantable::Held { until } => waited_enough(&lane.record, until, now).into(),
            };
            turn.change(key);
            turn.answers.push((id, reply));
        }
    }

    /// Turns what was done into a batch, and holds the answers until it is durable.
    pub(super) fn finish(&mut self, turn: Turn, out: &mut Vec<Output>) {
        let Turn { changed, effects, namespace, answers, relisted, listed_before, scans, mut basis, .. } =
            turn;
        let mut batch = Batch::default();
        let seq = self.written + 1;
        let owner = changed.first().map(|key| Bytes::copy_from_slice(key.as_bytes())).unwrap_or_default();
        for key in changed {
            let Some(lane) = self.lanes.ready(&key) else { continue };
            lane.written = seq;
            match lane.record.is_blank() {
                false => batch.put(key::storage_key(&key), lane.record.encode()),
                true => batch.delete(key::storage_key(&key)),
            }
            let (lease, listed) = (HeldLease::of(&lane.record), self.book.get(&key));
            match (&lease, listed) {
                (Some(_), None) => batch.put(held::storage_key(&key), Bytes::new()),
                (None, Some(_)) => batch.delete(held::storage_key(&key)),
                _ => {}
            }
            if lease != listed {
                self.book.set(&key, lease);
                // A prepared transaction that was put off until the end of this lease may be over earlier now.
                let put_off = listed.filter(|old| {
                    lease.is_none_or(|new| new.txn != old.txn || new.expires_at < old.expires_at)
                });
                if let Some(old) = put_off {
                    self.txns.look_again_at_its_time(old.txn);
                }
            }
        }
        for (key, before) in relisted.into_iter().zip(listed_before) {
            let Some((queue, id)) = key.as_message() else { continue };
            let Some(lane) = self.lanes.ready(&key) else { continue };
            let listed = lane.listed.as_deref().copied().unwrap_or_default();
            listed.write(&before, &key, &queue, id, &mut batch);
        }
        for (txn, pending) in turn.pending_txns {
            match &pending {
                Some(pending) => batch.put(Pending::storage_key(txn), pending.encode()),
                None => batch.delete(Pending::storage_key(txn)),
            }
            self.txns.set_pending(txn, pending, seq);
        }
        for (txn, decided) in turn.decided_txns {
            match &decided {
                Some(decided) => batch.put(Decided::storage_key(txn), decided.encode()),
                None => batch.delete(Decided::storage_key(txn)),
            }
            self.txns.record(txn, decided, seq);
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
        out.extend(scans.into_iter().map(|(queue, after, limit)| Output::Scan { queue, after, limit }));
        for (id, reply) in answers {
            if let Some(reply) = self.answers.hold(basis, id, reply) {
                out.push(Output::Answer { id, reply });
            }
        }
    }
}
