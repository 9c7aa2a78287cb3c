//! The log together with the database: crashes between any two steps, failing syncs, segments that are used again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::mpsc::channel;

use tempfile::TempDir;

use super::super::database::Database;
use super::super::recovery::{Recovered, recover};
use super::super::root::Root;
use super::pool::{FULL, MOST, Task};
use super::*;
use crate::open::{Durability, Options};
use crate::port::{Direction, Engine, Progress, Snapshot};

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// An open store whose background thread is this test.
struct Store {
    root: Root,
    database: Arc<Database>,
    log: Log,
    checkpointer: Checkpointer,
    expected: Content,
}

impl Store {
    fn create(directory: &TempDir) -> Self {
        let root = Root::prepare(&directory.path().join("store")).unwrap();
        root.create_or_check().unwrap();
        Self::open(root, Content::new())
    }

    fn open(root: Root, expected: Content) -> Self {
        let Recovered { database, log } = recover(&root, Durability::Fsync).unwrap();
        let (log, checkpointer) = log.unwrap();
        let store = Self { root, database, log, checkpointer, expected };
        assert!(store.content() == store.expected, "{} records", store.content().len());
        store
    }

    fn content(&self) -> Content {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let entries = self.database.snapshot().scan(all, Direction::Forward, usize::MAX).unwrap();
        entries.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    fn batch(&mut self, size: usize) -> Batch {
        let number = self.expected.len();
        let (key, value) = (format!("{number:06}").into_bytes(), vec![number as u8; size]);
        let mut batch = Batch::default();
        batch.put(key.clone(), value.clone());
        batch.put("newest", key.clone());
        self.expected.insert(key.clone(), value);
        self.expected.insert(b"newest".to_vec(), key);
        batch
    }

    fn commit(&mut self, size: usize) {
        let group = [self.batch(size)];
        self.log.append(&group).unwrap();
        self.database.commit(&group).unwrap();
    }

    /// As the background thread does it, until there is nothing left to do.
    fn run_background(&mut self) {
        while let Some(task) = self.log.pool.task() {
            self.checkpointer.perform(task).unwrap();
        }
    }

    /// Nothing is closed or noted. What the database has in its own buffer it hands over when it is dropped; the tests of
    /// whole stores take it away.
    fn crash_and_open(self) -> Self {
        let Self { root, database, log, checkpointer, expected } = self;
        drop((database, log, checkpointer));
        Self::open(root, expected)
    }
}

#[test]
fn a_crash_between_the_log_and_the_database_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let mut store = Store::create(&directory);
    for size in [10, 100, 5000] {
        store.commit(size);
        let batch = store.batch(size);
        store.log.append(&[batch]).unwrap();
        store = store.crash_and_open();
    }
    // Deletions come back as well, and what was put again after them.
    for key in ["000000", "000002"] {
        let mut batch = Batch::default();
        batch.delete(key);
        store.expected.remove(key.as_bytes());
        store.log.append(&[batch]).unwrap();
    }
    let mut batch = Batch::default();
    batch.put("000002", "again");
    store.expected.insert(b"000002".to_vec(), b"again".to_vec());
    store.log.append(&[batch]).unwrap();
    store.crash_and_open();
}

#[test]
fn a_crash_anywhere_in_a_checkpoint_loses_nothing() {
    const SIZE: usize = 1_000_000;
    let directory = TempDir::new().unwrap();
    let mut store = Store::create(&directory);
    for step in 0..5 {
        let (through, count) = loop {
            store.commit(SIZE);
            match store.log.pool.task() {
                Some(Task::Checkpoint { through, count }) => break (through, count),
                Some(task) => store.checkpointer.perform(task).unwrap(),
                None => {}
            }
        };
        match step {
            0 => {}
            1 => store.database.write_out().unwrap(),
            2 => store.database.persist().unwrap(),
            3 => store.checkpointer.checkpoint(through).unwrap(),
            _ => {
                store.checkpointer.checkpoint(through).unwrap();
                store.log.pool.free(count).unwrap();
                store.commit(SIZE);
            }
        }
        store = store.crash_and_open();
    }
}

#[test]
fn segments_are_used_again_and_again() {
    let directory = TempDir::new().unwrap();
    let mut store = Store::create(&directory);
    for round in 0..3 {
        // Through all segments, and some of the way once more.
        for _ in 0..100 {
            store.commit(400_000);
            store.run_background();
        }
        assert!(store.log.segments() <= 6, "{} segments", store.log.segments());
        // Old records are behind the new ones now.
        store = store.crash_and_open();
        store.commit(round);
    }
    store.crash_and_open();
}

#[test]
fn a_record_larger_than_a_segment_gets_one_to_itself() {
    let directory = TempDir::new().unwrap();
    let mut store = Store::create(&directory);
    // As many as are written before this test gets round to the work of the background thread.
    (1..7).for_each(|number| store.checkpointer.grow(number).unwrap());
    let length = |store: &Store| -> u64 {
        let files = std::fs::read_dir(store.root.log()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let usual = length(&store);
    store.commit(10);
    store.commit(20 << 20);
    store.commit(10);
    assert!(length(&store) > usual);
    let mut store = store.crash_and_open();
    // Before and after its segment is used again.
    for _ in 0..4 {
        store.commit(17 << 20);
        store.commit(10);
        store.run_background();
    }
    store.commit(10);
    store.run_background();
    assert!(length(&store) <= usual + (18 << 20), "nothing was given back");
    store.crash_and_open();
}

#[test]
fn the_number_of_segments_is_limited() {
    let directory = TempDir::new().unwrap();
    let mut current = segment::prepare(directory.path()).unwrap().remove(0);
    let pool = Pool::new(directory.path(), Vec::new());
    assert_eq!(pool.task(), None);
    for number in 1..MOST {
        pool.foresee();
        // Before the checkpoint, which takes longer.
        assert_eq!(pool.task(), Some(Task::Grow(number)));
        pool.add(segment::Segment::create(directory.path(), 0).unwrap());
        current = pool.exchange(current, number as u64).unwrap();
        // Asked for once, whatever comes of it. The later there is a checkpoint the better.
        let checkpoint = Task::Checkpoint { through: number as u64, count: number };
        assert_eq!(pool.task(), (number >= FULL).then_some(checkpoint));
    }
    pool.foresee();
    let last = MOST - 1;
    assert_eq!(pool.task(), Some(Task::Checkpoint { through: last as u64, count: last }));
    assert_eq!(pool.segments(), MOST);
    pool.free(last).unwrap();
    assert_eq!(pool.task(), None);
}

#[test]
fn without_a_segment_a_commit_waits_for_the_checkpoint() {
    let directory = TempDir::new().unwrap();
    let mut store = Store::create(&directory);
    store.commit(1_500_000);
    let group = [store.batch(1_500_000)];
    let pool = store.log.pool();
    let (tell, told) = channel();
    let Store { log, database, checkpointer, .. } = &mut store;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            log.append(&group).unwrap();
            database.commit(&group).unwrap();
            tell.send(()).unwrap();
        });
        // There was no room for another segment, and the full one is not free before this.
        let mut task = pool.next_task();
        while task == Task::Grow(1) {
            task = pool.next_task();
        }
        assert_eq!(task, Task::Checkpoint { through: 1, count: 1 });
        assert!(told.try_recv().is_err(), "did not wait");
        checkpointer.perform(task).unwrap();
        told.recv().unwrap();
    });
    assert_eq!(store.log.segments(), 1);
    let mut store = store.crash_and_open();
    // If there will never be one, it fails.
    store.commit(1_500_000);
    let group = [store.batch(1_500_000)];
    store.log.pool.fail(StoreError::Io("the checkpoint failed".into()));
    let error = store.log.append(&group).unwrap_err();
    assert!(error.to_string().contains("the checkpoint failed"), "{error}");
    let error = store.log.append(&group).unwrap_err();
    assert!(error.to_string().contains("an earlier write"), "{error}");
}

#[test]
fn after_a_failed_sync_nothing_is_answered_any_more() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let (engine, _) = super::super::open(&path, &Options::default()).unwrap();
    let (tell, told) = channel();
    let tell = parking_lot::Mutex::new(tell);
    engine.listen(Box::new(move |progress| tell.lock().send(progress).unwrap()));
    let submit = |seq: u64| {
        let mut batch = Batch::default();
        batch.put("newest", seq.to_string());
        engine.submit(seq, batch);
        engine.drive();
    };
    let newest = || engine.snapshot().get(b"newest").unwrap();
    submit(1);
    assert!(matches!(told.recv().unwrap(), Progress::Durable { through: 1 }));
    segment::FAILING.set(true);
    submit(2);
    segment::FAILING.set(false);
    let Progress::Failed { from: 2, error } = told.recv().unwrap() else { panic!("not told") };
    assert!(error.to_string().contains(&format!("cannot sync {}", path.join("log/0").display())), "{error}");
    // The next sync would succeed, and say nothing about what the failed one has lost.
    (3..6).for_each(submit);
    assert_eq!(newest().as_deref(), Some(&b"1"[..]));
    engine.close().unwrap_err();
    assert_eq!(told.try_iter().count(), 0);
    drop(engine);
    let (engine, _) = super::super::open(&path, &Options::default()).unwrap();
    let newest = engine.snapshot().get(b"newest").unwrap().unwrap();
    assert!(newest == "1" || newest == "2", "{newest:?}");
    engine.close().unwrap();
}
