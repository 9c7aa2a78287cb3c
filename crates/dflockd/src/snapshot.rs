//! What outlives the process: held slots and the grant counter after a planned end, a mark that we run in between. A start
//! that finds the mark instead of slots knows that the last run crashed.

use crate::table::{Hold, Space, Token};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

#[derive(PartialEq, Eq, Debug)]
pub enum Past {
    /// No file: the first start.
    None,
    /// The last run ended as planned. Deadlines, also of a grace that had not ended (else 0), are nanoseconds since the Unix
    /// epoch.
    Clean { counter: u64, grace: u64, holds: Vec<Hold> },
    /// The last run did not get to write down its slots.
    Crashed,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("snapshot: {path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("snapshot: {path} is damaged in line {line}; remove it to start without the slots it holds")]
    Damaged { path: String, line: usize },
}

const MAGIC: &str = "dflockd-snapshot 1";
const RUNNING: &str = "running";

pub fn read(path: &Path) -> Result<Past, SnapshotError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Past::None),
        Err(error) => return Err(SnapshotError::Io { path: path.display().to_string(), error }),
    };
    parse(&text).map_err(|line| SnapshotError::Damaged { path: path.display().to_string(), line })
}

/// Replaces the file by the mark that a daemon runs.
pub fn mark_running(path: &Path) -> Result<(), SnapshotError> {
    replace(path, &format!("{MAGIC}\n{RUNNING}\n"))
}

/// Replaces the file by the slots of a planned end. Deadlines as in [`Past::Clean`].
pub fn write(
    path: &Path,
    counter: u64,
    grace: u64,
    holds: impl Iterator<Item = Hold>,
) -> Result<(), SnapshotError> {
    let mut text = format!("{MAGIC}\ncounter {counter}\n");
    if grace > 0 {
        let _ = writeln!(text, "grace {grace}");
    }
    let mut count = 0;
    for hold in holds {
        let space = if hold.space == Space::Lock { "lock" } else { "semaphore" };
        let _ = write!(text, "{space} {} {} {} ", hold.limit, hold.token, hold.deadline);
        for byte in &hold.key {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        count += 1;
    }
    let _ = writeln!(text, "end {count}");
    replace(path, &text)
}

fn replace(path: &Path, text: &str) -> Result<(), SnapshotError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let save = || {
        let mut file = File::create(beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    save().map_err(|error| SnapshotError::Io { path: path.display().to_string(), error })
}

fn parse(text: &str) -> Result<Past, usize> {
    let mut lines = text.lines().zip(1..);
    let (magic, _) = lines.next().ok_or(1usize)?;
    if magic != MAGIC {
        return Err(1);
    }
    let (second, _) = lines.next().ok_or(2usize)?;
    if second == RUNNING {
        return Ok(Past::Crashed);
    }
    let counter = second.strip_prefix("counter ").and_then(|number| number.parse().ok()).ok_or(2usize)?;
    let mut holds = Vec::new();
    let mut grace = 0;
    for (line, number) in lines {
        if let Some(deadline) = line.strip_prefix("grace ").filter(|_| number == 3) {
            grace = deadline.parse().map_err(|_| number)?;
            continue;
        }
        if let Some(count) = line.strip_prefix("end ") {
            return if count.parse() == Ok(holds.len()) {
                Ok(Past::Clean { counter, grace, holds })
            } else {
                Err(number)
            };
        }
        holds.push(hold(line).ok_or(number)?);
    }
    Err(text.lines().count() + 1)
}

fn hold(line: &str) -> Option<Hold> {
    let mut fields = line.split(' ');
    let space = match fields.next()? {
        "lock" => Space::Lock,
        "semaphore" => Space::Semaphore,
        _ => return None,
    };
    let limit = fields.next()?.parse().ok()?;
    let token = Token::parse(fields.next()?.as_bytes())?;
    let deadline = fields.next()?.parse().ok()?;
    let digits = fields.next()?.as_bytes();
    let key: Option<Box<[u8]>> = digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect();
    let hold = Hold { space, limit, token, deadline, key: key.filter(|key| !key.is_empty())? };
    fields.next().is_none().then_some(hold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_every_cut_of_it_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("held");
        assert_eq!(read(&path).unwrap(), Past::None);
        mark_running(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Past::Crashed);
        let hold = |key: &[u8], space| Hold {
            space,
            key: key.into(),
            limit: 3,
            token: Token { counter: 9, secret: 7 },
            deadline: 5,
        };
        let holds = vec![hold(b"a\0\xff b", Space::Lock), hold(b"k", Space::Semaphore)];
        for grace in [0, 77] {
            write(&path, 10, grace, holds.clone().into_iter()).unwrap();
            assert_eq!(read(&path).unwrap(), Past::Clean { counter: 10, grace, holds: holds.clone() });
            let text = fs::read_to_string(&path).unwrap();
            for cut in 0..text.len() - 1 {
                assert!(parse(&text[..cut]).is_err(), "{:?}", &text[..cut]);
            }
        }
    }

    #[test]
    fn the_file_is_replaced_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["held.new", "a.x", "a.y", "plain"].map(|name| folder.path().join(name));
        for path in &names {
            mark_running(path).unwrap();
            let before = File::open(path).unwrap();
            write(path, 1, 0, std::iter::empty()).unwrap();
            let kept = io::read_to_string(before).unwrap();
            assert!(kept.ends_with("running\n"), "written in place: {kept:?}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), names.len());
    }
}
