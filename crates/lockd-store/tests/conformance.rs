//! The conformance suite against the adapters of this crate.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use lockd_store::suite::{Fixture, Memory};
use lockd_store::{Opened, Options, open};
use tempfile::TempDir;

#[derive(Debug)]
struct Disk {
    directory: TempDir,
    query: &'static str,
}

impl Disk {
    fn new(query: &'static str) -> Self {
        Self { directory: TempDir::new().unwrap(), query }
    }
}

impl Fixture for Disk {
    fn open(&self) -> Opened {
        let url = format!("disk://{}/store{}", self.directory.path().display(), self.query);
        open(&url, Options::default()).unwrap()
    }
}

mod memory {
    use super::*;
    lockd_store::conformance!(Memory);
}

mod disk {
    use super::*;
    lockd_store::conformance!(Disk::new(""));
}

mod disk_unsynced {
    use super::*;
    lockd_store::conformance!(Disk::new("?sync=never"));
}
