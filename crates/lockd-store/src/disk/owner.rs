//! Ownership of a disk store: a file lock that the kernel releases when the owner dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};

use parking_lot::Mutex;

use super::fault;
use super::root::Root;
use crate::port::StoreError;

/// The claim of this process to a store. Given up by [`Owner::release`] or by dropping.
#[derive(Debug)]
pub(super) struct Owner(Mutex<Option<File>>);

impl Owner {
    pub(super) fn claim(root: &Root) -> Result<Self, StoreError> {
        let path = root.lock();
        let fail = |what, error| fault::io(what, &path, &error);
        // Not truncated: until the lock is ours the content is the owner's.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| fail("open the lock file", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(owned(root, &mut file)),
            Err(TryLockError::Error(error)) => return Err(fail("lock", error)),
        }
        describe(&mut file).map_err(|error| fail("write the lock file", error))?;
        Ok(Self(Mutex::new(Some(file))))
    }

    pub(super) fn release(&self) {
        if let Some(file) = self.0.lock().take() {
            // Closing the file is not enough: a child process has it open, too, between its fork and its exec. The file
            // stays: deleting it would let two processes lock two different files of that name.
            let _ = file.unlock();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.release();
    }
}

fn describe(file: &mut File) -> std::io::Result<()> {
    let host = rustix::system::uname();
    let text = format!(
        "process {}\nhost {}\nsince {:.0}\n",
        std::process::id(),
        host.nodename().to_string_lossy(),
        jiff::Timestamp::now()
    );
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}

fn owned(root: &Root, file: &mut File) -> StoreError {
    let mut text = String::new();
    let _ = file.take(1024).read_to_string(&mut text);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let owner = match (field("process "), field("host "), field("since ")) {
        (Some(process), Some(host), Some(since)) => format!("process {process} on {host} since {since}"),
        // The owner has the lock but has not written who it is yet.
        _ => "another process".to_string(),
    };
    StoreError::Owned(format!(
        "disk store {} is in use by {owner}; stop it or choose another directory",
        root.path().display()
    ))
}
