//! Turning what the operating system and fjall report into the errors of the port.

use std::io;
use std::path::Path;

use crate::port::StoreError;

/// An I/O error while doing `what` with `path`.
pub(super) fn io(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let text = format!("cannot {what} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace(text),
        _ => StoreError::Io(text),
    }
}

/// An error of fjall while doing `what` in the database below `root`.
pub(super) fn database(what: &str, root: &Path, error: &fjall::Error) -> StoreError {
    use fjall::Error as E;
    match error {
        E::Io(error) => io(what, root, error),
        E::Storage(error) => tree(what, root, error),
        E::Poisoned => poisoned(what, root),
        E::Locked => StoreError::Owned(format!(
            "cannot {what} {}: its database is still open in another place; stop it or choose another directory",
            root.display()
        )),
        other => StoreError::Corrupt(damaged(what, root, &format!("{other:?}"))),
    }
}

fn tree(what: &str, root: &Path, error: &fjall::LsmError) -> StoreError {
    match error {
        fjall::LsmError::Io(error) => io(what, root, error),
        other => StoreError::Corrupt(damaged(what, root, &format!("{other:?}"))),
    }
}

/// fjall stops for good when a background flush or compaction fails, and does not say why. A full device is the usual
/// reason and the one the operator can do something about, so look.
fn poisoned(what: &str, root: &Path) -> StoreError {
    const LITTLE: u64 = 64 << 20;
    let free = rustix::fs::statvfs(root).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    match free {
        Ok(free) if free < LITTLE => StoreError::NoSpace(format!(
            "cannot {what} {}: a background write failed and only {free} bytes are free; make room and start again",
            root.display()
        )),
        _ => StoreError::Io(format!(
            "cannot {what} {}: an earlier write or background job of the database failed; start again to recover",
            root.display()
        )),
    }
}

pub(super) fn damaged(what: &str, root: &Path, detail: &str) -> String {
    format!(
        "cannot {what} {}: the store is damaged ({detail}); nothing was changed, restore it from a backup",
        root.display()
    )
}
