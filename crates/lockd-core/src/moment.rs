//! Points in time. The core never looks at a clock: every input says what time it is.

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Whole seconds, rounded down: what the API reports, so that nobody believes in a lease longer than we do.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    pub fn plus_millis(self, millis: u64) -> Moment {
        Moment(self.0.saturating_add(millis))
    }

    /// The first moment that is certainly so many milliseconds after now: the clock shows whole milliseconds, rounded down, so
    /// that "now" may be nearly one more.
    pub fn after_full(self, millis: u64) -> Moment {
        self.plus_millis(millis.saturating_add(1))
    }

    /// Seconds from now until then, rounded up, at least one: what a refused client is told to wait. The millisecond that
    /// [`Moment::after_full`] adds does not make it a second more: nobody waits 31 seconds for a lease of 30.
    pub fn hint_from(self, now: Moment) -> u64 {
        self.0.saturating_sub(now.0).saturating_sub(1).div_ceil(1000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_round_up_and_never_beyond_the_time_that_was_asked_for() {
        let now = Moment(5);
        assert_eq!(now.after_full(30_000).hint_from(now), 30);
        assert_eq!(now.plus_millis(30_000).hint_from(now), 30);
        assert_eq!(now.plus_millis(29_002).hint_from(now), 30);
        assert_eq!(now.plus_millis(1).hint_from(now), 1);
        assert_eq!(Moment(0).hint_from(now), 1);
    }
}
