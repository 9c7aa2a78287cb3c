//! The real program on a real disk, killed, starved and damaged; then audited against what its clients were told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod full_disk;
mod kill;
mod ledger;
mod pair;
mod queue;
mod restart;
mod torn;
