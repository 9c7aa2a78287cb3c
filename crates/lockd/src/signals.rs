//! Signals that end the server, and the duties of a first process: SIGINT or SIGTERM asks it to stop, a second one ends
//! it at once; as PID 1 it also collects the orphans that the system hands it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::{self, WaitOptions};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal that asked the server to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Interrupt,
    Terminate,
}

impl fmt::Display for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Stop::Interrupt => "SIGINT",
            Stop::Terminate => "SIGTERM",
        })
    }
}

/// Waits for the first signal.
#[derive(Debug)]
pub struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    /// Takes the signals over. Must be called inside a runtime, before anything that should not be cut off.
    ///
    /// The second signal is dealt with in the signal handler itself, so that it ends even a process whose runtime
    /// hangs. It exits with 128 + n rather than through the default disposition, which PID 1 would ignore.
    pub fn install() -> io::Result<StopSignal> {
        let stopping = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down and raises it only afterwards.
            signal_hook::flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&stopping))?;
            signal_hook::flag::register(number, Arc::clone(&stopping))?;
        }
        let signals = StopSignal {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        if process::getpid().is_init() {
            tokio::spawn(collect_orphans(signal(SignalKind::child())?));
        }
        Ok(signals)
    }

    /// Resolves when the first signal arrives.
    pub async fn first(&mut self) -> Stop {
        std::future::poll_fn(|context| {
            if self.interrupt.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(Stop::Interrupt);
            }
            self.terminate.poll_recv(context).map(|_| Stop::Terminate)
        })
        .await
    }
}

/// The server starts no processes of its own, so every dead child is an orphan and nobody else waits for it.
async fn collect_orphans(mut children: Signal) {
    while children.recv().await.is_some() {
        while let Ok(Some(_)) = process::wait(WaitOptions::NOHANG) {}
    }
}
