//! The layers against a plain map, through tables, compactions and openings; and that nobody waits for the database.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;

use tempfile::TempDir;

use super::super::database::Database;
use super::super::recovery::recover;
use super::super::root::Root;
use super::super::snapshot::DiskSnapshot;
use super::*;
use crate::open::Durability;
use crate::port::Snapshot;

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn root(directory: &TempDir) -> Root {
    let root = Root::prepare(&directory.path().join("store")).unwrap();
    root.create_or_check().unwrap();
    root
}

/// The database only: these tests commit without a log, and so close in order.
fn open(root: &Root, durability: Durability) -> Database {
    let recovered = recover(root, durability).unwrap();
    drop(recovered.log);
    Arc::try_unwrap(recovered.database).ok().unwrap()
}

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("key {number:03}").into_bytes()
}

/// Reads points and ranges in both directions.
fn compare(snapshot: &DiskSnapshot, expected: &Content, numbers: &mut Numbers) {
    for _ in 0..4 {
        let key = key(numbers.below(130));
        assert_eq!(
            snapshot.get(&key).unwrap().as_deref(),
            expected.get(&key).map(|value| &value[..]),
            "{key:?}"
        );
    }
    let (a, b) = (numbers.below(130), numbers.below(130));
    let (start, end) = (key(a.min(b)), key(a.max(b)));
    let range = match numbers.below(3) {
        0 => (Bound::Unbounded, Bound::Unbounded),
        1 => (Bound::Included(&start[..]), Bound::Excluded(&end[..])),
        _ => (Bound::Excluded(&start[..]), Bound::Included(&end[..])),
    };
    let limit = [1, 7, 1000][numbers.below(3) as usize];
    let all: Vec<_> = expected
        .iter()
        .filter(|(key, _)| std::ops::RangeBounds::<[u8]>::contains(&range, &key[..]))
        .collect();
    for direction in [Direction::Forward, Direction::Reverse] {
        let found = snapshot.scan(range, direction, limit).unwrap();
        let expected: Vec<_> = match direction {
            Direction::Forward => all.iter().take(limit).copied().collect(),
            Direction::Reverse => all.iter().rev().take(limit).copied().collect(),
        };
        assert_eq!(found.len(), expected.len(), "{range:?} {direction:?}");
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(found, (key, value))| found.0 == key[..] && found.1 == value[..]),
            "{range:?} {direction:?}"
        );
    }
}

#[test]
fn layers_agree_with_a_map() {
    for seed in 0..6 {
        let mut numbers = Numbers(seed);
        let directory = TempDir::new().unwrap();
        let root = root(&directory);
        let mut database = open(&root, Durability::Fsync);
        let mut expected = Content::new();
        let mut held: Vec<(DiskSnapshot, Content)> = Vec::new();
        for step in 0..700_u64 {
            let mut batches = vec![Batch::default(), Batch::default()];
            for _ in 0..numbers.below(12) {
                let key = key(numbers.below(120));
                let batch = &mut batches[numbers.below(2) as usize];
                if numbers.below(3) == 0 {
                    batch.delete(key);
                } else {
                    batch.put(key, vec![step as u8; [3, 2000][numbers.below(2) as usize]]);
                }
            }
            for change in batches.iter().flat_map(|batch| &batch.changes) {
                match change {
                    crate::Change::Put { key, value } => expected.insert(key.to_vec(), value.to_vec()),
                    crate::Change::Delete { key } => expected.remove(&key[..]),
                };
            }
            database.commit(&batches).unwrap();
            compare(&database.snapshot(), &expected, &mut numbers);
            match numbers.below(60) {
                0..5 => database.write_out().unwrap(),
                5..8 => _ = database.refresh(),
                8..11 => held.push((database.snapshot(), expected.clone())),
                11 => {
                    held.clear();
                    database.close().unwrap();
                    // Without a log the database has its own memtable and journal.
                    let durability = if numbers.below(3) == 0 { Durability::Os } else { Durability::Fsync };
                    database = open(&root, durability);
                    compare(&database.snapshot(), &expected, &mut numbers);
                }
                _ => {}
            }
            if held.len() > 3 {
                held.remove(numbers.below(3) as usize);
            }
            for (snapshot, expected) in &held {
                compare(snapshot, expected, &mut numbers);
            }
        }
        held.clear();
        database.close().unwrap();
    }
}

#[test]
fn what_is_deleted_soon_reaches_no_table() {
    let directory = TempDir::new().unwrap();
    let root = root(&directory);
    let database = open(&root, Durability::Fsync);
    let tables = || std::fs::read_dir(root.database().join("keyspaces/1/tables")).unwrap().count();
    let before = tables();
    for number in 0..100 {
        let mut batch = Batch::default();
        batch.put(key(number), vec![7; 4096]);
        database.commit(&[batch]).unwrap();
        let mut batch = Batch::default();
        batch.delete(key(number));
        database.commit(&[batch]).unwrap();
    }
    database.write_out().unwrap();
    assert_eq!(database.bytes_in_memory(), 0);
    assert_eq!(tables(), before);
    let mut batch = Batch::default();
    batch.put(key(1), "stays");
    database.commit(&[batch]).unwrap();
    database.write_out().unwrap();
    assert_eq!(tables(), before + 1);
    // What a table has is deleted from it.
    let mut batch = Batch::default();
    batch.delete(key(1));
    database.commit(&[batch]).unwrap();
    database.write_out().unwrap();
    assert_eq!(database.snapshot().get(&key(1)).unwrap(), None);
    database.close().unwrap();
    let database = open(&root, Durability::Fsync);
    assert_eq!(database.snapshot().get(&key(1)).unwrap(), None);
    database.close().unwrap();
}

#[test]
fn nobody_waits_for_a_list_of_tables_that_is_being_synced() {
    let directory = TempDir::new().unwrap();
    let root = root(&directory);
    let database = open(&root, Durability::Fsync);
    let mut batch = Batch::default();
    batch.put("key", "in a table");
    database.commit(&[batch]).unwrap();
    database.write_out().unwrap();
    let records = database.keyspace();
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        // fjall keeps this lock over the syncs.
        let locked = records.tree.get_version_history_lock();
        scope.spawn(|| {
            let read = database.snapshot().get(b"key").unwrap();
            let mut batch = Batch::default();
            batch.put("other", "committed");
            database.commit(&[batch]).unwrap();
            let all = (Bound::Unbounded, Bound::Unbounded);
            let scanned = database.snapshot().scan(all, Direction::Forward, 10).unwrap();
            tell.send((read, scanned.len())).unwrap();
        });
        let told = told.recv_timeout(std::time::Duration::from_secs(60));
        drop(locked);
        assert_eq!(told.unwrap(), (Some("in a table".into()), 2));
    });
    drop(records);
    database.close().unwrap();
}

#[test]
fn what_is_committed_while_records_are_written_out_stays() {
    let directory = TempDir::new().unwrap();
    let root = root(&directory);
    let database = open(&root, Durability::Fsync);
    const LAST: u64 = 3000;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..LAST {
                let mut batch = Batch::default();
                batch.put(number.to_be_bytes().to_vec(), number.to_string());
                batch.delete(number.wrapping_sub(50).to_be_bytes().to_vec());
                database.commit(&[batch]).unwrap();
                let snapshot = database.snapshot();
                for there in number.saturating_sub(49)..=number {
                    let found = snapshot.get(&there.to_be_bytes()).unwrap();
                    assert_eq!(found.as_deref(), Some(there.to_string().as_bytes()));
                }
                let all = (Bound::Unbounded, Bound::Unbounded);
                let found = snapshot.scan(all, Direction::Reverse, 60).unwrap();
                assert_eq!(found.len() as u64, (number + 1).min(50));
            }
        });
        while !writer.is_finished() {
            database.write_out().unwrap();
            database.refresh();
        }
    });
    database.close().unwrap();
    let database = open(&root, Durability::Fsync);
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert_eq!(database.snapshot().scan(all, Direction::Forward, usize::MAX).unwrap().len(), 50);
    database.close().unwrap();
}

/// The journal of fjall knows nothing of deletions that the layers have made.
#[test]
fn what_an_unsynced_store_left_in_its_journal_does_not_come_back() {
    let directory = TempDir::new().unwrap();
    let root = root(&directory);
    let database = open(&root, Durability::Os);
    let mut batch = Batch::default();
    (0..100).for_each(|number| batch.put(key(number), vec![7; 100]));
    database.commit(&[batch]).unwrap();
    database.close().unwrap();
    // All of it is deleted, and the tables are merged until nothing is left of them.
    let database = open(&root, Durability::Fsync);
    let all = |database: &Database| {
        let range = (Bound::Unbounded, Bound::Unbounded);
        database.snapshot().scan(range, Direction::Forward, 1000).unwrap().len()
    };
    assert_eq!(all(&database), 100);
    let mut batch = Batch::default();
    (0..100).for_each(|number| batch.delete(key(number)));
    database.commit(&[batch]).unwrap();
    database.write_out().unwrap();
    database.keyspace().major_compact().unwrap();
    database.close().unwrap();
    for durability in [Durability::Fsync, Durability::Os, Durability::Fsync] {
        let database = open(&root, durability);
        assert_eq!(all(&database), 0, "{durability:?}");
        database.close().unwrap();
    }
}
