//! The segments that are not being written: those that are ready, and those that are full. The committer and the
//! background thread meet here.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use parking_lot::{Condvar, Mutex};

use super::segment::Segment;
use crate::port::StoreError;

/// There are never more segments than this. When all are full, commits wait for the checkpoint.
pub(super) const MOST: usize = 8;

/// When so many are full there is a checkpoint. The later it comes, the more of what was put has been deleted again and need
/// not be written out; the longer does a start have to replay.
pub(super) const FULL: usize = 3;

#[derive(Debug)]
pub(super) struct Pool {
    directory: PathBuf,
    state: Mutex<State>,
    /// For the background thread: there is something to do.
    work: Condvar,
    /// For the committer: there is a segment, or there will be none.
    ready: Condvar,
}

#[derive(Debug)]
struct State {
    ready: Vec<Segment>,
    /// Full segments, oldest first, each with the number of its last record. The database has been given all of these.
    full: VecDeque<(Segment, u64)>,
    /// How many segments there are, with the current one.
    segments: usize,
    /// Another segment will be needed if none is ready. Asked for once, so that a full device is not tried again and
    /// again: the segments there are will do.
    wanted: bool,
    /// The last attempt to create one has brought none.
    hopeless: bool,
    /// There is much in memory.
    heavy: bool,
    failure: Option<StoreError>,
    stopping: bool,
}

/// What the background thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Create the segment with this number.
    Grow(usize),
    /// Have everything through this record written out, then free so many of the oldest full segments.
    Checkpoint {
        through: u64,
        count: usize,
    },
    /// Have what is in memory written out.
    WriteOut,
    Stop,
}

impl Pool {
    /// A pool of these, and one more that is being written.
    pub(super) fn new(directory: &Path, ready: Vec<Segment>) -> Self {
        let state = State {
            segments: ready.len() + 1,
            ready,
            full: VecDeque::new(),
            wanted: false,
            hopeless: false,
            heavy: false,
            failure: None,
            stopping: false,
        };
        let directory = directory.to_path_buf();
        Self { directory, state: Mutex::new(state), work: Condvar::new(), ready: Condvar::new() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn segments(&self) -> usize {
        self.state.lock().segments
    }

    /// Takes a full segment, whose last record has the number `last`, and gives one that is ready. Waits if there is none.
    pub(super) fn exchange(&self, segment: Segment, last: u64) -> Result<Segment, StoreError> {
        let mut state = self.state.lock();
        state.full.push_back((segment, last));
        state.wanted = state.ready.is_empty();
        self.work.notify_one();
        loop {
            if let Some(error) = &state.failure {
                return Err(error.clone());
            }
            if let Some(next) = state.ready.pop() {
                return Ok(next);
            }
            self.ready.wait(&mut state);
        }
    }

    /// Has another segment created if none is ready.
    pub(super) fn foresee(&self) {
        self.state.lock().wanted = true;
        self.work.notify_one();
    }

    /// Has what is in memory written out.
    pub(super) fn relieve(&self) {
        if !std::mem::replace(&mut self.state.lock().heavy, true) {
            self.work.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_one();
    }

    /// Waits for something to do.
    pub(super) fn next_task(&self) -> Task {
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.task() {
                return task;
            }
            self.work.wait(&mut state);
        }
    }

    /// Something to do, if there is.
    #[cfg(test)]
    pub(super) fn task(&self) -> Option<Task> {
        self.state.lock().task()
    }

    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        !self.state.lock().ready.is_empty()
    }

    /// Adds a new segment.
    pub(super) fn add(&self, segment: Segment) {
        let mut state = self.state.lock();
        state.segments += 1;
        state.hopeless = false;
        state.ready.push(segment);
        self.ready.notify_one();
    }

    /// Makes the oldest full segments ready to be used again.
    pub(super) fn free(&self, count: usize) -> Result<(), StoreError> {
        for _ in 0..count {
            // Not under the lock: the committer need not wait for the file system.
            let Some((mut segment, _)) = self.state.lock().full.pop_front() else { break };
            segment.trim()?;
            self.state.lock().ready.push(segment);
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Nothing will be freed any more.
    pub(super) fn fail(&self, error: StoreError) {
        self.state.lock().failure.get_or_insert(error);
        self.ready.notify_one();
    }
}

impl State {
    fn task(&mut self) -> Option<Task> {
        if self.stopping {
            return Some(Task::Stop);
        }
        // First, because a checkpoint takes longer.
        if std::mem::take(&mut self.wanted) && self.ready.is_empty() && self.segments < MOST {
            self.hopeless = true;
            return Some(Task::Grow(self.segments));
        }
        let none = self.ready.is_empty() && (self.hopeless || self.segments == MOST);
        if let Some((_, last)) = self.full.back()
            && (self.full.len() >= FULL || self.heavy || none)
        {
            self.heavy = false;
            return Some(Task::Checkpoint { through: *last, count: self.full.len() });
        }
        std::mem::take(&mut self.heavy).then_some(Task::WriteOut)
    }
}
