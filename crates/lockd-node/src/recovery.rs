//! What a store is asked at start: which leases are held, and which namespaces have settings.

use std::ops::Bound;

use bytes::Bytes;
use lockd_core::records::{Damaged, held, namespace};
use lockd_core::{Core, Settings};
use lockd_store::{Direction, Entry, Snapshot, StoreError};

const PAGE: usize = 4096;

/// Rebuilds the core's memory from the durable records.
pub(crate) fn recover(snapshot: &dyn Snapshot, settings: Settings) -> Result<Core, StoreError> {
    let mut leases = Vec::new();
    scan(snapshot, held::range(), |(key, value)| {
        leases.push((held::key_of(&key)?, held::HeldLease::decode(&value)?));
        Ok(())
    })?;
    let mut namespaces = Vec::new();
    scan(snapshot, namespace::range(), |(key, value)| {
        namespaces.push((namespace::namespace_of(&key)?, namespace::NamespaceRecord::decode(&value)?));
        Ok(())
    })?;
    Ok(Core::recover(settings, leases, namespaces))
}

fn scan(
    snapshot: &dyn Snapshot,
    (start, end): (Bound<&[u8]>, Bound<&[u8]>),
    mut read: impl FnMut(Entry) -> Result<(), Damaged>,
) -> Result<(), StoreError> {
    let mut last: Option<Bytes> = None;
    loop {
        let from = last.as_deref().map_or(start, Bound::Excluded);
        let page = snapshot.scan((from, end), Direction::Forward, PAGE)?;
        let full = page.len() == PAGE;
        last = page.last().map(|(key, _)| key.clone());
        for entry in page {
            read(entry).map_err(|damaged| StoreError::Corrupt(damaged.to_string()))?;
        }
        if !full {
            return Ok(());
        }
    }
}
