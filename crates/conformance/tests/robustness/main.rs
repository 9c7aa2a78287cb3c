//! The server under clients that are slow, rude, broken, or very many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod broken;
mod consistency;
mod crowd;
mod http2;
mod large;
mod pipeline;
mod slow;
mod unix_socket;

/// Tests that need most of the file descriptors or much memory take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allows this process, and the servers it starts from now on, as many open files as the system permits; returns how
/// many connections a test may open of those it wants.
fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    let raised = Rlimit { current: Some(most), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("raise the soft limit of open files to the hard limit");
    let possible = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(1000).min(wanted);
    if possible < wanted {
        println!("REDUCED to {possible} connections: the limit of open files is {most}");
    }
    possible
}
