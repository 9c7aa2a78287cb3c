//! Turns that touch several keys, queues and transactions at once, step by step over a store in memory.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "turns/bench.rs"]
mod bench;
#[path = "turns/holders.rs"]
mod holders;
#[path = "turns/queues.rs"]
mod queues;
#[path = "turns/time.rs"]
mod time;
#[path = "turns/txns.rs"]
mod txns;
