//! A journal that fjall has written, torn and damaged at every byte.

use std::fs;

use tempfile::TempDir;

use super::*;

const BATCHES: usize = 5;

/// The bytes of a journal, and where each of its batches ends.
fn journal() -> (Vec<u8>, Vec<usize>) {
    let directory = TempDir::new().unwrap();
    let database = fjall::Database::builder(directory.path()).open().unwrap();
    let records = database.keyspace("records", Default::default).unwrap();
    let mut ends = vec![0];
    let mut bytes = Vec::new();
    for n in 0..BATCHES {
        let mut batch = database.batch();
        batch.insert(&records, format!("key {n}"), vec![n as u8; n * 11]);
        batch.remove(&records, "gone");
        // Content that looks like the journal itself.
        batch.insert(&records, "looks like", [START, ITEM, END, b'F', b'J', b'L', 3]);
        batch.commit().unwrap();
        let mut file = File::open(directory.path().join("0.jnl")).unwrap();
        let used = used(&mut file, 0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        bytes.clear();
        file.take(used).read_to_end(&mut bytes).unwrap();
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// Checks a directory with these journals; returns how long the last one is afterwards.
fn checked(journals: &[&[u8]], last_use: LastUse) -> Result<usize, StoreError> {
    let directory = TempDir::new().unwrap();
    for (n, journal) in journals.iter().enumerate() {
        fs::write(directory.path().join(format!("{n}.jnl")), journal).unwrap();
    }
    check(directory.path(), last_use)?;
    let newest = directory.path().join(format!("{}.jnl", journals.len() - 1));
    Ok(fs::metadata(newest).unwrap().len() as usize)
}

fn is_corrupt(result: Result<usize, StoreError>) -> bool {
    matches!(result, Err(StoreError::Corrupt(_)))
}

#[test]
fn an_intact_journal_stays_as_it_is() {
    let (bytes, _) = journal();
    assert_eq!(checked(&[&bytes], LastUse::Synced).unwrap(), bytes.len());
    let mut reserved = bytes.clone();
    reserved.resize(1 << 20, 0);
    assert_eq!(checked(&[&reserved], LastUse::Synced).unwrap(), 1 << 20);
    assert_eq!(checked(&[&reserved, &[]], LastUse::Synced).unwrap(), 0);
    // The numbers go on from one journal to the next.
    assert!(is_corrupt(checked(&[&bytes, &bytes], LastUse::Synced)));
    assert_eq!(checked(&[&[]], LastUse::Synced).unwrap(), 0);
    assert!(is_corrupt(checked(&[], LastUse::Synced).map(|_| 0)));
}

#[test]
fn a_journal_cut_anywhere_keeps_its_whole_batches() {
    let (bytes, ends) = journal();
    for cut in 0..=bytes.len() {
        let whole = *ends.iter().rfind(|end| **end <= cut).unwrap();
        assert_eq!(checked(&[&bytes[..cut]], LastUse::Synced).unwrap(), whole, "cut at {cut}");
        // Followed by reserved space, only what is not zero has to go.
        let mut reserved = bytes[..cut].to_vec();
        reserved.resize(100_000, 0);
        let left = checked(&[&reserved], LastUse::Synced).unwrap();
        assert!(
            left == whole || (left == 100_000 && bytes[whole..cut].iter().all(|byte| *byte == 0)),
            "{cut}"
        );
        // A journal that is not the newest was complete.
        let sealed = checked(&[&bytes[..cut], &[]], LastUse::Synced);
        assert_eq!(is_corrupt(sealed), cut != whole, "sealed, cut at {cut}");
    }
}

#[test]
fn a_batch_with_a_hole_anywhere_is_torn_at_the_end_and_damage_before() {
    let (bytes, ends) = journal();
    for (batch, window) in ends.windows(2).enumerate() {
        for begin in (window[0]..window[1] - 1).step_by(3) {
            let mut holed = bytes.clone();
            holed[begin..window[1] - 1].fill(0);
            if holed == bytes {
                continue;
            }
            let result = checked(&[&holed], LastUse::Synced);
            if batch + 1 == BATCHES {
                assert_eq!(result.unwrap(), window[0], "hole at {begin}");
            } else {
                assert!(is_corrupt(result), "hole at {begin}");
            }
            // Whoever did not sync gets what came before the first hole.
            assert_eq!(
                checked(&[&holed], LastUse::Unsynced).unwrap(),
                window[0],
                "unsynced, hole at {begin}"
            );
        }
    }
}

#[test]
fn no_flipped_bit_gets_an_acknowledged_batch_dropped() {
    let (bytes, ends) = journal();
    for at in 0..bytes.len() {
        let begin = *ends.iter().rfind(|end| **end <= at).unwrap();
        // The number of a batch is not covered by its checksum. Those of the first and the last have a neighbour on one
        // side only, so a small change shows only in between.
        let in_number = (begin + 5..begin + 13).contains(&at);
        let unnoticed = in_number && (begin == 0 || begin == ends[BATCHES - 1]);
        for bit in [0, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            match checked(&[&flipped], LastUse::Synced) {
                Ok(left) if unnoticed => assert_eq!(left, bytes.len()),
                // The last batch could have been in the middle of being written.
                Ok(left) => assert_eq!((begin, left), (ends[BATCHES - 1], begin), "flipped at {at}"),
                Err(error) => {
                    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
                    let offset = |begin: &usize| error.to_string().contains(&format!("offset {begin}"));
                    assert!(offset(&begin) || in_number && ends.iter().any(offset), "{error}");
                }
            }
            let last_use = LastUse::Closed { journal: 0, len: bytes.len() as u64 };
            assert!(is_corrupt(checked(&[&flipped], last_use)) || unnoticed, "closed, flipped at {at}");
        }
    }
}

#[test]
fn a_closed_store_must_be_as_it_was_left() {
    let (bytes, ends) = journal();
    let closed = |journal, len: usize| LastUse::Closed { journal, len: len as u64 };
    assert!(checked(&[&bytes], closed(0, bytes.len())).is_ok());
    assert!(is_corrupt(checked(&[&bytes], closed(1, 0))));
    assert!(is_corrupt(checked(&[&bytes[..ends[2]]], closed(0, ends[3]))));
}

#[test]
fn what_a_checkpoint_found_synced_must_be_there_and_what_follows_need_not() {
    let (bytes, ends) = journal();
    let logged = |journal, len: usize| {
        LastUse::Logged(Logged { id: 1, from: 1, segments: 1, journal, len: len as u64 })
    };
    assert!(checked(&[&bytes], logged(0, bytes.len())).is_ok());
    assert!(is_corrupt(checked(&[&bytes], logged(1, 0))));
    assert!(is_corrupt(checked(&[&bytes[..ends[2]]], logged(0, ends[3]))));
    // A hole behind it, although intact batches follow: the log has them all.
    let mut holed = bytes.clone();
    holed[ends[2] + 1..ends[3] - 1].fill(0);
    assert!(checked(&[&holed], logged(0, ends[2])).is_ok());
    assert!(is_corrupt(checked(&[&holed], logged(0, ends[3]))));
}
