//! The simulator: the core of lockd in a world where everything happens in an order chosen by one seed.
//!
//! [`world`] is the second shell around [`lockd_core::Core`], beside the server. Where that one has threads, sockets, a disk
//! and a clock, this one has a list of things that can happen next and throws dice: clients ask, batches become durable,
//! records arrive, answers get lost, the clock jumps, the process dies. After every step two judges look at what came out:
//!
//! * [`oracle`] sees everything and demands an explanation for every batch and every answer, by the reference in [`model`];
//! * [`history`] and [`ledger`] see what clients see, of keys and of messages, and check each promise in its plainest form.
//!
//! `cargo run -p lockd-sim -- --seed 7 --trace` tells the story of one seed.

pub mod client;
pub mod dice;
pub mod disk;
pub mod history;
pub mod ledger;
pub mod model;
pub mod oracle;
pub mod run;
pub mod shape;
pub mod violation;
pub mod world;

pub use run::{DEFAULT_STEPS, Failure, REGRESSIONS, run, run_traced, shortest};
pub use violation::Violation;
