//! Every interleaving of an upload with a pass of the orphan collection.
//!
//! The pass is the real one; the upload moves on whenever the pass touches the store, by as many steps as the plan at hand
//! says. All plans are tried.

use std::collections::VecDeque;

use super::*;
use crate::mem;
use crate::port::{Batch, BlobReader, BoxFuture, Engine};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn id(n: u128) -> BlobId {
    BlobId(n.to_be_bytes())
}

/// What happens to a blob in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Referenced,
    GivenUp,
    Replaced,
}

/// The uploader, one step at a time.
#[derive(Debug)]
struct Uploader {
    engine: Arc<mem::MemEngine>,
    blobs: Option<InFlight>,
    fate: Fate,
    upload: Option<Upload>,
    seq: u64,
    step: usize,
}

const STEPS: usize = 4;

impl Uploader {
    fn advance(&mut self) {
        let Some(blobs) = &self.blobs else { return };
        match (self.step, self.fate) {
            (0, _) => {
                self.upload = Some(run_now(blobs.store(id(1), Bytes::from_static(b"content"))).unwrap())
            }
            (1, Fate::Referenced | Fate::Replaced) => {
                self.seq += 1;
                let mut batch = Batch::default();
                batch.put(id(1).to_string(), "");
                self.engine.submit(self.seq, batch);
            }
            (2, _) => drop(self.upload.take()),
            (3, Fate::Replaced) => {
                self.seq += 1;
                let mut batch = Batch { changes: vec![], dead_blobs: vec![id(1)] };
                batch.delete(id(1).to_string());
                self.engine.submit(self.seq, batch);
            }
            _ => {}
        }
        self.step += 1;
    }
}

/// Memory blobs never wait, so their futures are ready at once.
fn run_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("memory blobs have to wait"),
    }
}

/// How far the upload moves at each touch of the store.
#[derive(Debug)]
struct Plan {
    moves: Mutex<VecDeque<usize>>,
    uploader: Mutex<Uploader>,
}

impl Plan {
    fn touch(&self) {
        let count = self.moves.lock().pop_front().unwrap_or(0);
        (0..count).for_each(|_| self.uploader.lock().advance());
    }
}

#[derive(Debug)]
struct Touching {
    blobs: Arc<dyn Blobs>,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl Touching {
    fn touch(&self) {
        let plan = self.plan.lock().clone();
        if let Some(plan) = plan {
            plan.touch();
        }
    }
}

impl Blobs for Touching {
    fn create(&self, id: BlobId) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        self.blobs.create(id)
    }

    fn open(&self, id: BlobId, offset: u64) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreError>> {
        self.blobs.open(id, offset)
    }

    fn delete(&self, id: BlobId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.touch();
        self.blobs.delete(id)
    }

    fn list(&self, after: Option<BlobId>, limit: usize) -> BoxFuture<'_, Result<Vec<BlobId>, StoreError>> {
        self.touch();
        let listed = run_now(self.blobs.list(after, limit));
        self.touch();
        Box::pin(async { listed })
    }
}

fn play(fate: Fate, moves: &[usize]) {
    let (engine, blobs) = mem::open();
    let touching = Arc::new(Touching { blobs, plan: Mutex::new(None) });
    let in_flight = InFlight::new(Arc::clone(&touching) as Arc<dyn Blobs>);
    let uploader = Uploader {
        engine: Arc::clone(&engine),
        blobs: Some(in_flight.clone()),
        fate,
        upload: None,
        seq: 0,
        step: 0,
    };
    let moves = Mutex::new(moves.iter().copied().collect());
    let plan = Arc::new(Plan { moves, uploader: Mutex::new(uploader) });
    *touching.plan.lock() = Some(Arc::clone(&plan));
    let is_referenced = |id: BlobId| {
        plan.touch();
        let snapshot = engine.snapshot();
        plan.touch();
        let found = snapshot.get(id.to_string().as_bytes())?.is_some();
        plan.touch();
        Ok(found)
    };
    run(collect_orphans(&in_flight, is_referenced, Duration::ZERO)).unwrap();
    while plan.uploader.lock().step < STEPS {
        plan.uploader.lock().advance();
    }
    let listed = || run(in_flight.blobs().list(None, 10)).unwrap();
    match fate {
        Fate::Referenced => assert_eq!(listed(), [id(1)], "a referenced blob was deleted"),
        Fate::Replaced => assert_eq!(listed(), []),
        Fate::GivenUp => {
            run(collect_orphans(&in_flight, is_referenced, Duration::ZERO)).unwrap();
            assert_eq!(listed(), [], "an orphan was left");
        }
    }
    // Break the cycle of references.
    plan.uploader.lock().blobs = None;
    *touching.plan.lock() = None;
}

/// All ways to spread the steps of the upload over the touches of a pass.
fn plans(touches: usize, steps: usize) -> Vec<Vec<usize>> {
    if touches == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for first in 0..=steps {
        for mut rest in plans(touches - 1, steps - first) {
            rest.insert(0, first);
            all.push(rest);
        }
    }
    all
}

#[test]
fn no_interleaving_deletes_a_referenced_blob_or_leaves_an_orphan() {
    let plans = plans(7, STEPS);
    assert!(plans.len() > 300);
    for plan in &plans {
        for fate in [Fate::Referenced, Fate::GivenUp, Fate::Replaced] {
            play(fate, plan);
        }
    }
}

#[test]
fn young_blobs_are_left_alone() {
    let (_, blobs) = mem::open();
    let in_flight = InFlight::new(blobs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    for millis in [now - 60_000, now - 1000, now + 60_000] {
        run(in_flight.store(id(millis << 80), Bytes::new())).map(drop).unwrap();
    }
    let pass =
        |min_age| run(collect_orphans(&in_flight, |_| Ok(false), Duration::from_secs(min_age))).unwrap();
    assert_eq!(pass(3600), Collected { seen: 3, deleted: 0 });
    assert_eq!(pass(30), Collected { seen: 3, deleted: 1 });
    assert_eq!(pass(0), Collected { seen: 2, deleted: 1 });
}

#[test]
fn a_pass_goes_through_all_pages_and_stops_at_an_error() {
    let (_, blobs) = mem::open();
    let in_flight = InFlight::new(blobs);
    for n in 0..1000 {
        run(in_flight.store(id(n), Bytes::new())).map(drop).unwrap();
    }
    let odd = |id: BlobId| Ok(id.0[15] % 2 == 1);
    let collected = run(collect_orphans(&in_flight, odd, Duration::ZERO)).unwrap();
    assert_eq!(collected, Collected { seen: 1000, deleted: 500 });
    let fails = |_| Err(StoreError::Io("the store is gone".into()));
    run(collect_orphans(&in_flight, fails, Duration::ZERO)).unwrap_err();
    assert_eq!(run(in_flight.blobs().list(None, 1000)).unwrap().len(), 500);
}

#[test]
fn an_id_is_uploaded_once_at_a_time() {
    let (_, blobs) = mem::open();
    let in_flight = InFlight::new(blobs);
    let upload = run(in_flight.store(id(1), Bytes::new())).unwrap();
    assert_eq!(upload.id(), id(1));
    assert!(matches!(run(in_flight.create(id(1))), Err(StoreError::Invalid(_))));
    assert!(in_flight.contains(id(1)), "the refused upload must not end the protection of the first");
}
