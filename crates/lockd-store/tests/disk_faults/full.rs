//! A full device.

use std::io::Write as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use lockd_store::{BlobId, Progress};
use tempfile::TempDir;

use super::*;

/// A small file system of its own, if this process may mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            Some(Self(directory))
        } else {
            println!("SKIPPED: mounting a tmpfs is not permitted here");
            None
        }
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// Takes up all that is left but `keep` bytes.
    fn fill(&self, keep: u64) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut ballast = std::fs::File::create(&path).unwrap();
        loop {
            let stat = rustix::fs::statvfs(self.0.path()).unwrap();
            let size = (stat.f_bavail * stat.f_frsize).saturating_sub(keep);
            if size == 0 {
                return path;
            }
            // A store in the background takes some, too, so there may be less by now.
            match ballast.write_all(&vec![1; usize::try_from(size).unwrap()]) {
                Err(error) if error.kind() != std::io::ErrorKind::StorageFull => panic!("{error}"),
                _ => {}
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Writes batches until the engine fails. Returns the last acknowledged and the error.
fn write_until_full(store: &Opened, first: u64, batch: impl Fn(u64) -> Batch) -> (u64, StoreError) {
    let heard = Arc::new((Mutex::new((0, None)), std::sync::Condvar::new()));
    let listener = Arc::clone(&heard);
    store.engine.listen(Box::new(move |progress| {
        let mut heard = listener.0.lock().unwrap();
        match progress {
            Progress::Durable { through } => {
                assert!(heard.1.is_none(), "durable after failure");
                heard.0 = through;
            }
            Progress::Failed { from, error } => {
                assert_eq!(from, heard.0 + 1);
                heard.1 = Some(error);
            }
        }
        listener.1.notify_all();
    }));
    for seq in 1.. {
        store.engine.submit(seq, batch(first + seq - 1));
        store.engine.drive();
        let mut state = heard.0.lock().unwrap();
        while state.0 < seq && state.1.is_none() {
            state = heard.1.wait(state).unwrap();
        }
        if let Some(error) = &state.1 {
            return (first + state.0 - 1, error.clone());
        }
    }
    unreachable!()
}

#[test]
fn a_full_device_fails_the_store_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let root = disk.root();
    let mut last = 0;
    for round in 0..6 {
        let store = open(&root).unwrap();
        let found = content(&*store.engine).unwrap();
        let before = newest(&found);
        assert!(before >= last, "round {round}: batch {last} was acknowledged, the last found is {before}");
        assert!(found == expected(before));
        let ballast = disk.fill(40_000 + round * 4_321);
        let (acknowledged, error) = write_until_full(&store, before + 1, batch);
        assert!(matches!(error, StoreError::NoSpace(_)), "{error:?}");
        assert!(acknowledged > before, "nothing could be written at all");
        // Reading goes on, and shows what was acknowledged, no more.
        assert!(content(&*store.engine).unwrap() == expected(acknowledged));
        let closed = store.engine.close().unwrap_err();
        assert!(matches!(closed, StoreError::NoSpace(_)), "{closed:?}");
        drop(store);
        std::fs::remove_file(ballast).unwrap();
        last = acknowledged;
    }
    let store = open(&root).unwrap();
    assert!(newest(&content(&*store.engine).unwrap()) >= last);
    store.engine.close().unwrap();
}

#[test]
fn a_failure_in_the_background_is_reported_to_an_idle_writer() {
    // Room for the log, but not for all the tables that the records in memory become.
    let Some(disk) = SmallDisk::mount(130) else { return };
    let root = disk.root();
    let store = open(&root).unwrap();
    let heard = Arc::new((Mutex::new((0, None)), std::sync::Condvar::new()));
    let listener = Arc::clone(&heard);
    store.engine.listen(Box::new(move |progress| {
        let mut heard = listener.0.lock().unwrap();
        match progress {
            Progress::Durable { through } => heard.0 = through,
            Progress::Failed { error, .. } => heard.1 = Some(error),
        }
        listener.1.notify_all();
    }));
    const LAST: u64 = 200;
    for n in 1..=LAST {
        let mut batch = batch(n);
        batch.put(format!("large/{n:03}"), vec![n as u8; 1_000_000]);
        store.engine.submit(n, batch);
        store.engine.drive();
    }
    let mut state = heard.0.lock().unwrap();
    while state.1.is_none() {
        state = heard.1.wait(state).unwrap();
    }
    let (acknowledged, error) = (state.0, state.1.clone().unwrap());
    drop(state);
    println!("{acknowledged} batches, then: {error}");
    assert!(matches!(error, StoreError::NoSpace(_)), "{error:?}");
    // Most fits; how much depends on how far the log has grown meanwhile.
    assert!(acknowledged > 30);
    store.engine.close().unwrap_err();
    drop(store);
    // With more room everything is there.
    let remounted = Command::new("mount").args(["-o", "remount,size=600m"]).arg(disk.0.path()).status();
    assert!(remounted.unwrap().success());
    for _ in 0..2 {
        let store = open(&root).unwrap();
        let found = content(&*store.engine).unwrap();
        let last = newest(&found);
        assert!(last >= acknowledged);
        for (key, value) in expected(last) {
            assert!(found[&key] == value);
        }
        assert_eq!(
            found.iter().filter(|(key, value)| key.starts_with(b"large/") && value.len() == 1_000_000).count()
                as u64,
            last
        );
        store.engine.close().unwrap();
    }
}

#[test]
fn a_blob_that_does_not_fit_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(80) else { return };
    let store = open(&disk.root()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ballast = disk.fill(5_000_000);
    let error = runtime.block_on(async {
        let mut blob = store.blobs.create(BlobId([1; 16])).await.unwrap();
        for _ in 0..20 {
            blob.write(vec![1; 1_000_000].into()).await?;
        }
        blob.finish().await
    });
    assert!(matches!(error, Err(StoreError::NoSpace(_))), "{error:?}");
    drop(runtime);
    let incoming = disk.root().join("blobs/incoming");
    assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
    std::fs::remove_file(ballast).unwrap();
    store.engine.close().unwrap();
}

#[test]
fn a_read_only_file_system_is_refused() {
    let Some(disk) = SmallDisk::mount(80) else { return };
    let root = disk.root();
    let remount = |how: &str| {
        let status = Command::new("mount").args(["-o", how]).arg(disk.0.path()).status();
        assert!(status.unwrap().success());
    };
    remount("remount,ro");
    let text = open(&root).unwrap_err().to_string();
    assert!(text.contains("Read-only") && text.contains(&root.display().to_string()), "{text}");
    remount("remount,rw");
    open(&root).unwrap().engine.close().unwrap();
    remount("remount,ro");
    let text = open(&root).unwrap_err().to_string();
    assert!(text.contains("Read-only") && text.contains(&root.display().to_string()), "{text}");
}
