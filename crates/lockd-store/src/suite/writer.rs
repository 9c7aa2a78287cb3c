//! The one writer of a store under test: numbers batches and waits for their durability.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::{Batch, Committed, Engine, Progress};

/// Longer than anything here can take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Submits batches to an engine, from any number of threads.
#[derive(Debug, Clone)]
pub struct Writer {
    engine: Arc<dyn Engine>,
    next: Arc<Mutex<u64>>,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    progress: Mutex<Vec<Progress>>,
    more: Condvar,
}

impl Writer {
    pub fn new(engine: &Arc<dyn Engine>) -> Self {
        let heard = Arc::new(Heard::default());
        let listener = Arc::clone(&heard);
        engine.listen(Box::new(move |progress| {
            listener.progress.lock().push(progress);
            listener.more.notify_all();
        }));
        Self { engine: Arc::clone(engine), next: Arc::new(Mutex::new(1)), heard }
    }

    /// Hands a batch over and returns its number, and whether it is durable already.
    pub fn submit(&self, batch: Batch) -> (u64, Committed) {
        let mut next = self.next.lock();
        let seq = *next;
        *next += 1;
        let committed = self.engine.submit(seq, batch);
        drop(next);
        self.engine.drive();
        (seq, committed)
    }

    /// Hands a batch over and waits until it is durable.
    pub fn commit(&self, batch: Batch) -> u64 {
        let (seq, committed) = self.submit(batch);
        if committed == Committed::Later {
            self.wait(seq);
        }
        seq
    }

    /// Waits until a batch that is to become durable later is.
    pub fn wait(&self, seq: u64) {
        let deadline = Instant::now() + PATIENCE;
        let mut progress = self.heard.progress.lock();
        loop {
            match progress.last() {
                Some(Progress::Durable { through }) if *through >= seq => return,
                Some(Progress::Failed { from, error }) => panic!("batch {from} failed: {error}"),
                _ => {}
            }
            let timed_out = self.heard.more.wait_until(&mut progress, deadline).timed_out();
            assert!(!timed_out, "batch {seq} did not become durable; heard {progress:?}");
        }
    }

    /// Everything the engine has said so far.
    pub fn heard(&self) -> Vec<Progress> {
        self.heard.progress.lock().clone()
    }
}

/// Waits for a condition that has no event to wait for.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
