//! Many of everything: a large payload, many queue names, many waiting consumers, a neighbour with very many delayed messages. What
//! memory they take, and what others notice of them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, LocalSet};

use super::calls::{Delay, Messenger, NO_DELAY, enqueue_head, form_end, form_head};
use super::filled::fill;
use super::handover::MessageHandover;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::Plan;
use crate::process::{RunDirectory, ServerProcess};
use crate::session::{Subject, durability, start_lockd};
use crate::settings::Settings;
use bench_kit::host::Host;
use bench_kit::report::{Output, RunReport};

const LARGE_BYTES: usize = 256 << 20;
const PIECE: usize = 1 << 20;
/// Names in a round. Memory must stop growing after the first rounds, or names are never forgotten.
const QUEUES: usize = 10_000;
const ROUNDS: usize = 4;
const CONNECTIONS: usize = 16;
const CONSUMERS: usize = 5000;
const CONSUMERS_QUEUE: &str = "bench-crowd";
const NEIGHBOUR_MESSAGES: u64 = 50_000;
const NEIGHBOUR: &str = "bench-neighbour";
const NEIGHBOUR_CONSUMERS: usize = 10;
const FOREVER: i32 = 0;
const SMALL: &[u8] = b"{}";

#[derive(Debug, Serialize)]
struct Scale {
    large_payload: Growth,
    /// Resident memory after every round, less that before the first.
    queue_rounds: Vec<i64>,
    bytes_per_queue: f64,
    consumers: Crowd,
    quiet_handover: RunReport,
    neighbour_handover: RunReport,
}

#[derive(Debug, Serialize)]
struct Growth {
    bytes: usize,
    seconds: f64,
    peak_growth_bytes: i64,
}

#[derive(Debug, Serialize)]
struct Crowd {
    consumers: usize,
    bytes_per_consumer: f64,
    /// Processor time that the server takes in a second in which everybody waits.
    idle_cpu_us_per_second: f64,
    all_served_seconds: f64,
}

fn growth(server: &ServerProcess, before: u64) -> Result<i64, Fault> {
    Ok(i64::try_from(server.resident_bytes()?).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(0))
}

fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

pub(crate) fn measure(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = Host::describe(&settings.root, durability(settings), "lockd-bench");
    output.line(&host.line())?;
    let directory = RunDirectory::create(&settings.root, settings.keep_root)?;
    let mut roomy = settings.clone();
    roomy.server_args.push(format!("--queue-max-consumers={}", 2 * CONSUMERS).into());
    let server = start_lockd(&roomy, directory.path())?;
    let endpoint = server.endpoint.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    // The first requests pay for buffers that have nothing to do with what is measured.
    local.block_on(&runtime, visit_queues(&endpoint, "warm", 1000))?;

    let large_payload = local.block_on(&runtime, enqueue_large(&server))?;
    output.line(&format!(
        "large-payload: {} MiB in {:.2}s, resident memory grew by at most {:.1} MiB",
        large_payload.bytes >> 20,
        large_payload.seconds,
        mib(large_payload.peak_growth_bytes as f64)
    ))?;

    let before = server.resident_bytes()?;
    let mut queue_rounds = Vec::new();
    for round in 0..ROUNDS {
        local.block_on(&runtime, visit_queues(&endpoint, &format!("round-{round}"), QUEUES))?;
        queue_rounds.push(growth(&server, before)?);
    }
    let bytes_per_queue = queue_rounds.first().map_or(0.0, |&bytes| bytes as f64 / QUEUES as f64);
    output.line(&format!(
        "queues: {QUEUES} names take {bytes_per_queue:.0} B each; resident memory grew by {} MiB over rounds of as many new names",
        queue_rounds.iter().map(|&bytes| format!("{:.1}", mib(bytes as f64))).collect::<Vec<_>>().join(", ")
    ))?;

    let consumers = local.block_on(&runtime, crowd(&server))?;
    output.line(&format!(
        "consumers: {} waiting take {:.0} B each and {:.0} us of processor time a second; all served in {:.2}s",
        consumers.consumers,
        consumers.bytes_per_consumer,
        consumers.idle_cpu_us_per_second,
        consumers.all_served_seconds
    ))?;

    let subject = Subject::started(server, directory);
    let plan = Plan { clients: 1, operations: None, rate: None, ..settings.plan.clone() };
    let handover = |prefix: &str| {
        let workload = MessageHandover {
            endpoint: endpoint.clone(),
            prefix: prefix.to_owned(),
            payload_bytes: settings.payload_bytes,
        };
        subject.measure(&plan, &Arc::new(workload))
    };
    let quiet_handover = handover("bench-quiet")?;
    output.line("alone:")?;
    output.line(&quiet_handover.text())?;
    fill(&endpoint, NEIGHBOUR, Delay(3600), SMALL.len(), NEIGHBOUR_MESSAGES)?;
    let waiting = local.block_on(&runtime, wait_in_line(&endpoint, NEIGHBOUR, NEIGHBOUR_CONSUMERS))?;
    let neighbour_handover = handover("bench-beside")?;
    output.line(&format!(
        "beside a queue of {NEIGHBOUR_MESSAGES} delayed messages and {NEIGHBOUR_CONSUMERS} waiting consumers:"
    ))?;
    output.line(&neighbour_handover.text())?;
    drop(waiting);

    let valid = quiet_handover.valid && neighbour_handover.valid;
    let scale =
        Scale { large_payload, queue_rounds, bytes_per_queue, consumers, quiet_handover, neighbour_handover };
    output.document(&host, valid, &scale)?;
    Ok(valid)
}

async fn enqueue_large(server: &ServerProcess) -> Result<Growth, Fault> {
    let mut socket = server.endpoint.connect().await?;
    let before = server.resident_bytes()?;
    let head = form_head("bench-large", NO_DELAY)?;
    socket.write_all(&enqueue_head(head.len() + LARGE_BYTES + form_end().len())?).await?;
    socket.write_all(&head).await?;
    let piece = vec![b'x'; PIECE];
    let begun = Instant::now();
    let mut peak = 0;
    for _ in 0..LARGE_BYTES / PIECE {
        socket.write_all(&piece).await?;
        peak = peak.max(growth(server, before)?);
    }
    socket.write_all(form_end()).await?;
    let mut answer = Vec::new();
    while memchr::memmem::find(&answer, b"}\n").is_none() {
        if socket.read_buf(&mut answer).await? == 0 {
            return Err(Fault::Closed);
        }
        peak = peak.max(growth(server, before)?);
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        let body = String::from_utf8_lossy(&answer).into_owned();
        return Err(Fault::Refused { call: "enqueue", status: 0, body });
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Growth { bytes: LARGE_BYTES, seconds, peak_growth_bytes: peak })
}

/// Puts a message through each of so many queues.
async fn visit_queues(endpoint: &Endpoint, prefix: &str, queues: usize) -> Result<(), Fault> {
    let next = Rc::new(Cell::new(0));
    let mut visitors: Vec<JoinHandle<Result<(), Fault>>> = Vec::new();
    for _ in 0..CONNECTIONS {
        let (next, prefix, endpoint) = (Rc::clone(&next), prefix.to_owned(), endpoint.clone());
        visitors.push(tokio::task::spawn_local(async move {
            let mut messenger = Messenger::open(&endpoint).await?;
            while next.get() < queues {
                let queue = format!("{prefix}-{}", next.get());
                next.set(next.get() + 1);
                messenger.enqueue(&queue, NO_DELAY, SMALL).await?;
                let delivery = messenger.dequeue(&queue, FOREVER).await?;
                messenger.ack(&queue, &delivery).await?;
            }
            Ok(())
        }));
    }
    for visitor in visitors {
        joined(visitor.await)?;
    }
    Ok(())
}

fn joined<T>(outcome: Result<Result<T, Fault>, tokio::task::JoinError>) -> Result<T, Fault> {
    outcome.map_err(|error| Fault::Setup(format!("a client failed: {error}")))?
}

/// Consumers that wait, as soon as the server says that they all do.
async fn wait_in_line(
    endpoint: &Endpoint,
    queue: &'static str,
    consumers: usize,
) -> Result<Vec<JoinHandle<Result<(), Fault>>>, Fault> {
    let mut waiting = Vec::with_capacity(consumers);
    for _ in 0..consumers {
        let mut consumer = Messenger::open(endpoint).await?;
        waiting.push(tokio::task::spawn_local(async move {
            let delivery = consumer.dequeue(queue, FOREVER).await?;
            consumer.ack(queue, &delivery).await
        }));
    }
    let mut observer = Messenger::open(endpoint).await?;
    let patience = Instant::now() + Duration::from_secs(60);
    while observer.stats(queue).await?.1 < consumers {
        if let Some(refused) = waiting.iter().position(JoinHandle::is_finished) {
            joined(waiting.swap_remove(refused).await)?;
        }
        if Instant::now() > patience {
            return Err(Fault::Setup(format!("{consumers} consumers were not in line within a minute")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(waiting)
}

async fn crowd(server: &ServerProcess) -> Result<Crowd, Fault> {
    let before = server.resident_bytes()?;
    let waiting = wait_in_line(&server.endpoint, CONSUMERS_QUEUE, CONSUMERS).await?;
    let bytes_per_consumer = growth(server, before)? as f64 / CONSUMERS as f64;
    let cpu = server.cpu_time()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_cpu_us_per_second = server.cpu_time()?.since(cpu).total_us();
    let begun = Instant::now();
    let mut producers = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = server.endpoint.clone();
        producers.push(tokio::task::spawn_local(async move {
            let mut producer = Messenger::open(&endpoint).await?;
            for _ in 0..CONSUMERS.div_ceil(CONNECTIONS) {
                producer.enqueue(CONSUMERS_QUEUE, NO_DELAY, SMALL).await?;
            }
            Ok::<(), Fault>(())
        }));
    }
    for task in producers.into_iter().chain(waiting) {
        joined(task.await)?;
    }
    Ok(Crowd {
        consumers: CONSUMERS,
        bytes_per_consumer,
        idle_cpu_us_per_second,
        all_served_seconds: begun.elapsed().as_secs_f64(),
    })
}
