//! What must hold after every step, whatever it was.

use lockd_core::op::Op;
use lockd_core::{Footprint, Moment};
use lockd_wire::KeyId;

use super::{Asked, Oracle};
use crate::violation::{Checked, promise};

impl Oracle {
    pub fn settled(
        &mut self,
        print: Footprint,
        deadline: Option<Moment>,
        (loading_keys, loads): (usize, usize),
        ticked: bool,
    ) -> Checked {
        self.look_around();
        let expiries = self.keys.values().filter_map(|eras| Some(eras.last()?.state.lease.as_ref()?.expires));
        let (held, first_expiry) = (expiries.clone().count(), expiries.min());
        promise(print.held_leases == held, "the core counts the leases that are held", || {
            format!("{print:?}, but {held} are held")
        })?;
        // After a failure nobody waits for records that are still on their way.
        promise(
            print.loading == loading_keys || self.failed,
            "a record that loads has been asked for",
            || format!("{print:?}, but {loading_keys} were asked for"),
        )?;
        promise(
            print.waiters + print.queue_waiters + print.unanswered <= self.requests.len(),
            "nobody waits who has not asked",
            || format!("{print:?}, but {} have asked", self.requests.len()),
        )?;
        let nothing_rests = self.newest == self.told && print.unanswered > 0;
        promise(!nothing_rests, "no answer is held back without reason", || format!("{print:?}"))?;
        if (print.waiters, print.queue_waiters, print.held_leases, print.pending_txns) == (0, 0, 0, 0) {
            promise(deadline.is_none(), "no timer is left when nothing is going on", || {
                format!("{deadline:?}")
            })?;
        }
        if loads > 0 || self.failed {
            return Ok(());
        }
        for asked in self.requests.values_mut() {
            asked.in_line.get_or_insert(self.now);
        }
        let in_line = print.waiters + print.queue_waiters;
        promise(self.requests.len() == in_line + print.unanswered, "no request is forgotten", || {
            format!("{print:?}, but {} have asked", self.requests.len())
        })?;
        promise(!self.draining || print.waiters == 0, "nobody waits while draining", || {
            format!("{print:?}")
        })?;
        for (id, asked) in self.requests.iter().filter(|(_, asked)| self.is_waiting(asked)) {
            let Some(key) = asked.op.key() else { continue };
            promise(self.model(key).lease.is_some(), "nobody waits for a free lease", || {
                format!("{id:?} for {key}")
            })?;
        }
        let overdue = |asked: &&Asked| self.patience_ends(asked).is_some_and(|end| end <= self.now);
        let overdue = self.requests.values().filter(overdue).count();
        promise(!ticked || overdue <= print.unanswered, "nobody waits longer than it wanted to", || {
            format!("{overdue} do, {print:?}")
        })?;
        let waiting = self.requests.values().filter(|asked| self.is_waiting(asked));
        if let Some(first) = waiting.filter_map(|asked| self.patience_ends(asked)).min() {
            promise(
                first == u64::MAX || deadline.is_some_and(|deadline| deadline.0 <= first),
                "the core asks to be woken when somebody has waited long enough",
                || format!("{deadline:?}, but somebody waits until {first}"),
            )?;
        }
        self.nobody_is_forgotten(print, deadline, ticked)?;
        if self.newest - self.told >= self.sweep {
            return Ok(());
        }
        let late = self.first_prepared_end();
        promise(
            late.is_none_or(|late| deadline.is_some_and(|deadline| deadline.0 <= late)),
            "the core asks to be woken for the first transaction that runs out",
            || format!("{deadline:?}, but one expires at {late:?}"),
        )?;
        promise(
            !ticked || late.is_none_or(|late| late > self.now),
            "prepared transactions are rolled back when their time has come",
            || format!("one expired at {late:?}, it is {}", self.now),
        )?;
        if let Some(first) = first_expiry {
            promise(
                deadline.is_some_and(|deadline| deadline.0 <= first),
                "the core asks to be woken for the first expiry",
                || format!("{deadline:?}, but a lease expires at {first}"),
            )?;
            promise(
                !ticked || first > self.now,
                "expired leases are cleared when their time has come",
                || format!("one expired at {first}, it is {}", self.now),
            )?;
        }
        Ok(())
    }

    /// Whoever waits for a message gets one as soon as there is one; until then the core knows when to look again.
    fn nobody_is_forgotten(&self, print: Footprint, deadline: Option<Moment>, ticked: bool) -> Checked {
        if !self.market {
            return Ok(());
        }
        for (key, eras) in self.keys.iter().filter(|_| !self.given_back.is_empty()) {
            let lease = eras.last().and_then(|era| era.state.lease.as_ref());
            let consumer = lease.and_then(|lease| self.given_back.get(&lease.id));
            promise(
                consumer.is_none_or(|consumer| self.requests.contains_key(consumer)),
                "what a consumer had that has gone goes back at once",
                || format!("{key}: {lease:?} was for {consumer:?}"),
            )?;
        }
        let awake = |at: u64| deadline.is_some_and(|deadline| deadline.0 <= at);
        for (id, asked) in &self.requests {
            let (queue, stateful) = match &asked.op {
                Op::Dequeue(op) if op.wait_seconds == -1 && print.unanswered == 0 => {
                    promise(asked.cancelled, "who does not want to wait is answered at once", || {
                        format!("{id:?} waits for {}", op.queue)
                    })?;
                    continue;
                }
                Op::Dequeue(op) if self.surely_consumes(asked, &op.queue) => (&op.queue, op.stateful),
                Op::WatchQueue(op) if print.unanswered == 0 => {
                    let head = self.head(&op.queue);
                    promise(
                        op.known == Some(head) || (!ticked && awake(self.now)),
                        "no observer is forgotten",
                        || format!("{id:?} knows {:?}, the head of {} is {head:?}", op.known, op.queue),
                    )?;
                    continue;
                }
                _ => continue,
            };
            for (key, eras) in &self.keys {
                let Some(era) = eras.last() else { continue };
                let Some(known) = era.state.message.as_ref() else { continue };
                let Some((of, message)) = key.as_message() else { continue };
                let at = known.visible_at.max(self.now);
                let never = known.dead_since.is_some() || known.dies_at.is_some_and(|dies| dies <= at);
                if of != *queue || era.state.lease.is_some() || never {
                    continue;
                }
                if stateful && self.model(&KeyId::of_queue_state(queue, message)).lease.is_some() {
                    continue;
                }
                let due = at <= self.now;
                promise(awake(at) && !(ticked && due), "nobody waits for a message that is there", || {
                    format!("{id:?} waits for {queue} at {}, {key} is there at {at}; {deadline:?}", self.now)
                })?;
            }
        }
        Ok(())
    }
}
