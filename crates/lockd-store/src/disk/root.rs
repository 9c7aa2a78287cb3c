//! The directory of a disk store: what is in it, and which directories are refused.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{database, fault, witness};
use crate::port::StoreError;

/// The layout this version writes and reads: that with a commit log.
const FORMAT: u32 = 2;
/// The layout before, which is the same without it. Read, and turned into the new one.
const WITHOUT_LOG: u32 = 1;
const FORMAT_NAME: &str = "lockd-store";

/// What may be there before a store has been completely created.
const LOCK: &str = "lock";
const CREATING: &str = "creating";
const FORMAT_NEW: &str = "format.new";
const LOST_AND_FOUND: &str = "lost+found";

/// `f_type` of NFS.
const NFS_MAGIC: u64 = 0x6969;

/// The directory of a store.
#[derive(Debug, Clone)]
pub(super) struct Root(PathBuf);

impl Root {
    /// Makes sure that the path is a directory that is, or may become, a store. Writes nothing into a directory that is
    /// neither.
    pub(super) fn prepare(path: &Path) -> Result<Self, StoreError> {
        if path.as_os_str().is_empty() {
            return Err(StoreError::Invalid(
                "disk store path required (e.g. disk:///var/lib/lockd-data)".into(),
            ));
        }
        if !path.is_absolute() {
            return Err(StoreError::Invalid(format!(
                "disk store path {} is relative: write it from the root directory",
                path.display()
            )));
        }
        let root = Self(path.to_path_buf());
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(StoreError::Invalid(format!(
                    "disk store path {} is not a directory; choose another one",
                    path.display()
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let absent: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
                let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
                made.map_err(|error| fault::io("create the directory of the disk store", path, &error))?;
                absent.iter().filter_map(|path| path.parent()).try_for_each(sync_directory)?;
            }
            Err(error) => return Err(fault::io("open the disk store", path, &error)),
        }
        root.refuse_foreign_directory()?;
        Ok(root)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.0.join(LOCK)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.0.join("db")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    pub(super) fn last_use(&self) -> PathBuf {
        self.0.join("last-use")
    }

    fn format(&self) -> PathBuf {
        self.0.join("format")
    }

    fn creating(&self) -> PathBuf {
        self.0.join(CREATING)
    }

    /// Creates the store if the directory holds none yet, and refuses one that this version cannot read. The caller owns
    /// the directory.
    pub(super) fn create_or_check(&self) -> Result<(), StoreError> {
        match fs::read(self.format()) {
            Ok(text) => {
                self.version(&text)?;
                self.finish_creation()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.refuse_foreign_directory()?;
                self.create()
            }
            Err(error) => Err(fault::io("read the format of the disk store", &self.format(), &error)),
        }
    }

    /// Without a synchronous answer the owner of a network file system could be gone before anybody else can see what it
    /// acknowledged.
    pub(super) fn refuse_network_file_system(&self) -> Result<(), StoreError> {
        let stat = rustix::fs::statfs(self.path())
            .map_err(|error| fault::io("inspect the file system of", self.path(), &error.into()))?;
        if u64::try_from(stat.f_type).is_ok_and(|kind| kind == NFS_MAGIC) {
            return Err(StoreError::Invalid(format!(
                "disk store {} is on NFS, where answering before data is on disk (--disk-durability=os, sync=never) is \
                 not supported: remove the option",
                self.0.display()
            )));
        }
        Ok(())
    }

    fn refuse_foreign_directory(&self) -> Result<(), StoreError> {
        if exists(&self.format())? {
            return Ok(());
        }
        let mut foreign = None;
        for entry in read_directory(&self.0)? {
            match entry.to_str() {
                Some(LOCK | CREATING | FORMAT_NEW | LOST_AND_FOUND) => {}
                Some("db" | "log" | "blobs" | "last-use") => {
                    return Err(StoreError::Corrupt(format!(
                        "disk store {} has data but no file \"format\" that says which version wrote it; nothing was \
                         changed, restore that file or the whole directory from a backup",
                        self.0.display()
                    )));
                }
                _ => foreign = Some(entry),
            }
        }
        match foreign {
            None => Ok(()),
            Some(entry) => Err(StoreError::Invalid(format!(
                "directory {} is not empty and is not a disk store (it contains {:?}); choose an empty directory",
                self.0.display(),
                entry.to_string_lossy()
            ))),
        }
    }

    /// The format that the file `format` names, if this version can read it.
    fn version(&self, text: &[u8]) -> Result<u32, StoreError> {
        let version = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.trim_end().strip_prefix(FORMAT_NAME))
            .and_then(|version| version.trim().parse::<u32>().ok());
        match version {
            Some(version @ (FORMAT | WITHOUT_LOG)) => Ok(version),
            Some(newer) if newer > FORMAT => Err(StoreError::Corrupt(format!(
                "disk store {} has format {newer}, written by a newer version; this version reads format {FORMAT}: use \
                 the newer version, or choose another directory",
                self.0.display()
            ))),
            _ => Err(StoreError::Corrupt(format!(
                "disk store {}: the file \"format\" says {:?} instead of \"{FORMAT_NAME} {FORMAT}\"; the store is \
                 damaged or not ours, nothing was changed",
                self.0.display(),
                String::from_utf8_lossy(&text[..text.len().min(64)])
            ))),
        }
    }

    /// Everything is built under a temporary name, and the format file says that it is complete, so a crash at any point
    /// leaves either nothing or something that the next start can finish.
    fn create(&self) -> Result<(), StoreError> {
        let creating = self.creating();
        remove_directory(&creating)?;
        create_private(&creating)?;
        database::create(&creating)?;
        sync_directory(&creating)?;
        sync_directory(&self.0)?;
        self.write_format()?;
        self.finish_creation()
    }

    /// Tells versions that know nothing of the commit log to keep away, before there is anything in it.
    pub(super) fn upgrade(&self) -> Result<(), StoreError> {
        let text = fs::read(self.format());
        let text =
            text.map_err(|error| fault::io("read the format of the disk store", &self.format(), &error))?;
        if self.version(&text)? == WITHOUT_LOG { self.write_format() } else { Ok(()) }
    }

    fn write_format(&self) -> Result<(), StoreError> {
        write_atomically(&self.format(), format!("{FORMAT_NAME} {FORMAT}\n").as_bytes())
    }

    fn finish_creation(&self) -> Result<(), StoreError> {
        let (creating, database) = (self.creating(), self.database());
        if exists(&creating)? && !exists(&database)? {
            fs::rename(&creating, &database).map_err(|error| fault::io("rename", &creating, &error))?;
            sync_directory(&self.0)?;
        }
        Ok(())
    }
}

/// Makes sure that a directory exists. One that is created is for its owner only: what is in it may not be encrypted.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| fault::io("create", path, &error))
}

/// Replaces a small file so that after a crash it has either its old content or its new one.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        witness::synced(&temporary);
        fs::rename(&temporary, path)?;
        witness::renamed(path);
        Ok(())
    };
    write().map_err(|error| fault::io("write", path, &error))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the creation, renaming and deletion of entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| fault::io("sync the directory", path, &error))?;
    witness::synced_directory(path);
    Ok(())
}

pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|error| fault::io("look at", path, &error))
}

/// The names in a directory.
pub(super) fn read_directory(path: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    let names = || fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names: io::Result<Vec<_>> = names();
    names.map_err(|error| fault::io("list", path, &error))
}

fn remove_directory(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault::io("remove", path, &error)),
        _ => Ok(()),
    }
}
