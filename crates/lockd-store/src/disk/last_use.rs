//! What the last owner of a disk store left behind: the promise that the next start can hold the files to.

use std::fs;
use std::io;

use super::root::{Root, write_atomically};
use crate::open::Durability;
use crate::port::StoreError;

/// How a store was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastUse {
    /// Opened by somebody who synced every batch before the next one was written. Only the last can be torn.
    Synced,
    /// Opened by somebody who did not: after a power cut any recent part of the journal may be missing.
    Unsynced,
    /// Closed in order: exactly this much of this journal was on disk.
    Closed { journal: u64, len: u64 },
}

impl LastUse {
    pub(super) fn opened(durability: Durability) -> Self {
        match durability {
            Durability::Fsync => Self::Synced,
            Durability::Os => Self::Unsynced,
        }
    }

    /// An absent or unreadable note promises no more than the durable default.
    pub(super) fn read(root: &Root) -> Result<Self, StoreError> {
        match fs::read_to_string(root.last_use()) {
            Ok(text) => Ok(Self::parse(&text).unwrap_or(Self::Synced)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(Self::Synced)
            }
            Err(error) => Err(super::fault::io("read", &root.last_use(), &error)),
        }
    }

    pub(super) fn write(self, root: &Root) -> Result<(), StoreError> {
        let text = match self {
            Self::Synced => "opened, synced\n".to_string(),
            Self::Unsynced => "opened, unsynced\n".to_string(),
            Self::Closed { journal, len } => format!("closed, journal {journal} length {len}\n"),
        };
        write_atomically(&root.last_use(), text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        match text.trim_end() {
            "opened, synced" => Some(Self::Synced),
            "opened, unsynced" => Some(Self::Unsynced),
            closed => {
                let (journal, len) = closed.strip_prefix("closed, journal ")?.split_once(" length ")?;
                Some(Self::Closed { journal: journal.parse().ok()?, len: len.parse().ok()? })
            }
        }
    }
}
