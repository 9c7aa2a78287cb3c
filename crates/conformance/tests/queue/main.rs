//! The conformance checklist at the end of the queue chapter, one test a line, on every store.
//!
//! Queues are fresh in every test, so all tests of a store share one server, except where a line needs its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod a_long_wait;
mod ack;
mod batch;
mod checklist;
mod consistency;
mod crowd;
mod dequeue;
mod drain;
mod enqueue;
mod extend;
mod nack;
mod notes;
mod restart;
mod stalled;
mod state;
mod subscribe;
mod transaction;
mod wait;
mod watch;

use std::time::Duration;

/// Measures up to five times, and asserts that one of the measurements is at most this. Each must be at least
/// `least`: what is too early is wrong every time, what is late may be the machine.
#[track_caller]
fn within(least: Duration, most: Duration, what: &str, mut measure: impl FnMut() -> Duration) {
    let mut tries = Vec::new();
    while tries.last().is_none_or(|took| *took > most) {
        assert!(tries.len() < 5, "{what}: expected at most {most:?}, took {tries:?}");
        let took = measure();
        assert!(took >= least, "{what}: expected at least {least:?}, took {took:?}");
        tries.push(took);
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
