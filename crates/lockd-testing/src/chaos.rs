//! What a proxy does to connections: the settings, and the plan that a seed makes of them.

mod connection;
mod counts;
mod dice;
mod epoch;
mod proxy;
mod pump;
mod stream;

use std::ops::RangeInclusive;
use std::time::Duration;

pub use counts::{Counts, Event, What};
use dice::Dice;
pub use proxy::{ChaosProxy, ChaosProxyBuilder};

/// Nobody waits longer; clocks cannot be asked for any time at all.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server: requests.
    ToServer,
    /// From the server to the client: answers.
    ToClient,
}

/// How a connection comes to harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Harm {
    /// Reset as soon as it is made; the server never hears of it. Connections that are open already are left alone.
    Refuse,
    /// Closed in the middle, as if one side had ended: the last message is cut short.
    Close,
    /// Reset in the middle (TCP RST, "connection reset by peer"). A unix socket has no resets; there it is an abrupt close.
    Reset,
    /// Bytes of one direction stop flowing, and the connection stays open. It goes on when the chaos changes,
    /// and otherwise stays as it is until the proxy is gone, even when its client has left.
    Stall,
}

/// What a [`ChaosProxy`] does to a connection. [`Chaos::calm`] does nothing; each method adds one kind of trouble.
///
/// ```
/// use std::time::Duration;
/// use lockd_testing::Chaos;
///
/// let bad_day = Chaos::calm()
///     .latency(Duration::from_millis(5))
///     .jitter(Duration::from_millis(20))
///     .reset(0.2)
///     .stall(0.05);
/// ```
///
/// Each of refuse, close, reset and stall has its probability for every connection; the first that hits, in this order, is
/// what happens to it.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "chaos does nothing until a proxy is given it"]
pub struct Chaos {
    latency: Duration,
    jitter: Duration,
    bandwidth: Option<u64>,
    chunk: usize,
    refuse: f64,
    close: f64,
    reset: f64,
    stall: f64,
    direction: Option<Direction>,
    after: RangeInclusive<u64>,
    lifetime: Option<Duration>,
    frozen: bool,
    at_most: Option<u64>,
    rules: Vec<(RangeInclusive<u64>, Chaos)>,
}

impl Default for Chaos {
    fn default() -> Self {
        Self::calm()
    }
}

impl Chaos {
    /// Everything passes as it is.
    pub fn calm() -> Self {
        Chaos {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth: None,
            chunk: 32 * 1024,
            refuse: 0.0,
            close: 0.0,
            reset: 0.0,
            stall: 0.0,
            direction: None,
            after: 0..=4096,
            lifetime: None,
            frozen: false,
            at_most: None,
            rules: Vec::new(),
        }
    }

    /// A network that is cut: nothing flows on any connection, and none is closed. New connections are accepted, as the
    /// kernel does it, and do not reach the server. Everything goes on when the chaos changes.
    pub fn partition() -> Self {
        Chaos { frozen: true, ..Self::calm() }
    }

    /// Delays everything by this much in each direction: a request and its answer take twice as long.
    pub fn latency(mut self, delay: Duration) -> Self {
        self.latency = delay.min(LONGEST);
        self
    }

    /// Delays each piece by up to this much on top, evenly distributed. Order is kept.
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most.min(LONGEST);
        self
    }

    /// Lets through this many bytes a second in each direction of each connection (at least one).
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1));
        self
    }

    /// Passes on at most this many bytes in one piece (at least one): 32 KiB unless told otherwise. With a small number
    /// readers see messages in splinters.
    pub fn chunk(mut self, bytes: usize) -> Self {
        self.chunk = bytes.clamp(1, 1 << 20);
        self
    }

    /// Probability of [`Harm::Refuse`], from 0 to 1.
    pub fn refuse(mut self, probability: f64) -> Self {
        self.refuse = probability;
        self
    }

    /// Probability of [`Harm::Close`], from 0 to 1.
    pub fn close(mut self, probability: f64) -> Self {
        self.close = probability;
        self
    }

    /// Probability of [`Harm::Reset`], from 0 to 1.
    pub fn reset(mut self, probability: f64) -> Self {
        self.reset = probability;
        self
    }

    /// Probability of [`Harm::Stall`], from 0 to 1.
    pub fn stall(mut self, probability: f64) -> Self {
        self.stall = probability;
        self
    }

    /// Harms only this direction; otherwise the seed chooses one for each connection. `ToClient` with
    /// [`after_bytes(0..=0)`](Self::after_bytes) loses the answer to a request that the server has carried out.
    pub fn only(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// How many bytes pass before harm is done: the seed chooses one number of the range for each connection. Exactly that
    /// many pass; it happens when the next byte comes. `0..=4096` unless told otherwise.
    pub fn after_bytes(mut self, range: RangeInclusive<u64>) -> Self {
        self.after = range;
        self
    }

    /// Closes every connection at this age.
    pub fn disconnect_after(mut self, age: Duration) -> Self {
        self.lifetime = Some(age.min(LONGEST));
        self
    }

    /// Does harm at most this often and is lenient from then on, so that clients that try again get through in the end.
    /// Counts for the proxy, from when it was given this chaos.
    pub fn at_most(mut self, times: u64) -> Self {
        self.at_most = Some(times);
        self
    }

    /// Does `chaos` to the connections with these numbers instead (the first connection of a proxy has 0). The first rule
    /// that fits counts; rules inside `chaos` do not. To harm the next connections whatever their numbers, use a probability
    /// of 1 and [`at_most`](Self::at_most).
    ///
    /// ```
    /// use lockd_testing::{Chaos, Harm};
    ///
    /// let second_is_refused = Chaos::calm().connections(1..=1, Chaos::calm().refuse(1.0));
    /// let harm = |connection| second_is_refused.plan(7, 0, connection).harm;
    /// assert_eq!([harm(0), harm(1), harm(2)], [None, Some(Harm::Refuse), None]);
    /// ```
    pub fn connections(mut self, numbers: RangeInclusive<u64>, mut chaos: Chaos) -> Self {
        chaos.rules.clear();
        self.rules.push((numbers, chaos));
        self
    }

    /// Which rule is for this connection, if any.
    fn rule_for(&self, connection: u64) -> Option<usize> {
        self.rules.iter().position(|(numbers, _)| numbers.contains(&connection))
    }

    /// What is done to this connection, rules considered.
    fn of(&self, connection: u64) -> &Chaos {
        let rule = self.rule_for(connection).and_then(|rule| self.rules.get(rule));
        rule.map_or(self, |(_, chaos)| chaos)
    }

    /// What happens to the connection with this number (the first has 0) under this seed. A proxy does exactly this, until
    /// its chaos changes. `nth_chaos` is 0 for the chaos it was started with and one more after every
    /// [`ChaosProxy::set`], which makes new plans for the connections that are open.
    ///
    /// ```
    /// let chaos = lockd_testing::Chaos::calm().reset(0.5);
    /// assert_eq!(chaos.plan(7, 0, 3), chaos.plan(7, 0, 3));
    /// ```
    pub fn plan(&self, seed: u64, nth_chaos: u64, connection: u64) -> Plan {
        let chaos = self.of(connection);
        let mut dice = Dice::for_plan(seed, nth_chaos, connection);
        // Every connection rolls the same number of dice, so that changing one probability leaves the other choices as they
        // were.
        let rolls = [dice.unit(), dice.unit(), dice.unit(), dice.unit()];
        let direction = if dice.unit() < 0.5 { Direction::ToServer } else { Direction::ToClient };
        let after = dice.within(&chaos.after);
        let chances = [
            (Harm::Refuse, chaos.refuse),
            (Harm::Close, chaos.close),
            (Harm::Reset, chaos.reset),
            (Harm::Stall, chaos.stall),
        ];
        let hit = chances.into_iter().zip(rolls).find(|((_, chance), roll)| roll < chance);
        Plan {
            harm: hit.map(|((harm, _), _)| harm),
            direction: chaos.direction.unwrap_or(direction),
            after_bytes: after,
        }
    }
}

/// What a seed has chosen for one connection: see [`Chaos::plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// `None`: it comes to no harm.
    pub harm: Option<Harm>,
    pub direction: Direction,
    /// How many bytes pass in that direction before. Means nothing for [`Harm::Refuse`].
    pub after_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_kept() {
        let chaos = Chaos::calm().refuse(0.1).reset(0.5);
        let plans: Vec<_> = (0..10_000).map(|connection| chaos.plan(1, 0, connection)).collect();
        let share = |harm| plans.iter().filter(|plan| plan.harm == harm).count();
        assert!((900..1100).contains(&share(Some(Harm::Refuse))), "{}", share(Some(Harm::Refuse)));
        // Half of those that were not refused.
        assert!((4300..4700).contains(&share(Some(Harm::Reset))), "{}", share(Some(Harm::Reset)));
        assert_eq!(share(Some(Harm::Stall)) + share(Some(Harm::Close)), 0);
        let requests = plans.iter().filter(|plan| plan.direction == Direction::ToServer).count();
        assert!((4700..5300).contains(&requests), "{requests}");
        assert!(plans.iter().all(|plan| plan.after_bytes <= 4096));
        assert!(plans.iter().any(|plan| plan.after_bytes > 4000));
    }

    #[test]
    fn certain_and_impossible_are_just_that() {
        for connection in 0..1000 {
            assert_eq!(Chaos::calm().close(1.0).plan(3, 0, connection).harm, Some(Harm::Close));
            assert_eq!(Chaos::calm().close(0.0).stall(f64::NAN).plan(3, 0, connection).harm, None);
        }
    }

    #[test]
    fn seed_chaos_and_connection_all_matter() {
        let chaos = Chaos::calm().reset(0.5).after_bytes(0..=u64::MAX);
        let plan = chaos.plan(1, 1, 1);
        for other in [chaos.plan(2, 1, 1), chaos.plan(1, 2, 1), chaos.plan(1, 1, 2)] {
            assert_ne!(plan.after_bytes, other.after_bytes);
        }
        // Part of the promise: a seed in a bug report means the same to everybody.
        assert_eq!(chaos.plan(1, 1, 1), plan);
    }

    #[test]
    fn another_probability_leaves_the_other_choices() {
        let (a, b) = (Chaos::calm().reset(1.0), Chaos::calm().close(1.0).reset(1.0));
        for connection in 0..100 {
            let (a, b) = (a.plan(9, 0, connection), b.plan(9, 0, connection));
            assert_eq!((a.direction, a.after_bytes), (b.direction, b.after_bytes));
        }
    }
}
