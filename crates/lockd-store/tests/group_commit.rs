//! How the disk store groups batches. The listener is called by whoever commits, so a listener that waits lets a test decide
//! what has queued up when the next group begins.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lockd_store::{Batch, Committed, Opened, Options, Progress, open};
use parking_lot::Mutex;
use tempfile::TempDir;

/// A store whose committer waits after every group until it is told to go on.
struct Paced {
    store: Opened,
    groups: Receiver<u64>,
    go_on: Sender<()>,
    _directory: TempDir,
}

impl Paced {
    fn open(options: Options) -> Self {
        let directory = TempDir::new().unwrap();
        let store = open(&format!("disk://{}/store", directory.path().display()), options).unwrap();
        let (tell, groups) = channel();
        let (go_on, wait) = channel();
        let (tell, wait) = (Mutex::new(tell), Mutex::new(wait));
        store.engine.listen(Box::new(move |progress| {
            let Progress::Durable { through } = progress else { panic!("{progress:?}") };
            tell.lock().send(through).unwrap();
            // An error means that the test is over.
            let _ = wait.lock().recv();
        }));
        Self { store, groups, go_on, _directory: directory }
    }

    fn submit(&self, seq: u64, size: usize) {
        let mut batch = Batch::default();
        batch.put(format!("{seq:05}"), vec![7; size]);
        batch.put("newest", seq.to_be_bytes().to_vec());
        assert_eq!(self.store.engine.submit(seq, batch), Committed::Later);
    }

    fn newest(&self) -> u64 {
        let value = self.store.engine.snapshot().get(b"newest").unwrap();
        value.map_or(0, |value| u64::from_be_bytes(value.as_ref().try_into().unwrap()))
    }

    /// The first batch by itself, then `count` more that queue up behind it; returns where the groups end.
    fn groups(self, count: u64, size: usize) -> Vec<u64> {
        self.submit(1, size);
        let engine = self.store.engine.clone();
        let alone = std::thread::spawn(move || engine.drive());
        assert_eq!(self.groups.recv().unwrap(), 1);
        for seq in 2..=1 + count {
            self.submit(seq, size);
            self.store.engine.drive();
        }
        // The committer is standing still, so nothing more can have become visible.
        assert_eq!(self.newest(), 1);
        let mut ends = Vec::new();
        while ends.last() != Some(&(1 + count)) {
            self.go_on.send(()).unwrap();
            let through = self.groups.recv().unwrap();
            assert_eq!(self.newest(), through, "what is durable is visible, and nothing else");
            ends.push(through);
        }
        drop(self.go_on);
        alone.join().unwrap();
        self.store.engine.close().unwrap();
        ends
    }
}

#[test]
fn everything_that_has_queued_up_shares_one_sync() {
    assert_eq!(Paced::open(Options::default()).groups(2000, 100), [2001]);
}

#[test]
fn a_group_is_no_larger_than_was_asked_for() {
    let options = Options { commit_max_ops: 300, ..Options::default() };
    assert_eq!(Paced::open(options).groups(1000, 100), [301, 601, 901, 1001]);
    let options = Options { commit_max_ops: 0, ..Options::default() };
    assert_eq!(Paced::open(options).groups(2, 100), [2, 3]);
}

#[test]
fn a_group_is_cut_at_eight_mebibytes() {
    assert_eq!(Paced::open(Options::default()).groups(20, 1 << 20), [8, 15, 21]);
    // One batch is never cut.
    assert_eq!(Paced::open(Options::default()).groups(2, 9 << 20), [2, 3]);
}

#[test]
fn one_drive_commits_everything_that_was_submitted() {
    let paced = Paced::open(Options { commit_max_ops: 1, ..Options::default() });
    for seq in 1..=5 {
        paced.submit(seq, 100);
    }
    for _ in 1..=5 {
        paced.go_on.send(()).unwrap();
    }
    paced.store.engine.drive();
    for seq in 1..=5 {
        // Nobody else asks for anything, so whoever forgets the rest forgets it for ever.
        let through = paced.groups.recv_timeout(Duration::from_secs(300));
        assert_eq!(through, Ok(seq), "the rest is forgotten");
    }
    paced.store.engine.close().unwrap();
}
