//! Consuming a filled queue: by dequeue, one message a request, and by subscribe, in turns; ratio of the throughputs.

use std::sync::Arc;

use serde::Serialize;

use super::calls::{Delivery, Messenger, NO_DELAY};
use super::filled::{fill, start_filled};
use super::stream::Subscription;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Plan, Workload};
use crate::process::RunDirectory;
use crate::session::{Subject, durability};
use crate::settings::Settings;
use bench_kit::host::Host;
use bench_kit::report::{Output, RunReport, spread};

const QUEUE: &str = "bench-drain";
const WAIT_SECONDS: i32 = 30;

/// How consumers get their messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Dequeue,
    Subscribe { prefetch: usize },
}

#[derive(Debug)]
struct Drain {
    endpoint: Endpoint,
    means: Means,
    acks: bool,
}

enum Source {
    Dequeue(Messenger),
    Subscribe(Subscription),
}

struct Consumer {
    source: Source,
    acks: Option<Messenger>,
}

impl Source {
    async fn next(&mut self) -> Result<Delivery, Fault> {
        match self {
            Source::Dequeue(messenger) => messenger.dequeue(QUEUE, WAIT_SECONDS).await,
            Source::Subscribe(subscription) => subscription.next().await,
        }
    }
}

impl Workload for Drain {
    type Client = Consumer;

    fn label(&self) -> String {
        match self.means {
            Means::Dequeue => "queue-drain.dequeue".to_owned(),
            Means::Subscribe { .. } => "queue-drain.subscribe".to_owned(),
        }
    }

    fn phases(&self) -> &'static [&'static str] {
        if self.acks { &["deliver", "ack"] } else { &["deliver"] }
    }

    async fn join(&self, _: usize) -> Result<Consumer, Fault> {
        let source = match self.means {
            Means::Dequeue => Source::Dequeue(Messenger::open(&self.endpoint).await?),
            Means::Subscribe { prefetch } => {
                Source::Subscribe(Subscription::open(&self.endpoint, QUEUE, prefetch).await?)
            }
        };
        let acks = if self.acks { Some(Messenger::open(&self.endpoint).await?) } else { None };
        Ok(Consumer { source, acks })
    }

    async fn operate(&self, client: &mut Consumer, log: &mut OperationLog) -> Result<(), Fault> {
        let delivery = client.source.next().await?;
        log.lap();
        if let Some(acks) = &mut client.acks {
            acks.ack(QUEUE, &delivery).await?;
            log.lap();
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Drained {
    dequeue: Vec<RunReport>,
    subscribe: Vec<RunReport>,
    ratio_of: &'static str,
    ratios: Vec<f64>,
}

pub(crate) fn measure(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = Host::describe(&settings.root, durability(settings), "lockd-bench");
    output.line(&host.line())?;
    let subscribe = Means::Subscribe { prefetch: settings.prefetch };
    let ratio_of = "messages/s, subscribe over dequeue";
    let mut result = Drained { dequeue: Vec::new(), subscribe: Vec::new(), ratio_of, ratios: Vec::new() };
    for round in 0..settings.runs {
        output.line(&format!("round {} of {}", round + 1, settings.runs))?;
        let dequeued = run(settings, Means::Dequeue)?;
        output.line(&dequeued.text())?;
        let subscribed = run(settings, subscribe)?;
        output.line(&subscribed.text())?;
        result
            .ratios
            .push(subscribed.total.ops_per_second / dequeued.total.ops_per_second.max(f64::MIN_POSITIVE));
        result.dequeue.push(dequeued);
        result.subscribe.push(subscribed);
    }
    let throughputs =
        |runs: &[RunReport]| spread(&runs.iter().map(|run| run.total.ops_per_second).collect::<Vec<_>>());
    let costs = |runs: &[RunReport]| {
        let cost = |run: &RunReport| run.server_cost.as_ref().map_or(0.0, |cost| cost.us_per_operation);
        spread(&runs.iter().map(cost).collect::<Vec<_>>())
    };
    output.line(&format!(
        "queue-drain: consumers={} prefetch={} subscribe/dequeue={} subscribe={} dequeue={} messages/s; cpu subscribe={} dequeue={} us/message",
        settings.plan.clients,
        settings.prefetch,
        spread(&result.ratios),
        throughputs(&result.subscribe),
        throughputs(&result.dequeue),
        costs(&result.subscribe),
        costs(&result.dequeue),
    ))?;
    let valid = result.dequeue.iter().chain(&result.subscribe).all(|run| run.valid);
    output.document(&host, valid, &result)?;
    Ok(valid)
}

fn run(settings: &Settings, means: Means) -> Result<RunReport, Fault> {
    let directory = RunDirectory::create(&settings.root, settings.keep_root)?;
    let messages = settings.messages;
    let server = start_filled(settings, directory.path(), |endpoint| {
        fill(endpoint, QUEUE, NO_DELAY, settings.payload_bytes, messages)
    })?;
    let endpoint = server.endpoint.clone();
    let subject = Subject::started(server, directory);
    // Whoever counts last must still find a message, though others have some on their way that they will not count.
    let on_the_way = 4 * settings.plan.clients as u64 * settings.prefetch.max(1) as u64;
    let operations = messages.saturating_sub(on_the_way).max(1);
    let plan = Plan {
        operations: Some(settings.plan.operations.map_or(operations, |wanted| wanted.min(operations))),
        warmup: std::time::Duration::ZERO,
        ..settings.plan.clone()
    };
    subject.measure(&plan, &Arc::new(Drain { endpoint, means, acks: settings.acks }))
}
