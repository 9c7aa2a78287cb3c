//! Torn ends, flipped bytes and missing files.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};

use lockd_store::Durability;
use lockd_store::suite::Writer;
use tempfile::TempDir;

use super::*;

/// A store as a crash leaves it: `count` batches written one after the other, not closed. Returns where each ended in the
/// log.
fn crashed(root: &Path, count: u64) -> Vec<usize> {
    let directory = TempDir::new().unwrap();
    let live = directory.path().join("live");
    let store = open(&live).unwrap();
    let writer = Writer::new(&store.engine);
    let mut ends = vec![0];
    for n in 1..=count {
        writer.commit(batch(n));
        ends.push(used(&live.join(LOG)).next_multiple_of(8));
    }
    copy(&live, root);
    store.engine.close().unwrap();
    ends
}

const LOG: &str = "log/0";
const JOURNAL: &str = "db/0.jnl";

/// Where the few batches of these tests end in the space reserved for a file.
fn used(file: &Path) -> usize {
    beginning(file).iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn beginning(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    fs::File::open(file).unwrap().take(100_000).read_to_end(&mut bytes).unwrap();
    bytes
}

fn patch(path: &Path, offset: usize, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

fn truncate(path: &Path, len: usize) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len as u64).unwrap();
}

/// Opens, expecting exactly the first `count` batches, and that the store goes on working.
fn audit(root: &Path, count: u64, what: &str) {
    let store = open(root).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(content(&*store.engine).unwrap() == expected(count), "{what}");
    Writer::new(&store.engine).commit(batch(count + 1));
    store.engine.close().unwrap();
    let store = open(root).unwrap();
    assert!(content(&*store.engine).unwrap() == expected(count + 1), "{what}, then written and opened again");
    store.engine.close().unwrap();
}

#[test]
fn a_torn_end_loses_the_last_batch_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let whole = directory.path().join("whole");
    let ends = crashed(&whole, 5);
    let len = fs::metadata(whole.join(LOG)).unwrap().len();
    let torn = directory.path().join("torn");
    // Every single offset is tried in the unit tests of the log; here are a few with everything around it.
    for cut in (ends[4] + 1..ends[5] - 8).step_by(61).chain([ends[4], ends[5] - 9]) {
        // The file ends early; the rest never arrived; the rest is what was there before.
        for fill in [None, Some(0), Some(0xa5)] {
            let _ = fs::remove_dir_all(&torn);
            copy(&whole, &torn);
            let log = torn.join(LOG);
            truncate(&log, cut);
            if let Some(fill) = fill {
                patch(&log, cut, &vec![fill; ends[5] - cut]);
                truncate(&log, len as usize);
            }
            // The batch is in the log before it is anywhere else.
            truncate(&torn.join(JOURNAL), 0);
            audit(&torn, 4, &format!("torn at {cut} of {}..{}, filled with {fill:?}", ends[4], ends[5]));
        }
    }
}

#[test]
fn a_hole_in_the_last_batch_is_a_torn_end() {
    // The pages of one unsynced write reach the disk in any order.
    let directory = TempDir::new().unwrap();
    let whole = directory.path().join("whole");
    let ends = crashed(&whole, 5);
    let root = directory.path().join("store");
    for (begin, end) in [(0, 8), (8, 40), (60, 100), (60, ends[5] - ends[4] - 20)] {
        let _ = fs::remove_dir_all(&root);
        copy(&whole, &root);
        patch(&root.join(LOG), ends[4] + begin, &vec![0; end - begin]);
        truncate(&root.join(JOURNAL), 0);
        audit(&root, 4, &format!("a hole from {begin} to {end}"));
    }
}

#[test]
fn a_flipped_byte_before_an_intact_batch_is_damage() {
    let directory = TempDir::new().unwrap();
    let whole = directory.path().join("whole");
    let ends = crashed(&whole, 5);
    let log = whole.join(LOG);
    let original = beginning(&log);
    let journal = beginning(&whole.join(JOURNAL));
    for offset in (0..ends[4]).step_by(7) {
        // What fills up to a multiple of eight says nothing.
        if ends.iter().any(|end| (end.saturating_sub(7)..*end).contains(&offset)) {
            continue;
        }
        patch(&log, offset, &[original[offset] ^ 0x10]);
        match open(&whole) {
            Err(error @ StoreError::Corrupt(_)) => {
                let text = error.to_string();
                let begin = ends.iter().rfind(|end| **end <= offset).unwrap();
                assert!(text.contains(&log.display().to_string()), "{text}");
                assert!(text.contains(&format!("damaged at offset {begin}:")), "{text}");
            }
            Err(error) => panic!("flipped at {offset}: {error:?}"),
            Ok(_) => panic!("flipped at {offset}: opened"),
        }
        patch(&log, offset, &[original[offset]]);
        assert!(beginning(&log) == original, "the damaged log was changed");
        assert!(beginning(&whole.join(JOURNAL)) == journal, "the journal was changed");
    }
    audit(&whole, 5, "everything flipped back");
}

#[test]
fn what_the_log_has_needs_no_journal() {
    let directory = TempDir::new().unwrap();
    let whole = directory.path().join("whole");
    crashed(&whole, 60);
    assert_eq!(used(&whole.join(JOURNAL)), 0);
    let root = directory.path().join("store");
    for fill in [None, Some(0xa5)] {
        let _ = fs::remove_dir_all(&root);
        copy(&whole, &root);
        truncate(&root.join(JOURNAL), 0);
        if let Some(fill) = fill {
            patch(&root.join(JOURNAL), 0, &[fill; 300]);
        }
        audit(&root, 60, &format!("the journal filled with {fill:?}"));
    }
    // Opened again and again without being closed, each time as after a power cut.
    let _ = fs::remove_dir_all(&root);
    copy(&whole, &root);
    for n in 60..63 {
        let store = open(&root).unwrap();
        assert!(content(&*store.engine).unwrap() == expected(n));
        Writer::new(&store.engine).commit(batch(n + 1));
        let next = directory.path().join(format!("after {n}"));
        copy(&root, &next);
        store.engine.close().unwrap();
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&next, &root).unwrap();
    }
    audit(&root, 63, "after the last");
}

#[test]
fn what_a_checkpoint_has_synced_must_be_there() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    with_journal(&root);
    let before = fs::read(root.join(JOURNAL)).unwrap();
    let written = used(&root.join(JOURNAL));
    // The next start has emptied the journal. Versions before left it as it was, and said so in their note.
    let store = open(&root).unwrap();
    let copied = directory.path().join("copied");
    copy(&root, &copied);
    store.engine.close().unwrap();
    let journal = copied.join(JOURNAL);
    assert_eq!(used(&journal), 0);
    fs::write(&journal, before).unwrap();
    let note = fs::read_to_string(copied.join("last-use")).unwrap();
    fs::write(copied.join("last-use"), note.replace("length 0", &format!("length {written}"))).unwrap();
    for cut in [0, written / 2, written - 1] {
        let byte = beginning(&journal)[cut];
        patch(&journal, cut, &[byte ^ 1]);
        let error = open(&copied).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert!(error.to_string().contains("0.jnl"), "{error}");
        patch(&journal, cut, &[byte]);
    }
    audit(&copied, 5, "flipped back");
}

#[test]
fn a_missing_segment_is_damage() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    crashed(&root, 5);
    fs::rename(root.join(LOG), root.join("log/elsewhere")).unwrap();
    let error = open(&root).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("log/0 is missing"), "{error}");
    fs::rename(root.join("log/elsewhere"), root.join(LOG)).unwrap();
    audit(&root, 5, "put back");
}

#[test]
fn after_closing_the_last_batch_counts_as_well() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    with_journal(&root);
    let journal = root.join("db/0.jnl");
    let last = used(&journal) - 30;
    let byte = beginning(&journal)[last];
    patch(&journal, last, &[byte ^ 1]);
    let error = open(&root).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    patch(&journal, last, &[byte]);
    audit(&root, 5, "flipped back");
}

/// A store that was closed with five batches in the journal of its database, as one without a commit log.
fn with_journal(root: &Path) {
    let options = Options { durability: Durability::Os, ..Options::default() };
    let store = lockd_store::open(&format!("disk://{}", root.display()), options).unwrap();
    let writer = Writer::new(&store.engine);
    (1..=5).for_each(|n| _ = writer.commit(batch(n)));
    store.engine.close().unwrap();
}

/// A store that has been closed, with records in several tables.
fn closed(root: &Path) -> Content {
    let store = open(root).unwrap();
    let writer = Writer::new(&store.engine);
    let mut expected = expected(20);
    (1..=20).for_each(|n| _ = writer.commit(batch(n)));
    // Enough to be written out as a table.
    for n in 0..80_u8 {
        let mut batch = Batch::default();
        let value: Vec<u8> =
            (0..1_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ n).collect();
        expected.insert(format!("large/{n:02}").into_bytes(), value.clone());
        batch.put(format!("large/{n:02}"), value);
        writer.commit(batch);
    }
    store.engine.close().unwrap();
    // Opening again flushes what is left of sealed journals.
    let store = open(root).unwrap();
    assert!(content(&*store.engine).unwrap() == expected);
    store.engine.close().unwrap();
    expected
}

/// Opens and reads everything. Whatever comes of it, it must not be other content than there was.
fn content_or_error(root: &Path) -> Result<Content, StoreError> {
    let store = open(root)?;
    content(&*store.engine)
}

#[test]
fn damaged_files_are_reported_and_never_believed() {
    let directory = TempDir::new().unwrap();
    let whole = directory.path().join("whole");
    let expected = closed(&whole);
    let damaged = directory.path().join("damaged");
    let mut refused = 0;
    for file in files(&whole.join("db")) {
        let bytes = fs::read(whole.join("db").join(&file)).unwrap();
        let mut variants: Vec<(String, Option<Vec<u8>>)> = vec![("missing".into(), None)];
        variants.push(("empty".into(), Some(Vec::new())));
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for at in [0, used / 3, used / 2, used.saturating_sub(40), used.saturating_sub(1)] {
            if at < used {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x40;
                variants.push((format!("flipped at {at} of {used}"), Some(flipped)));
            }
        }
        for (what, content) in variants {
            let _ = fs::remove_dir_all(&damaged);
            copy(&whole, &damaged);
            let path = damaged.join("db").join(&file);
            match content {
                None => fs::remove_file(&path).unwrap(),
                Some(content) => fs::write(&path, content).unwrap(),
            }
            match content_or_error(&damaged) {
                Ok(found) => assert!(found == expected, "{} {what}: other content", file.display()),
                Err(StoreError::Corrupt(_) | StoreError::Io(_)) => refused += 1,
                Err(error) => panic!("{} {what}: {error:?}", file.display()),
            }
        }
    }
    println!("{refused} kinds of damage refused");
    assert!(refused > 10);
}
