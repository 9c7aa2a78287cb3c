//! What depth costs: dequeueing from an empty queue, from one with very many messages that are ready, and from one with very many
//! that are delayed, in turns on one server.

use std::sync::Arc;

use serde::Serialize;

use super::calls::{Delay, Messenger, NO_DELAY};
use super::filled::{fill, start_filled};
use crate::calls::Document;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};
use crate::process::RunDirectory;
use crate::session::{Subject, block_on, durability};
use crate::settings::Settings;
use bench_kit::host::Host;
use bench_kit::report::{Output, RunReport, spread};
use bench_kit::statistics::median;

const EMPTY: &str = "bench-empty";
const READY: &str = "bench-ready";
const DELAYED: &str = "bench-delayed";
const AN_HOUR: Delay = Delay(3600);
/// What fills the queues is small: depth is to be measured, not the size of the disk.
const FILLING_BYTES: usize = 64;
const WAIT_SECONDS: i32 = 30;

/// Puts one message in, takes one out, acknowledges it: the depth of the queue stays what it is.
#[derive(Debug)]
struct TakeOne {
    endpoint: Endpoint,
    queue: &'static str,
    payload_bytes: usize,
}

impl Workload for TakeOne {
    type Client = (Messenger, Document);

    fn label(&self) -> String {
        self.queue.replace("bench-", "queue-depth.")
    }

    fn phases(&self) -> &'static [&'static str] {
        &["enqueue", "dequeue", "ack"]
    }

    async fn join(&self, index: usize) -> Result<Self::Client, Fault> {
        let document = Document::new(self.payload_bytes, index as u64 + 1);
        Ok((Messenger::open(&self.endpoint).await?, document))
    }

    async fn operate(
        &self,
        (messenger, document): &mut Self::Client,
        log: &mut OperationLog,
    ) -> Result<(), Fault> {
        messenger.enqueue(self.queue, NO_DELAY, document.next_revision()).await?;
        log.lap();
        let delivery = messenger.dequeue(self.queue, WAIT_SECONDS).await?;
        log.lap();
        messenger.ack(self.queue, &delivery).await?;
        log.lap();
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Depths {
    messages: u64,
    empty: Vec<RunReport>,
    ready: Vec<RunReport>,
    delayed: Vec<RunReport>,
    ratio_of: &'static str,
    ready_ratios: Vec<f64>,
    delayed_ratios: Vec<f64>,
    resident_start_bytes: u64,
    resident_end_bytes: u64,
}

fn dequeue_p50(run: &RunReport) -> f64 {
    run.phases.get(1).map_or(0.0, |phase| phase.p50_us)
}

pub(crate) fn measure(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = Host::describe(&settings.root, durability(settings), "lockd-bench");
    output.line(&host.line())?;
    let directory = RunDirectory::create(&settings.root, settings.keep_root)?;
    let server = start_filled(settings, directory.path(), |endpoint| prepare(settings, endpoint, output))?;
    let endpoint = server.endpoint.clone();
    let resident_start = server.resident_bytes()?;
    let subject = Subject::started(server, directory);
    let mut depths = Depths {
        messages: settings.messages,
        empty: Vec::new(),
        ready: Vec::new(),
        delayed: Vec::new(),
        ratio_of: "p50 of dequeue, over the empty queue",
        ready_ratios: Vec::new(),
        delayed_ratios: Vec::new(),
        resident_start_bytes: resident_start,
        resident_end_bytes: 0,
    };
    for round in 0..settings.runs {
        output.line(&format!("round {} of {}", round + 1, settings.runs))?;
        let measured = |queue| {
            let workload = TakeOne {
                endpoint: endpoint.clone(),
                queue,
                // The same in every queue: a deep queue hands out what it was filled with.
                payload_bytes: FILLING_BYTES,
            };
            let run = subject.measure(&settings.plan, &Arc::new(workload))?;
            output.line(&run.text())?;
            Ok::<_, Fault>(run)
        };
        let (empty, ready, delayed) = (measured(EMPTY)?, measured(READY)?, measured(DELAYED)?);
        let reference = dequeue_p50(&empty).max(f64::MIN_POSITIVE);
        depths.ready_ratios.push(dequeue_p50(&ready) / reference);
        depths.delayed_ratios.push(dequeue_p50(&delayed) / reference);
        depths.empty.push(empty);
        depths.ready.push(ready);
        depths.delayed.push(delayed);
    }
    if let Some(server) = &subject.process {
        depths.resident_end_bytes = server.resident_bytes()?;
    }
    let p50s = |runs: &[RunReport]| median(&runs.iter().map(dequeue_p50).collect::<Vec<_>>());
    output.line(&format!(
        "queue-depth: messages={} ready/empty={} delayed/empty={}; p50 of dequeue empty={:.0}us ready={:.0}us delayed={:.0}us; resident {:.1} MiB at the start, {:.1} MiB at the end",
        settings.messages,
        spread(&depths.ready_ratios),
        spread(&depths.delayed_ratios),
        p50s(&depths.empty),
        p50s(&depths.ready),
        p50s(&depths.delayed),
        depths.resident_start_bytes as f64 / f64::from(1 << 20),
        depths.resident_end_bytes as f64 / f64::from(1 << 20),
    ))?;
    let valid = depths.empty.iter().chain(&depths.ready).chain(&depths.delayed).all(|run| run.valid);
    output.document(&host, valid, &depths)?;
    Ok(valid)
}

/// Fills the deep queues, unless the store comes with them.
fn prepare(settings: &Settings, endpoint: &Endpoint, output: &Output) -> Result<(), Fault> {
    let (is_filled, _) = block_on(async { Messenger::open(endpoint).await?.stats(READY).await })?;
    if is_filled {
        return Ok(output.line("the deep queues are there already")?);
    }
    fill(endpoint, DELAYED, AN_HOUR, FILLING_BYTES, settings.messages)?;
    fill(endpoint, READY, NO_DELAY, FILLING_BYTES, settings.messages)
}
