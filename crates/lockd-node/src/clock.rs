//! The time, without jumps. Leases are promises about elapsed time, so the clock that they are measured with follows the
//! machine's monotonic clock, and is led towards the wall clock gently: when somebody sets the wall clock, leases neither end
//! at once nor last for hours.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lockd_core::Moment;

/// How often the wall clock is looked at, and how far one look may move us: 2 % at the most.
const LOOK_EVERY_MS: u64 = 1000;
const STEP_MS: i64 = 20;

/// Differences that are not worth following: both clocks are read in whole milliseconds, and not at once.
const TOLERANCE_MS: i64 = 5;

#[derive(Debug)]
pub struct SteadyClock {
    started: Instant,
    started_at_ms: u64,
    /// What was added to elapsed time so far to follow the wall clock.
    led_ms: AtomicI64,
    looked_ms: AtomicU64,
    /// The latest moment shown: being led back means standing still for a little, never going back.
    shown_ms: AtomicU64,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::start()
    }
}

impl SteadyClock {
    pub fn start() -> SteadyClock {
        SteadyClock {
            started: Instant::now(),
            started_at_ms: wall_ms(),
            led_ms: AtomicI64::new(0),
            looked_ms: AtomicU64::new(0),
            shown_ms: AtomicU64::new(0),
        }
    }

    pub fn now(&self) -> Moment {
        let elapsed = self.started.elapsed().as_millis() as u64;
        let looked = self.looked_ms.load(Ordering::Relaxed);
        if elapsed.saturating_sub(looked) >= LOOK_EVERY_MS
            && self.looked_ms.compare_exchange(looked, elapsed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let behind = wall_ms() as i64 - self.at(elapsed).0 as i64;
            if behind.abs() > TOLERANCE_MS {
                self.led_ms.fetch_add(behind.clamp(-STEP_MS, STEP_MS), Ordering::Relaxed);
            }
        }
        let now = self.at(elapsed).0;
        Moment(self.shown_ms.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// The instant at which this clock will show that moment, as far as can be known now.
    pub fn instant_of(&self, moment: Moment) -> Instant {
        let ahead = moment.0.saturating_sub(self.now().0);
        Instant::now() + std::time::Duration::from_millis(ahead)
    }

    fn at(&self, elapsed: u64) -> Moment {
        Moment((self.started_at_ms + elapsed).saturating_add_signed(self.led_ms.load(Ordering::Relaxed)))
    }
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_led_back_never_shows_an_earlier_moment() {
        let clock = SteadyClock::start();
        let before = clock.now();
        clock.led_ms.fetch_sub(1000, Ordering::Relaxed);
        assert!(clock.now() >= before);
        clock.led_ms.fetch_add(3000, Ordering::Relaxed);
        assert!(clock.now().0 >= before.0 + 2000);
    }
}
