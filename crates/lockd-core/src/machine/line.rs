//! The line of waiters, and what time does to it: expiry, patience, cancellation, drain, failure.

use super::attend::Leaving;
use super::job::{Job, Task};
use super::{Core, Output, RequestId};
use crate::moment::Moment;
use crate::op::{Reason, Refusal, Reply};
use crate::records::key::{KeyRecord, Lease};

impl Core {
    /// Expired leases are cleared a few at a time and only while few batches of this kind are under way, so that thousands
    /// that expire together delay nobody else. What others have under way does not count: they could hold up expiry for
    /// ever.
    pub(super) fn may_sweep(&self) -> bool {
        !self.failed && self.sweeps.len() < self.settings.strides.sweep
    }

    /// Clears some of the leases whose time is over.
    pub(super) fn sweep(&mut self, out: &mut Vec<Output>) {
        for _ in 0..self.settings.strides.sweep {
            if !self.may_sweep() {
                return;
            }
            let task = match self.book.take_due(self.now) {
                Some(key) => Task::Expire(key),
                None => match self.txns.take_expired(self.now) {
                    Some(txn) => Task::ExpireTxn(txn),
                    None => return,
                },
            };
            self.run(Job::new(task), out);
        }
    }

    /// Answers some of the waiters whose patience is over.
    pub(super) fn time_out(&mut self, out: &mut Vec<Output>) {
        for _ in 0..self.settings.strides.sweep {
            match self.deadlines.first() {
                Some(&(at, id)) if at <= self.now => {
                    self.deadlines.pop_first();
                    self.leave_line(id, None, out);
                    self.leave_queue(id, Leaving::Impatient, out);
                }
                _ => return,
            }
        }
    }

    pub(super) fn cancel(&mut self, id: RequestId, out: &mut Vec<Output>) {
        // An acquire whose record is still on its way would stand in line, or be granted, for nobody.
        if let Some(key) = self.parked.remove(&id)
            && let Some(mut job) = self.lanes.withdraw(&key, id)
        {
            self.unpin(&mut job);
            return self.refuse(job, Reason::Cancelled, out);
        }
        self.leave_line(id, Some(Reason::Cancelled), out);
        self.leave_queue(id, Leaving::Gone, out);
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

    pub(super) fn drain(&mut self, out: &mut Vec<Output>) {
        self.draining = true;
        self.send_waiters_away(Reason::Draining, out);
    }

    fn send_waiters_away(&mut self, reason: Reason, out: &mut Vec<Output>) {
        let mut ids: Vec<RequestId> = self.waiting.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.leave_line(id, Some(reason), out);
        }
        let mut ids: Vec<RequestId> = self.attending.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.leave_queue(id, Leaving::SentAway(reason), out);
        }
    }

    pub(super) fn fail(&mut self, out: &mut Vec<Output>) {
        self.failed = true;
        self.send_waiters_away(Reason::StoreFailed, out);
        let reply = || Reply::from(Reason::StoreFailed.plain());
        self.answers.abandon(|id| out.push(Output::Answer { id, reply: reply() }));
        let mut jobs = self.lanes.drain_jobs();
        jobs.append(&mut self.txns.drain_jobs());
        self.parked.clear();
        jobs.sort_by_key(Job::request);
        for job in jobs {
            self.refuse(job, Reason::StoreFailed, out);
        }
    }
}

pub(super) fn waited_enough(record: &KeyRecord, until: Moment, now: Moment) -> Refusal {
    Refusal { retry_after_seconds: Some(until.hint_from(now)), ..record.refuse(Reason::Waiting) }
}
