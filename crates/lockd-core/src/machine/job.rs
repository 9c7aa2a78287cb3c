//! Jobs: something to do, and the records that have to be in memory for it.

use bytes::Bytes;
use lockd_wire::{KeyId, LeaseId, QueueId, TxnId};
use smallvec::SmallVec;

use super::distinct::Distinct;
use super::turn::Turn;
use super::{Core, LoadError, Output, RequestId};
use crate::decide::{self, Purpose};
use crate::op::{Handle, Op, Reason, TxnAsk};
use crate::records::key::{KeyRecord, Lease, Staged};
use crate::records::txn::Decided;

/// How long something that needs an unreadable record is left alone, in milliseconds.
pub(super) const TRY_AGAIN_MS: u64 = 5000;

/// Something to do as soon as its records are in memory.
#[derive(Debug)]
pub(crate) struct Job {
    pub(super) task: Task,
    /// Records that must stay while the job waits for others.
    pins: Vec<KeyId>,
    /// What the store says of a transaction. Read last, so that nothing can have come between.
    decision: Option<(TxnId, Option<Decided>)>,
}

// Most jobs run at once and are never stored, so a box would only cost an allocation a request.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(super) enum Task {
    Request {
        id: RequestId,
        op: Op,
    },
    Expire(KeyId),
    /// A prepared transaction was not decided in time.
    ExpireTxn(TxnId),
    /// A delivery could not be given to its consumer.
    GiveBack(KeyId, LeaseId),
    /// Something may be there for those who wait for a queue; these records are needed to see.
    Attend(QueueId, SmallVec<[KeyId; 4]>),
}

/// What a job needs in memory.
#[derive(Debug, Default)]
struct Wanted {
    keys: Distinct<KeyId>,
    decision: Option<TxnId>,
}

impl Wanted {
    fn add(&mut self, key: KeyId) {
        self.keys.add(key);
    }
}

impl Job {
    pub(super) fn new(task: Task) -> Job {
        Job { task, pins: Vec::new(), decision: None }
    }

    pub(crate) fn request(&self) -> Option<RequestId> {
        match &self.task {
            Task::Request { id, .. } => Some(*id),
            _ => None,
        }
    }
}

impl Core {
    pub(super) fn run(&mut self, mut job: Job, out: &mut Vec<Output>) {
        if self.failed {
            self.unpin(&mut job);
            return self.refuse(job, Reason::StoreFailed, out);
        }
        if !self.gather(&mut job, out) {
            return;
        }
        let (sweeps, written) = (matches!(job.task, Task::Expire(_) | Task::ExpireTxn(_)), self.written);
        let mut turn = Turn::knowing(job.decision);
        match job.task {
            Task::Expire(key) => self.expire(&key, &mut turn),
            Task::ExpireTxn(txn) => self.expire_txn(txn, &mut turn),
            Task::GiveBack(key, lease) => self.give_back(&key, lease, &mut turn),
            Task::Attend(queue, _) => {
                self.queues.get(&queue).fetching = false;
                turn.touch(queue);
            }
            Task::Request { id, op } => {
                if let Some(reply) = self.serve(id, op, &mut turn) {
                    turn.answers.push((id, reply));
                }
            }
        }
        self.settle(&mut turn);
        let next = std::mem::take(&mut turn.next);
        self.finish(turn, out);
        if sweeps && self.written > written {
            self.sweeps.push_back(self.written);
        }
        for key in job.pins {
            self.pin(&key, -1);
        }
        for task in next {
            self.run(Job::new(task), out);
        }
    }

    /// Are all records that the job needs in memory? If not, it is parked and they are on their way.
    fn gather(&mut self, job: &mut Job, out: &mut Vec<Output>) -> bool {
        let wanted = self.wanted(&job.task);
        let missing = wanted.keys.iter().find(|key| self.lanes.ready(key).is_none()).cloned();
        let Some(missing) = missing else {
            let Some(txn) = wanted.decision else { return true };
            if self.txns.recent(txn).is_some()
                || job.decision.as_ref().is_some_and(|&(known, _)| known == txn)
            {
                return true;
            }
            self.hold(job, wanted.keys);
            if self.txns.park(txn, take(job)) {
                out.push(Output::LoadTxn(txn));
            }
            return false;
        };
        for other in wanted.keys.iter() {
            if *other != missing && self.lanes.ready(other).is_none() && self.lanes.expect(other) {
                out.push(Output::Load(other.clone()));
            }
        }
        job.decision = None;
        if wanted.keys.len() > 1 {
            self.hold(job, wanted.keys);
        }
        if let Task::Request { id, op: Op::Acquire(_) } = &job.task {
            self.parked.insert(*id, missing.clone());
        }
        if self.lanes.park(&missing, take(job)) {
            out.push(Output::Load(missing));
        }
        false
    }

    /// Records that have arrived must not be forgotten again before the last one is here.
    fn hold(&mut self, job: &mut Job, keys: impl IntoIterator<Item = KeyId>) {
        self.unpin(job);
        for key in keys {
            if self.pin(&key, 1) {
                job.pins.push(key);
            }
        }
    }

    fn unpark(&mut self, job: &Job) {
        if let Some(id) = job.request() {
            self.parked.remove(&id);
        }
    }

    fn pin(&mut self, key: &KeyId, change: i32) -> bool {
        match self.lanes.ready(key) {
            Some(lane) => {
                lane.pins = lane.pins.saturating_add_signed(change);
                true
            }
            None => false,
        }
    }

    pub(super) fn unpin(&mut self, job: &mut Job) {
        for key in std::mem::take(&mut job.pins) {
            self.pin(&key, -1);
        }
    }

    /// What a task needs, as far as can be told from what is here: more may turn up when that has arrived.
    fn wanted(&mut self, task: &Task) -> Wanted {
        let mut wanted = Wanted::default();
        match task {
            Task::Expire(key) => self.want_key(key, |_, _| false, &mut wanted),
            Task::GiveBack(key, _) => wanted.add(key.clone()),
            Task::ExpireTxn(txn) => self.want_participants(*txn, &mut wanted),
            Task::Attend(_, keys) => {
                for key in keys {
                    self.want_key(key, |_, _| false, &mut wanted);
                }
            }
            Task::Request { op, .. } => match op {
                Op::Ack(op) => self.want_delivery(&op.handle, true, &mut wanted),
                Op::Nack(op) => self.want_delivery(&op.handle, true, &mut wanted),
                Op::Extend(op) => self.want_delivery(&op.handle, false, &mut wanted),
                Op::DecideTxn(op) => {
                    if op.ask == TxnAsk::Prepare {
                        if self.is_overdue(op.txn) {
                            self.want_participants(op.txn, &mut wanted);
                        }
                    } else {
                        wanted.decision = Some(op.txn);
                        let known = self.participants(op.txn);
                        for key in known.iter().chain(&op.participants) {
                            self.want_participant(key.clone(), &mut wanted);
                            // Whoever has named it may be the first to meet the end of another transaction's time.
                            self.want_key(key, |_, _| false, &mut wanted);
                        }
                    }
                }
                Op::ForgetTxn(txn) => wanted.decision = Some(*txn),
                Op::Release(release) => {
                    self.want_key(
                        &release.key,
                        |record, _| !decide::lost(record, &release.claim),
                        &mut wanted,
                    );
                }
                Op::Abandon(abandon) => {
                    let is_it = |record: &KeyRecord, staged| {
                        staged && matches!(&record.lease, Lease::Held(grant) if grant.id == abandon.lease)
                    };
                    self.want_key(&abandon.key, is_it, &mut wanted);
                }
                Op::Tend(_) => {
                    if let Some(key) = op.key() {
                        self.want_participant(key.clone(), &mut wanted);
                    }
                }
                op => {
                    if let Some(key) = op.key() {
                        self.want_key(key, |_, _| false, &mut wanted);
                    }
                }
            },
        }
        wanted
    }

    /// A key, and the other participants of its transaction if the task ends its lease: because it is asked to, or because
    /// the time of the lease is over.
    fn want_key(&mut self, key: &KeyId, ends: impl FnOnce(&KeyRecord, bool) -> bool, wanted: &mut Wanted) {
        let now = self.now;
        wanted.add(key.clone());
        let Some(lane) = self.lanes.ready(key) else { return };
        let Lease::Held(grant) = &lane.record.lease else { return };
        let txn = grant.txn;
        let staged = matches!(lane.record.staged, Staged::Of(_));
        let expired = (staged || grant.delivery) && grant.is_expired(now);
        if expired || ends(&lane.record, staged) {
            self.want_participants(txn, wanted);
        }
    }

    fn want_participants(&mut self, txn: TxnId, wanted: &mut Wanted) {
        for key in self.participants(txn) {
            self.want_participant(key, wanted);
        }
    }

    /// A participant; a message comes with its workflow state, if it has one.
    fn want_participant(&mut self, key: KeyId, wanted: &mut Wanted) {
        let stateful = self
            .lanes
            .ready(&key)
            .is_some_and(|lane| lane.record.message.as_ref().is_some_and(|message| message.stateful));
        if stateful && let Some((queue, id)) = key.as_message() {
            wanted.add(KeyId::of_queue_state(&queue, id));
        }
        wanted.add(key);
    }

    fn want_delivery(&mut self, handle: &Handle, ends: bool, wanted: &mut Wanted) {
        let now = self.now;
        let Some(id) = handle.message else { return };
        let key = KeyId::of_message(&handle.queue, id);
        if handle.state.is_some() {
            wanted.add(KeyId::of_queue_state(&handle.queue, id));
        }
        self.want_participant(key.clone(), wanted);
        let Some(lane) = self.lanes.ready(&key) else { return };
        let purpose = if ends { Purpose::End } else { Purpose::Extend };
        match decide::prove_delivery(&lane.record, now, handle, purpose) {
            Ok(proof) if ends => self.want_participants(proof.txn, wanted),
            Ok(_) => {}
            Err(_) => {
                if ends {
                    wanted.decision = handle.txn.flatten();
                }
                // Whoever meets an expired lease clears it.
                self.want_key(&key, |_, _| false, wanted);
            }
        }
    }

    pub(super) fn loaded(
        &mut self,
        key: &KeyId,
        record: Result<Option<Bytes>, LoadError>,
        out: &mut Vec<Output>,
    ) {
        let record = record.and_then(|bytes| match bytes {
            None => Ok(KeyRecord::default()),
            Some(bytes) => KeyRecord::decode(&bytes).map_err(|_| LoadError),
        });
        match record {
            Ok(record) => {
                for job in self.lanes.loaded(key, record) {
                    self.unpark(&job);
                    self.run(job, out);
                }
            }
            Err(LoadError) => {
                let jobs = self.lanes.lost(key);
                self.unreadable(key);
                for mut job in jobs {
                    // The message itself is well, but its state's lease cannot be ended: that is the last one asked for.
                    if let Task::Attend(_, keys) = &job.task
                        && !keys.contains(key)
                        && let Some(state) = keys.iter().rev().find(|key| key.as_queue_state().is_some())
                    {
                        self.unreadable(state);
                    }
                    self.unpark(&job);
                    self.unpin(&mut job);
                    self.refuse(job, Reason::Damaged, out);
                }
            }
        }
    }

    pub(super) fn txn_loaded(
        &mut self,
        txn: TxnId,
        record: Result<Option<Bytes>, LoadError>,
        out: &mut Vec<Output>,
    ) {
        let decided = record
            .and_then(|bytes| bytes.map(|bytes| Decided::decode(&bytes)).transpose().map_err(|_| LoadError));
        let jobs = self.txns.take_parked(txn);
        for mut job in jobs {
            match &decided {
                Ok(decided) => {
                    job.decision = Some((txn, decided.clone()));
                    self.run(job, out);
                }
                Err(LoadError) => {
                    self.unpin(&mut job);
                    self.refuse(job, Reason::Damaged, out);
                }
            }
        }
        self.txns.settle(self.answers.durable());
    }

    /// Answers a job that will not run.
    pub(super) fn refuse(&mut self, job: Job, reason: Reason, out: &mut Vec<Output>) {
        match job.task {
            Task::Request { id, .. } => out.push(Output::Answer { id, reply: reason.plain().into() }),
            // The rest of the queue must not wait for a message that cannot be read.
            Task::Attend(queue, _) if !self.failed => {
                self.queues.get(&queue).fetching = false;
                self.run(Job::new(Task::Attend(queue, SmallVec::new())), out);
            }
            // What is over stays over; the record may be readable later.
            Task::Expire(key) if !self.failed => {
                self.book.look_again(&key, self.now.after_full(TRY_AGAIN_MS));
            }
            Task::ExpireTxn(txn) if !self.failed => {
                self.txns.look_again(txn, self.now.after_full(TRY_AGAIN_MS));
            }
            _ => {}
        }
    }
}

/// The job itself, to be put away; what is left in its place is never run.
fn take(job: &mut Job) -> Job {
    let placeholder = Task::ExpireTxn(TxnId(lockd_wire::Xid([0; 12])));
    Job {
        task: std::mem::replace(&mut job.task, placeholder),
        pins: std::mem::take(&mut job.pins),
        decision: job.decision.take(),
    }
}
