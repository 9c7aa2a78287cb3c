//! The drain: no new leases, time for the holders to finish, then the door is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;

#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// How long holders may take; zero skips the wait.
    pub drain_grace: Duration,
    /// For everything together; `None` sets no limit.
    pub timeout: Option<Duration>,
}

impl Shutdown {
    /// The grace, leaving at least a fifth of the total for what follows it.
    pub fn effective_grace(&self) -> Duration {
        match self.timeout {
            Some(timeout) => self.drain_grace.min(timeout.mul_f64(0.8)),
            None => self.drain_grace,
        }
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    pub active_leases: usize,
    pub remaining: usize,
    pub elapsed: Duration,
    /// All requests were answered before the time was over.
    pub complete: bool,
}

/// Refuses new leases from now on, and waits for the held ones until the grace is over.
pub(crate) async fn drain(app: &Arc<App>, shutdown: &Shutdown) -> DrainReport {
    let started = Instant::now();
    let grace = shutdown.effective_grace();
    let active_leases = app.node.held_leases();
    app.start_draining(app.node.now().plus_millis(grace.as_millis() as u64));
    if grace.is_zero() {
        tracing::info!(sys = "server.lifecycle.core", reason = "grace_disabled", "shutdown.drain.skip");
    } else {
        tracing::info!(
            sys = "server.shutdown.controller",
            active_leases,
            grace_period = format!("{grace:?}"),
            force_release = false,
            notify_clients = true,
            "shutdown.drain.begin"
        );
        let _ = tokio::time::timeout(grace, app.node.leases_gone()).await;
    }
    let remaining = app.node.held_leases();
    let elapsed = started.elapsed();
    if !grace.is_zero() {
        tracing::info!(
            sys = "server.shutdown.controller",
            active_leases,
            released = active_leases.saturating_sub(remaining),
            remaining,
            forced_releases = 0,
            force_release = false,
            elapsed = format!("{elapsed:?}"),
            "shutdown.drain.complete"
        );
    }
    DrainReport { active_leases, remaining, elapsed, complete: true }
}
