//! One file of the log: space that was allocated, written and synced before it is needed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::{fault, root, witness};
use crate::port::StoreError;

/// What a segment holds. The first is small, so that creating a store is quick.
const CAPACITY: u64 = 16 << 20;
const FIRST: u64 = 2 << 20;

/// So much of a new segment is written at a time.
const PIECE: u64 = 1 << 20;

/// A segment that is being created is called this until it is complete.
const CREATING: &str = "new";

#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    capacity: u64,
    /// Larger than the capacity when a large record was written.
    len: u64,
}

impl Segment {
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Writes and syncs. A data sync of space that was written before costs the same as `RWF_DSYNC` or direct I/O wherever it
    /// was measured, and works on every file system.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|error| fault::io("write to", &self.path, &error))?;
        witness::wrote(&self.path);
        self.len = self.len.max(offset + bytes.len() as u64);
        sync(&self.file).map_err(|error| fault::io("sync", &self.path, &error))?;
        witness::synced(&self.path);
        Ok(())
    }

    /// Makes it as large as before a large record came.
    pub(super) fn trim(&mut self) -> Result<(), StoreError> {
        if self.len > self.capacity {
            self.file.set_len(self.capacity).map_err(|error| fault::io("shorten", &self.path, &error))?;
            witness::wrote(&self.path);
            self.len = self.capacity;
        }
        Ok(())
    }

    /// Creates segment `number`: writes all of it, so that the file system has nothing left to do but to overwrite, and
    /// syncs it before it gets its name.
    pub(super) fn create(directory: &Path, number: usize) -> Result<Self, StoreError> {
        let capacity = usual_capacity(number);
        let path = path(directory, number);
        let temporary = path.with_extension(CREATING);
        let create = || {
            let mut options = OpenOptions::new();
            let file =
                options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            let zeros = vec![0; capacity.min(PIECE) as usize];
            for offset in (0..capacity).step_by(zeros.len()) {
                file.write_all_at(&zeros, offset)?;
                // Commits that come meanwhile wait for this much, not for all of it.
                file.sync_data()?;
            }
            file.sync_all()?;
            witness::synced(&temporary);
            fs::rename(&temporary, &path)?;
            witness::renamed(&path);
            Ok(file)
        };
        let file = create().map_err(|error: io::Error| {
            // What little it got may be what others lack.
            let _ = fs::remove_file(&temporary);
            fault::io("create", &path, &error)
        })?;
        root::sync_directory(directory)?;
        Ok(Self { path, file, capacity, len: capacity })
    }

    fn open(path: PathBuf, number: usize) -> Result<Self, StoreError> {
        let failed = |error: io::Error| fault::io("open", &path, &error);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let capacity = len.min(usual_capacity(number));
        // Not shortened: until there is a new note, a start could need what is in it.
        Ok(Self { path, file, capacity, len })
    }
}

#[cfg(not(test))]
fn usual_capacity(number: usize) -> u64 {
    if number == 0 { FIRST } else { CAPACITY }
}

#[cfg(test)]
fn usual_capacity(number: usize) -> u64 {
    let shift = SMALLER.get();
    (if number == 0 { FIRST } else { CAPACITY }) >> shift
}

/// Writes once more what is in a part of a segment, and syncs it.
pub(super) fn write_again(path: &Path, part: Range<usize>) -> Result<(), StoreError> {
    let failed = |error: io::Error| fault::io("write again the end of", path, &error);
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let mut bytes = vec![0; part.len()];
    file.read_exact_at(&mut bytes, part.start as u64).map_err(failed)?;
    file.write_all_at(&bytes, part.start as u64).map_err(failed)?;
    witness::wrote(path);
    sync(&file).map_err(failed)?;
    witness::synced(path);
    Ok(())
}

pub(super) fn path(directory: &Path, number: usize) -> PathBuf {
    directory.join(number.to_string())
}

/// The segments in a directory, numbered from 0; at least one. The directory is created if it is absent, and what else is
/// in it is removed.
pub(super) fn prepare(directory: &Path) -> Result<Vec<Segment>, StoreError> {
    if !root::exists(directory)? {
        root::create_private(directory)?;
        directory.parent().map_or(Ok(()), root::sync_directory)?;
    }
    let mut segments = Vec::new();
    while root::exists(&path(directory, segments.len()))? {
        let number = segments.len();
        segments.push(Segment::open(path(directory, number), number)?);
    }
    for name in root::read_directory(directory)? {
        let number = name.to_str().and_then(|name| name.parse::<usize>().ok());
        if number.is_none_or(|number| number >= segments.len()) {
            let path = directory.join(name);
            fs::remove_file(&path).map_err(|error| fault::io("remove", &path, &error))?;
        }
    }
    if segments.is_empty() {
        segments.push(Segment::create(directory, 0)?);
    }
    // What is here may have been created by somebody who died before this.
    root::sync_directory(directory)?;
    Ok(segments)
}

#[cfg(not(test))]
fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}

#[cfg(test)]
fn sync(file: &File) -> io::Result<()> {
    match FAILING.get() {
        true => Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())),
        false => file.sync_data(),
    }
}

#[cfg(test)]
thread_local! {
    /// Whether the syncs of this thread fail.
    pub(super) static FAILING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// By how many powers of two the segments that this thread creates and opens are smaller.
    pub(super) static SMALLER: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}
