//! Very many leases held at once: memory per lease, start-up with all of them after a kill, and the longest
//! stall that others see when all expire together.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::task::LocalSet;

use crate::calls::{Caller, Document, Waiting, public_read_request};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::process::{RunDirectory, ServerProcess};
use crate::session::{durability, start_lockd};
use crate::settings::{Settings, Store};
use bench_kit::clocks::Reading;
use bench_kit::host::Host;
use bench_kit::measured::nanos_between;
use bench_kit::pacer::Pacer;
use bench_kit::report::{Disturbance, Output};
use bench_kit::statistics::{Figures, Latencies};

const WARM_LEASES: usize = 2000;
const READS_PER_SECOND: f64 = 1000.0;
/// Between two lock cycles. Short, so that no stall worth reporting fits in; not nothing, because probes that
/// keep both processors busy would see stalls of their own.
const CYCLE_PAUSE: Duration = Duration::from_millis(1);
const BASELINE: Duration = Duration::from_secs(3);
/// Leases are granted whole seconds, so they end within one second of each other; a server may also cut the
/// fraction off.
const EXPIRY_BEFORE: Duration = Duration::from_secs(1);
const EXPIRY_AFTER: Duration = Duration::from_secs(3);
const FREED_SAMPLE: usize = 1000;
const READ_KEY: &str = "probe/read";
const LOCK_KEY: &str = "probe/lock";

#[derive(Debug, Serialize)]
struct HeldLeases {
    leases: usize,
    grants_per_second: f64,
    resident_start_bytes: u64,
    resident_before_bytes: u64,
    resident_held_bytes: u64,
    bytes_per_lease: f64,
    restart: Option<Restart>,
    expiry: &'static str,
    still_held_after_expiry: usize,
    before: Probe,
    during: Probe,
}

#[derive(Debug, Serialize)]
struct Restart {
    ready_seconds: f64,
    serving_held_seconds: f64,
    lost_leases: usize,
    resident_bytes: u64,
    bytes_per_lease: f64,
}

/// What a client with another key saw in a span of time.
#[derive(Debug, Serialize)]
struct Probe {
    reads: Figures,
    locks: Figures,
    /// Delay of a bare timer in this process: no server stall shorter than its maximum can be told apart.
    generator: Figures,
    disturbance: Option<Disturbance>,
}

pub(crate) fn measure(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = Host::describe(&settings.root, durability(settings), "lockd-bench");
    output.line(&host.line())?;
    let mut valid = true;
    let mut results = Vec::new();
    for run in 0..settings.runs {
        output.line(&format!("run {} of {}", run + 1, settings.runs))?;
        let directory = RunDirectory::create(&settings.root, settings.keep_root)?;
        let result = one_run(settings, directory.path(), output)?;
        valid &= result.is_valid();
        results.push(result);
    }
    output.document(&host, valid, &serde_json::json!({ "runs": results }))?;
    Ok(valid)
}

impl HeldLeases {
    fn is_valid(&self) -> bool {
        let errors = |probe: &Probe| probe.reads.errors + probe.locks.errors;
        errors(&self.before) + errors(&self.during) == 0
            && self.still_held_after_expiry == 0
            && self.restart.as_ref().is_none_or(|restart| restart.lost_leases == 0)
    }
}

fn one_run(settings: &Settings, directory: &Path, output: &Output) -> Result<HeldLeases, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let connections = settings.plan.clients;
    let mut server = start_lockd(settings, directory)?;
    let resident_start = server.resident_bytes()?;

    // The first requests pay for buffers that have nothing to do with leases.
    let warm = |endpoint: Endpoint| async move {
        let rate =
            grant(&endpoint, connections, WARM_LEASES, |n| format!("warm/{n:07}"), Duration::ZERO, true);
        let rate = rate.await?;
        seed_read(&endpoint, settings.payload_bytes).await?;
        Ok::<_, Fault>(rate)
    };
    let rate = local.block_on(&runtime, warm(server.endpoint.clone()))?;
    let resident_before = settled(&server)?;

    let needed = settings.leases as f64 / rate * 2.0 + 30.0;
    let ttl = settings.ttl.map_or(Duration::from_secs_f64(needed), Duration::from_secs);
    let deadline = Instant::now() + ttl;
    let grants_per_second = local
        .block_on(&runtime, grant(&server.endpoint, connections, settings.leases, held_key, ttl, false))?;
    let resident_held = settled(&server)?;
    let per_lease = |bytes: u64, base: u64| (bytes as f64 - base as f64) / settings.leases as f64;
    let bytes_per_lease = per_lease(resident_held, resident_before);
    output.line(&format!(
        "held-leases: leases={} grants/s={grants_per_second:.0} rss before={:.1}MiB held={:.1}MiB bytes/lease={bytes_per_lease:.0}",
        settings.leases,
        mebibytes(resident_before),
        mebibytes(resident_held),
    ))?;

    let mut restart = None;
    if settings.store != Store::Memory {
        server.kill()?;
        server = start_lockd(settings, directory)?;
        let asked = Instant::now();
        let last = held_key(settings.leases - 1);
        let held = local.block_on(&runtime, async {
            Caller::new(Connection::open(&server.endpoint).await?).is_held(&last, 60).await
        })?;
        let serving = server.ready_after + asked.elapsed();
        let resident = settled(&server)?;
        let mut lost =
            local.block_on(&runtime, count(&server.endpoint, connections, settings.leases, 1, false))?;
        // A last lease that was free has been taken by the question itself.
        lost += usize::from(!held);
        let result = Restart {
            ready_seconds: server.ready_after.as_secs_f64(),
            serving_held_seconds: serving.as_secs_f64(),
            lost_leases: lost,
            resident_bytes: resident,
            bytes_per_lease: per_lease(resident, resident_start),
        };
        output.line(&format!(
            "restart: after kill ready={:.3}s first-held-answer={:.3}s lost={} rss={:.1}MiB bytes/lease={:.0} (over an empty start of {:.1}MiB)",
            result.ready_seconds,
            result.serving_held_seconds,
            result.lost_leases,
            mebibytes(resident),
            result.bytes_per_lease,
            mebibytes(resident_start),
        ))?;
        restart = Some(result);
    }

    let margin = BASELINE + EXPIRY_BEFORE + Duration::from_secs(2);
    let now = Instant::now();
    if now + margin > deadline {
        return Err(Fault::Setup(format!(
            "granting and restarting took so long that the leases end in {:?}; give --ttl of at least {}",
            deadline.saturating_duration_since(now),
            ttl.as_secs() + margin.as_secs() + 10
        )));
    }
    std::thread::sleep((deadline - margin).saturating_duration_since(now));
    let endpoint = server.endpoint.clone();
    let probe = |span: Duration| {
        let before = Reading::take(Some(server.id()))?;
        let mut seen = local.block_on(&runtime, probe(&endpoint, settings.payload_bytes, span))?;
        seen.disturbance = Disturbance::of(&Reading::take(Some(server.id()))?.since(before));
        Ok::<_, Fault>(seen)
    };
    let before = probe(BASELINE)?;
    let during = if settings.freeze {
        // Stopped beyond the last deadline, the server finds every lease expired in the same instant.
        signal(&server, Signal::STOP)?;
        std::thread::sleep((deadline + Duration::from_secs(2)).saturating_duration_since(Instant::now()));
        signal(&server, Signal::CONT)?;
        probe(EXPIRY_AFTER)?
    } else {
        std::thread::sleep((deadline - EXPIRY_BEFORE).saturating_duration_since(Instant::now()));
        probe(EXPIRY_BEFORE + EXPIRY_AFTER)?
    };
    for (name, probe) in [("before", &before), ("expiry", &during)] {
        for (kind, figures) in
            [("read", &probe.reads), ("lock", &probe.locks), ("generator-timer", &probe.generator)]
        {
            output.line(&format!("{name}.{kind}{}", figures.line()))?;
        }
        if let Some(disturbance) = &probe.disturbance {
            output.line(&format!("  {}", disturbance.text()))?;
        }
    }
    let step = settings.leases.div_ceil(FREED_SAMPLE);
    let still_held = local.block_on(&runtime, count(&endpoint, connections, settings.leases, step, true))?;
    output.line(&format!(
        "longest stall: read={:.3}ms lock={:.3}ms (before: read={:.3}ms lock={:.3}ms; generator itself {:.3}ms); still held of a sample: {still_held}",
        during.reads.max_us / 1000.0,
        during.locks.max_us / 1000.0,
        before.reads.max_us / 1000.0,
        before.locks.max_us / 1000.0,
        during.generator.max_us / 1000.0,
    ))?;
    Ok(HeldLeases {
        leases: settings.leases,
        grants_per_second,
        resident_start_bytes: resident_start,
        resident_before_bytes: resident_before,
        resident_held_bytes: resident_held,
        bytes_per_lease,
        restart,
        expiry: if settings.freeze { "one instant" } else { "one second" },
        still_held_after_expiry: still_held,
        before,
        during,
    })
}

fn held_key(number: usize) -> String {
    format!("held/{number:07}")
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

fn signal(server: &ServerProcess, signal: Signal) -> Result<(), Fault> {
    let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Fault::Setup("the server has no process id".into()))?;
    kill_process(pid, signal)
        .map_err(|error| Fault::Setup(format!("cannot stop or continue the server: {error}")))
}

/// Resident memory once it has stopped moving, at most a few seconds after the load ended.
fn settled(server: &ServerProcess) -> Result<u64, Fault> {
    let mut last = server.resident_bytes()?;
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(200));
        let now = server.resident_bytes()?;
        if now.abs_diff(last) < 64 * 1024 {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Runs `connections` tasks that share the numbers below `end`, `step` apart.
async fn share_out<F, T>(connections: usize, end: usize, step: usize, task: F) -> Result<(), Fault>
where
    F: Fn(Numbers) -> T,
    T: Future<Output = Result<(), Fault>> + 'static,
{
    let numbers = Numbers { next: Rc::new(Cell::new(0)), end, step };
    let mut tasks = Vec::new();
    for _ in 0..connections.min(end.div_ceil(step)) {
        tasks.push(tokio::task::spawn_local(task(numbers.clone())));
    }
    for task in tasks {
        task.await.map_err(|error| Fault::Setup(format!("a client failed: {error}")))??;
    }
    Ok(())
}

#[derive(Clone)]
struct Numbers {
    next: Rc<Cell<usize>>,
    end: usize,
    step: usize,
}

impl Iterator for Numbers {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let number = self.next.get();
        self.next.set(number + self.step);
        (number < self.end).then_some(number)
    }
}

/// Acquires so many keys with leases that end together `ttl` from now; grants a second.
async fn grant(
    endpoint: &Endpoint,
    connections: usize,
    leases: usize,
    key: fn(usize) -> String,
    ttl: Duration,
    release: bool,
) -> Result<f64, Fault> {
    let begun = Instant::now();
    let deadline = begun + ttl;
    share_out(connections, leases, 1, |numbers| {
        let endpoint = endpoint.clone();
        async move {
            let mut caller = Caller::new(Connection::open(&endpoint).await?);
            for number in numbers {
                let key = key(number);
                let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
                caller.acquire(&key, (left as u64).max(5), Waiting::No).await?;
                if release {
                    caller.release(&key).await?;
                }
            }
            Ok(())
        }
    })
    .await?;
    Ok(leases as f64 / begun.elapsed().as_secs_f64().max(1e-6))
}

/// How many of the held keys, `step` apart, are held (or are not). Free keys become leased for a moment.
async fn count(
    endpoint: &Endpoint,
    connections: usize,
    leases: usize,
    step: usize,
    held: bool,
) -> Result<usize, Fault> {
    let found = Rc::new(Cell::new(0));
    share_out(connections, leases, step, |numbers| {
        let (endpoint, found) = (endpoint.clone(), Rc::clone(&found));
        async move {
            let mut caller = Caller::new(Connection::open(&endpoint).await?);
            for number in numbers {
                if caller.is_held(&held_key(number), 5).await? == held {
                    found.set(found.get() + 1);
                }
            }
            Ok(())
        }
    })
    .await?;
    Ok(found.get())
}

async fn seed_read(endpoint: &Endpoint, payload_bytes: usize) -> Result<(), Fault> {
    let mut caller = Caller::new(Connection::open(endpoint).await?);
    caller.acquire(READ_KEY, 60, Waiting::No).await?;
    caller.update(READ_KEY, Document::new(payload_bytes, 1).next_revision()).await?;
    caller.release(READ_KEY).await
}

async fn probe(endpoint: &Endpoint, payload_bytes: usize, span: Duration) -> Result<Probe, Fault> {
    let mut reader = Caller::new(Connection::open(endpoint).await?);
    let mut locker = Caller::new(Connection::open(endpoint).await?);
    let begun = Instant::now();
    let until = begun + span;
    let reads = Rc::new(RefCell::new(Latencies::new()?));
    let locks = Rc::new(RefCell::new(Latencies::new()?));
    let ticks = Rc::new(RefCell::new(Latencies::new()?));

    let read_task = {
        let reads = Rc::clone(&reads);
        async move {
            let request = public_read_request(READ_KEY);
            let mut pacer = Pacer::new()?;
            for number in 0u32.. {
                let due = begun + Duration::from_secs_f64(f64::from(number) / READS_PER_SECOND);
                if due >= until {
                    break;
                }
                pacer.wait_until(due).await?;
                match reader.send("get", &request, payload_bytes).await {
                    Ok(()) => reads.borrow_mut().record(nanos_between(due, Instant::now())),
                    Err(_) => reads.borrow_mut().errors += 1,
                }
            }
            Ok::<(), Fault>(())
        }
    };
    let lock_task = {
        let locks = Rc::clone(&locks);
        async move {
            let mut document = Document::new(payload_bytes, 2);
            let mut pacer = Pacer::new()?;
            loop {
                pacer.wait_until(Instant::now() + CYCLE_PAUSE).await?;
                let sent = Instant::now();
                if sent >= until {
                    return Ok::<(), Fault>(());
                }
                let cycle = async {
                    locker.acquire(LOCK_KEY, 60, Waiting::No).await?;
                    locker.update(LOCK_KEY, document.next_revision()).await?;
                    locker.release(LOCK_KEY).await
                };
                match cycle.await {
                    Ok(()) => locks.borrow_mut().record(nanos_between(sent, Instant::now())),
                    Err(_) => locks.borrow_mut().errors += 1,
                }
            }
        }
    };
    let tick_task = {
        let ticks = Rc::clone(&ticks);
        async move {
            let mut pacer = Pacer::new()?;
            loop {
                let due = Instant::now() + Duration::from_millis(1);
                if due >= until {
                    return Ok::<(), Fault>(());
                }
                pacer.wait_until(due).await?;
                ticks.borrow_mut().record(nanos_between(due, Instant::now()));
            }
        }
    };
    let (read, lock, tick) = tokio::join!(
        tokio::task::spawn_local(read_task),
        tokio::task::spawn_local(lock_task),
        tokio::task::spawn_local(tick_task)
    );
    for outcome in [read, lock, tick] {
        outcome.map_err(|error| Fault::Setup(format!("a probe failed: {error}")))??;
    }
    let figures = |latencies: &Rc<RefCell<Latencies>>| latencies.borrow().figures("", span);
    Ok(Probe {
        reads: figures(&reads),
        locks: figures(&locks),
        generator: figures(&ticks),
        disturbance: None,
    })
}
