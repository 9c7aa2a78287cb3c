//! The machine: takes inputs, runs jobs on lanes, gathers what they change into batches, and gives answers when they are
//! durable.
//!
//! The walk of a request: it becomes a [`Job`]; the job runs as soon as every record that it needs is in memory, else it is
//! parked while they are loaded and starts afresh; running it is one [`Turn`], which calls the decisions, hands freed leases
//! to the waiters in line, and ends as at most one batch. Since a job never holds one record while it waits for another, no
//! two jobs can wait for each other.

use std::collections::BTreeSet;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lockd_store::Batch;
use lockd_wire::{KeyId, Namespace};
use smallvec::SmallVec;

use crate::answers::Answers;
use crate::decide::{self, Effects, Limits, Verdict};
use crate::lanes::{Lanes, Waiter};
use crate::lease_book::LeaseBook;
use crate::moment::Moment;
use crate::op::{
    Abandon, Acquire, Attached, ConfigureNamespace, Detached, Op, Outcome, Reason, Refusal, Release, Removed,
    Reply,
};
use crate::records::held::HeldLease;
use crate::records::key::{KeyRecord, Lease, Place, Staged};
use crate::records::namespace::NamespaceRecord;
use crate::records::{blob, content, held, key, namespace};

/// Names a request; the shell counts upwards, so that ids are in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

#[derive(Debug)]
pub enum Input {
    Request {
        id: RequestId,
        op: Op,
    },
    /// Whoever asked has gone. Stops its waiting; whatever is already decided stays decided and is answered all the same.
    Cancel(RequestId),
    /// The answer to [`Output::Load`]: the stored key record, if there is one.
    Loaded {
        key: KeyId,
        record: Result<Option<Bytes>, LoadError>,
    },
    /// Every batch up to and including this one is durable.
    Durable {
        through: u64,
    },
    /// The store has failed for good.
    Failed,
    /// A deadline has come (or not: an early tick does no harm).
    Tick,
    /// No new leases from now on, and nobody waits for one any longer.
    Drain,
}

/// A record could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadError;

#[derive(Debug)]
pub enum Output {
    /// Read the key record as of the newest durable state, and feed it back as [`Input::Loaded`].
    Load(KeyId),
    /// Commit this batch after all earlier ones. The numbers count up from 1 without gaps.
    Write { seq: u64, batch: Batch },
    /// Tell the client. Every request is answered exactly once.
    Answer { id: RequestId, reply: Reply },
}

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub limits: Limits,
    /// Key records kept in memory when nobody is using them.
    pub idle_lanes: usize,
}

/// What the core has in memory; all but the lanes are zero when nothing is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    pub lanes: usize,
    pub loading: usize,
    pub waiters: usize,
    pub held_leases: usize,
    pub unanswered: usize,
}

/// Something to do as soon as its records are in memory.
#[derive(Debug)]
pub(crate) struct Job {
    task: Task,
    /// Records that must stay while the job waits for others.
    pins: Vec<KeyId>,
}

// Most jobs run at once and are never stored, so a box would only cost an allocation a request.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum Task {
    Request { id: RequestId, op: Op },
    Expire(KeyId),
}

/// Everything that one running job does.
#[derive(Debug, Default)]
struct Turn {
    changed: SmallVec<[KeyId; 2]>,
    freed: SmallVec<[KeyId; 2]>,
    effects: Effects,
    namespace: Option<(Namespace, NamespaceRecord)>,
    answers: SmallVec<[(RequestId, Reply); 2]>,
    /// The newest batch that wrote what this turn has read.
    basis: u64,
}

/// Expired leases are cleared a few at a time and only while few batches are under way, so that thousands that expire
/// together delay nobody else.
const SWEEP_AT_ONCE: u64 = 32;

#[derive(Debug)]
pub struct Core {
    settings: Settings,
    now: Moment,
    lanes: Lanes,
    book: LeaseBook,
    namespaces: HashMap<Namespace, NamespaceRecord, RandomState>,
    answers: Answers,
    /// The newest batch handed out.
    written: u64,
    waiting: HashMap<RequestId, KeyId, RandomState>,
    /// Acquires that wait for a record, and in which lane, so that they can be taken back.
    parked: HashMap<RequestId, KeyId, RandomState>,
    deadlines: BTreeSet<(Moment, RequestId)>,
    draining: bool,
    failed: bool,
}

impl Core {
    /// A core over a store that holds these leases and namespace settings.
    pub fn recover(
        settings: Settings,
        leases: impl IntoIterator<Item = (KeyId, HeldLease)>,
        namespaces: impl IntoIterator<Item = (Namespace, NamespaceRecord)>,
    ) -> Core {
        let mut book = LeaseBook::default();
        for (key, lease) in leases {
            book.set(&key, Some(lease));
        }
        Core {
            settings,
            now: Moment::default(),
            lanes: Lanes::new(settings.idle_lanes),
            book,
            namespaces: namespaces.into_iter().collect(),
            answers: Answers::default(),
            written: 0,
            waiting: HashMap::default(),
            parked: HashMap::default(),
            deadlines: BTreeSet::new(),
            draining: false,
            failed: false,
        }
    }

    /// Takes one input. `now` never goes backwards here, whatever the caller's clock does.
    pub fn handle(&mut self, now: Moment, input: Input, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        match input {
            Input::Request { id, op } => self.run(Job::new(Task::Request { id, op }), out),
            Input::Cancel(id) => self.cancel(id, out),
            Input::Loaded { key, record } => self.loaded(&key, record, out),
            Input::Durable { through } => {
                self.answers.release(through, |id, reply| out.push(Output::Answer { id, reply }));
                self.sweep(out);
            }
            Input::Failed => self.fail(out),
            Input::Tick => {
                self.sweep(out);
                self.time_out(out);
            }
            Input::Drain => self.drain(out),
        }
        self.lanes.trim(self.answers.durable());
    }

    /// When to tick next. A moment that has passed means: at once, after letting others in.
    pub fn next_deadline(&self) -> Option<Moment> {
        let expiry = if self.may_sweep() { self.book.next_due() } else { None };
        let patience = self.deadlines.first().map(|&(at, _)| at);
        [expiry, patience].into_iter().flatten().min()
    }

    pub fn footprint(&self) -> Footprint {
        Footprint {
            lanes: self.lanes.len(),
            loading: self.lanes.loading(),
            waiters: self.waiting.len(),
            held_leases: self.book.len(),
            unanswered: self.answers.waiting(),
        }
    }

    /// Leases that have not been released or cleared.
    pub fn held_leases(&self) -> usize {
        self.book.len()
    }

    // ---- jobs -----------------------------------------------------------------------------------------------------

    fn run(&mut self, mut job: Job, out: &mut Vec<Output>) {
        if self.failed {
            self.unpin(&mut job);
            return self.refuse(job, Reason::StoreFailed, out);
        }
        if !self.gather(&mut job, out) {
            return;
        }
        let mut turn = Turn::default();
        match job.task {
            Task::Expire(key) => self.expire(&key, &mut turn),
            Task::Request { id, op } => {
                if let Some(reply) = self.serve(id, op, &mut turn) {
                    turn.answers.push((id, reply));
                }
            }
        }
        self.hand_over_freed(&mut turn);
        self.finish(turn, out);
        for key in job.pins {
            self.pin(&key, -1);
        }
    }

    /// Are all records that the job needs in memory? If not, it is parked and they are on their way.
    fn gather(&mut self, job: &mut Job, out: &mut Vec<Output>) -> bool {
        let Some(key) = job.key().cloned() else { return true };
        if self.lanes.ready(&key).is_none() {
            self.park(key, job, out);
            return false;
        }
        let others = self.others_needed(&key, &job.task);
        let Some(missing) = others.iter().find(|other| self.lanes.ready(other).is_none()).cloned() else {
            return true;
        };
        for other in &others {
            if self.lanes.ready(other).is_none() && *other != missing && self.lanes.expect(other) {
                out.push(Output::Load(other.clone()));
            }
        }
        // Records that have arrived must not be forgotten again before the last one is here.
        self.unpin(job);
        for present in others.into_iter().chain([key]) {
            if self.pin(&present, 1) {
                job.pins.push(present);
            }
        }
        self.park(missing, job, out);
        false
    }

    fn park(&mut self, key: KeyId, job: &mut Job, out: &mut Vec<Output>) {
        let parked = Job {
            task: std::mem::replace(&mut job.task, Task::Expire(key.clone())),
            pins: std::mem::take(&mut job.pins),
        };
        if let Task::Request { id, op: Op::Acquire(_) } = &parked.task {
            self.parked.insert(*id, key.clone());
        }
        if self.lanes.park(&key, parked) {
            out.push(Output::Load(key));
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

    fn unpin(&mut self, job: &mut Job) {
        for key in std::mem::take(&mut job.pins) {
            self.pin(&key, -1);
        }
    }

    /// The other participants, if this job may decide a transaction.
    fn others_needed(&mut self, key: &KeyId, task: &Task) -> Vec<KeyId> {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else { return Vec::new() };
        let Lease::Held(grant) = &lane.record.lease else { return Vec::new() };
        let staged = matches!(lane.record.staged, Staged::Of(_));
        let decides = (staged && grant.is_expired(now))
            || match task {
                Task::Request { op: Op::Release(release), .. } => !decide::lost(&lane.record, &release.claim),
                Task::Request { op: Op::Abandon(abandon), .. } => staged && grant.id == abandon.lease,
                _ => false,
            };
        if !decides {
            return Vec::new();
        }
        let txn = grant.txn;
        let mut keys = self.book.participants(txn);
        keys.retain(|other| other != key);
        keys
    }

    fn loaded(&mut self, key: &KeyId, record: Result<Option<Bytes>, LoadError>, out: &mut Vec<Output>) {
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
                for mut job in self.lanes.lost(key) {
                    self.unpark(&job);
                    self.unpin(&mut job);
                    self.refuse(job, Reason::Damaged, out);
                }
            }
        }
    }

    /// Answers a job that will not run.
    fn refuse(&mut self, job: Job, reason: Reason, out: &mut Vec<Output>) {
        if let Task::Request { id, .. } = job.task {
            out.push(Output::Answer { id, reply: reason.plain().into() });
        }
    }

    // ---- turns ----------------------------------------------------------------------------------------------------

    /// Serves one request. All records that it needs are here. No reply: the request stands in line for its lease.
    fn serve(&mut self, id: RequestId, op: Op, turn: &mut Turn) -> Option<Reply> {
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
    fn expire(&mut self, key: &KeyId, turn: &mut Turn) {
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

    fn hand_over_freed(&mut self, turn: &mut Turn) {
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
    fn finish(&mut self, turn: Turn, out: &mut Vec<Output>) {
        let Turn { changed, effects, namespace, answers, mut basis, .. } = turn;
        let mut batch = Batch::default();
        let seq = self.written + 1;
        let owner = changed.first().map(|key| Bytes::copy_from_slice(key.as_bytes())).unwrap_or_default();
        for key in changed {
            let Some(lane) = self.lanes.ready(&key) else { continue };
            lane.written = seq;
            batch.put(key::storage_key(&key), lane.record.encode());
            let lease = held_lease(&lane.record);
            if lease != self.book.get(&key) {
                match &lease {
                    Some(lease) => batch.put(held::storage_key(&key), lease.encode()),
                    None => batch.delete(held::storage_key(&key)),
                }
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

    // ---- time, cancellation, shutdown -------------------------------------------------------------------------------

    fn may_sweep(&self) -> bool {
        !self.failed && self.written - self.answers.durable() < SWEEP_AT_ONCE
    }

    /// Clears some of the leases whose time is over.
    fn sweep(&mut self, out: &mut Vec<Output>) {
        for _ in 0..SWEEP_AT_ONCE {
            if !self.may_sweep() {
                return;
            }
            let Some(key) = self.book.take_due(self.now) else { return };
            self.run(Job::new(Task::Expire(key)), out);
        }
    }

    /// Answers some of the waiters whose patience is over.
    fn time_out(&mut self, out: &mut Vec<Output>) {
        for _ in 0..SWEEP_AT_ONCE {
            match self.deadlines.first() {
                Some(&(at, id)) if at <= self.now => {
                    self.deadlines.pop_first();
                    self.leave_line(id, None, out);
                }
                _ => return,
            }
        }
    }

    fn cancel(&mut self, id: RequestId, out: &mut Vec<Output>) {
        // An acquire whose record is still on its way would stand in line, or be granted, for nobody.
        if let Some(key) = self.parked.remove(&id)
            && let Some(mut job) = self.lanes.withdraw(&key, id)
        {
            self.unpin(&mut job);
            return self.refuse(job, Reason::Cancelled, out);
        }
        self.leave_line(id, Some(Reason::Cancelled), out);
    }

    /// Takes a waiter out of its line, if it stands in one. Without a reason it is told how long the lease may last.
    fn leave_line(&mut self, id: RequestId, reason: Option<Reason>, out: &mut Vec<Output>) {
        let now = self.now;
        let Some(key) = self.waiting.remove(&id) else { return };
        let Some(lane) = self.lanes.ready(&key) else { return };
        let Some(waiter) = lane.waiters.remove(&id) else { return };
        if let Some(deadline) = waiter.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        let refusal = match (reason, &lane.record.lease) {
            (Some(reason), _) => reason.plain(),
            (None, Lease::Held(grant)) => waited_enough(&lane.record, grant.expires_at, now),
            (None, Lease::Free) => waited_enough(&lane.record, now, now),
        };
        let basis = lane.written;
        if let Some(reply) = self.answers.hold(basis, id, refusal.into()) {
            out.push(Output::Answer { id, reply });
        }
    }

    fn drain(&mut self, out: &mut Vec<Output>) {
        self.draining = true;
        self.send_waiters_away(Reason::Draining, out);
    }

    fn send_waiters_away(&mut self, reason: Reason, out: &mut Vec<Output>) {
        let mut ids: Vec<RequestId> = self.waiting.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.leave_line(id, Some(reason), out);
        }
    }

    fn fail(&mut self, out: &mut Vec<Output>) {
        self.failed = true;
        self.send_waiters_away(Reason::StoreFailed, out);
        let reply = || Reply::from(Reason::StoreFailed.plain());
        self.answers.abandon(|id| out.push(Output::Answer { id, reply: reply() }));
        let mut jobs = self.lanes.drain_jobs();
        self.parked.clear();
        jobs.sort_by_key(Job::request);
        for job in jobs {
            self.refuse(job, Reason::StoreFailed, out);
        }
    }
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

impl Job {
    fn new(task: Task) -> Job {
        Job { task, pins: Vec::new() }
    }

    pub(crate) fn request(&self) -> Option<RequestId> {
        match &self.task {
            Task::Request { id, .. } => Some(*id),
            Task::Expire(_) => None,
        }
    }

    fn key(&self) -> Option<&KeyId> {
        match &self.task {
            Task::Request { op, .. } => op.key(),
            Task::Expire(key) => Some(key),
        }
    }
}

fn waited_enough(record: &KeyRecord, until: Moment, now: Moment) -> Refusal {
    Refusal { retry_after_seconds: Some(until.hint_from(now)), ..record.refuse(Reason::Waiting) }
}

/// What the book says of a key.
fn held_lease(record: &KeyRecord) -> Option<HeldLease> {
    match &record.lease {
        Lease::Free => None,
        Lease::Held(grant) => Some(HeldLease {
            expires_at: grant.expires_at,
            txn: grant.txn,
            coordinated: grant.coordinated,
            staged: matches!(record.staged, Staged::Of(_)),
        }),
    }
}
