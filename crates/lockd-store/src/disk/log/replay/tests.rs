//! Logs put together record by record: torn, damaged and used again.

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::record::{HEADER, Record};
use super::*;
use crate::port::Change;

const LOG: u64 = 7;

fn batch(seq: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(format!("key {seq}"), vec![seq as u8; 20 + seq as usize * 11]);
    batch.delete("gone");
    batch
}

fn records(log: u64, seqs: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut record = Record::default();
    seqs.into_iter().flat_map(|seq| record.encode(log, seq, &[batch(seq)]).to_vec()).collect()
}

/// Behind the first part the second part is what is left from earlier.
fn over(new: &[u8], old: &[u8]) -> Vec<u8> {
    [new, old.get(new.len()..).unwrap_or_default()].concat()
}

/// How many records are found in these segments from `from` on; replays them as well.
fn found(segments: &[&[u8]], from: u64) -> Result<u64, StoreError> {
    let directory = TempDir::new().unwrap();
    for (number, bytes) in segments.iter().enumerate() {
        fs::write(segment::path(directory.path(), number), bytes).unwrap();
    }
    let note = Logged { id: LOG, from, segments: segments.len(), journal: 0, len: 0 };
    let chain = Chain::find(directory.path(), &note)?;
    let mut changes = Vec::new();
    chain.replay(|group| {
        changes.extend(group.iter().flat_map(|batch| batch.changes.clone()));
        Ok(())
    })?;
    let expected: Vec<Change> = (from..from + chain.records).flat_map(|seq| batch(seq).changes).collect();
    assert_eq!(changes, expected);
    Ok(chain.records)
}

fn damage(result: Result<u64, StoreError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    error.to_string()
}

#[test]
fn records_follow_each_other_through_the_segments() {
    assert_eq!(found(&[&[]], 1).unwrap(), 0);
    assert_eq!(found(&[&[0; 4096]], 1).unwrap(), 0);
    let (first, second, third) = (records(LOG, 1..4), records(LOG, 4..9), records(LOG, 9..10));
    let zeros = [0; 100];
    assert_eq!(found(&[&second, &zeros, &first], 1).unwrap(), 8);
    assert_eq!(found(&[&second, &third, &first], 1).unwrap(), 9);
    // The oldest is not needed any more.
    assert_eq!(found(&[&second, &third, &first], 4).unwrap(), 6);
    assert_eq!(found(&[&second, &third, &first], 10).unwrap(), 0);
}

#[test]
fn a_log_cut_anywhere_keeps_its_whole_records() {
    let whole = records(LOG, 1..6);
    let ends: Vec<usize> = (1..=6).map(|end| records(LOG, 1..end).len()).collect();
    // Before this segment there is another, and behind the cut there is whatever was there before.
    for before in [zeros(whole.len()), records(LOG - 1, 30..50), records(LOG + 1, 90..99), vec![0xa5; 2000]] {
        for cut in 0..=whole.len() {
            let complete = ends.iter().filter(|end| **end <= cut.next_multiple_of(8)).count() as u64 - 1;
            let torn = over(&whole[..cut], &before);
            let kept = found(&[&torn], 1).unwrap();
            // The last bytes of a record are zeros that only fill it up.
            assert!(kept == complete || kept + 1 == complete, "cut at {cut}: {kept} of {complete}");
            if ends.contains(&cut) {
                assert_eq!(kept, complete, "cut at {cut}");
            }
        }
    }
}

fn zeros(len: usize) -> Vec<u8> {
    vec![0; len]
}

#[test]
fn what_is_left_in_a_segment_that_is_used_again_is_no_record() {
    let old = records(LOG, 1..10);
    // The same sizes, so that the old records begin where the new ones would.
    let mut record = Record::default();
    let one = |seq: u64| -> Vec<u8> { Record::default().encode(LOG, seq, &[batch(1)]).to_vec() };
    let aligned: Vec<u8> = (1..10).flat_map(one).collect();
    assert_eq!(found(&[&over(&records(LOG, 20..22), &old)], 20).unwrap(), 2);
    let new = over(record.encode(LOG, 20, &[batch(20)]), &aligned);
    assert_eq!(found(&[&new], 20).unwrap(), 1);
    let new = over(&one(20), &aligned);
    let directory = TempDir::new().unwrap();
    fs::write(segment::path(directory.path(), 0), new).unwrap();
    let note = Logged { id: LOG, from: 20, segments: 1, journal: 0, len: 0 };
    assert_eq!(Chain::find(directory.path(), &note).unwrap().records, 1);
    // Another log, whatever its numbers.
    assert_eq!(found(&[&records(LOG + 1, 20..30)], 20).unwrap(), 0);
    assert_eq!(found(&[&over(&records(LOG, 1..3), &records(LOG + 1, 1..9))], 1).unwrap(), 2);
    // A segment that was about to be used again when its first record tore.
    let torn = over(&records(LOG, 12..13)[..60], &old);
    assert_eq!(found(&[&records(LOG, 10..12), &torn], 10).unwrap(), 2);
}

#[test]
fn no_flipped_bit_gets_an_acknowledged_record_dropped() {
    let (first, second) = (records(LOG, 1..4), records(LOG, 4..7));
    let last = records(LOG, 4..6).len();
    for (segment, bytes) in [&first, &second].into_iter().enumerate() {
        for at in 0..bytes.len() {
            for bit in [0, 7] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let segments: [&[u8]; 2] =
                    if segment == 0 { [&flipped, &second] } else { [&first, &flipped] };
                match found(&segments, 1) {
                    // What fills a record up says nothing.
                    Ok(6) => assert_eq!(bytes[at], 0, "flipped at {at} of segment {segment}"),
                    // The last could have been in the middle of being written.
                    Ok(5) => assert!(segment == 1 && at >= last, "flipped at {at} of segment {segment}"),
                    Ok(other) => panic!("{other} records, flipped at {at} of segment {segment}"),
                    Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}"),
                }
            }
        }
    }
}

#[test]
fn damage_is_told_where_it_is() {
    let (first, second) = (records(LOG, 1..4), records(LOG, 4..7));
    let offset = records(LOG, 1..3).len();
    let mut flipped = first.clone();
    flipped[offset + HEADER] ^= 1;
    let text = damage(found(&[&second, &flipped], 1));
    let told = format!("/1 is damaged at offset {offset}: record 3 is missing, but record 4 follows in ");
    assert!(text.contains(&told) && text.contains("/0 at offset 0"), "{text}");
    // A missing beginning, a missing middle, a damaged beginning of a segment.
    assert!(damage(found(&[&second], 1)).contains("record 1 is missing, but record 4"));
    assert!(damage(found(&[&first, &records(LOG, 8..9)], 1)).contains("record 4 is missing, but record 8"));
    let mut flipped = second.clone();
    flipped[30] ^= 1;
    assert!(damage(found(&[&first, &flipped], 1)).contains("record 4 is missing, but record 5"));
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        batches in prop::collection::vec(prop::collection::vec(change(), 0..5), 1..5),
        seq in any::<u64>(),
        log in any::<u64>(),
        offset in 0usize..4,
    ) {
        let group: Vec<Batch> = batches.into_iter().map(|changes| Batch { changes, ..Batch::default() }).collect();
        let mut record = Record::default();
        let encoded = record.encode(log, seq, &group);
        let changes: Vec<Change> = group.iter().flat_map(|batch| batch.changes.clone()).collect();
        let sum: usize = changes.iter().map(record::encoded_len).sum();
        prop_assert_eq!(encoded.len(), (HEADER + sum).next_multiple_of(8));
        let bytes = [&vec![0xff; offset * 8][..], encoded, &[1, 2, 3]].concat();
        let found = record::at(&bytes, offset * 8, log).unwrap();
        prop_assert_eq!((found.seq, found.end), (seq, bytes.len() - 3));
        let payload = Bytes::from(bytes).slice(offset * 8 + HEADER..found.changes_end);
        prop_assert_eq!(record::decode(payload).unwrap(), changes);
    }

    #[test]
    fn random_bytes_are_no_changes_or_some(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = record::decode(Bytes::from(bytes));
    }
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = |range| prop::collection::vec(any::<u8>(), range).prop_map(Bytes::from);
    prop_oneof![
        (bytes(1..40), bytes(0..200)).prop_map(|(key, value)| Change::Put { key, value }),
        bytes(1..40).prop_map(|key| Change::Delete { key }),
    ]
}
