//! The machine: takes inputs, runs jobs on lanes, gathers what they change into batches, and gives answers when they are
//! durable.
//!
//! The walk of a request: it becomes a [`Job`](job::Job); the job runs as soon as every record that it needs is in memory,
//! else it is parked while they are loaded and starts afresh ([`job`]). Running it is one [`Turn`](turn::Turn), which calls the
//! decisions, hands freed leases to the waiters in line, and ends as at most one batch ([`turn`]). Expiry, patience and
//! cancellation are in [`line`]. Since a job never holds one record while it waits for another, no two jobs can wait for each
//! other.

mod attend;
mod consume;
mod distinct;
mod job;
mod line;
mod transact;
mod turn;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lockd_store::Batch;
use lockd_wire::{KeyId, Namespace, QueueId, TxnId};

pub(crate) use self::job::Job;
use self::job::Task;
use crate::answers::Answers;
use crate::decide::Limits;
use crate::lanes::Lanes;
use crate::lease_book::{HeldLease, LeaseBook};
use crate::moment::Moment;
use crate::op::{Op, Reply};
use crate::queues::Queues;
use crate::records::key::KeyRecord;
use crate::records::namespace::NamespaceRecord;
use crate::records::ready::{Place, Ready};
use crate::records::txn::Pending;
use crate::txns::Txns;

/// Names a request; the shell counts upwards, so that ids are in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

// Inputs are handed over once and never stored, so a box would only cost an allocation a request.
#[allow(clippy::large_enum_variant)]
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
    /// The answer to [`Output::LoadTxn`]: the stored decision, if there is one.
    TxnLoaded {
        txn: TxnId,
        record: Result<Option<Bytes>, LoadError>,
    },
    /// The answer to [`Output::Scan`].
    Scanned {
        queue: QueueId,
        page: Result<Vec<Ready>, LoadError>,
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
    /// Read the record of a decided transaction, and feed it back as [`Input::TxnLoaded`].
    LoadTxn(TxnId),
    /// Read so many of the next entries of a queue's ready index as of the newest durable state, and feed them back as
    /// [`Input::Scanned`]: fewer only if there are no more.
    Scan { queue: QueueId, after: Option<Place>, limit: usize },
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
    /// Queues kept in memory when nobody waits for them.
    pub idle_queues: usize,
    /// How long the decision about a transaction is remembered, in milliseconds.
    pub txn_retention_ms: u64,
    pub strides: Strides,
}

/// How much the core does in one go. Servers take the default; the simulator takes short ones, to see all the ends of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    /// Entries of a queue's ready index that are asked for together.
    pub page: usize,
    /// Records of the next messages that are asked for together.
    pub fetch_ahead: usize,
    /// Expired leases that are cleared, and waiters that are sent home, in one tick; expired leases wait while so many
    /// batches of this kind are under way, so that thousands that expire together delay nobody else.
    pub sweep: usize,
    /// Queues that are looked after in one tick.
    pub alarms: usize,
}

impl Default for Strides {
    fn default() -> Strides {
        Strides { page: 256, fetch_ahead: 16, sweep: 32, alarms: 32 }
    }
}

/// What the core has in memory; all but the lanes are zero when nothing is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    pub lanes: usize,
    pub loading: usize,
    pub waiters: usize,
    pub held_leases: usize,
    pub unanswered: usize,
    pub queues: usize,
    /// Those who wait for a queue: consumers and observers.
    pub queue_waiters: usize,
    pub pending_txns: usize,
}

#[derive(Debug)]
pub struct Core {
    settings: Settings,
    now: Moment,
    lanes: Lanes,
    book: LeaseBook,
    namespaces: HashMap<Namespace, NamespaceRecord, RandomState>,
    queues: Queues,
    txns: Txns,
    answers: Answers,
    /// The newest batch handed out.
    written: u64,
    /// Batches under way that time alone has caused.
    sweeps: VecDeque<u64>,
    waiting: HashMap<RequestId, KeyId, RandomState>,
    /// Consumers and observers, and of which queue.
    attending: HashMap<RequestId, QueueId, RandomState>,
    /// Acquires that wait for a record, and in which lane, so that they can be taken back.
    parked: HashMap<RequestId, KeyId, RandomState>,
    deadlines: BTreeSet<(Moment, RequestId)>,
    draining: bool,
    failed: bool,
}

impl Core {
    /// A core over an empty store. What a store holds is put back with [`Core::restore_lease`] and
    /// [`Core::restore_namespace`] before the first input.
    pub fn new(settings: Settings) -> Core {
        Core {
            settings,
            now: Moment::default(),
            lanes: Lanes::new(settings.idle_lanes),
            book: LeaseBook::default(),
            namespaces: HashMap::default(),
            queues: Queues::new(settings.idle_queues, settings.strides.page),
            txns: Txns::default(),
            answers: Answers::default(),
            written: 0,
            sweeps: VecDeque::new(),
            waiting: HashMap::default(),
            attending: HashMap::default(),
            parked: HashMap::default(),
            deadlines: BTreeSet::new(),
            draining: false,
            failed: false,
        }
    }

    /// Puts back what is to be remembered of a leased key.
    pub fn restore_lease(&mut self, key: &KeyId, record: &KeyRecord) {
        self.book.set(key, HeldLease::of(record));
    }

    pub fn restore_txn(&mut self, txn: TxnId, record: Pending) {
        self.txns.set_pending(txn, Some(record), 0);
    }

    pub fn restore_namespace(&mut self, namespace: Namespace, record: NamespaceRecord) {
        self.namespaces.insert(namespace, record);
    }

    /// Takes one input. `now` never goes backwards here, whatever the caller's clock does.
    pub fn handle(&mut self, now: Moment, input: Input, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        match input {
            Input::Request { id, op } => self.run(Job::new(Task::Request { id, op }), out),
            Input::Cancel(id) => self.cancel(id, out),
            Input::Loaded { key, record } => self.loaded(&key, record, out),
            Input::TxnLoaded { txn, record } => self.txn_loaded(txn, record, out),
            Input::Scanned { queue, page } => self.scanned(queue, page, out),
            Input::Durable { through } => {
                while self.sweeps.front().is_some_and(|&sweep| sweep <= through) {
                    self.sweeps.pop_front();
                }
                self.txns.settle(through);
                self.answers.release(through, |id, reply| out.push(Output::Answer { id, reply }));
            }
            Input::Failed => self.fail(out),
            Input::Tick => {
                self.sweep(out);
                self.time_out(out);
                self.look_after_queues(out);
            }
            Input::Drain => self.drain(out),
        }
        self.lanes.trim(self.answers.durable());
        self.queues.trim(self.answers.durable());
    }

    /// When to tick next. A moment that has passed means: at once, after letting others in.
    pub fn next_deadline(&self) -> Option<Moment> {
        let expiry = if self.may_sweep() { self.book.next_due() } else { None };
        let txns = if self.may_sweep() { self.txns.next_expiry() } else { None };
        let patience = self.deadlines.first().map(|&(at, _)| at);
        [expiry, txns, patience, self.queues.next_alarm()].into_iter().flatten().min()
    }

    pub fn footprint(&self) -> Footprint {
        Footprint {
            lanes: self.lanes.len(),
            loading: self.lanes.loading(),
            waiters: self.waiting.len(),
            held_leases: self.book.len(),
            unanswered: self.answers.waiting(),
            queues: self.queues.len(),
            queue_waiters: self.attending.len(),
            pending_txns: self.txns.len(),
        }
    }

    /// Leases that have not been released or cleared.
    pub fn held_leases(&self) -> usize {
        self.book.len()
    }
}
