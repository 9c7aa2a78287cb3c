//! The conformance checklist at the end of the chapter about transactions, as far as one server can serve it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod checklist;
mod coordinator;
mod crash;
mod decide;
mod expiry;
mod lease;
mod queue;
mod race;
mod retention;
