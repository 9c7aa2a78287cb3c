//! Power cuts: after every step, and in the recovery from one, a store is copied as the disk might have it then, opened, and
//! compared with what was acknowledged.
//!
//! What was not synced is there or not, sector by sector; a name whose directory was not synced is there or not. The tables
//! of fjall are copied as they are, because it syncs them itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::Bound;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tempfile::TempDir;

use super::super::committer::Pen;
use super::super::database::Database;
use super::super::recovery::{Recovered, recover};
use super::super::root::Root;
use super::super::witness::{KILL, Killed, Step, WATCH};
use super::{Checkpointer, encoded_len, segment};
use crate::open::Durability;
use crate::port::{Batch, Direction, Snapshot};

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

const SECTOR: usize = 512;

/// Numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

/// The beginning of a file, up to where it has never been written.
fn content(path: &Path) -> Vec<u8> {
    let file = File::open(path).unwrap();
    let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap_or(0);
    let mut bytes = vec![0; end as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// What is surely on disk of the files that this code syncs.
struct Disk {
    root: PathBuf,
    contents: BTreeMap<u64, Vec<u8>>,
    names: BTreeMap<PathBuf, u64>,
}

impl Disk {
    /// Everything there is.
    fn new(root: &Path) -> Self {
        let mut disk = Self { root: root.to_path_buf(), contents: BTreeMap::new(), names: BTreeMap::new() };
        for path in disk.files() {
            disk.contents.insert(inode(&path), content(&path));
            disk.names.insert(path.clone(), inode(&path));
        }
        disk
    }

    /// The files whose syncs are told.
    fn files(&self) -> Vec<PathBuf> {
        let of = |directory: PathBuf| {
            let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.is_file()).collect::<Vec<_>>()
        };
        let mut files = of(self.root.clone());
        files.extend(of(self.root.join("log")));
        files.extend(of(self.root.join("db")).into_iter().filter(|path| is_journal(path)));
        files
    }

    fn note(&mut self, step: Step<'_>) {
        match step {
            Step::Wrote | Step::Renamed => {}
            Step::Synced(path) => _ = self.contents.insert(inode(path), content(path)),
            Step::SyncedDirectory(directory) => {
                self.names.retain(|path, _| path.parent() != Some(directory));
                for path in self.files().iter().filter(|path| path.parent() == Some(directory)) {
                    self.names.insert(path.clone(), inode(path));
                    if is_journal(path) {
                        self.contents.insert(inode(path), content(path));
                    }
                }
            }
        }
    }

    /// What the disk might have after a power cut.
    fn copy(&self, target: &Path, dice: &mut Dice) {
        copy_rest(&self.root, target);
        if self.root.join("log").is_dir() {
            fs::create_dir_all(target.join("log")).unwrap();
        }
        let files = self.files();
        let names: BTreeSet<&PathBuf> = files.iter().chain(self.names.keys()).collect();
        // Everything, nothing, or some of it got there.
        let mood = dice.roll(4);
        for path in names {
            let now = path.exists().then(|| inode(path));
            // What fjall creates or deletes is taken to be on disk.
            let before = if is_journal(path) { now } else { self.names.get(path).copied() };
            let old = now != before && (mood == 0 || mood != 1 && dice.roll(2) == 0);
            let Some(number) = (if old { before } else { now }) else { continue };
            let durable = self.contents.get(&number).cloned().unwrap_or_default();
            let bytes = if old { durable } else { mix(durable, content(path), mood, dice) };
            let copied = target.join(path.strip_prefix(&self.root).unwrap());
            let file = File::create(copied).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            if is_journal(path) {
                file.set_len(fs::metadata(path).unwrap().len()).unwrap();
            }
        }
    }
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jnl")
}

/// Some sectors as they were, the others as they should have become.
fn mix(old: Vec<u8>, new: Vec<u8>, mood: u64, dice: &mut Dice) -> Vec<u8> {
    match mood {
        0 => old,
        1 => new,
        _ if old == new => new,
        _ => {
            let mut mixed = if dice.roll(2) == 0 { old.clone() } else { new.clone() };
            for at in (0..mixed.len()).step_by(SECTOR) {
                let end = mixed.len().min(at + SECTOR);
                let from = if dice.roll(2) == 0 { &old } else { &new };
                let known = from.get(at..end.min(from.len()).max(at)).unwrap_or_default();
                mixed[at..at + known.len()].copy_from_slice(known);
                mixed[at + known.len()..end].fill(0);
            }
            mixed
        }
    }
}

fn copy_rest(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() && path.file_name().unwrap() != "log" {
            copy_rest(&path, &target);
        } else if path.is_file() && !is_journal(&path) && path.file_name().unwrap() != "last-use" {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// What may be found: the state after the last acknowledged record, or after the one that was being written.
struct Truth {
    acknowledged: Content,
    unfinished: Option<Content>,
}

impl Truth {
    fn allows(&self, found: &Content) -> bool {
        *found == self.acknowledged || self.unfinished.as_ref() == Some(found)
    }
}

/// Cuts the power now and then, and looks at what is left.
struct Witness {
    disk: Disk,
    truth: Rc<RefCell<Truth>>,
    dice: Dice,
    images: TempDir,
    /// Every which step, on average.
    every: u64,
    /// After every which step the owner is killed.
    kill: u64,
    looked: Rc<RefCell<u64>>,
    seed: u64,
}

impl Witness {
    fn see(&mut self, step: Step<'_>) {
        self.disk.note(step);
        // Between a name and its sync more often: there are few of these.
        let kill = if matches!(step, Step::Renamed) { 6 } else { self.kill };
        KILL.set(self.dice.roll(kill) == 0);
        if self.dice.roll(self.every) == 0 {
            self.cut(&format!("{step:?}"));
        }
    }

    fn cut(&mut self, after: &str) {
        let image = self.images.path().join("image");
        let _ = fs::remove_dir_all(&image);
        self.disk.copy(&image, &mut self.dice);
        let durability = if self.dice.roll(8) == 0 { Durability::Os } else { Durability::Fsync };
        let truth = self.truth.borrow();
        let told = || {
            let note = fs::read_to_string(image.join("last-use"));
            format!("seed {}, cut {} after {after}, note {note:?}", self.seed, self.looked.borrow())
        };
        let failing = segment::FAILING.replace(false);
        // Twice: what one recovery leaves is what the next has.
        for round in 0..1 + self.dice.roll(2) {
            let root = Root::prepare(&image).unwrap();
            let recovered = recover(&root, durability).unwrap_or_else(|error| panic!("{}: {error}", told()));
            let found = all(&recovered.database);
            assert!(truth.allows(&found), "{}, opening {round}: not what was acknowledged", told());
        }
        segment::FAILING.set(failing);
        *self.looked.borrow_mut() += 1;
    }
}

fn all(database: &Database) -> Content {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let entries = database.snapshot().scan(everything, Direction::Forward, usize::MAX).unwrap();
    entries.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// One owner after the other.
struct History {
    root: Root,
    truth: Rc<RefCell<Truth>>,
    dice: Dice,
    commits: u64,
}

impl History {
    fn open(&self) -> (Pen, Checkpointer) {
        let Recovered { database, log } = recover(&self.root, Durability::Fsync).unwrap();
        let found = all(&database);
        let mut truth = self.truth.borrow_mut();
        assert!(truth.allows(&found), "after a kill: not what was acknowledged");
        *truth = Truth { acknowledged: found, unfinished: None };
        let (log, checkpointer) = log.unwrap();
        let (dead, _) = sync_channel(1);
        (Pen { log: Some(log), database, dead, limit: usize::MAX }, checkpointer)
    }

    /// A few batches, and what there is when they are done.
    fn group(&mut self) -> (Vec<Batch>, Content) {
        let mut after = self.truth.borrow().acknowledged.clone();
        let mut group = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            let mut batch = Batch::default();
            for _ in 0..=self.dice.roll(3) {
                let key = format!("key {}", self.dice.roll(40)).into_bytes();
                if self.dice.roll(3) == 0 {
                    after.remove(&key);
                    batch.delete(key);
                } else {
                    let size = if self.dice.roll(60) == 0 { 12_000 } else { self.dice.roll(500) };
                    let mut value = format!("{} ", self.commits).into_bytes();
                    value.resize(value.len() + size as usize, self.commits as u8);
                    after.insert(key.clone(), value.clone());
                    batch.put(key, value);
                }
            }
            group.push(batch);
        }
        self.commits += 1;
        (group, after)
    }

    /// The life of an owner, up to its orderly end or a kill anywhere.
    fn own(&mut self) {
        if let Err(reason) = catch_unwind(AssertUnwindSafe(|| self.live()))
            && !reason.is::<Killed>()
        {
            resume_unwind(reason);
        }
    }

    fn live(&mut self) {
        let (mut pen, mut checkpointer) = self.open();
        for _ in 0..self.dice.roll(60) {
            let (group, after) = self.group();
            let log = pen.log.as_ref().unwrap();
            let pool = log.pool();
            while self.dice.roll(4) != 0
                && let Some(task) = pool.task()
            {
                checkpointer.perform(task).unwrap();
            }
            // Nobody else would make room while this thread waits for it.
            let len = group.iter().flat_map(|batch| &batch.changes).map(encoded_len).sum::<usize>() as u64;
            let full = log.offset > 0 && log.offset + len + 48 > log.current.as_ref().unwrap().capacity();
            while full && !pool.is_ready() {
                pool.foresee();
                checkpointer.perform(pool.task().unwrap()).unwrap();
            }
            self.truth.borrow_mut().unfinished = Some(after.clone());
            if self.dice.roll(60) == 0 {
                // Dies between the write and its sync.
                segment::FAILING.set(true);
                let failed = catch_unwind(AssertUnwindSafe(|| pen.commit(&group)));
                segment::FAILING.set(false);
                assert!(!failed.is_ok_and(|result| result.is_ok()));
                return;
            }
            pen.commit(&group).unwrap();
            *self.truth.borrow_mut() = Truth { acknowledged: after, unfinished: None };
            match self.dice.roll(60) {
                0..8 => pen.database.check_health().unwrap(),
                8..10 => pen.database.write_out().unwrap(),
                10 => _ = pen.database.refresh(),
                _ => {}
            }
        }
        if self.dice.roll(3) == 0 {
            let database = Arc::clone(&pen.database);
            drop((pen, checkpointer));
            Arc::try_unwrap(database).ok().unwrap().close().unwrap();
        }
    }
}

fn run(seed: u64, owners: u64, every: u64) -> u64 {
    // In memory if there is room: nothing here is meant to survive.
    let shm = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(shm).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let temporary = || if room > 1 << 30 { TempDir::new_in(shm) } else { TempDir::new() };
    let directory = temporary().unwrap();
    segment::SMALLER.set(11);
    let root = Root::prepare(&directory.path().join("store")).unwrap();
    root.create_or_check().unwrap();
    let truth = Rc::new(RefCell::new(Truth { acknowledged: Content::new(), unfinished: None }));
    let looked = Rc::new(RefCell::new(0));
    let mut witness = Witness {
        disk: Disk::new(root.path()),
        truth: Rc::clone(&truth),
        dice: Dice(seed ^ 0xdead),
        images: temporary().unwrap(),
        every,
        kill: 150,
        looked: Rc::clone(&looked),
        seed,
    };
    WATCH.set(Some(Box::new(move |step| witness.see(step))));
    let mut history = History { root, truth, dice: Dice(seed), commits: 0 };
    (0..owners).for_each(|_| history.own());
    WATCH.set(None);
    segment::SMALLER.set(0);
    looked.take()
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_acknowledged() {
    let setting = |name, default| std::env::var(name).map_or(default, |text| text.parse::<u64>().unwrap());
    let first = setting("LOCKD_STORE_TEST_SEED", 1);
    let seeds = first..first + setting("LOCKD_STORE_TEST_SEEDS", 24);
    // Most of the time they wait for threads of fjall to end.
    let looked: u64 = std::thread::scope(|scope| {
        let running: Vec<_> = seeds.map(|seed| scope.spawn(move || run(seed, 12, 5))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{looked} power cuts");
    assert!(looked > 300, "{looked} power cuts");
}
