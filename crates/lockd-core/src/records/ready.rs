//! The index of a queue's messages that nobody has leased: one entry a message, in the order in which they are to be delivered.
//! A leased message has none; it comes back with its lease's end.

use bytes::Bytes;
use lockd_wire::{QueueId, Uid};

use super::{Damaged, queue_entry, queue_range, read_queue_entry};
use crate::moment::Moment;

const PREFIX: u8 = b'R';

/// A message's place in its queue: the time from which it can be delivered, then its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub visible_at: Moment,
    pub message: Uid,
}

/// What the index says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    pub place: Place,
    pub dies_at: Option<Moment>,
}

pub fn storage_key(queue: &QueueId, place: &Place) -> Bytes {
    queue_entry(PREFIX, queue, place.visible_at, place.message)
}

/// All entries of a queue, for a scan: from its first to before its end.
pub fn range(queue: &QueueId) -> (Bytes, Bytes) {
    queue_range(PREFIX, queue)
}

pub fn value(dies_at: Option<Moment>) -> Bytes {
    dies_at.map_or_else(Bytes::new, |at| Bytes::copy_from_slice(&at.0.to_be_bytes()))
}

/// Reads an entry of a queue back.
pub fn entry_of(queue: &QueueId, storage_key: &[u8], value: &[u8]) -> Result<Ready, Damaged> {
    let damaged = |what| Damaged { record: "ready message", what };
    let (visible_at, message) = read_queue_entry(PREFIX, queue, storage_key).ok_or(damaged("key"))?;
    let dies_at = match value {
        [] => None,
        value => Some(value.try_into().map_err(|_| damaged("time of death"))?),
    };
    Ok(Ready {
        place: Place { visible_at, message },
        dies_at: dies_at.map(|at| Moment(u64::from_be_bytes(at))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockd_wire::{Namespace, QueueName};
    use proptest::prelude::*;

    fn queue(name: &str) -> QueueId {
        QueueId::new(&Namespace::parse("n").unwrap(), &QueueName::parse(name).unwrap())
    }

    proptest! {
        #[test]
        fn entries_round_trip_and_sort_as_they_are_delivered(
            name in "[a-z]{1,3}", a: (u64, [u8; 16]), b: (u64, [u8; 16]), dies in prop::option::of(any::<u64>())
        ) {
            let queue = queue(&name);
            let place = |(at, id)| Place { visible_at: Moment(at), message: Uid(id) };
            let (a, b) = (place(a), place(b));
            let (key, other) = (storage_key(&queue, &a), storage_key(&queue, &b));
            prop_assert_eq!(key.cmp(&other), a.cmp(&b));
            let dies_at = dies.map(Moment);
            prop_assert_eq!(entry_of(&queue, &key, &value(dies_at)).unwrap(), Ready { place: a, dies_at });
            let (start, end) = range(&queue);
            prop_assert!(start < key && key < end);
        }

        #[test]
        fn queues_do_not_mix(a in "[a-b]{1,2}", b in "[a-b]{1,2}", at: u64, id: [u8; 16]) {
            let (start, end) = range(&queue(&a));
            let key = storage_key(&queue(&b), &Place { visible_at: Moment(at), message: Uid(id) });
            prop_assert_eq!(start <= key && key < end, a == b);
        }

        #[test]
        fn any_bytes_are_read_without_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = entry_of(&queue("q"), &key, &value);
        }
    }
}
