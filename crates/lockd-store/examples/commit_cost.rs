//! What a commit costs: latency of a lone writer, throughput and CPU with many in flight, reads, and blob throughput.
//!
//! ```text
//! cargo run --release -p lockd-store --example commit_cost -- [store URL, default a temporary disk store]
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lockd_store::{Batch, BlobId, Blobs, Committed, Direction, Engine, Options, Progress, open};
use parking_lot::{Condvar, Mutex};
use rustix::time::ClockId;

#[derive(Default)]
struct Durable {
    through: Mutex<u64>,
    more: Condvar,
}

impl Durable {
    fn wait(&self, seq: u64) {
        let mut through = self.through.lock();
        while *through < seq {
            self.more.wait(&mut through);
        }
    }
}

/// Three records, as a request of the server writes: one of the given size and two small ones.
fn batch(n: u64, size: usize) -> Batch {
    let mut batch = Batch::default();
    let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100_000;
    batch.put(format!("k/default/resource-{key:08}"), Bytes::from(vec![b'x'; size]));
    batch.put(format!("l/default/resource-{key:08}"), Bytes::from(vec![b'y'; 70]));
    batch.put(format!("e/{n:016}/resource-{key:08}"), Bytes::from(vec![b'z'; 20]));
    batch
}

fn cpu(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Microseconds of CPU that this thread spends on each of a number of actions: other loads of the machine hardly matter.
fn each(count: usize, action: impl FnOnce()) -> f64 {
    let begin = cpu(ClockId::ThreadCPUTime);
    action();
    cpu(ClockId::ThreadCPUTime).saturating_sub(begin).as_secs_f64() * 1e6 / count as f64
}

fn main() {
    let directory = tempfile::TempDir::new_in(".").unwrap();
    let default = format!("disk://{}/store", directory.path().canonicalize().unwrap().display());
    let url = std::env::args().nth(1).unwrap_or(default);
    let store = open(&url, Options::default()).unwrap();
    println!("{}", store.location);
    let durable = Arc::new(Durable::default());
    let heard = Arc::clone(&durable);
    store.engine.listen(Box::new(move |progress| {
        if let Progress::Durable { through } = progress {
            *heard.through.lock() = through;
            heard.more.notify_all();
        }
    }));
    let mut seq = 0;
    footprint(&*store.engine, &durable, &mut seq);
    for size in [100, 4096] {
        lone_writer(&*store.engine, &durable, &mut seq, size);
    }
    for size in [100, 4096] {
        for in_flight in [64, 1024] {
            many(&*store.engine, &durable, &mut seq, size, in_flight);
        }
    }
    reads(&*store.engine);
    blobs(&*store.blobs);
    store.engine.close().unwrap();
    drop(store);
    let begin = Instant::now();
    let store = open(&url, Options::default()).unwrap();
    println!("opened again in {:?}", begin.elapsed());
    store.engine.close().unwrap();
}

fn lone_writer(engine: &dyn Engine, durable: &Durable, seq: &mut u64, size: usize) {
    const ROUNDS: usize = 2000;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        *seq += 1;
        let begin = Instant::now();
        if engine.submit(*seq, batch(*seq, size)) == Committed::Later {
            engine.drive();
            durable.wait(*seq);
        }
        times.push(begin.elapsed());
    }
    times.sort();
    println!("one writer, {size} B: commit p50 {:?}, p99 {:?}", times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
}

/// One submitter that keeps a number of batches unanswered, as a server with that many clients does.
fn many(engine: &dyn Engine, durable: &Durable, seq: &mut u64, size: usize, in_flight: u64) {
    let rounds: u64 = if size > 1000 { 40_000 } else { 200_000 };
    let (begin, used) = (Instant::now(), cpu(ClockId::ProcessCPUTime));
    for _ in 0..rounds {
        *seq += 1;
        if engine.submit(*seq, batch(*seq, size)) == Committed::Later && *seq > in_flight {
            engine.drive();
            durable.wait(*seq - in_flight);
        }
    }
    let last = *seq;
    if engine.submit(last + 1, Batch::default()) == Committed::Later {
        engine.drive();
        durable.wait(last + 1);
    }
    *seq += 1;
    let (wall, used) = (begin.elapsed(), cpu(ClockId::ProcessCPUTime).saturating_sub(used));
    println!(
        "{in_flight} in flight, {size} B: {:.0} batches/s, {:.1} us CPU a batch",
        rounds as f64 / wall.as_secs_f64(),
        used.as_secs_f64() * 1e6 / rounds as f64
    );
}

fn reads(engine: &dyn Engine) {
    const ROUNDS: usize = 200_000;
    let key = |n: usize| {
        format!("l/default/resource-{:08}", (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100_000)
    };
    let keys: Vec<String> = (0..ROUNDS).map(key).collect();
    for what in ["cold", "warm"] {
        let mut found = 0;
        let cost = each(ROUNDS, || {
            found =
                keys.iter().filter(|key| engine.snapshot().get(key.as_bytes()).unwrap().is_some()).count();
        });
        println!("snapshot and get, {what}: {cost:.2} us CPU, {found} of {ROUNDS} found");
    }
    let cost = each(ROUNDS, || (0..ROUNDS).for_each(|_| drop(std::hint::black_box(engine.snapshot()))));
    println!("snapshot: {cost:.3} us CPU");
    let range = (Bound::Included(&b"l/"[..]), Bound::Excluded(&b"l0"[..]));
    let scan = || engine.snapshot().scan(range, Direction::Forward, usize::MAX).unwrap().len();
    let count = scan();
    println!("scan: {:.2} us CPU an entry, {count} entries", each(count, || _ = scan()));
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// What a hundred thousand leases of two records each take up in memory.
fn footprint(engine: &dyn Engine, durable: &Durable, seq: &mut u64) {
    const LEASES: u64 = 100_000;
    let before = resident();
    for n in 0..LEASES {
        *seq += 1;
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % LEASES;
        let mut batch = Batch::default();
        batch.put(format!("l/default/resource-{n:011}"), Bytes::from(vec![b'y'; 70]));
        batch.put(format!("e/default/resource-{n:011}"), Bytes::from(vec![b'z'; 20]));
        if engine.submit(*seq, batch) == Committed::Later && n.is_multiple_of(1000) {
            engine.drive();
            durable.wait(*seq);
        }
    }
    println!("memory: {} bytes a lease", resident().saturating_sub(before) / LEASES);
}

fn blobs(blobs: &dyn Blobs) {
    const SIZE: usize = 1 << 30;
    let id = BlobId([7; 16]);
    let piece = Bytes::from(vec![1; 64 << 10]);
    tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
        let begin = Instant::now();
        let mut writer = blobs.create(id).await.unwrap();
        for _ in 0..SIZE / piece.len() {
            writer.write(piece.clone()).await.unwrap();
        }
        writer.finish().await.unwrap();
        let written = begin.elapsed();
        let begin = Instant::now();
        let mut reader = blobs.open(id, 0).await.unwrap();
        let mut total = 0;
        while let Some(piece) = reader.read().await.unwrap() {
            total += piece.len();
        }
        let speed = |time: Duration| total as f64 / time.as_secs_f64() / 1e6;
        println!("blob of 1 GiB: write {:.0} MB/s, read {:.0} MB/s", speed(written), speed(begin.elapsed()));
        blobs.delete(id).await.unwrap();
    });
}
