//! What the measured window of a run gave.

use std::time::{Duration, Instant};

use crate::Unmeasurable;
use crate::statistics::Latencies;

pub fn nanos_between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

/// What the measured window gave.
#[derive(Debug)]
pub struct Measured {
    pub phases: Vec<Latencies>,
    pub total: Latencies,
    pub requests: u64,
    pub elapsed: Duration,
    /// How late the generator itself was in sending at its scheduled times (fixed rate only).
    pub lateness: Latencies,
    /// Scheduled operations that were never sent because the clients were still busy (fixed rate only).
    pub unsent: u64,
    pub first_error: Option<String>,
}

impl Measured {
    pub fn empty(phases: usize) -> Result<Measured, Unmeasurable> {
        Ok(Measured {
            phases: (0..phases).map(|_| Latencies::new()).collect::<Result<_, _>>()?,
            total: Latencies::new()?,
            requests: 0,
            elapsed: Duration::ZERO,
            lateness: Latencies::new()?,
            unsent: 0,
            first_error: None,
        })
    }

    pub fn merge(&mut self, other: Measured) {
        for (mine, theirs) in self.phases.iter_mut().zip(&other.phases) {
            mine.merge(theirs);
        }
        self.total.merge(&other.total);
        self.requests += other.requests;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.lateness.merge(&other.lateness);
        self.unsent += other.unsent;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    pub fn finish_operation(
        &mut self,
        phases: &[Option<u64>],
        requests: u64,
        begun: Instant,
        since: Instant,
    ) {
        let now = Instant::now();
        for (latencies, nanos) in self.phases.iter_mut().zip(phases) {
            if let Some(nanos) = nanos {
                latencies.record(*nanos);
            }
        }
        self.total.record(nanos_between(begun, now));
        self.requests += requests;
        self.elapsed = self.elapsed.max(now.saturating_duration_since(since));
    }

    pub fn count_error(&mut self, phase: usize, error: &dyn std::fmt::Display) {
        self.total.errors += 1;
        if let Some(latencies) = self.phases.get_mut(phase) {
            latencies.errors += 1;
        }
        if self.first_error.is_none() {
            self.first_error = Some(error.to_string());
        }
    }
}
