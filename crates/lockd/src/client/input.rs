//! Input from files and from the standard input, piece by piece, on a thread of its own; and files written whole or not
//! at all.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Failure, Outcome};

const PIECE: usize = 64 * 1024;
/// Pieces that wait for the network.
const QUEUE: usize = 4;

/// Opens a file, or the standard input for `-` and nothing. With its length when that is known.
pub(super) fn open(path: &str) -> Outcome<(Box<dyn Read + Send>, Option<u64>)> {
    if path.is_empty() || path == "-" {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let cannot = |error: std::io::Error| Failure::Local(format!("open {path}: {error}"));
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err(Failure::Local(format!("open {path}: it is a directory")));
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// What is done to the pieces on their way; called with nothing at the end.
pub(super) type Treatment = Box<dyn FnMut(Option<&[u8]>, &mut Vec<u8>) -> Result<(), String> + Send>;

/// Reads to the end, sending what the treatment makes of it. A failure ends the stream with its reason.
pub(super) fn stream(
    mut source: Box<dyn Read + Send>,
    mut treat: Treatment,
) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let mut out = Vec::new();
            let result = match source.read(&mut buffer) {
                Ok(0) => treat(None, &mut out).map(|()| true),
                Ok(length) => treat(Some(&buffer[..length]), &mut out).map(|()| false),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(format!("read input: {error}")),
            };
            let (item, done) = match result {
                Ok(done) if out.is_empty() => match done {
                    true => return,
                    false => continue,
                },
                Ok(done) => (Ok(Bytes::from(out)), done),
                Err(reason) => (Err(std::io::Error::other(reason)), true),
            };
            // A receiver that is gone has its own error to report.
            if sender.blocking_send(item).is_err() || done {
                return;
            }
        }
    });
    receiver
}

/// A file that appears under its name only when it is complete.
#[derive(Debug)]
pub(super) struct NewFile {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
    mode: u32,
}

impl NewFile {
    /// A new file is for its owner only; one that exists keeps its permissions.
    pub(super) fn create(path: &str) -> Outcome<Self> {
        // A link stays a link; what it points to is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        let mode = std::fs::metadata(&path).map_or(0o600, |about| about.permissions().mode() & 0o7777);
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".lockd-")
            .tempfile_in(directory)
            .map_err(|error| Failure::Local(format!("create a file in {}: {error}", directory.display())))?;
        Ok(NewFile { temporary, path, mode })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        let path = &self.path;
        self.temporary
            .write_all(bytes)
            .map_err(|error| Failure::Local(format!("write {}: {error}", path.display())))
    }

    pub(super) fn finish(self) -> Outcome<()> {
        let shown = self.path.display().to_string();
        let cannot = |error: std::io::Error| Failure::Local(format!("write {shown}: {error}"));
        let file = self.temporary.as_file();
        file.set_permissions(Permissions::from_mode(self.mode)).map_err(cannot)?;
        file.sync_all().map_err(cannot)?;
        self.temporary.persist(&self.path).map_err(|error| cannot(error.error))?;
        Ok(())
    }
}

/// Where a download or a document goes.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File(NewFile),
    /// A device or a pipe, which cannot be replaced.
    Stream(File, String),
}

impl Target {
    pub(super) fn open(path: &str) -> Outcome<Self> {
        if path.is_empty() || path == "-" {
            return Ok(Target::Stdout);
        }
        match std::fs::metadata(path) {
            Ok(about) if about.is_dir() => Err(Failure::Local(format!("write {path}: it is a directory"))),
            Ok(about) if !about.is_file() => {
                let file = File::options()
                    .write(true)
                    .open(path)
                    .map_err(|error| Failure::Local(format!("open {path}: {error}")))?;
                Ok(Target::Stream(file, path.to_owned()))
            }
            _ => NewFile::create(path).map(Target::File),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self {
            Target::Stdout => super::print::out(bytes),
            Target::File(file) => file.write(bytes),
            Target::Stream(file, path) => {
                file.write_all(bytes).map_err(|error| Failure::Local(format!("write {path}: {error}")))
            }
        }
    }

    pub(super) fn finish(self) -> Outcome<()> {
        match self {
            Target::File(file) => file.finish(),
            Target::Stdout | Target::Stream(..) => Ok(()),
        }
    }
}
