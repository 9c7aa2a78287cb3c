//! Threads that nobody waits for, unless there is no other way.
//!
//! Writing tables takes a processor for tenths of a second. Where there are few, the threads that answer requests would wait
//! for their turn behind it, several milliseconds each time.

use std::panic::resume_unwind;
use std::thread;

/// As the command `nice` counts. Such a thread gets a tenth of a processor that others want, and all of an idle one.
const NICE: i32 = 10;

/// Lets other threads go before this one, from now on and in all threads that it starts.
pub(super) fn give_way() {
    // Where it is not possible, it is merely not as good.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "background work has the same priority as requests");
    }
}

/// Does something whose threads are to give way.
pub(super) fn started_by<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let starting = scope.spawn(|| {
            give_way();
            start()
        });
        starting.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn only_threads_in_the_background_give_way() {
        let before = niceness();
        let started = started_by(|| thread::spawn(niceness).join().unwrap());
        assert_eq!(started, before.max(NICE));
        assert_eq!(niceness(), before);
    }
}
