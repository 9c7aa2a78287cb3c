//! Killed owners.
//!
//! The test starts this very test program again as the owner of a store, has it write under load, kills it without warning
//! and audits what it left.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use lockd_store::suite::Writer;
use lockd_store::{BlobId, orphan};
use tempfile::TempDir;

use super::*;

const ROOT: &str = "LOCKD_STORE_TEST_ROOT";
const THREADS: &str = "LOCKD_STORE_TEST_THREADS";
const BATCHES: &str = "LOCKD_STORE_TEST_BATCHES";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Not a test by itself: the owner that gets killed. Says on standard output which batches it was told are durable.
#[test]
fn owner() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let store = open(Path::new(&root)).unwrap();
    let first = newest(&content(&*store.engine).unwrap()) + 1;
    let writer = Writer::new(&store.engine);
    let numbers = Arc::new(std::sync::Mutex::new(first));
    let last = setting(BATCHES, u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..setting(THREADS, 8) {
            scope.spawn(|| {
                loop {
                    let (n, seq) = {
                        // The number and the place in the order must be taken together.
                        let mut next = numbers.lock().unwrap();
                        let n = *next;
                        if n > last {
                            return;
                        }
                        *next += 1;
                        (n, writer.submit(batch(n)).0)
                    };
                    writer.wait(seq);
                    let mut out = std::io::stdout().lock();
                    let _ = writeln!(out, "\ndurable {n}");
                }
            });
        }
        if last < u64::MAX {
            return;
        }
        // Uploads that the kill will interrupt.
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for n in (u128::from(first) << 64).. {
                runtime.block_on(async {
                    let mut blob = store.blobs.create(BlobId(n.to_be_bytes())).await.unwrap();
                    for _ in 0..4 {
                        blob.write(vec![7; 300_000].into()).await.unwrap();
                    }
                    blob.finish().await.unwrap();
                });
            }
        });
    });
}

struct Owner(Child);

impl Owner {
    fn start(root: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::owner", "--exact", "--nocapture"])
            .env(ROOT, root)
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Reads acknowledgements until there are `count`, kills, reads the rest. Returns the highest and how many.
    fn kill_after(mut self, count: usize) -> (u64, usize) {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut durable = Vec::new();
        let number = |line: String| line.strip_prefix("durable ").and_then(|n| n.parse::<u64>().ok());
        while durable.len() < count {
            durable.extend(number(lines.next().expect("the owner ended by itself")));
        }
        self.0.kill().unwrap();
        durable.extend(lines.filter_map(number));
        self.0.wait().unwrap();
        (durable.iter().copied().max().unwrap(), durable.len())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    for round in 0..8 {
        let owner = Owner::start(&root);
        let (acknowledged, count) = owner.kill_after(50 + round * 100);
        // At once: the kernel has released the lock, whatever the dead process was doing.
        let store = open(&root).unwrap();
        let found = content(&*store.engine).unwrap();
        let last = newest(&found);
        println!("round {round}: {count} acknowledged, up to {acknowledged}; {last} found");
        assert!(last >= acknowledged, "batch {acknowledged} was acknowledged, the last found is {last}");
        assert!(found == expected(last), "not exactly the first {last} batches");
        // Blobs are whole or absent, and orphans can be collected.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let incoming = root.join("blobs/incoming");
            assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0, "unfinished blobs were left");
            let blobs = store.blobs.list(None, 10_000).await.unwrap();
            for id in &blobs {
                let mut reader = store.blobs.open(*id, 0).await.unwrap();
                let mut len = 0;
                while let Some(piece) = reader.read().await.unwrap() {
                    len += piece.len();
                }
                assert_eq!(len, 1_200_000, "blob {id}");
            }
            let in_flight = orphan::InFlight::new(Arc::clone(&store.blobs));
            let pass = orphan::collect_orphans(&in_flight, |_| Ok(false), std::time::Duration::ZERO);
            assert_eq!(pass.await.unwrap().deleted, blobs.len() as u64);
        });
        store.engine.close().unwrap();
    }
}

/// What an owner does with the kernel while one thread writes `batches` batches: a list of `sync` and `durable`.
fn trace(batches: u64) -> Option<Vec<&'static str>> {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    open(&root).unwrap().engine.close().unwrap();
    let trace = directory.path().join("trace");
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=fdatasync,write", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["crash::owner", "--exact", "--nocapture"])
        .env(ROOT, &root)
        .env(THREADS, "1")
        .env(BATCHES, batches.to_string())
        .stdout(Stdio::null())
        .status();
    if !traced.is_ok_and(|status| status.success()) {
        println!("SKIPPED: strace does not work here");
        return None;
    }
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    let event = |line: &str| {
        // A call that another thread interrupted in the trace has its result in a line of its own.
        let synced = line.contains("fdatasync") && line.trim_end().ends_with("= 0");
        let told = line.contains("write(1, ") && line.contains("durable ");
        if synced { Some("sync") } else { told.then_some("durable") }
    };
    Some(text.lines().filter_map(event).collect())
}

#[test]
fn nothing_is_answered_before_it_is_synced() {
    let Some(events) = trace(200) else { return };
    let durable = events.iter().filter(|event| **event == "durable").count();
    assert_eq!(durable, 200);
    let mut syncs = 0;
    let mut previous = "durable";
    for event in events {
        assert!(event == "sync" || previous == "sync", "answered without a sync in between");
        syncs += usize::from(event == "sync");
        previous = event;
    }
    // A lone writer pays one sync, give or take what the database does for itself.
    assert!((200..230).contains(&syncs), "{syncs} syncs for 200 batches");
}
