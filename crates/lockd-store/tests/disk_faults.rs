//! What a disk store does when things go wrong around it: killed owners, torn and damaged files, full and foreign
//! directories.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests"
)]

#[path = "disk_faults/crash.rs"]
mod crash;
#[path = "disk_faults/damage.rs"]
mod damage;
#[path = "disk_faults/full.rs"]
mod full;
#[path = "disk_faults/ownership.rs"]
mod ownership;
#[path = "disk_faults/refusal.rs"]
mod refusal;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use lockd_store::{Batch, Direction, Engine, Opened, Options, StoreError};

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(root: &Path) -> Result<Opened, StoreError> {
    lockd_store::open(&format!("disk://{}", root.display()), Options::default())
}

fn content(engine: &dyn Engine) -> Result<Content, StoreError> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let entries = engine.snapshot().scan(all, Direction::Forward, usize::MAX)?;
    Ok(entries.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
}

/// Batch `n` of the tests: recognisable, of varying size.
fn batch(n: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(format!("a/{n:05}"), vec![n as u8; 100 + (n as usize * 37) % 400]);
    batch.put(format!("b/{n:05}"), n.to_string());
    batch.put("newest", n.to_string());
    batch
}

fn newest(content: &Content) -> u64 {
    content.get(&b"newest"[..]).map_or(0, |value| String::from_utf8(value.clone()).unwrap().parse().unwrap())
}

/// What there is after `n` batches.
fn expected(n: u64) -> Content {
    let mut content = Content::new();
    for n in 1..=n {
        for change in batch(n).changes {
            let lockd_store::Change::Put { key, value } = change else { continue };
            content.insert(key.to_vec(), value.to_vec());
        }
    }
    content
}

/// Copies a directory; holes stay holes, so that this does not take for ever.
fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

/// All files below a directory, by relative path.
fn files(directory: &Path) -> Vec<PathBuf> {
    fn visit(directory: &Path, base: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, base, found);
            } else {
                found.push(path.strip_prefix(base).unwrap().to_path_buf());
            }
        }
    }
    let mut found = Vec::new();
    visit(directory, directory, &mut found);
    found.sort();
    found
}
