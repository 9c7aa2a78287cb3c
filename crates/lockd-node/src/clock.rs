//! The time, without jumps. Leases are promises about elapsed time, so the clock that they are measured with follows the
//! machine's monotonic clock, and is led towards the wall clock gently: when somebody sets the wall clock, leases neither end
//! at once nor last for hours. Time that the machine has slept through has passed: else a laptop that wakes up in the morning
//! would hand out leases that, by everybody else's clock, ended last night.

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
    started: Ticks,
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
            started: Ticks::now(),
            started_at_ms: wall_ms(),
            led_ms: AtomicI64::new(0),
            looked_ms: AtomicU64::new(0),
            shown_ms: AtomicU64::new(0),
        }
    }

    pub fn now(&self) -> Moment {
        let elapsed = self.started.elapsed_ms();
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

/// A reading of the clock that never goes backwards and does not stop while the machine sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
struct Ticks(rustix::time::Timespec);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Ticks {
    fn now() -> Ticks {
        Ticks(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
    }

    fn elapsed_ms(&self) -> u64 {
        let (start, now) = (self.0, Ticks::now().0);
        let nanos =
            i128::from(now.tv_sec - start.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec - start.tv_nsec);
        u64::try_from(nanos / 1_000_000).unwrap_or(0)
    }
}

/// Elsewhere the standard library's clock has to do; whether it goes on during sleep is up to the system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
struct Ticks(Instant);

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Ticks {
    fn now() -> Ticks {
        Ticks(Instant::now())
    }

    fn elapsed_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_pace_with_elapsed_time() {
        let (clock, reference) = (SteadyClock::start(), Instant::now());
        let begin = clock.now().0;
        while reference.elapsed().as_millis() < 300 {
            std::hint::spin_loop();
        }
        let passed = clock.now().0 - begin;
        assert!((299..60_000).contains(&passed), "{passed} ms for 300");
    }

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
