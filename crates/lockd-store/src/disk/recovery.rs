//! What happens between claiming a store and serving it.

use std::sync::Arc;

use super::database::{Database, refuse_incomplete};
use super::journal;
use super::last_use::{LastUse, Logged};
use super::log::{Chain, Checkpointer, Log};
use super::root::Root;
use crate::open::Durability;
use crate::port::StoreError;

/// A database that has everything that was acknowledged, and a log for what will be.
pub(super) struct Recovered {
    pub(super) database: Arc<Database>,
    /// `None` without syncs: then every commit goes into the database only.
    pub(super) log: Option<(Log, Checkpointer)>,
}

/// Opens the database of a store and brings it up to the last acknowledged commit.
///
/// A crash at any point leaves a note that is true: until the database has everything on disk it is that of the last owner.
pub(super) fn recover(root: &Root, durability: Durability) -> Result<Recovered, StoreError> {
    let directory = root.database();
    refuse_incomplete(&directory)?;
    let last_use = LastUse::read(root)?;
    let chain = match &last_use {
        LastUse::Logged(logged) => Some(Chain::find(&root.log(), logged)?),
        _ => None,
    };
    journal::check(&directory, last_use)?;
    root.upgrade()?;
    // Nor may the database change while the note promises what was there when it was closed. What was not synced stays so
    // until the database has persisted it.
    if matches!(last_use, LastUse::Closed { .. } | LastUse::Synced) {
        LastUse::opened(durability).write(root)?;
    }
    let mut database = Database::open(root, durability)?;
    if durability == Durability::Fsync && !journal::is_empty(&directory)? {
        // fjall replays its journal at each opening, unless a table has something newer. Deletions do not go through it any
        // more, so it would bring back what was deleted since.
        if let LastUse::Logged(note) = last_use {
            LastUse::Logged(Logged { len: 0, ..note }).write(root)?;
        }
        database.shut();
        journal::empty(&directory)?;
        database = Database::open(root, durability)?;
    }
    let database = Arc::new(database);
    if let Some(chain) = &chain {
        chain.replay(|group| database.replay(group))?;
        database.write_out()?;
    }
    let log = match durability {
        Durability::Fsync => {
            let log = Log::start(&root.log())?;
            let checkpointer = Checkpointer::start(root, &log, &database)?;
            Some((log, checkpointer))
        }
        Durability::Os => {
            LastUse::opened(durability).write(root)?;
            None
        }
    };
    Ok(Recovered { database, log })
}
