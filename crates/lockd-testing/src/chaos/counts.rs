//! What a proxy has done so far.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Direction, Harm};

const KEPT_EVENTS: usize = 10_000;

/// How much a [`ChaosProxy`](super::ChaosProxy) has done since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections accepted, refused ones included.
    pub connections: u64,
    /// Connections that are open now.
    pub open: u64,
    /// [`Harm::Refuse`].
    pub refused: u64,
    /// [`Harm::Close`], and connections that came of age ([`disconnect_after`](super::Chaos::disconnect_after)).
    pub closed: u64,
    /// [`Harm::Reset`], and those that [`reset_all`](super::ChaosProxy::reset_all) has reset.
    pub reset: u64,
    /// [`Harm::Stall`].
    pub stalled: u64,
    /// Connections that were reset because the server could not be reached.
    pub unreachable: u64,
    /// Bytes passed on to the server.
    pub bytes_to_server: u64,
    /// Bytes passed on to clients.
    pub bytes_to_client: u64,
    /// Pieces that were held back for latency or jitter.
    pub delayed: u64,
}

/// Something that a proxy did to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The number of the connection; the first has 0.
    pub connection: u64,
    pub what: What,
}

/// The kinds of [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    Opened,
    /// By plan, after this many bytes in this direction.
    Harmed {
        harm: Harm,
        direction: Direction,
        after_bytes: u64,
    },
    /// Closed because of its age.
    CameOfAge,
    /// Reset by [`reset_all`](super::ChaosProxy::reset_all).
    ResetByHand,
    /// The server could not be reached.
    Unreachable,
    /// It is over, whoever ended it.
    Over,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    events: VecDeque<Event>,
}

impl Record {
    pub(super) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.lock().events.iter().copied().collect()
    }

    pub(super) fn note(&self, connection: u64, what: What) {
        let mut state = self.lock();
        let counts = &mut state.counts;
        match what {
            What::Opened => {
                counts.connections += 1;
                counts.open += 1;
            }
            What::Harmed { harm: Harm::Refuse, .. } => counts.refused += 1,
            What::Harmed { harm: Harm::Close, .. } | What::CameOfAge => counts.closed += 1,
            What::Harmed { harm: Harm::Reset, .. } | What::ResetByHand => counts.reset += 1,
            What::Harmed { harm: Harm::Stall, .. } => counts.stalled += 1,
            What::Unreachable => counts.unreachable += 1,
            What::Over => counts.open = counts.open.saturating_sub(1),
        }
        if state.events.len() == KEPT_EVENTS {
            state.events.pop_front();
        }
        state.events.push_back(Event { connection, what });
        self.changed.notify_all();
    }

    pub(super) fn passed(&self, direction: Direction, bytes: usize, delayed: bool) {
        let mut state = self.lock();
        match direction {
            Direction::ToServer => state.counts.bytes_to_server += bytes as u64,
            Direction::ToClient => state.counts.bytes_to_client += bytes as u64,
        }
        state.counts.delayed += u64::from(delayed);
        self.changed.notify_all();
    }

    pub(super) fn wait_for(&self, patience: Duration, wanted: impl Fn(&Counts) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if wanted(&state.counts) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
