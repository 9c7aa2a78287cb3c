//! Checking the journals of the database before it replays them.
//!
//! A journal is a sequence of batches, each with a checksum, in a file that may be longer than its content. On replay
//! fjall stops at the first entry it cannot decode and cuts the file there, which is right for the torn end of the newest
//! journal and would silently forget acknowledged batches anywhere else; and it refuses a batch whose checksum fails,
//! which is right anywhere except at the torn end. We know more than it does. What a checkpoint of the commit log has found
//! in the journal and had synced must be intact, whatever follows; behind that, the commit log has all that the journal
//! may have lost. Versions without a commit log synced every batch before the next one was written; there, whatever is
//! followed by an intact batch must be intact itself.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::last_use::{LastUse, Logged};
use super::{fault, root, witness};
use crate::port::StoreError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8; 4] = b"FJL\x03";
const UNCOMPRESSED: u8 = 0;

/// Batches are numbered upwards, with small gaps where the database has used numbers for itself. The checksum of a batch
/// does not cover its number, so a damaged number shows only in not being one of these.
const WIDEST_GAP: u64 = 1 << 20;

/// Checks all journals of the database in `directory` and cuts the torn end of the newest one. `Corrupt` if anything is
/// missing that must be there.
pub(super) fn check(directory: &Path, last_use: LastUse) -> Result<(), StoreError> {
    let journals = list(directory)?;
    let Some(((newest_id, newest), sealed)) = journals.split_last() else {
        return Err(StoreError::Corrupt(fault::damaged("open", directory, "it has no journal")));
    };
    let mut last_seqno = None;
    for (_, path) in sealed {
        let found = scan(path, last_seqno)?;
        last_seqno = found.last_seqno;
        if found.tail > 0 {
            return Err(corrupt(path, found.valid, "a journal that was complete has become unreadable"));
        }
    }
    let found = scan(newest, last_seqno)?;
    if let LastUse::Closed { journal, len } = last_use
        && (*newest_id != journal || found.valid < len)
    {
        let detail = format!("journal {journal} was closed with {len} bytes");
        return Err(corrupt(newest, found.valid, &detail));
    }
    if let LastUse::Logged(Logged { journal, len, .. }) = last_use
        && (*newest_id < journal || (*newest_id == journal && found.valid < len))
    {
        let detail = format!("{len} bytes of journal {journal} had been synced");
        return Err(corrupt(newest, found.valid, &detail));
    }
    if found.tail == 0 {
        return Ok(());
    }
    if last_use == LastUse::Synced && followed_by_a_batch(newest, &found)? {
        return Err(corrupt(newest, found.valid, "intact batches follow the damage"));
    }
    tracing::warn!(
        file = %newest.display(),
        offset = found.valid,
        bytes_dropped = found.tail,
        "the end of the journal is torn: dropping a batch that was being written when the last owner died"
    );
    cut(newest, found.valid).map_err(|error| fault::io("cut the torn end of", newest, &error))
}

/// Number and length of the newest journal of a database that is closed or does not write to it.
pub(super) fn end(directory: &Path) -> Result<(u64, u64), StoreError> {
    match list(directory)?.pop() {
        Some((journal, path)) => Ok((journal, scan(&path, None)?.valid)),
        None => Err(StoreError::Corrupt(fault::damaged("follow", directory, "it has no journal"))),
    }
}

/// Whether there is nothing to replay.
pub(super) fn is_empty(directory: &Path) -> Result<bool, StoreError> {
    Ok(list(directory)?.len() == 1 && end(directory)?.1 == 0)
}

/// Forgets everything in the journals of a database that is closed and has all of it in tables.
pub(super) fn empty(directory: &Path) -> Result<(), StoreError> {
    let mut journals = list(directory)?;
    if let Some((_, newest)) = journals.pop() {
        cut(&newest, 0).map_err(|error| fault::io("empty", &newest, &error))?;
    }
    for (_, sealed) in journals {
        std::fs::remove_file(&sealed).map_err(|error| fault::io("remove", &sealed, &error))?;
    }
    root::sync_directory(directory)
}

fn list(directory: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut journals = Vec::new();
    for name in root::read_directory(directory)? {
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".jnl")) else { continue };
        let Ok(id) = id.parse::<u64>() else {
            let detail = format!("{name:?} is not the name of a journal");
            return Err(StoreError::Corrupt(fault::damaged("open", directory, &detail)));
        };
        journals.push((id, directory.join(name)));
    }
    journals.sort();
    Ok(journals)
}

fn corrupt(path: &Path, offset: u64, detail: &str) -> StoreError {
    StoreError::Corrupt(format!(
        "{} is damaged at offset {offset}: {detail}; nothing was changed, restore the store from a backup",
        path.display()
    ))
}

fn cut(path: &Path, len: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(len)?;
    file.sync_all()?;
    witness::synced(path);
    Ok(())
}

/// How far a journal can be read.
#[derive(Debug)]
struct Scan {
    /// Where the last intact batch ends.
    valid: u64,
    /// Its number, or that of the last in the journals before.
    last_seqno: Option<u64>,
    /// How many bytes follow that are not just reserved space.
    tail: u64,
}

fn scan(path: &Path, last_seqno: Option<u64>) -> Result<Scan, StoreError> {
    let (mut found, mut file) = read_batches(path, Scan { valid: 0, last_seqno, tail: 0 })?;
    found.tail = used(&mut file, found.valid).map_err(|error| fault::io("read", path, &error))?;
    Ok(found)
}

/// Reads on from where a scan has ended.
fn read_batches(path: &Path, mut found: Scan) -> Result<(Scan, File), StoreError> {
    let failed = |error: io::Error| fault::io("read", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let begin = found.valid;
    let len = file.metadata().map_err(failed)?.len().saturating_sub(begin);
    file.seek(SeekFrom::Start(begin)).map_err(failed)?;
    let mut batches = Batches::new(BufReader::with_capacity(256 << 10, file), len);
    while let Some(seqno) = batches.next().map_err(failed)? {
        if !follows(seqno, found.last_seqno) {
            let detail = format!("batch {seqno} follows batch {}", found.last_seqno.unwrap_or(0));
            return Err(corrupt(path, found.valid, &detail));
        }
        found.valid = begin + batches.position;
        found.last_seqno = Some(seqno);
    }
    Ok((found, batches.reader.into_inner()))
}

fn follows(seqno: u64, last: Option<u64>) -> bool {
    last.is_none_or(|last| seqno > last && seqno - last <= WIDEST_GAP)
}

/// How many bytes there are from `begin` up to the last that is not zero. Space that was reserved and never written is
/// skipped where the file system can tell.
fn used(file: &mut File, begin: u64) -> io::Result<u64> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut buffer = vec![0; 256 << 10];
    let (mut position, mut used) = (begin, begin);
    loop {
        match rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(position)) {
            Ok(data) => position = data,
            Err(rustix::io::Errno::NXIO) => return Ok(used - begin),
            // This file system does not know holes.
            Err(_) => _ = file.seek(SeekFrom::Start(position))?,
        }
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(used - begin);
        }
        for chunk in buffer[..count].chunks(ZEROS.len()) {
            if chunk != &ZEROS[..chunk.len()]
                && let Some(last) = chunk.iter().rposition(|byte| *byte != 0)
            {
                used = position + last as u64 + 1;
            }
            position += chunk.len() as u64;
        }
    }
}

/// Whether an intact, newer batch begins anywhere in the unreadable tail.
fn followed_by_a_batch(path: &Path, found: &Scan) -> Result<bool, StoreError> {
    let run = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(found.valid))?;
        let mut tail = Vec::new();
        file.take(found.tail).read_to_end(&mut tail)?;
        for start in 1..tail.len() {
            if tail[start] != START || tail.get(start + 13) != Some(&ITEM) {
                continue;
            }
            let rest = &tail[start..];
            let mut batches = Batches::new(rest, rest.len() as u64);
            if batches.next()?.is_some_and(|seqno| follows(seqno, found.last_seqno)) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    run().map_err(|error: io::Error| fault::io("read", path, &error))
}

/// Reads batches from the beginning of a journal or of a part of one.
struct Batches<R> {
    reader: R,
    position: u64,
    len: u64,
}

impl<R: Read> Batches<R> {
    fn new(reader: R, len: u64) -> Self {
        Self { reader, position: 0, len }
    }

    /// The number of the next batch if it is intact. After `None` the position is meaningless.
    fn next(&mut self) -> io::Result<Option<u64>> {
        match self.batch() {
            Ok(seqno) => Ok(Some(seqno)),
            Err(Stop::Unreadable) => Ok(None),
            Err(Stop::Io(error)) => Err(error),
        }
    }

    fn batch(&mut self) -> Result<u64, Stop> {
        let [START] = self.take(None)? else { return Err(Stop::Unreadable) };
        let count = u32::from_le_bytes(self.take(None)?);
        let seqno = u64::from_le_bytes(self.take(None)?);
        let mut hash = Xxh3::new();
        for _ in 0..count {
            match self.take(Some(&mut hash))? {
                [ITEM] => self.item(&mut hash)?,
                [CLEAR] => {
                    self.take::<8>(Some(&mut hash))?;
                }
                _ => return Err(Stop::Unreadable),
            }
        }
        let [END] = self.take(None)? else { return Err(Stop::Unreadable) };
        let checksum = u64::from_le_bytes(self.take(None)?);
        let trailer = self.take(None)?;
        if checksum == hash.digest() && trailer == *TRAILER { Ok(seqno) } else { Err(Stop::Unreadable) }
    }

    fn item(&mut self, hash: &mut Xxh3) -> Result<(), Stop> {
        let [_kind] = self.take(Some(hash))?;
        let [UNCOMPRESSED] = self.take(Some(hash))? else { return Err(Stop::Unreadable) };
        self.take::<8>(Some(hash))?; // Keyspace.
        let key = u64::from(u16::from_le_bytes(self.take(Some(hash))?));
        let value = u64::from(u32::from_le_bytes(self.take(Some(hash))?));
        let stored = u64::from(u32::from_le_bytes(self.take(Some(hash))?));
        if value != stored {
            return Err(Stop::Unreadable);
        }
        self.skip(key + value, hash)
    }

    fn take<const N: usize>(&mut self, hash: Option<&mut Xxh3>) -> Result<[u8; N], Stop> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        if let Some(hash) = hash {
            hash.update(&bytes);
        }
        Ok(bytes)
    }

    /// Hashes bytes without keeping them: a length from a damaged file must not decide how much memory we use.
    fn skip(&mut self, count: u64, hash: &mut Xxh3) -> Result<(), Stop> {
        self.advance(count)?;
        let mut buffer = [0; 4096];
        let mut left = count;
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.reader.read_exact(&mut buffer[..step])?;
            hash.update(&buffer[..step]);
            left -= step as u64;
        }
        Ok(())
    }

    fn advance(&mut self, count: u64) -> Result<(), Stop> {
        self.position = self.position.saturating_add(count);
        if self.position > self.len { Err(Stop::Unreadable) } else { Ok(()) }
    }
}

/// Why a batch could not be read.
enum Stop {
    Unreadable,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Unreadable,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests;
