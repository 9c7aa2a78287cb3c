//! Waiting for a point in time to within some tens of microseconds. The runtime's own timer counts whole
//! milliseconds, which would be larger than the latencies measured.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::Unmeasurable;

#[derive(Debug)]
pub struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    pub fn new() -> Result<Pacer, Unmeasurable> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            .map_err(|error| Unmeasurable(format!("cannot create a timer: {error}")))?;
        // Its replacement is an unsafe function for types whose descriptor may change or close early. An
        // `OwnedFd` that nobody else reaches cannot, and this workspace has no unsafe code.
        #[allow(deprecated)]
        let timer = AsyncFd::new(timer)?;
        Ok(Pacer { timer })
    }

    /// Returns at once when `due` has passed.
    pub async fn wait_until(&mut self, due: Instant) -> Result<(), Unmeasurable> {
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)
            .map_err(|error| Unmeasurable(format!("cannot set a timer: {error}")))?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0u8; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)) {
                Ok(read) => {
                    read?;
                    return Ok(());
                }
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_pacer_never_returns_early_and_takes_past_times() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pacer = Pacer::new().unwrap();
            pacer.wait_until(Instant::now()).await.unwrap();
            for micros in [50, 700, 3000] {
                let due = Instant::now() + Duration::from_micros(micros);
                pacer.wait_until(due).await.unwrap();
                assert!(Instant::now() >= due, "woke before {micros} us were over");
            }
        });
    }
}
