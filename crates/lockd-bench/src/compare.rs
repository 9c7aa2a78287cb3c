//! Comparisons within one run: both sides in turn (A B A B), so that a disk or machine that changes its mood
//! half-way does not decide the ratio.

use std::sync::Arc;

use serde::Serialize;

use crate::fault::Fault;
use crate::load::Plan;
use crate::session::{Subject, block_on, durability, etcd_run, lock_run, queue_run, redis_run};
use crate::settings::Settings;
use crate::workload::read::Read;
use bench_kit::host::Host;
use bench_kit::report::{Output, RunReport, spread};
use bench_kit::statistics::median;

#[derive(Debug, Serialize)]
struct Rounds {
    clients: usize,
    reference: Vec<RunReport>,
    subject: Vec<RunReport>,
    /// One for every round, and their median.
    ratios: Vec<f64>,
    median_ratio: f64,
}

#[derive(Debug, Serialize)]
struct Comparison {
    /// What a ratio is of.
    ratio_of: &'static str,
    comparisons: Vec<Rounds>,
}

/// Lock cycles a second: lockd divided by etcd.
pub(crate) fn with_etcd(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let peer = Peer { name: "etcd", run: etcd_run };
    in_turns(settings, output, "compare", &peer, lock_run, "cycles/s, lockd over etcd")
}

/// Messages a second through enqueue, dequeue and ack: lockd divided by Redis Streams.
pub(crate) fn with_redis(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let peer = Peer { name: "redis", run: redis_run };
    in_turns(settings, output, "queue-compare", &peer, queue_run, "cycles/s, lockd over Redis Streams")
}

type Run = fn(&Settings, &Plan) -> Result<RunReport, Fault>;

/// What lockd is compared with.
struct Peer {
    name: &'static str,
    run: Run,
}

fn in_turns(
    settings: &Settings,
    output: &Output,
    label: &str,
    peer: &Peer,
    lockd: Run,
    ratio_of: &'static str,
) -> Result<bool, Fault> {
    let host = Host::describe(&settings.root, durability(settings), "lockd-bench");
    output.line(&host.line())?;
    let mut comparisons = Vec::new();
    let mut summary = Vec::new();
    for clients in &settings.client_counts {
        let plan = Plan { clients: *clients, ..settings.plan.clone() };
        let mut rounds = Rounds::new(*clients);
        for round in 0..settings.runs {
            output.line(&format!("clients {clients}, round {} of {}", round + 1, settings.runs))?;
            let reference = (peer.run)(settings, &plan)?;
            output.line(&reference.text())?;
            let lockd = lockd(settings, &plan)?;
            output.line(&lockd.text())?;
            rounds.add(reference, lockd, |run| run.total.ops_per_second);
        }
        summary.push(format!(
            "{label}: clients={clients} lockd/{peer}={} lockd={} {peer}={} cycles/s; cpu lockd={} {peer}={} us/cycle",
            spread(&rounds.ratios),
            spread(&throughputs(&rounds.subject)),
            spread(&throughputs(&rounds.reference)),
            spread(&costs_per_operation(&rounds.subject)),
            spread(&costs_per_operation(&rounds.reference)),
            peer = peer.name,
        ));
        comparisons.push(rounds);
    }
    for line in &summary {
        output.line(line)?;
    }
    finish(output, &host, Comparison { ratio_of, comparisons })
}

/// Server processor time a request: a public read divided by an empty answer, on one server.
pub(crate) fn reads_with_empty_answers(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = Host::describe(&settings.root, durability(settings), "lockd-bench");
    output.line(&host.line())?;
    let subject = Subject::lockd(settings)?;
    if subject.process.is_none() {
        return Err(Fault::Setup(
            "read-ratio needs the server's processor time; use --server-bin instead of --endpoint".into(),
        ));
    }
    let key = format!("bench/{}/read", std::process::id());
    let read = Arc::new(block_on(Read::seeded(subject.endpoint.clone(), &key, settings.payload_bytes))?);
    let health = Arc::new(Read::health(subject.endpoint.clone()));
    let mut rounds = Rounds::new(settings.plan.clients);
    for round in 0..settings.runs {
        output.line(&format!("round {} of {}", round + 1, settings.runs))?;
        let empty = subject.measure(&settings.plan, &health)?;
        output.line(&empty.text())?;
        let full = subject.measure(&settings.plan, &read)?;
        output.line(&full.text())?;
        rounds.add(empty, full, cost_per_request);
    }
    output.line(&format!(
        "read-ratio: clients={} public-read/health={}; cpu public-read={} health={} us/request",
        settings.plan.clients,
        spread(&rounds.ratios),
        spread(&rounds.subject.iter().map(cost_per_request).collect::<Vec<_>>()),
        spread(&rounds.reference.iter().map(cost_per_request).collect::<Vec<_>>()),
    ))?;
    let ratio_of = "server cpu a request, public-read over health";
    finish(output, &host, Comparison { ratio_of, comparisons: vec![rounds] })
}

fn finish(output: &Output, host: &Host, comparison: Comparison) -> Result<bool, Fault> {
    let valid = comparison
        .comparisons
        .iter()
        .flat_map(|rounds| rounds.reference.iter().chain(&rounds.subject))
        .all(|run| run.valid);
    output.document(host, valid, &comparison)?;
    Ok(valid)
}

impl Rounds {
    fn new(clients: usize) -> Rounds {
        Rounds { clients, reference: Vec::new(), subject: Vec::new(), ratios: Vec::new(), median_ratio: 0.0 }
    }

    fn add(&mut self, reference: RunReport, subject: RunReport, figure: impl Fn(&RunReport) -> f64) {
        self.ratios.push(figure(&subject) / figure(&reference).max(f64::MIN_POSITIVE));
        self.median_ratio = median(&self.ratios);
        self.reference.push(reference);
        self.subject.push(subject);
    }
}

fn throughputs(runs: &[RunReport]) -> Vec<f64> {
    runs.iter().map(|run| run.total.ops_per_second).collect()
}

fn cost_per_request(run: &RunReport) -> f64 {
    run.server_cost.as_ref().map_or(0.0, |cost| cost.us_per_request)
}

fn costs_per_operation(runs: &[RunReport]) -> Vec<f64> {
    runs.iter().map(|run| run.server_cost.as_ref().map_or(0.0, |cost| cost.us_per_operation)).collect()
}
