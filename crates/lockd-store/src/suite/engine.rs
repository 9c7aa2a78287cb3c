//! Checks of the engine.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;

use super::writer::eventually;
use super::{Fixture, Writer};
use crate::{Batch, BlobId, Committed, Direction, Entry, Progress, Snapshot};

const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::default();
    batch.put(key, value);
    batch
}

fn keys(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

fn number(bytes: &Bytes) -> u64 {
    u64::from_be_bytes(bytes.as_ref().try_into().unwrap())
}

fn get_number(snapshot: &dyn Snapshot, key: &str) -> u64 {
    snapshot.get(key.as_bytes()).unwrap().as_ref().map_or(0, number)
}

pub fn batches_become_durable_in_order(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let mut last = (0, Committed::Now);
    for round in 1..=500_u64 {
        last = writer.submit(put("round", round.to_be_bytes().to_vec()));
        assert_eq!(last.0, round);
        if last.1 == Committed::Now {
            assert_eq!(get_number(&*store.engine.snapshot(), "round"), round);
        }
        // Visible is never more than was submitted and never goes back.
        let seen = get_number(&*store.engine.snapshot(), "round");
        assert!(seen <= round && seen <= get_number(&*store.engine.snapshot(), "round"));
    }
    if last.1 == Committed::Later {
        writer.wait(500);
    }
    assert_eq!(get_number(&*store.engine.snapshot(), "round"), 500);
    let mut previous = 0;
    for progress in writer.heard() {
        let Progress::Durable { through } = progress else { panic!("{progress:?}") };
        assert!(previous < through && through <= 500, "{previous} then {through}");
        previous = through;
    }
    // A batch without changes is durable like any other.
    writer.commit(Batch::default());
    store.engine.close().unwrap();
}

pub fn a_batch_is_seen_whole_or_not_at_all(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut previous = 0;
                while !done.load(Ordering::Acquire) {
                    let snapshot = store.engine.snapshot();
                    let left = get_number(&*snapshot, "left");
                    let all = snapshot.scan(ALL, Direction::Forward, 10).unwrap();
                    let right = get_number(&*snapshot, "right");
                    assert_eq!(left, right);
                    assert!(previous <= left, "the state went back from {previous} to {left}");
                    for (_, value) in &all {
                        assert_eq!(number(value), left);
                    }
                    assert_eq!(all.len(), if left == 0 { 0 } else { 3 });
                    previous = left;
                }
            });
        }
        let mut last = 0;
        for round in 1..=2000_u64 {
            let mut batch = Batch::default();
            for key in ["left", "middle", "right"] {
                batch.put(key, round.to_be_bytes().to_vec());
            }
            let (seq, committed) = writer.submit(batch);
            if committed == Committed::Later {
                last = seq;
            }
        }
        if last > 0 {
            writer.wait(last);
        }
        done.store(true, Ordering::Release);
    });
    store.engine.close().unwrap();
}

pub fn snapshots_are_frozen(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let empty = store.engine.snapshot();
    let mut batch = put("a", "1");
    batch.put("b", "1");
    writer.commit(batch);
    let first = store.engine.snapshot();
    let mut batch = put("a", "2");
    batch.delete("b");
    batch.put("c", "2");
    writer.commit(batch);
    let second = store.engine.snapshot();
    let mut batch = Batch::default();
    batch.delete("a");
    batch.put("b", "3");
    writer.commit(batch);
    for direction in [Direction::Forward, Direction::Reverse] {
        let content = |snapshot: &dyn Snapshot| {
            let mut entries = snapshot.scan(ALL, direction, 10).unwrap();
            entries.sort();
            entries.iter().map(|(key, value)| format!("{key:?}={value:?}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(content(&*empty), "");
        assert_eq!(content(&*first), r#"b"a"=b"1" b"b"=b"1""#);
        assert_eq!(content(&*second), r#"b"a"=b"2" b"c"=b"2""#);
        assert_eq!(content(&*store.engine.snapshot()), r#"b"b"=b"3" b"c"=b"2""#);
    }
    assert_eq!(empty.get(b"a").unwrap(), None);
    assert_eq!(first.get(b"b").unwrap().unwrap(), "1");
    assert_eq!(first.get(b"c").unwrap(), None);
    assert_eq!(second.get(b"b").unwrap(), None);
    drop((empty, first, second));
    store.engine.close().unwrap();
}

pub fn the_last_change_of_a_key_counts(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let mut batch = Batch::default();
    batch.put("put last", "wrong");
    batch.delete("put last");
    batch.put("put last", "right");
    batch.put("delete last", "wrong");
    batch.delete("delete last");
    batch.delete("never there");
    writer.commit(batch);
    let snapshot = store.engine.snapshot();
    assert_eq!(keys(&snapshot.scan(ALL, Direction::Forward, 10).unwrap()), ["put last"]);
    assert_eq!(snapshot.get(b"put last").unwrap().unwrap(), "right");
    // The same while a snapshot holds on to what there was before.
    let mut batch = Batch::default();
    batch.delete("put last");
    batch.put("put last", "newer");
    writer.commit(batch);
    assert_eq!(snapshot.get(b"put last").unwrap().unwrap(), "right");
    drop(snapshot);
    writer.commit(put("other", ""));
    assert_eq!(store.engine.snapshot().get(b"put last").unwrap().unwrap(), "newer");
    // The same over batches that may end up in one group.
    let mut last = (0, Committed::Now);
    for round in 0..200_u64 {
        let mut batch = put("key", round.to_be_bytes().to_vec());
        if round % 2 == 1 {
            batch.delete("flag");
        } else {
            batch.put("flag", "set");
        }
        last = writer.submit(batch);
    }
    if last.1 == Committed::Later {
        writer.wait(last.0);
    }
    let snapshot = store.engine.snapshot();
    assert_eq!(get_number(&*snapshot, "key"), 199);
    assert_eq!(snapshot.get(b"flag").unwrap(), None);
    store.engine.close().unwrap();
}

pub fn keys_and_values_are_any_bytes(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let long = vec![0xff; 1000];
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let entries: BTreeMap<Vec<u8>, Vec<u8>> = [
        (vec![0], vec![]),
        (vec![0, 0], vec![0]),
        (vec![0, 1], vec![1; 20]),
        (vec![0x7f], vec![2; 1023]),
        (vec![0x80], vec![3; 1024]),
        (vec![0xff], vec![4; 1025]),
        (vec![0xff, 0], vec![5; 70_000]),
        (long, large),
    ]
    .into();
    let mut batch = Batch::default();
    for (key, value) in &entries {
        batch.put(key.clone(), value.clone());
    }
    writer.commit(batch);
    let snapshot = store.engine.snapshot();
    let expected: Vec<Entry> = entries.iter().map(|(k, v)| (k.clone().into(), v.clone().into())).collect();
    assert!(snapshot.scan(ALL, Direction::Forward, 100).unwrap() == expected);
    for (key, value) in &entries {
        assert!(snapshot.get(key).unwrap().unwrap() == value[..], "{} bytes of key", key.len());
    }
    assert_eq!(snapshot.get(b"").unwrap(), None);
    assert_eq!(snapshot.get(&[0, 2]).unwrap(), None);
    drop(snapshot);
    store.engine.close().unwrap();
}

pub fn scans_respect_their_bounds(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let mut batch = Batch::default();
    for key in ["a", "b", "ba", "c", "d"] {
        batch.put(key, "");
    }
    writer.commit(batch);
    let snapshot = store.engine.snapshot();
    let scan = |start: Bound<&str>, end: Bound<&str>, limit: usize| {
        let range = (start.map(str::as_bytes), end.map(str::as_bytes));
        let forward = keys(&snapshot.scan(range, Direction::Forward, limit).unwrap());
        let reverse = keys(&snapshot.scan(range, Direction::Reverse, limit).unwrap());
        (forward.join(" "), reverse.join(" "))
    };
    let both = |forward: &str, reverse: &str| (forward.to_string(), reverse.to_string());
    use Bound::{Excluded, Included, Unbounded};
    assert_eq!(scan(Unbounded, Unbounded, 9), both("a b ba c d", "d c ba b a"));
    assert_eq!(scan(Unbounded, Unbounded, 2), both("a b", "d c"));
    assert_eq!(scan(Unbounded, Unbounded, 0), both("", ""));
    assert_eq!(scan(Unbounded, Unbounded, usize::MAX), both("a b ba c d", "d c ba b a"));
    assert_eq!(scan(Included("b"), Included("c"), 9), both("b ba c", "c ba b"));
    assert_eq!(scan(Included("b"), Excluded("c"), 9), both("b ba", "ba b"));
    assert_eq!(scan(Excluded("b"), Included("c"), 9), both("ba c", "c ba"));
    assert_eq!(scan(Excluded("b"), Excluded("c"), 9), both("ba", "ba"));
    assert_eq!(scan(Included("b"), Included("b"), 9), both("b", "b"));
    assert_eq!(scan(Excluded("b"), Unbounded, 1), both("ba", "d"));
    assert_eq!(scan(Unbounded, Excluded("b"), 1), both("a", "a"));
    assert_eq!(scan(Included("bb"), Excluded("bz"), 9), both("", ""));
    assert_eq!(scan(Included("x"), Unbounded, 9), both("", ""));
    // Ranges that contain nothing, some of which standard maps refuse.
    assert_eq!(scan(Included("c"), Included("b"), 9), both("", ""));
    assert_eq!(scan(Excluded("b"), Excluded("b"), 9), both("", ""));
    assert_eq!(scan(Included("b"), Excluded("b"), 9), both("", ""));
    assert_eq!(scan(Excluded("b"), Included("b"), 9), both("", ""));
    drop(snapshot);
    store.engine.close().unwrap();
}

pub fn pages_are_complete_in_both_directions(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    for chunk in (0..2500).collect::<Vec<_>>().chunks(100) {
        let mut batch = Batch::default();
        for at in chunk {
            batch.put(format!("key/{at:05}"), "");
        }
        writer.commit(batch);
    }
    let snapshot = store.engine.snapshot();
    // Between the pages the store changes, which the snapshot must not notice.
    let mut batch = Batch::default();
    for at in (0..2500).step_by(3) {
        batch.delete(format!("key/{at:05}"));
        batch.put(format!("key/{at:05}+"), "");
    }
    writer.commit(batch);
    let expected: Vec<String> = (0..2500).map(|at| format!("key/{at:05}")).collect();
    for limit in [1, 7, 256, 257, 1000, 2500, 9999] {
        let mut forward: Vec<String> = Vec::new();
        let mut reverse: Vec<String> = Vec::new();
        loop {
            let start = forward.last().map_or(Bound::Unbounded, |last| Bound::Excluded(last.as_bytes()));
            let page = snapshot.scan((start, Bound::Unbounded), Direction::Forward, limit).unwrap();
            let end = reverse.last().map_or(Bound::Unbounded, |last| Bound::Excluded(last.as_bytes()));
            let reverse_page = snapshot.scan((Bound::Unbounded, end), Direction::Reverse, limit).unwrap();
            assert_eq!(page.len(), reverse_page.len());
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            forward.extend(keys(&page));
            reverse.extend(keys(&reverse_page));
        }
        assert_eq!(forward, expected);
        reverse.reverse();
        assert_eq!(reverse, expected);
    }
    drop(snapshot);
    store.engine.close().unwrap();
}

pub fn concurrent_writers_and_readers_agree(fixture: &dyn Fixture) {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 200;
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // What a writer was told is durable never disappears from later snapshots.
            let mut seen = vec![0; WRITERS as usize];
            while !done.load(Ordering::Acquire) {
                let snapshot = store.engine.snapshot();
                for (at, seen) in seen.iter_mut().enumerate() {
                    let now = get_number(&*snapshot, &format!("writer/{at}"));
                    assert!(*seen <= now);
                    *seen = now;
                }
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|at| {
                let (store, writer) = (&store, writer.clone());
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        let mut batch = put(format!("writer/{at}"), round.to_be_bytes().to_vec());
                        batch.put(format!("log/{at}/{round:04}"), "");
                        writer.commit(batch);
                        assert_eq!(get_number(&*store.engine.snapshot(), &format!("writer/{at}")), round);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    let log = (Bound::Included(&b"log/"[..]), Bound::Excluded(&b"log0"[..]));
    let entries = store.engine.snapshot().scan(log, Direction::Forward, usize::MAX).unwrap();
    assert_eq!(entries.len() as u64, WRITERS * ROUNDS);
    store.engine.close().unwrap();
}

pub fn content_survives_reopening(fixture: &dyn Fixture) {
    if !fixture.is_persistent() {
        return;
    }
    for round in 0..3_u64 {
        let store = fixture.open();
        let snapshot = store.engine.snapshot();
        assert_eq!(get_number(&*snapshot, "round"), round);
        assert_eq!(snapshot.get(b"gone").unwrap(), None);
        let entries = snapshot.scan(ALL, Direction::Reverse, usize::MAX).unwrap();
        assert_eq!(entries.len() as u64, if round == 0 { 0 } else { 1 + 100 * round });
        // Numbers begin again with every opening.
        let writer = Writer::new(&store.engine);
        writer.commit(put("gone", "soon"));
        let mut batch = put("round", (round + 1).to_be_bytes().to_vec());
        batch.delete("gone");
        for at in 0..100 {
            batch.put(format!("{round}/{at}"), vec![7; at]);
        }
        assert_eq!(writer.commit(batch), 2);
        // A snapshot that somebody has forgotten does not keep the store from being opened again.
        store.engine.close().unwrap();
        store.engine.close().unwrap();
        drop(snapshot);
    }
}

pub fn close_waits_for_what_was_submitted(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let mut committed = Committed::Now;
    for at in 0..1000 {
        committed = writer.submit(put(format!("{at:04}"), "value")).1;
    }
    store.engine.close().unwrap();
    if committed == Committed::Later {
        let heard = writer.heard();
        assert!(matches!(heard.last(), Some(Progress::Durable { through: 1000 })), "{heard:?}");
    }
    if fixture.is_persistent() {
        let store = fixture.open();
        let entries = store.engine.snapshot().scan(ALL, Direction::Forward, usize::MAX).unwrap();
        assert_eq!(entries.len(), 1000);
        store.engine.close().unwrap();
    }
}

pub fn dead_blobs_go_after_their_batch(fixture: &dyn Fixture) {
    let store = fixture.open();
    let writer = Writer::new(&store.engine);
    let ids: Vec<BlobId> = (1..=3).map(super::blobs::id).collect();
    for id in &ids {
        super::blobs::write(&*store.blobs, *id, b"content");
    }
    let mut batch = put("points at", "nothing");
    batch.dead_blobs = vec![ids[0], ids[2], super::blobs::id(4)];
    writer.commit(batch);
    eventually("dead blobs were not deleted", || super::blobs::list(&*store.blobs) == [ids[1]]);
    // Also when nothing else changes.
    writer.commit(Batch { changes: vec![], dead_blobs: vec![ids[1]] });
    eventually("a dead blob was not deleted", || super::blobs::list(&*store.blobs).is_empty());
    store.engine.close().unwrap();
}
