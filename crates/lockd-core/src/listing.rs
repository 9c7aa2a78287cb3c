//! What the indexes say of a message: whether it is ready, dead, or going to die by itself.

use lockd_store::Batch;
use lockd_wire::{QueueId, Uid};

use crate::moment::Moment;
use crate::records::key::{KeyRecord, Lease};
use crate::records::ready::{Place, Ready};
use crate::records::{dead, mortal, ready};

use lockd_wire::KeyId;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) ready: Option<Ready>,
    dead_since: Option<Moment>,
    dies_at: Option<Moment>,
}

impl Listing {
    pub(crate) fn of(id: Uid, record: &KeyRecord) -> Listing {
        let Some(message) = &record.message else { return Listing::default() };
        let is_ready = message.dead_since.is_none() && matches!(record.lease, Lease::Free);
        let place = Place { visible_at: message.visible_at, message: id };
        Listing {
            ready: is_ready.then_some(Ready { place, dies_at: message.dies_at }),
            dead_since: message.dead_since,
            dies_at: message.dies_at.filter(|_| message.dead_since.is_none()),
        }
    }

    /// Makes the durable indexes say this, where they said something else before.
    pub(crate) fn write(&self, before: &Listing, key: &KeyId, queue: &QueueId, id: Uid, batch: &mut Batch) {
        if self.ready != before.ready {
            if let Some(old) = before.ready.filter(|old| self.ready.is_none_or(|new| new.place != old.place))
            {
                batch.delete(ready::storage_key(queue, &old.place));
            }
            if let Some(new) = self.ready {
                batch.put(ready::storage_key(queue, &new.place), ready::value(new.dies_at));
            }
        }
        if self.dead_since != before.dead_since {
            if let Some(old) = before.dead_since {
                batch.delete(dead::storage_key(queue, old, id));
            }
            if let Some(new) = self.dead_since {
                batch.put(dead::storage_key(queue, new, id), bytes::Bytes::new());
            }
        }
        if self.dies_at != before.dies_at {
            if let Some(old) = before.dies_at {
                batch.delete(mortal::storage_key(old, key));
            }
            if let Some(new) = self.dies_at {
                batch.put(mortal::storage_key(new, key), bytes::Bytes::new());
            }
        }
    }
}
