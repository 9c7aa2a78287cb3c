//! The driver: whoever brings an input takes the core's lock, feeds it, and carries out what the core asks for.
//!
//! There is no core thread: a request runs on the thread that read it from its socket, which on an idle server also commits its
//! batch, so that nobody has to be woken between the socket and the disk. Batches are handed over under the lock, because
//! their order is the order of decisions; committing, giving answers and loading records come after it.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lockd_core::op::{Abandon, Delivery, Op, Reason, Reply};
use lockd_core::records::key::{self, KeyRecord};
use lockd_core::records::ready::{self, Place};
use lockd_core::records::txn::Decided;
use lockd_core::{Core, Footprint, Input, LoadError, Moment, Output, RequestId};
use lockd_store::{Committed, Direction, Engine, Progress, StoreError};
use lockd_wire::{KeyId, LeaseId, QueueId, TxnId};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use crate::clock::SteadyClock;
use crate::intake::BlobInHand;

#[derive(Debug)]
pub(crate) struct Driver {
    state: Mutex<State>,
    /// The timer thread waits here for an earlier deadline, or for the end.
    alarm: Condvar,
    engine: Arc<dyn Engine>,
    pub(crate) clock: SteadyClock,
    /// Told when the node drains and no lease is left.
    pub(crate) idle: Notify,
    /// Told when the store has failed.
    pub(crate) failed: Notify,
}

#[derive(Debug)]
struct State {
    core: Core,
    slots: HashMap<RequestId, Slot, RandomState>,
    last_id: u64,
    /// When the timer thread will wake.
    armed: Option<Moment>,
    draining: bool,
    closed: bool,
    failure: Option<String>,
    /// The core has panicked.
    broken: bool,
    out: Vec<Output>,
}

/// Who waits for an answer, and the blob that it is about.
#[derive(Debug)]
struct Slot {
    answer: oneshot::Sender<Reply>,
    blob: Option<BlobInHand>,
}

/// What is left to do once the lock is free again.
#[derive(Debug, Default)]
struct Errands {
    answers: Vec<(Slot, Reply)>,
    loads: Vec<Wish>,
    /// Batches wait to be committed.
    commit: bool,
}

/// Something to be read for the core.
#[derive(Debug)]
enum Wish {
    Key(KeyId),
    Txn(TxnId),
    Page { queue: QueueId, after: Option<Place>, limit: usize },
}

impl Driver {
    pub(crate) fn start(core: Core, engine: Arc<dyn Engine>, clock: SteadyClock) -> Arc<Driver> {
        let state = State {
            core,
            slots: HashMap::default(),
            last_id: 0,
            armed: None,
            draining: false,
            closed: false,
            failure: None,
            broken: false,
            out: Vec::new(),
        };
        let driver = Arc::new(Driver {
            state: Mutex::new(state),
            alarm: Condvar::new(),
            engine,
            clock,
            idle: Notify::new(),
            failed: Notify::new(),
        });
        let listener = Arc::downgrade(&driver);
        driver.engine.listen(Box::new(move |progress| {
            if let Some(driver) = listener.upgrade() {
                driver.progress(progress);
            }
        }));
        let timer = Arc::downgrade(&driver);
        // Without its timer thread a node would never clear an expired lease; failing to start one is failing to start.
        let spawned = std::thread::Builder::new().name("lockd-timer".into()).spawn(move || run_timer(&timer));
        if let Err(error) = spawned {
            driver.state.lock().failure = Some(format!("cannot start the timer thread: {error}"));
        }
        driver
    }

    pub(crate) fn footprint(&self) -> Footprint {
        self.state.lock().core.footprint()
    }

    pub(crate) fn held_leases(&self) -> usize {
        self.state.lock().core.held_leases()
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }

    /// Hands a request to the core.
    pub(crate) fn submit(self: &Arc<Self>, op: Op, blob: Option<BlobInHand>) -> Pending {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = RequestId(state.last_id);
        state.slots.insert(id, Slot { answer, blob });
        self.feed(state, Input::Request { id, op });
        Pending { driver: self.clone(), id, receiver, answered: false }
    }

    pub(crate) fn drain(&self) {
        let mut state = self.state.lock();
        state.draining = true;
        self.feed(state, Input::Drain);
    }

    /// Stops the timer thread.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.alarm.notify_all();
    }

    fn progress(&self, progress: Progress) {
        match progress {
            Progress::Durable { through } => self.feed(self.state.lock(), Input::Durable { through }),
            Progress::Failed { from, error } => {
                tracing::error!(sys = "storage.backend.core", batch = from, error = %error, "store failed");
                let mut state = self.state.lock();
                state.failure = Some(error.to_string());
                self.feed(state, Input::Failed);
                self.failed.notify_waiters();
                self.failed.notify_one();
            }
        }
    }

    /// Feeds one input and everything that follows from it.
    fn feed<'a>(&'a self, mut state: MutexGuard<'a, State>, input: Input) {
        let mut errands = Errands::default();
        // One tick follows the other while many leases expire: whoever came for the lock meanwhile goes first.
        let step_aside = matches!(input, Input::Tick);
        let mut next = Some(input);
        loop {
            if let Some(input) = next.take() {
                self.step(&mut state, input, &mut errands);
                self.arm(&mut state);
            }
            let idle = state.draining && state.core.held_leases() == 0;
            match step_aside {
                true => MutexGuard::unlock_fair(state),
                false => drop(state),
            }
            if idle {
                self.idle.notify_waiters();
            }
            let mut inputs =
                std::mem::take(&mut errands.answers).into_iter().flat_map(deliver).collect::<Vec<_>>();
            for key in std::mem::take(&mut errands.loads) {
                inputs.push(self.load(key));
            }
            if inputs.is_empty() {
                if errands.commit {
                    // Comes back through the listener, on this thread if it is this thread that commits.
                    self.engine.drive();
                }
                return;
            }
            state = self.state.lock();
            for input in inputs {
                let input = match input {
                    Follow::Loaded(input) => input,
                    // Nobody waits for the answer to this, so it needs no slot.
                    Follow::Abandon(key, lease) => {
                        state.last_id += 1;
                        Input::Request {
                            id: RequestId(state.last_id),
                            op: Op::Abandon(Abandon { key, lease }),
                        }
                    }
                };
                self.step(&mut state, input, &mut errands);
            }
            self.arm(&mut state);
        }
    }

    /// One input, under the lock. Batches that are durable at once are confirmed at once.
    fn step(&self, state: &mut State, input: Input, errands: &mut Errands) {
        let now = self.clock.now();
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut out = std::mem::take(&mut state.out);
            if state.broken {
                return self.give_up(state);
            }
            if catch_unwind(AssertUnwindSafe(|| state.core.handle(now, input, &mut out))).is_err() {
                state.broken = true;
                state.failure =
                    Some("the core has panicked, see above; its memory cannot be trusted any more".into());
                return self.give_up(state);
            }
            for output in out.drain(..) {
                match output {
                    Output::Load(key) => errands.loads.push(Wish::Key(key)),
                    Output::LoadTxn(txn) => errands.loads.push(Wish::Txn(txn)),
                    Output::Scan { queue, after, limit } => {
                        errands.loads.push(Wish::Page { queue, after, limit });
                    }
                    Output::Write { seq, batch } => match self.engine.submit(seq, batch) {
                        Committed::Now => next = Some(Input::Durable { through: seq }),
                        Committed::Later => errands.commit = true,
                    },
                    Output::Answer { id, reply } => {
                        if let Some(slot) = state.slots.remove(&id) {
                            errands.answers.push((slot, reply));
                        }
                    }
                }
            }
            state.out = out;
        }
    }

    /// A core that has panicked may be half-changed: nobody gets an answer from it, and the process has to end.
    fn give_up(&self, state: &mut State) {
        // Whoever waits learns that the outcome is unknown.
        for (_, slot) in state.slots.drain() {
            if let Some(blob) = slot.blob {
                blob.settle(&Reason::StoreFailed.plain().into());
            }
        }
        self.failed.notify_waiters();
        self.failed.notify_one();
    }

    fn arm(&self, state: &mut State) {
        if state.broken {
            return;
        }
        let Some(deadline) = state.core.next_deadline() else { return };
        if state.armed.is_none_or(|armed| deadline < armed) {
            state.armed = Some(deadline);
            self.alarm.notify_one();
        }
    }

    /// Reads what the core wishes for. It decodes records again and refuses damaged ones again, but only here can anybody say
    /// what is wrong with them.
    fn load(&self, wish: Wish) -> Follow {
        let snapshot = self.engine.snapshot();
        let failed = |what: &dyn std::fmt::Display, error: StoreError| {
            tracing::error!(sys = "storage.backend.core", %what, %error, "cannot load a record");
            LoadError
        };
        Follow::Loaded(match wish {
            Wish::Key(key) => {
                let read = || {
                    let record = snapshot.get(&key::storage_key(&key))?;
                    if let Some(Err(damaged)) = record.as_deref().map(KeyRecord::decode) {
                        return Err(StoreError::Corrupt(damaged.to_string()));
                    }
                    Ok(record)
                };
                let record = read().map_err(|error| failed(&key, error));
                Input::Loaded { key, record }
            }
            Wish::Txn(txn) => {
                let record = snapshot.get(&Decided::storage_key(txn));
                Input::TxnLoaded { txn, record: record.map_err(|error| failed(&txn, error)) }
            }
            Wish::Page { queue, after, limit } => {
                let read = || {
                    let (start, end) = ready::range(&queue);
                    let after = after.map(|place| ready::storage_key(&queue, &place));
                    let from = after.as_deref().map_or(Bound::Included(&*start), Bound::Excluded);
                    let page = snapshot.scan((from, Bound::Excluded(&*end)), Direction::Forward, limit)?;
                    let entries = page.iter().map(|(key, value)| ready::entry_of(&queue, key, value));
                    let entries: Result<Vec<_>, _> = entries.collect();
                    entries.map_err(|damaged| StoreError::Corrupt(damaged.to_string()))
                };
                let page = read().map_err(|error| failed(&queue, error));
                Input::Scanned { queue, page }
            }
        })
    }
}

/// An input that follows from an output.
// Few, and gone at once.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum Follow {
    Loaded(Input),
    Abandon(KeyId, LeaseId),
}

/// Gives an answer. Leases that are granted to somebody who has gone are given back.
fn deliver((slot, reply): (Slot, Reply)) -> Vec<Follow> {
    if let Some(blob) = slot.blob {
        blob.settle(&reply);
    }
    match slot.answer.send(reply) {
        Ok(()) => Vec::new(),
        Err(reply) => leases_of(&reply).into_iter().map(|(key, lease)| Follow::Abandon(key, lease)).collect(),
    }
}

/// The leases that come with an answer.
fn leases_of(reply: &Reply) -> Vec<(KeyId, LeaseId)> {
    match reply {
        Reply::Granted(granted) => vec![(granted.key.clone(), granted.lease)],
        Reply::Delivered(deliveries) => deliveries.iter().flat_map(Delivery::leases).collect(),
        _ => Vec::new(),
    }
}

/// A request under way. Dropping it tells the core that nobody waits for the answer.
#[derive(Debug)]
pub(crate) struct Pending {
    driver: Arc<Driver>,
    id: RequestId,
    receiver: oneshot::Receiver<Reply>,
    answered: bool,
}

impl Pending {
    pub(crate) async fn answer(mut self) -> Reply {
        let answer = (&mut self.receiver).await;
        self.answered = true;
        answer.unwrap_or_else(|_| Reason::StoreFailed.plain().into())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.receiver.close();
        // The answer may have been given between the last look and now.
        let state = self.driver.state.lock();
        match self.receiver.try_recv() {
            Ok(reply) => {
                drop(state);
                for (key, lease) in leases_of(&reply) {
                    self.driver.submit_unheard(Op::Abandon(Abandon { key, lease }));
                }
            }
            Err(_) => self.driver.feed(state, Input::Cancel(self.id)),
        }
    }
}

impl Driver {
    /// Hands over a request whose answer interests nobody.
    pub(crate) fn submit_unheard(&self, op: Op) {
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = RequestId(state.last_id);
        self.feed(state, Input::Request { id, op });
    }
}

fn run_timer(driver: &Weak<Driver>) {
    loop {
        let Some(driver) = driver.upgrade() else { return };
        let mut state = driver.state.lock();
        if state.closed {
            return;
        }
        match state.armed {
            // Waking up now and then lets go of the driver when nobody else holds it.
            None => {
                driver.alarm.wait_for(&mut state, std::time::Duration::from_secs(1));
            }
            Some(moment) if moment > driver.clock.now() => {
                let latest = std::time::Instant::now() + std::time::Duration::from_secs(1);
                driver.alarm.wait_until(&mut state, driver.clock.instant_of(moment).min(latest));
            }
            Some(_) => {
                state.armed = None;
                driver.feed(state, Input::Tick);
            }
        }
    }
}
