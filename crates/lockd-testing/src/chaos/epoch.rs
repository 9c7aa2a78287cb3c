//! The time during which one chaos rules, with what is left of its leave to do harm.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Chaos, Plan};

#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) chaos: Chaos,
    pub(super) nth: u64,
    seed: u64,
    /// How often harm was done: by each rule, and at the end by the chaos itself.
    harmed: Vec<AtomicU64>,
}

impl Epoch {
    pub(super) fn new(chaos: Chaos, seed: u64, nth: u64) -> Epoch {
        let harmed = (0..=chaos.rules.len()).map(|_| AtomicU64::new(0)).collect();
        Epoch { chaos, nth, seed, harmed }
    }

    /// What is done to this connection.
    pub(super) fn of(&self, connection: u64) -> &Chaos {
        self.chaos.of(connection)
    }

    pub(super) fn plan(&self, connection: u64) -> Plan {
        self.chaos.plan(self.seed, self.nth, connection)
    }

    /// Asks for leave to do harm once.
    pub(super) fn may_harm(&self, connection: u64) -> bool {
        let rule = self.chaos.rule_for(connection).unwrap_or(self.chaos.rules.len());
        let Some((limit, harmed)) = self.of(connection).at_most.zip(self.harmed.get(rule)) else {
            return true;
        };
        let one_more = |harmed| (harmed < limit).then_some(harmed + 1);
        harmed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_own_limit() {
        let chaos = Chaos::calm()
            .at_most(1)
            .connections(0..=1, Chaos::calm().at_most(2))
            .connections(2..=2, Chaos::calm());
        let epoch = Epoch::new(chaos, 0, 0);
        assert_eq!([0, 1, 1].map(|connection| epoch.may_harm(connection)), [true, true, false]);
        assert_eq!([2, 2, 2].map(|connection| epoch.may_harm(connection)), [true; 3]);
        assert_eq!([3, 4].map(|connection| epoch.may_harm(connection)), [true, false]);
    }
}
