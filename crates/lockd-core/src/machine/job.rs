//! Jobs: something to do, and the records that have to be in memory for it.

use bytes::Bytes;
use lockd_wire::KeyId;

use super::turn::Turn;
use super::{Core, LoadError, Output, RequestId};
use crate::decide;
use crate::op::{Op, Reason};
use crate::records::key::{KeyRecord, Lease, Staged};

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
pub(super) enum Task {
    Request { id: RequestId, op: Op },
    Expire(KeyId),
}

impl Job {
    pub(super) fn new(task: Task) -> Job {
        Job { task, pins: Vec::new() }
    }

    pub(crate) fn request(&self) -> Option<RequestId> {
        match &self.task {
            Task::Request { id, .. } => Some(*id),
            Task::Expire(_) => None,
        }
    }

    pub(super) fn key(&self) -> Option<&KeyId> {
        match &self.task {
            Task::Request { op, .. } => op.key(),
            Task::Expire(key) => Some(key),
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

    pub(super) fn unpin(&mut self, job: &mut Job) {
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
                for mut job in self.lanes.lost(key) {
                    self.unpark(&job);
                    self.unpin(&mut job);
                    self.refuse(job, Reason::Damaged, out);
                }
            }
        }
    }

    /// Answers a job that will not run.
    pub(super) fn refuse(&mut self, job: Job, reason: Reason, out: &mut Vec<Output>) {
        if let Task::Request { id, .. } = job.task {
            out.push(Output::Answer { id, reply: reason.plain().into() });
        }
    }
}
