//! The engine against a model of it: an ordered map, copied whenever somebody takes a snapshot.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Fixture, Writer};
use crate::{Batch, Change, Direction, Entry, Snapshot};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Vec<(u8, Option<u8>)>>),
    Snapshot,
    Forget(usize),
    Scan { start: Bound<u8>, end: Bound<u8>, reverse: bool, limit: usize },
    Reopen,
}

/// Few keys, so that they are written often; one byte of value stands for a value of its own size.
fn key(key: u8) -> Vec<u8> {
    vec![b'k'; usize::from(key % 24) / 6 + 1].into_iter().chain([key % 24]).collect()
}

fn value(value: u8) -> Vec<u8> {
    vec![value; usize::from(value) * 10]
}

fn bound() -> impl Strategy<Value = Bound<u8>> {
    prop_oneof![
        Just(Bound::Unbounded),
        any::<u8>().prop_map(Bound::Included),
        any::<u8>().prop_map(Bound::Excluded)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let batch = prop::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..6);
    prop_oneof![
        8 => prop::collection::vec(batch, 1..4).prop_map(Step::Commit),
        3 => Just(Step::Snapshot),
        2 => any::<usize>().prop_map(Step::Forget),
        4 => (bound(), bound(), any::<bool>(), 0..40_usize)
            .prop_map(|(start, end, reverse, limit)| Step::Scan { start, end, reverse, limit }),
        1 => Just(Step::Reopen),
    ]
}

fn scan(map: &Map, range: (Bound<&[u8]>, Bound<&[u8]>), reverse: bool, limit: usize) -> Vec<Entry> {
    let inside = |key: &&Vec<u8>| {
        let key: &[u8] = key;
        let after = match range.0 {
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
            Bound::Unbounded => true,
        };
        after
            && match range.1 {
                Bound::Included(end) => key <= end,
                Bound::Excluded(end) => key < end,
                Bound::Unbounded => true,
            }
    };
    let mut entries: Vec<Entry> = map
        .iter()
        .filter(|(key, _)| inside(key))
        .map(|(key, value)| (key.clone().into(), value.clone().into()))
        .collect();
    if reverse {
        entries.reverse();
    }
    entries.truncate(limit);
    entries
}

fn compare(snapshot: &dyn Snapshot, map: &Map, what: &str) {
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert_eq!(snapshot.scan(all, Direction::Forward, 100).unwrap(), scan(map, all, false, 100), "{what}");
    assert_eq!(snapshot.scan(all, Direction::Reverse, 100).unwrap(), scan(map, all, true, 100), "{what}");
    for at in 0..24 {
        let found = snapshot.get(&key(at)).unwrap();
        assert_eq!(found.as_deref(), map.get(&key(at)).map(Vec::as_slice), "{what}");
    }
}

pub fn behaves_like_an_ordered_map(fixture: &dyn Fixture) {
    // What need not be opened again for every case is fast.
    let cases = if fixture.is_persistent() { 40 } else { 2000 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(step(), 1..30);
    TestRunner::new(config)
        .run(&steps, |steps| {
            play(fixture, &steps);
            Ok(())
        })
        .unwrap();
}

fn play(fixture: &dyn Fixture, steps: &[Step]) {
    let mut store = fixture.open();
    let mut writer = Writer::new(&store.engine);
    let mut map = Map::new();
    // The store is the same for all cases, so begin by emptying it.
    let mut empty = Batch::default();
    (0..24).for_each(|at| empty.delete(key(at)));
    writer.commit(empty);
    let mut held: Vec<(Arc<dyn Snapshot>, Map)> = Vec::new();
    for step in steps {
        match step {
            Step::Commit(batches) => {
                let count = batches.len();
                for (at, changes) in batches.iter().enumerate() {
                    let mut batch = Batch::default();
                    for (k, v) in changes {
                        let k = key(*k);
                        match v {
                            Some(v) => {
                                map.insert(k.clone(), value(*v));
                                batch.changes.push(Change::Put { key: k.into(), value: value(*v).into() });
                            }
                            None => {
                                map.remove(&k);
                                batch.changes.push(Change::Delete { key: Bytes::from(k) });
                            }
                        }
                    }
                    if at + 1 == count {
                        writer.commit(batch);
                    } else {
                        writer.submit(batch);
                    }
                }
                compare(&*store.engine.snapshot(), &map, "the newest state");
            }
            Step::Snapshot => held.push((store.engine.snapshot(), map.clone())),
            Step::Forget(at) if !held.is_empty() => {
                held.swap_remove(at % held.len());
            }
            Step::Forget(_) => {}
            Step::Scan { start, end, reverse, limit } => {
                let (start, end) = (start.map(key), end.map(key));
                let range = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
                let direction = if *reverse { Direction::Reverse } else { Direction::Forward };
                let found = store.engine.snapshot().scan(range, direction, *limit).unwrap();
                assert_eq!(found, scan(&map, range, *reverse, *limit), "{range:?}");
            }
            Step::Reopen if fixture.is_persistent() => {
                for (snapshot, map) in held.drain(..) {
                    compare(&*snapshot, &map, "an old snapshot before closing");
                }
                store.engine.close().unwrap();
                store = fixture.open();
                writer = Writer::new(&store.engine);
                compare(&*store.engine.snapshot(), &map, "the state after reopening");
            }
            Step::Reopen => {}
        }
    }
    for (snapshot, map) in &held {
        compare(&**snapshot, map, "an old snapshot at the end");
    }
    drop(held);
    store.engine.close().unwrap();
}
