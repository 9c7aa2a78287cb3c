//! What the last owner of a disk store left behind: the promise that the next start can hold the files to.

use std::fs;
use std::io;

use super::root::{Root, exists, write_atomically};
use crate::open::Durability;
use crate::port::StoreError;

/// How a store was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastUse {
    /// Opened by somebody who synced every batch of the journal before the next one was written, as versions without a
    /// commit log did, or who had not written any yet. Only the last can be torn.
    Synced,
    /// Opened by somebody who had every batch in the commit log before it was written to the journal.
    Logged(Logged),
    /// Opened by somebody who did not: after a power cut any recent part of the journal may be missing.
    Unsynced,
    /// Closed in order: exactly this much of this journal was on disk.
    Closed { journal: u64, len: u64 },
}

/// What of the commit log counts, and what the database had on disk without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Logged {
    /// The number of the log.
    pub(super) id: u64,
    /// The number of the first record that is needed.
    pub(super) from: u64,
    /// How many segments there are.
    pub(super) segments: usize,
    /// So much of this journal was on disk.
    pub(super) journal: u64,
    pub(super) len: u64,
}

impl LastUse {
    /// What holds between opening the database and the first batch.
    pub(super) fn opened(durability: Durability) -> Self {
        match durability {
            Durability::Fsync => Self::Synced,
            Durability::Os => Self::Unsynced,
        }
    }

    /// An absent or unreadable note promises no more than the durable default, unless there is a commit log, about which
    /// nothing but the note says what in it counts.
    pub(super) fn read(root: &Root) -> Result<Self, StoreError> {
        match fs::read_to_string(root.last_use()) {
            Ok(text) => Self::parse(&text).map_or_else(|| Self::unknown(root), Ok),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Self::unknown(root)
            }
            Err(error) => Err(super::fault::io("read", &root.last_use(), &error)),
        }
    }

    fn unknown(root: &Root) -> Result<Self, StoreError> {
        if exists(&root.log())? {
            return Err(StoreError::Corrupt(format!(
                "{} is missing or unreadable, which says what of the commit log counts; nothing was changed, restore it \
                 or the whole store from a backup",
                root.last_use().display()
            )));
        }
        Ok(Self::Synced)
    }

    pub(super) fn write(self, root: &Root) -> Result<(), StoreError> {
        let text = match self {
            Self::Synced => "opened, synced\n".to_string(),
            Self::Unsynced => "opened, unsynced\n".to_string(),
            Self::Logged(Logged { id, from, segments, journal, len }) => {
                format!("opened, log {id} from {from} in {segments}, journal {journal} length {len}\n")
            }
            Self::Closed { journal, len } => format!("closed, journal {journal} length {len}\n"),
        };
        write_atomically(&root.last_use(), text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split([' ', ',', '\n']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            ["opened", "synced"] => Some(Self::Synced),
            ["opened", "unsynced"] => Some(Self::Unsynced),
            ["opened", "log", id, "from", from, "in", segments, "journal", journal, "length", len] => {
                Some(Self::Logged(Logged {
                    id: id.parse().ok()?,
                    from: from.parse().ok()?,
                    segments: segments.parse().ok()?,
                    journal: journal.parse().ok()?,
                    len: len.parse().ok()?,
                }))
            }
            ["closed", "journal", journal, "length", len] => {
                Some(Self::Closed { journal: journal.parse().ok()?, len: len.parse().ok()? })
            }
            _ => None,
        }
    }
}
