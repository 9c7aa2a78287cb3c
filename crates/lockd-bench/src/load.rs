//! Drives a workload with many clients, closed-loop or along a fixed arrival schedule, and collects what
//! happened inside the measured window.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::LocalSet;

use bench_kit::measured::{Measured, nanos_between};
use bench_kit::pacer::Pacer;

use crate::fault::Fault;

/// Something a client does again and again.
pub(crate) trait Workload: Send + Sync + 'static {
    type Client: 'static;

    fn label(&self) -> String;
    /// Names of the timed steps of one operation.
    fn phases(&self) -> &'static [&'static str];
    fn join(&self, index: usize) -> impl Future<Output = Result<Self::Client, Fault>>;
    fn operate(
        &self,
        client: &mut Self::Client,
        log: &mut OperationLog,
    ) -> impl Future<Output = Result<(), Fault>>;
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) threads: usize,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// Ends the measured window after so many operations, if that comes before `duration`.
    pub(crate) operations: Option<u64>,
    /// Arrivals a second for all clients together; `None` is closed-loop.
    pub(crate) rate: Option<f64>,
}

/// A run that gets nothing but errors must not go on until the end of its time.
const MAX_ERRORS: u64 = 1000;
const DRAIN: Duration = Duration::from_secs(30);
const MAX_PHASES: usize = 8;

/// The timings of one operation, kept aside until it is known whether they count.
#[derive(Debug)]
pub(crate) struct OperationLog {
    mark: Instant,
    nanos: [Option<u64>; MAX_PHASES],
    at: usize,
    requests: u64,
}

impl OperationLog {
    fn begin(mark: Instant) -> OperationLog {
        OperationLog { mark, nanos: [None; MAX_PHASES], at: 0, requests: 0 }
    }

    /// Ends the next phase, which was one request.
    pub(crate) fn lap(&mut self) {
        let now = Instant::now();
        let nanos = nanos_between(self.mark, now);
        self.request();
        self.mark = now;
        self.note(self.at, nanos);
    }

    /// Counts a request whose time is noted separately.
    pub(crate) fn request(&mut self) {
        self.requests += 1;
    }

    /// Records a phase measured in another way.
    pub(crate) fn note(&mut self, phase: usize, nanos: u64) {
        if let Some(slot) = self.nanos.get_mut(phase) {
            *slot = Some(nanos);
        }
        self.at = phase + 1;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Hold,
    Go,
    Abandon,
}

const WARM: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

#[derive(Debug)]
struct Control {
    stage: AtomicU8,
    taken: AtomicU64,
    errors: AtomicU64,
    limit: u64,
    /// When the clients were let go, and when the measured window began.
    began: OnceLock<Instant>,
    measuring_since: OnceLock<Instant>,
    signal: watch::Sender<Signal>,
}

/// Runs the plan. `at_window` is called right when the measured window opens and after the last answer.
pub(crate) fn drive<W: Workload>(
    plan: &Plan,
    workload: &Arc<W>,
    mut at_window: impl FnMut(),
) -> Result<Measured, Fault> {
    let control = Arc::new(Control {
        stage: AtomicU8::new(WARM),
        taken: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        limit: plan.operations.unwrap_or(u64::MAX),
        began: OnceLock::new(),
        measuring_since: OnceLock::new(),
        signal: watch::Sender::new(Signal::Hold),
    });
    let threads = plan.threads.clamp(1, plan.clients.max(1));
    let (joined, joins) = channel();
    let (finished, results) = channel();
    let mut handles = Vec::new();
    for thread in 0..threads {
        let clients: Vec<usize> = (0..plan.clients).filter(|client| client % threads == thread).collect();
        let (control, workload, plan) = (Arc::clone(&control), Arc::clone(workload), plan.clone());
        let (joined, finished) = (joined.clone(), finished.clone());
        let body = move || {
            let outcome = run_thread(&plan, &workload, &control, &clients, &joined);
            // Only a main thread that gave up does not listen.
            let _ = finished.send(outcome);
        };
        handles.push(thread::Builder::new().name(format!("load-{thread}")).spawn(body)?);
    }
    drop((joined, finished));
    let outcome = conduct(plan, &control, threads, &joins, &results, &mut at_window, workload.phases().len());
    let _ = control.signal.send(Signal::Abandon);
    for handle in handles {
        let _ = handle.join();
    }
    outcome
}

type Results = Receiver<Result<Measured, Fault>>;

fn conduct(
    plan: &Plan,
    control: &Control,
    threads: usize,
    joins: &Receiver<()>,
    results: &Results,
    at_window: &mut impl FnMut(),
    phases: usize,
) -> Result<Measured, Fault> {
    for _ in 0..threads {
        if joins.recv_timeout(DRAIN).is_err() {
            // A thread that could not connect says why.
            return match results.recv_timeout(Duration::from_millis(100)) {
                Ok(Err(fault)) => Err(fault),
                _ => Err(Fault::Setup(format!("the clients were not connected within {DRAIN:?}"))),
            };
        }
    }
    let began = Instant::now();
    let window = began + plan.warmup;
    let _ = control.began.set(began);
    if plan.rate.is_some() {
        let _ = control.measuring_since.set(window);
    }
    let _ = control.signal.send(Signal::Go);

    let mut sum = Measured::empty(phases)?;
    let mut left = threads;
    let mut collect = |until: Instant, left: &mut usize| -> Result<(), Fault> {
        while *left > 0 {
            match results.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(part) => sum.merge(part?),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fault::Setup("a load thread ended without a result".into()));
                }
            }
            *left -= 1;
        }
        Ok(())
    };
    collect(window, &mut left)?;
    at_window();
    let opened = Instant::now();
    let _ = control.measuring_since.set(opened);
    let _ = control.stage.compare_exchange(WARM, MEASURE, Ordering::AcqRel, Ordering::Acquire);
    collect(opened.max(window) + plan.duration, &mut left)?;
    control.stage.store(STOP, Ordering::Release);
    collect(Instant::now() + DRAIN, &mut left)?;
    if left > 0 {
        let _ = control.signal.send(Signal::Abandon);
        collect(Instant::now() + DRAIN, &mut left)?;
    }
    at_window();
    Ok(sum)
}

fn run_thread<W: Workload>(
    plan: &Plan,
    workload: &Arc<W>,
    control: &Arc<Control>,
    clients: &[usize],
    joined: &Sender<()>,
) -> Result<Measured, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = Rc::new(RefCell::new(Measured::empty(workload.phases().len())?));
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut joined_clients = Vec::with_capacity(clients.len());
        for index in clients {
            joined_clients.push(workload.join(*index).await?);
        }
        let mut signal = control.signal.subscribe();
        let _ = joined.send(());
        let _ = signal.wait_for(|signal| *signal != Signal::Hold).await;
        let mut tasks = Vec::with_capacity(joined_clients.len());
        for client in joined_clients {
            let (workload, control) = (Arc::clone(workload), Arc::clone(control));
            let (measured, plan) = (Rc::clone(&measured), plan.clone());
            tasks.push(tokio::task::spawn_local(async move {
                match plan.rate {
                    Some(rate) => scheduled(&plan, rate, &*workload, client, &control, &measured).await,
                    None => closed_loop(&*workload, client, &control, &measured).await,
                }
            }));
        }
        let mut waiting = tasks.len() as u64;
        let all = async {
            for task in tasks {
                match task.await {
                    Ok(outcome) => outcome?,
                    Err(error) => return Err(Fault::Setup(format!("a client failed: {error}"))),
                }
                waiting -= 1;
            }
            Ok(())
        };
        let abandoned = tokio::select! {
            outcome = all => { outcome?; false }
            _ = signal.wait_for(|signal| *signal == Signal::Abandon) => true,
        };
        if abandoned {
            let mut measured = measured.borrow_mut();
            measured.total.errors += waiting;
            measured
                .first_error
                .get_or_insert_with(|| format!("clients were still waiting for an answer after {DRAIN:?}"));
        }
        Ok::<(), Fault>(())
    })?;
    drop(local);
    match Rc::try_unwrap(measured) {
        Ok(cell) => Ok(cell.into_inner()),
        Err(_) => Err(Fault::Setup("a client outlived its thread".into())),
    }
}

async fn closed_loop<W: Workload>(
    workload: &W,
    mut client: W::Client,
    control: &Control,
    measured: &RefCell<Measured>,
) -> Result<(), Fault> {
    loop {
        let stage = control.stage.load(Ordering::Acquire);
        if stage == STOP || control.errors.load(Ordering::Relaxed) >= MAX_ERRORS {
            return Ok(());
        }
        let counts = stage == MEASURE;
        if counts && control.taken.fetch_add(1, Ordering::Relaxed) >= control.limit {
            return Ok(());
        }
        let begun = Instant::now();
        let mut log = OperationLog::begin(begun);
        let outcome = workload.operate(&mut client, &mut log).await;
        settle(outcome, counts, &log, begun, control, measured).await;
    }
}

/// Every client takes the next arrival of the common schedule and times it from the moment it was due, so a
/// stall is charged to all operations that had to wait behind it.
async fn scheduled<W: Workload>(
    plan: &Plan,
    rate: f64,
    workload: &W,
    mut client: W::Client,
    control: &Control,
    measured: &RefCell<Measured>,
) -> Result<(), Fault> {
    let (Some(began), Some(window)) = (control.began.get(), control.measuring_since.get()) else {
        return Ok(());
    };
    let mut pacer = Pacer::new()?;
    let mut end = *window + plan.duration;
    if let Some(operations) = plan.operations {
        end = end.min(*window + Duration::from_secs_f64(operations as f64 / rate));
    }
    loop {
        let arrival = control.taken.fetch_add(1, Ordering::Relaxed);
        let due = *began + Duration::from_secs_f64(arrival as f64 / rate);
        if due >= end || control.errors.load(Ordering::Relaxed) >= MAX_ERRORS {
            return Ok(());
        }
        let counts = due >= *window;
        let now = Instant::now();
        if now < due {
            pacer.wait_until(due).await?;
            if counts {
                measured.borrow_mut().lateness.record(nanos_between(due, Instant::now()));
            }
        } else if now > end + DRAIN / 3 {
            measured.borrow_mut().unsent += 1;
            continue;
        }
        let mut log = OperationLog::begin(due);
        let outcome = workload.operate(&mut client, &mut log).await;
        settle(outcome, counts, &log, due, control, measured).await;
    }
}

async fn settle(
    outcome: Result<(), Fault>,
    counts: bool,
    log: &OperationLog,
    begun: Instant,
    control: &Control,
    measured: &RefCell<Measured>,
) {
    match outcome {
        Ok(()) if counts => {
            if let Some(since) = control.measuring_since.get() {
                measured.borrow_mut().finish_operation(&log.nanos, log.requests, begun, *since);
            }
        }
        Ok(()) => {}
        // Errors count in the warm-up too: a server that fails then is not fit to be measured.
        Err(fault) => {
            control.errors.fetch_add(1, Ordering::Relaxed);
            measured.borrow_mut().count_error(log.at, &fault);
            // A refused connection fails in microseconds; do not spin on it.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Takes `pause` an operation, and once `stall`.
    struct Sleeper {
        pause: Duration,
        stall: Duration,
        /// Operations since the measured window opened.
        since_window: AtomicU64,
        measuring: AtomicBool,
        fail: bool,
    }

    impl Workload for Sleeper {
        type Client = Pacer;

        fn label(&self) -> String {
            "sleeper".into()
        }

        fn phases(&self) -> &'static [&'static str] {
            &["nap"]
        }

        async fn join(&self, _: usize) -> Result<Pacer, Fault> {
            Ok(Pacer::new()?)
        }

        async fn operate(&self, pacer: &mut Pacer, log: &mut OperationLog) -> Result<(), Fault> {
            if self.fail {
                return Err(Fault::Closed);
            }
            let stalls = self.measuring.load(Ordering::Relaxed)
                && self.since_window.fetch_add(1, Ordering::Relaxed) == 20;
            let pause = if stalls { self.stall } else { self.pause };
            pacer.wait_until(Instant::now() + pause).await?;
            log.lap();
            Ok(())
        }
    }

    fn sleeper(stall: Duration) -> Arc<Sleeper> {
        Arc::new(Sleeper {
            pause: Duration::from_micros(300),
            stall,
            since_window: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            fail: false,
        })
    }

    fn plan(clients: usize) -> Plan {
        Plan {
            clients,
            threads: 1,
            warmup: Duration::from_millis(5),
            duration: Duration::from_secs(20),
            operations: Some(200),
            rate: None,
        }
    }

    #[test]
    fn closed_loop_counts_exactly_the_operations_asked_for_on_any_number_of_threads() {
        for threads in [1, 2] {
            let mut windows = 0;
            let plan = Plan { threads, ..plan(4) };
            let measured = drive(&plan, &sleeper(Duration::ZERO), || windows += 1).unwrap();
            assert_eq!((measured.total.count(), measured.phases[0].count()), (200, 200));
            assert_eq!((measured.requests, measured.total.errors, windows), (200, 0, 2));
            assert!(measured.elapsed >= Duration::from_micros(200 * 300 / 4), "{:?}", measured.elapsed);
        }
    }

    #[test]
    fn a_stall_is_charged_to_every_arrival_behind_it() {
        let stall = Duration::from_millis(50);
        let stalling = |plan: &Plan| {
            let sleeper = sleeper(stall);
            let open = || sleeper.measuring.store(true, Ordering::Relaxed);
            drive(plan, &sleeper, open).unwrap().total.figures("x", Duration::from_secs(1))
        };
        // One client at 1000 arrivals a second: about 50 of 200 arrivals fall into the stall.
        let fixed = stalling(&Plan { rate: Some(1000.0), ..plan(1) });
        assert!(fixed.p90_us > 20_000.0, "the 90th percentile forgets the queue: {fixed:?}");
        // The same stall in a closed loop is one slow operation in 200.
        let closed = stalling(&plan(1));
        assert!(closed.p50_us < 20_000.0 && closed.max_us >= 50_000.0, "{closed:?}");
    }

    #[test]
    fn a_failing_server_ends_the_run_early_and_shows_its_first_error() {
        let failing = Sleeper {
            pause: Duration::ZERO,
            stall: Duration::ZERO,
            since_window: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            fail: true,
        };
        let endless = Plan { operations: None, ..plan(64) };
        let measured = drive(&endless, &Arc::new(failing), || {}).unwrap();
        assert!(measured.total.errors >= MAX_ERRORS && measured.total.errors < 2 * MAX_ERRORS);
        assert_eq!(measured.first_error.as_deref(), Some(Fault::Closed.to_string().as_str()));
    }

    #[test]
    fn a_client_that_cannot_connect_ends_the_run_with_its_reason() {
        struct Unreachable;
        impl Workload for Unreachable {
            type Client = ();
            fn label(&self) -> String {
                String::new()
            }
            fn phases(&self) -> &'static [&'static str] {
                &[]
            }
            async fn join(&self, _: usize) -> Result<(), Fault> {
                Err(Fault::Setup("no way".into()))
            }
            async fn operate(&self, (): &mut (), _: &mut OperationLog) -> Result<(), Fault> {
                Ok(())
            }
        }
        let fault = drive(&plan(2), &Arc::new(Unreachable), || {}).unwrap_err();
        assert_eq!(fault.to_string(), "no way");
    }
}
