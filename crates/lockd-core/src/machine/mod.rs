//! The machine: takes inputs, runs jobs on lanes, gathers what they change into batches, and gives answers when they are
//! durable.
//!
//! The walk of a request: it becomes a [`Job`](job::Job); the job runs as soon as every record that it needs is in memory,
//! else it is parked while they are loaded and starts afresh ([`job`]). Running it is one [`Turn`](turn::Turn), which calls the
//! decisions, hands freed leases to the waiters in line, and ends as at most one batch ([`turn`]). Expiry, patience and
//! cancellation are in [`line`]. Since a job never holds one record while it waits for another, no two jobs can wait for each
//! other.

mod job;
mod line;
mod turn;

use std::collections::BTreeSet;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lockd_store::Batch;
use lockd_wire::{KeyId, Namespace};

pub(crate) use self::job::Job;
use self::job::Task;
use crate::answers::Answers;
use crate::decide::Limits;
use crate::lanes::Lanes;
use crate::lease_book::{HeldLease, LeaseBook};
use crate::moment::Moment;
use crate::op::{Op, Reply};
use crate::records::key::KeyRecord;
use crate::records::namespace::NamespaceRecord;

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
    /// A core over an empty store. What a store holds is put back with [`Core::restore_lease`] and
    /// [`Core::restore_namespace`] before the first input.
    pub fn new(settings: Settings) -> Core {
        Core {
            settings,
            now: Moment::default(),
            lanes: Lanes::new(settings.idle_lanes),
            book: LeaseBook::default(),
            namespaces: HashMap::default(),
            answers: Answers::default(),
            written: 0,
            waiting: HashMap::default(),
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
            Input::Durable { through } => {
                self.answers.release(through, |id, reply| out.push(Output::Answer { id, reply }));
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
}
