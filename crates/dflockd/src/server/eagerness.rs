//! Whether to look at the sockets again and again for a moment before going to sleep.
//!
//! Falling asleep and being woken costs about as much as a request, above all in a virtual machine, and whoever waits for a
//! grant waits for the waking too. On a key that many want there is never more than one thing to do, so that a server that
//! sleeps at once sleeps after each of them. Looking again is cheaper, as long as something soon comes of it. This keeps the
//! account: a look costs the time that it takes and earns what a sleep would have cost, if it was not in vain. While the
//! account is good, the loop looks; once it is empty, the loop sleeps at once, and short sleeps slowly earn it another try.
//! So an idle server is idle, and a busy one never spends noticeably more than by sleeping.

use std::time::Duration;

/// How long to stay awake for the next event.
const LOOK: Duration = Duration::from_micros(30);
/// What falling asleep and being woken costs.
const SLEEP: Duration = Duration::from_micros(5);
/// A sleep as short as this might have been a successful look: the look, and some time for waking up.
const NAP: Duration = Duration::from_micros(60);
/// What such a sleep earns.
const CHANCE: Duration = Duration::from_nanos(500);
/// What a try starts with, and the most that there can be.
const PURSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Eagerness {
    purse: Duration,
    awake: bool,
    /// With one processor, the peers could not run meanwhile.
    possible: bool,
}

impl Eagerness {
    pub(super) fn new(processors: usize) -> Self {
        Self { purse: Duration::ZERO, awake: false, possible: processors > 1 }
    }

    /// How long to stay awake before the sleep that is due now.
    pub(super) fn look(&self) -> Option<Duration> {
        self.awake.then_some(LOOK)
    }

    /// A look has found something after `took`.
    pub(super) fn found(&mut self, took: Duration) {
        self.purse = (self.purse + SLEEP).min(PURSE + took);
        self.spend(took);
    }

    /// A look was in vain.
    pub(super) fn missed(&mut self) {
        self.spend(LOOK);
    }

    fn spend(&mut self, time: Duration) {
        self.purse = self.purse.saturating_sub(time);
        self.awake &= !self.purse.is_zero();
    }

    /// An event has ended a sleep of this length.
    pub(super) fn slept(&mut self, duration: Duration) {
        if self.possible && !self.awake && duration <= NAP {
            self.purse = (self.purse + CHANCE).min(PURSE);
            self.awake = self.purse == PURSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAKE_UP: u64 = 15;
    const TRY: u64 = 2000;

    /// Lives through `count` gaps between events, in microseconds. Tells how many were slept through, and the microseconds
    /// spent awake.
    fn live(eagerness: &mut Eagerness, gaps: &[u64], count: u64) -> (u64, u64) {
        let (mut sleeps, mut awake) = (0, Duration::ZERO);
        for gap in gaps.iter().cycle().take(count as usize).copied().map(Duration::from_micros) {
            if let Some(look) = eagerness.look() {
                awake += gap.min(look);
                if gap <= look {
                    eagerness.found(gap);
                    continue;
                }
                eagerness.missed();
            }
            sleeps += 1;
            eagerness.slept(gap + Duration::from_micros(WAKE_UP));
        }
        (sleeps, awake.as_micros() as u64)
    }

    #[test]
    fn stays_awake_while_events_follow_closely() {
        let mut eagerness = Eagerness::new(2);
        assert_eq!(live(&mut eagerness, &[2], 10 * TRY).0, TRY);
        let (sleeps, _) = live(&mut eagerness, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100], 1200);
        assert_eq!(sleeps, 100, "each long gap, and nothing else, is slept through");
        assert!(eagerness.look().is_some());
    }

    #[test]
    fn looking_never_costs_noticeably_more_than_sleeping() {
        for gaps in [&[12][..], &[6], &[40], &[1, 29], &[3, 3, 3, 200]] {
            let mut eagerness = Eagerness::new(2);
            let (sleeps, awake) = live(&mut eagerness, gaps, 100 * TRY);
            let cost = awake + sleeps * SLEEP.as_micros() as u64;
            let asleep = 100 * TRY * SLEEP.as_micros() as u64;
            assert!(cost * 100 <= asleep * 115, "{gaps:?}: {cost} against {asleep}");
        }
    }

    #[test]
    fn an_idle_server_never_looks() {
        let mut eagerness = Eagerness::new(2);
        assert_eq!(live(&mut eagerness, &[900, 5000], 10 * TRY), (10 * TRY, 0));
    }

    #[test]
    fn one_processor_is_left_to_the_peers() {
        let mut eagerness = Eagerness::new(1);
        assert_eq!(live(&mut eagerness, &[1], 10 * TRY), (10 * TRY, 0));
    }
}
