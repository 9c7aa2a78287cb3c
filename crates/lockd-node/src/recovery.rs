//! What a store is asked at start: which leases are held, and which namespaces have settings.

use std::ops::Bound;

use bytes::Bytes;
use lockd_core::records::key::{self, KeyRecord};
use lockd_core::records::txn::Pending;
use lockd_core::records::{Damaged, held, namespace};
use lockd_core::{Core, Settings};
use lockd_store::{Direction, Entry, Snapshot, StoreError};

const PAGE: usize = 4096;

/// Rebuilds the core's memory from the durable records.
pub(crate) fn recover(snapshot: &dyn Snapshot, settings: Settings) -> Result<Core, StoreError> {
    let mut core = Core::new(settings);
    scan(snapshot, held::range(), |(storage_key, _)| {
        let key = held::key_of(&storage_key).map_err(|what| damaged(&storage_key, &what))?;
        let stored = snapshot.get(&key::storage_key(&key))?;
        let stored = stored.ok_or_else(|| StoreError::Corrupt(format!("leased key {key} has no record")))?;
        let record = KeyRecord::decode(&stored).map_err(|what| damaged(&storage_key, &what))?;
        core.restore_lease(&key, &record);
        Ok(())
    })?;
    scan(snapshot, Pending::range(), |(storage_key, value)| {
        let damaged = |what| damaged(&storage_key, &what);
        let txn = Pending::txn_of(&storage_key).map_err(damaged)?;
        core.restore_txn(txn, Pending::decode(&value).map_err(damaged)?);
        Ok(())
    })?;
    scan(snapshot, namespace::range(), |(storage_key, value)| {
        let damaged = |what| damaged(&storage_key, &what);
        let name = namespace::namespace_of(&storage_key).map_err(damaged)?;
        core.restore_namespace(name, namespace::NamespaceRecord::decode(&value).map_err(damaged)?);
        Ok(())
    })?;
    Ok(core)
}

fn scan(
    snapshot: &dyn Snapshot,
    (start, end): (Bound<&[u8]>, Bound<&[u8]>),
    mut read: impl FnMut(Entry) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut last: Option<Bytes> = None;
    loop {
        let from = last.as_deref().map_or(start, Bound::Excluded);
        let page = snapshot.scan((from, end), Direction::Forward, PAGE)?;
        let full = page.len() == PAGE;
        last = page.last().map(|(key, _)| key.clone());
        for entry in page {
            read(entry)?;
        }
        if !full {
            return Ok(());
        }
    }
}

/// Says which record it is: whoever has to mend the store needs to know.
fn damaged(storage_key: &[u8], what: &Damaged) -> StoreError {
    StoreError::Corrupt(format!("record \"{}\": {what}", storage_key.escape_ascii()))
}
