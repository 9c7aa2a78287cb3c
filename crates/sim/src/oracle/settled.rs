//! What must hold after every step, whatever it was.

use lockd_core::{Footprint, Moment};

use super::{Asked, Oracle};
use crate::violation::{Checked, promise};

/// While this many batches are on their way, the core leaves expired leases alone.
const SWEEPS_UNDER_WAY: u64 = 32;

impl Oracle {
    pub fn settled(
        &mut self,
        print: Footprint,
        deadline: Option<Moment>,
        loads: usize,
        ticked: bool,
    ) -> Checked {
        let expiries = self.keys.values().filter_map(|eras| Some(eras.last()?.state.lease.as_ref()?.expires));
        let (held, first_expiry) = (expiries.clone().count(), expiries.min());
        promise(print.held_leases == held, "the core counts the leases that are held", || {
            format!("{print:?}, but {held} are held")
        })?;
        // After a failure nobody waits for records that are still on their way.
        promise(print.loading == loads || self.failed, "a record that loads has been asked for", || {
            format!("{print:?}, but {loads} were asked for")
        })?;
        promise(
            print.waiters + print.unanswered <= self.requests.len(),
            "nobody waits who has not asked",
            || format!("{print:?}, but {} have asked", self.requests.len()),
        )?;
        let nothing_rests = self.newest == self.told && print.unanswered > 0;
        promise(!nothing_rests, "no answer is held back without reason", || format!("{print:?}"))?;
        if print.waiters == 0 && print.held_leases == 0 {
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
        promise(self.requests.len() == print.waiters + print.unanswered, "no request is forgotten", || {
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
        if self.newest - self.told >= SWEEPS_UNDER_WAY {
            return Ok(());
        }
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
}
