//! Those who wait for a queue: consumers in line for its next message, observers for another head.

use lockd_wire::{KeyId, QueueId};
use smallvec::{SmallVec, smallvec};

use super::job::{Job, TRY_AGAIN_MS, Task};
use super::turn::Turn;
use super::{Core, LoadError, Output, RequestId};
use crate::decide;
use crate::listing::Listing;
use crate::moment::Moment;
use crate::op::{Delivery, Dequeue, QueueHead, QueueView, Reason, Refusal, Reply, WatchQueue};
use crate::queues::{Consumer, Patience};
use crate::records::key::Lease;
use crate::records::ready::{Place, Ready};
use crate::window::Next;

/// Why somebody waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    Impatient,
    Gone,
    SentAway(Reason),
}

/// How far serving the line of a queue came.
enum Served {
    /// Everybody who could be served was; the next message is due then, if there is one.
    All(Option<Moment>),
    /// A record or a page of the index is on its way.
    Interrupted,
}

impl Core {
    pub(super) fn dequeue(&mut self, id: RequestId, op: Dequeue, turn: &mut Turn) -> Option<Reply> {
        if self.draining {
            return Some(Reason::Draining.plain().into());
        }
        let patience = match op.wait_seconds {
            -1 => Patience::None,
            seconds => match u64::try_from(seconds) {
                Ok(seconds) if seconds > 0 => {
                    Patience::Until(self.now.after_full(seconds.saturating_mul(1000)))
                }
                _ => Patience::Endless,
            },
        };
        if let Patience::Until(deadline) = patience {
            self.deadlines.insert((deadline, id));
        }
        self.attending.insert(id, op.queue.clone());
        turn.touch(op.queue.clone());
        let queue = self.queues.get(&op.queue);
        if patience == Patience::None {
            queue.hasty.push(id);
        }
        let consumer = Consumer { op: Box::new(op), patience, collected: Vec::new(), basis: 0 };
        queue.consumers.insert(id, consumer);
        None
    }

    pub(super) fn watch(&mut self, id: RequestId, op: WatchQueue, turn: &mut Turn) -> Option<Reply> {
        self.attending.insert(id, op.queue.clone());
        let queue = self.queues.get(&op.queue);
        queue.watchers.insert(id, op.known);
        // Whoever comes looks for itself; the others are told when the head changes.
        queue.newcomers.push(id);
        turn.touch(op.queue);
        None
    }

    /// Serves those who wait for a queue, as far as can be done with what is in memory.
    pub(super) fn attend(&mut self, id: &QueueId, turn: &mut Turn) {
        if self.queues.known(id).is_none_or(|queue| !queue.is_wanted()) {
            return self.queues.set_alarm(id, None);
        }
        let due = match self.serve_line(id, turn) {
            Served::All(due) => due,
            Served::Interrupted => None,
        };
        let change = self.tell_watchers(id, turn);
        if self.queues.known(id).is_none_or(|queue| !queue.is_wanted()) {
            return self.queues.set_alarm(id, None);
        }
        let again = self.queues.known(id).and_then(|queue| queue.passed_over_until);
        // While a page is on its way, its arrival will do.
        let again = again.filter(|&at| at > self.now);
        self.queues.set_alarm(id, [due, change, again].into_iter().flatten().min());
    }

    fn serve_line(&mut self, id: &QueueId, turn: &mut Turn) -> Served {
        let now = self.now;
        // Consumers and messages that have to wait for a workflow state that somebody else has leased.
        let (mut passed_by, mut passed, mut state_due): (Option<RequestId>, Option<Place>, Option<Moment>) =
            (None, None, None);
        // Their records: they must stay while those behind them are read, or whoever comes back here would read them again.
        let mut seen: SmallVec<[KeyId; 4]> = smallvec![];
        loop {
            let durable = self.answers.durable();
            let Some(queue) = self.queues.known(id) else { return Served::All(None) };
            if queue.fetching {
                return Served::Interrupted;
            }
            if queue.passed_over_until.is_some_and(|until| until <= now) && !queue.window.is_asking() {
                queue.passed_over_until = None;
                queue.window.start_again();
            }
            let Some((&consumer_id, consumer)) = queue.next_consumer(passed_by) else {
                if passed_by.is_some() {
                    self.nothing_left(id, turn);
                }
                return Served::All(state_due);
            };
            let stateful = consumer.op.stateful;
            let next = match queue.window.next(now, passed.filter(|_| stateful)) {
                Next::Ready(ready) => ready,
                Next::Unknown => {
                    if let Some((after, limit)) = queue.window.ask(durable) {
                        turn.scans.push((id.clone(), after, limit));
                    }
                    return Served::Interrupted;
                }
                next => {
                    if passed.is_some() && stateful {
                        // The others in line may still get what this one cannot have.
                        passed_by = Some(consumer_id);
                        if let Next::Later(at) = next {
                            state_due = Some(state_due.map_or(at, |due| due.min(at)));
                        }
                        continue;
                    }
                    self.nothing_left(id, turn);
                    let later = match next {
                        Next::Later(at) => Some(at),
                        _ => None,
                    };
                    return Served::All([later, state_due].into_iter().flatten().min());
                }
            };
            let key = KeyId::of_message(id, next.place.message);
            let state_key = stateful.then(|| KeyId::of_queue_state(id, next.place.message));
            let here = |core: &mut Core, key: &KeyId| core.lanes.ready(key).is_some();
            if !here(self, &key) || state_key.as_ref().is_some_and(|key| !here(self, key)) {
                seen.extend(std::iter::once(key).chain(state_key));
                self.fetch(id, seen, turn);
                return Served::Interrupted;
            }
            let agrees = self
                .lanes
                .ready(&key)
                .is_some_and(|lane| Listing::of(next.place.message, &lane.record).ready == Some(next));
            if !agrees {
                debug_assert!(false, "the index disagrees with {key}");
                self.queues.get(id).window.skip(next.place.message);
                continue;
            }
            if let Some(state_key) = &state_key {
                if !self.may_expire(state_key) {
                    seen.extend([key, state_key.clone()]);
                    self.fetch(id, seen, turn);
                    return Served::Interrupted;
                }
                self.expire(state_key, turn);
                self.hand_over_freed(turn);
                self.relist_changed(turn);
                let until = self.lanes.ready(state_key).and_then(|lane| match &lane.record.lease {
                    Lease::Held(grant) => Some(grant.expires_at),
                    Lease::Free => None,
                });
                if let Some(until) = until {
                    passed = Some(next.place);
                    seen.extend([key, state_key.clone()]);
                    state_due = Some(state_due.map_or(until, |due| due.min(until)));
                    continue;
                }
            }
            self.deliver(id, consumer_id, next, &key, state_key.as_ref(), turn);
        }
    }

    /// Are all here whom the end of this lease concerns, if its time is over?
    fn may_expire(&mut self, key: &KeyId) -> bool {
        let now = self.now;
        let txn = self.lanes.ready(key).and_then(|lane| match &lane.record.lease {
            Lease::Held(grant) if grant.is_expired(now) => Some(grant.txn),
            _ => None,
        });
        let concerned = txn.map(|txn| self.participants(txn)).unwrap_or_default();
        concerned.iter().all(|key| self.lanes.ready(key).is_some())
    }

    /// Asks for the records of the next message, and of some that come after it.
    fn fetch(&mut self, id: &QueueId, mut keys: SmallVec<[KeyId; 4]>, turn: &mut Turn) {
        let (now, most) = (self.now, self.settings.strides.fetch_ahead);
        let queue = self.queues.get(id);
        queue.fetching = true;
        let wanted: usize = queue
            .consumers
            .values()
            .take(most)
            .map(|consumer| consumer.op.ids.len() - consumer.collected.len().min(consumer.op.ids.len()))
            .sum();
        let ahead: Vec<Place> = queue.window.due(now).take(wanted.clamp(1, most)).collect();
        for place in ahead {
            let key = KeyId::of_message(id, place.message);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        turn.next.push(Task::Attend(id.clone(), keys));
    }

    fn deliver(
        &mut self,
        id: &QueueId,
        consumer_id: RequestId,
        ready: Ready,
        key: &KeyId,
        state_key: Option<&KeyId>,
        turn: &mut Turn,
    ) {
        let (now, limits, batch) = (self.now, self.settings.limits, self.written + 1);
        let Some(consumer) = self.queues.get(id).consumers.get_mut(&consumer_id) else { return };
        let Some(ids) = consumer.op.ids.get(consumer.collected.len()).copied() else { return };
        let Some(lane) = self.lanes.ready(key) else { return };
        let made = decide::deliver(&mut lane.record, ready.place.message, now, &consumer.op, &ids, &limits);
        let Some(mut delivery) = made else { return };
        turn.change(key);
        if let Some(state_key) = state_key
            && let Some(state) = self.lanes.ready(state_key)
        {
            delivery.state = Some(decide::lease_state(&mut state.record, now, &consumer.op, &ids, &delivery));
            turn.change(state_key);
        }
        consumer.collected.push(delivery);
        consumer.basis = batch;
        let full = consumer.collected.len() == consumer.op.ids.len();
        self.relist(key, turn);
        if full {
            self.answer_consumer(id, consumer_id, turn);
        }
    }

    /// The queue is empty for now: those with something in their hands go, and those who do not want to wait.
    fn nothing_left(&mut self, id: &QueueId, turn: &mut Turn) {
        let queue = self.queues.get(id);
        let holding: Vec<RequestId> = queue
            .consumers
            .iter()
            .filter(|(_, consumer)| !consumer.collected.is_empty())
            .map(|(&id, _)| id)
            .collect();
        let hasty = std::mem::take(&mut queue.hasty);
        for consumer in holding {
            self.answer_consumer(id, consumer, turn);
        }
        for consumer in hasty {
            self.answer_consumer(id, consumer, turn);
        }
    }

    /// Takes a consumer out of the line, with what it has got or with nothing.
    fn answer_consumer(&mut self, id: &QueueId, consumer_id: RequestId, turn: &mut Turn) {
        let Some(consumer) = self.step_out(id, consumer_id) else { return };
        turn.basis = turn.basis.max(consumer.basis.min(self.written));
        turn.answers.push((consumer_id, reply_of(consumer)));
    }

    fn step_out(&mut self, id: &QueueId, consumer_id: RequestId) -> Option<Consumer> {
        let queue = self.queues.get(id);
        queue.hasty.retain(|&hasty| hasty != consumer_id);
        // An observer stays where it is.
        let consumer = queue.consumers.remove(&consumer_id)?;
        self.attending.remove(&consumer_id);
        if let Patience::Until(deadline) = consumer.patience {
            self.deadlines.remove(&(deadline, consumer_id));
        }
        Some(consumer)
    }

    /// Tells observers of a head that they do not know. When does the head change by itself?
    fn tell_watchers(&mut self, id: &QueueId, turn: &mut Turn) -> Option<Moment> {
        let (now, durable) = (self.now, self.answers.durable());
        let queue = self.queues.get(id);
        if queue.watchers.is_empty() {
            return None;
        }
        let (head, change) = match queue.window.next(now, None) {
            Next::Ready(ready) => (Some(ready), ready.dies_at),
            Next::Later(at) => (None, Some(at)),
            Next::Never => (None, None),
            Next::Unknown => {
                if let Some((after, limit)) = queue.window.ask(durable) {
                    turn.scans.push((id.clone(), after, limit));
                }
                return None;
            }
        };
        let head_id = head.map(|ready| ready.place.message);
        let newcomers = std::mem::take(&mut queue.newcomers);
        let candidates: Vec<RequestId> = if queue.told == Some(head_id) {
            newcomers
        } else {
            queue.told = Some(head_id);
            queue.watchers.keys().copied().collect()
        };
        let waiting = queue.consumers.len();
        let told: Vec<RequestId> = candidates
            .into_iter()
            .filter(|watcher| queue.watchers.get(watcher).is_some_and(|known| *known != Some(head_id)))
            .collect();
        for watcher in &told {
            queue.watchers.remove(watcher);
        }
        let view = QueueView {
            now,
            waiting_consumers: waiting,
            watched: !queue.watchers.is_empty() || waiting > 0,
            head: head
                .map(|ready| QueueHead { message: ready.place.message, visible_at: ready.place.visible_at }),
        };
        // What is shown rests on the batches that made it so.
        turn.basis = turn.basis.max(queue.written.min(self.written));
        for watcher in told {
            self.attending.remove(&watcher);
            turn.answers.push((watcher, Reply::Queue(view.clone())));
        }
        change
    }

    pub(super) fn leave_queue(&mut self, id: RequestId, why: Leaving, out: &mut Vec<Output>) {
        let Some(queue_id) = self.attending.get(&id).cloned() else { return };
        self.leave(id, &queue_id, why, out);
        if self.queues.known(&queue_id).is_none_or(|queue| !queue.is_wanted()) {
            self.queues.set_alarm(&queue_id, None);
        }
    }

    fn leave(&mut self, id: RequestId, queue_id: &QueueId, why: Leaving, out: &mut Vec<Output>) {
        if let Some(consumer) = self.step_out(queue_id, id) {
            let basis = consumer.basis;
            let reply = match why {
                // Nobody will hear of these.
                Leaving::Gone => {
                    for delivery in &consumer.collected {
                        self.give_back_delivery(delivery, out);
                    }
                    Reason::Cancelled.plain().into()
                }
                Leaving::SentAway(reason)
                    if consumer.collected.is_empty() || reason == Reason::StoreFailed =>
                {
                    reason.plain().into()
                }
                Leaving::SentAway(_) | Leaving::Impatient => reply_of(consumer),
            };
            if let Some(reply) = self.answers.hold(basis, id, reply) {
                out.push(Output::Answer { id, reply });
            }
            return;
        }
        let reason = match why {
            // Whoever only looks may go on looking while leases run out.
            Leaving::SentAway(Reason::Draining) | Leaving::Impatient => return,
            Leaving::SentAway(reason) => reason,
            Leaving::Gone => Reason::Cancelled,
        };
        let queue = self.queues.get(queue_id);
        queue.newcomers.retain(|&newcomer| newcomer != id);
        if queue.watchers.remove(&id).is_some() {
            self.attending.remove(&id);
            out.push(Output::Answer { id, reply: reason.plain().into() });
        }
    }

    fn give_back_delivery(&mut self, delivery: &Delivery, out: &mut Vec<Output>) {
        for (key, lease) in delivery.leases() {
            self.run(Job::new(Task::GiveBack(key, lease)), out);
        }
    }

    pub(super) fn scanned(
        &mut self,
        queue: QueueId,
        page: Result<Vec<Ready>, LoadError>,
        out: &mut Vec<Output>,
    ) {
        let durable = self.answers.durable();
        match page {
            Ok(page) => {
                self.queues.get(&queue).window.fill(page, durable);
                self.run(Job::new(Task::Attend(queue, smallvec![])), out);
            }
            Err(LoadError) => {
                let known = self.queues.get(&queue);
                known.window.give_up();
                let ids: Vec<RequestId> =
                    known.consumers.keys().chain(known.watchers.keys()).copied().collect();
                for id in ids {
                    self.leave_queue(id, Leaving::SentAway(Reason::Damaged), out);
                }
            }
        }
    }

    /// A record cannot be read: the queue goes on without it, and tries again later.
    pub(super) fn unreadable(&mut self, key: &KeyId) {
        let later = self.now.after_full(TRY_AGAIN_MS);
        if let Some((queue, message)) = key.as_message().or_else(|| key.as_queue_state())
            && let Some(known) = self.queues.known(&queue)
        {
            known.window.skip(message);
            known.passed_over_until.get_or_insert(later);
        }
    }

    /// Looks after queues in which something has become due.
    pub(super) fn look_after_queues(&mut self, out: &mut Vec<Output>) {
        for _ in 0..self.settings.strides.alarms {
            if self.failed {
                return;
            }
            let Some(queue) = self.queues.take_due(self.now) else { return };
            self.run(Job::new(Task::Attend(queue, smallvec![])), out);
        }
    }
}

fn reply_of(consumer: Consumer) -> Reply {
    if !consumer.collected.is_empty() {
        return Reply::Delivered(consumer.collected);
    }
    let retry_after_seconds = match consumer.op.wait_seconds {
        -1 => None,
        seconds => Some(u64::try_from(seconds).unwrap_or(1).max(1)),
    };
    Refusal { retry_after_seconds, ..Reason::NoMessage.plain() }.into()
}
