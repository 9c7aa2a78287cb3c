//! Runs of one workload, and the comparison with Redis: a server for each run, the plan on it, the costs around it.

use bench_kit::clocks::Reading;
use bench_kit::host::Host;
use bench_kit::report::{Output, RunReport, median_run, spread};
use bench_kit::statistics::median;
use serde::Serialize;

use crate::engine::{Engine, Plan};
use crate::fault::Fault;
use crate::redis::RedisPairs;
use crate::script::{Handover, Pairs, Script, Way};
use crate::server::Server;
use crate::settings::{Settings, Task};

pub(crate) fn host() -> Host {
    Host::describe(&std::env::temp_dir(), "none: memory".to_owned(), "dflockd-bench")
}

/// Drives a script and reads the clocks around the measured window.
pub(crate) fn measure(
    engine: &mut Engine,
    plan: &Plan,
    server: &Server,
    script: &mut impl Script,
) -> Result<RunReport, Fault> {
    let mut readings = Vec::with_capacity(2);
    let measured = engine.drive(plan, script, || readings.push(Reading::take(Some(server.pid()))))?;
    let mut readings = readings.into_iter();
    let spent = match (readings.next(), readings.next()) {
        (Some(before), Some(after)) => Some(after?.since(before?)),
        _ => None,
    };
    Ok(RunReport::new(script.label(), plan.clients, plan.rate, script.phases(), &measured, spent))
}

pub(crate) fn start(settings: &Settings) -> Result<Server, Fault> {
    Server::dflockd(&settings.server_bin, &settings.server_args)
}

fn single(settings: &Settings, task: Task) -> Result<RunReport, Fault> {
    let server = match task {
        Task::Redis => Server::redis(&settings.redis_bin)?,
        Task::Floor => Server::floor()?,
        _ => start(settings)?,
    };
    // One client holds the key while the others wait.
    let extra = usize::from(task == Task::Handover);
    let plan = Plan { clients: settings.plan.clients + extra, ..settings.plan.clone() };
    let (clients, keys) = (plan.clients, settings.key_count(task));
    let mut engine = Engine::connect(server.port, clients)?;
    let mut pairs = |label, way| {
        let mut script = Pairs::new(label, way, clients, keys);
        measure(&mut engine, &plan, &server, &mut script)
    };
    match task {
        Task::Hot => pairs("hot", Way::Lock),
        Task::Semaphore => pairs("semaphore", Way::Semaphore { limit: settings.limit }),
        Task::TwoPhase => pairs("two-phase", Way::TwoPhase),
        Task::Handover => measure(&mut engine, &plan, &server, &mut Handover::new(clients)),
        Task::Redis => measure(&mut engine, &plan, &server, &mut RedisPairs::new(server.port, clients)?),
        Task::Floor => pairs("floor", Way::Lock),
        _ => pairs("lock", Way::Lock),
    }
}

#[derive(Debug, Serialize)]
struct Runs {
    runs: Vec<RunReport>,
    median_run: usize,
}

/// Repeats a single workload. True when all runs were valid.
pub(crate) fn repeat(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = host();
    output.line(&host.line())?;
    let mut runs = Vec::new();
    for run in 0..settings.runs {
        let report = single(settings, settings.task)?;
        output.line(&format!("run {} of {}", run + 1, settings.runs))?;
        output.line(&report.text())?;
        runs.push(report);
    }
    let median = median_run(&runs);
    if runs.len() > 1 {
        output.line(&format!("median run: {}", median + 1))?;
        output.line(&format!("  ops/s {}", spread(&throughputs(&runs))))?;
        output.line(&format!("  server cpu us/op {}", spread(&costs(&runs))))?;
    }
    let valid = runs.iter().all(|run| run.valid);
    output.document(&host, valid, &Runs { runs, median_run: median })?;
    Ok(valid)
}

#[derive(Debug, Default, Serialize)]
struct Comparison {
    redis: Vec<RunReport>,
    floor: Vec<RunReport>,
    lock: Vec<RunReport>,
    hot: Vec<RunReport>,
    /// Medians of the ratios of the rounds.
    cpu_lock_over_redis: f64,
    cpu_floor_over_redis: f64,
    throughput_lock_over_redis: f64,
    cpu_hot_over_lock: f64,
}

/// Redis, distinct keys and one hot key in turns, each time on a new server.
pub(crate) fn compare(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = host();
    output.line(&host.line())?;
    let mut all = Comparison::default();
    for round in 0..settings.runs {
        output.line(&format!("round {} of {}", round + 1, settings.runs))?;
        for (task, runs) in [
            (Task::Redis, &mut all.redis),
            (Task::Floor, &mut all.floor),
            (Task::Lock, &mut all.lock),
            (Task::Hot, &mut all.hot),
        ] {
            let report = single(settings, task)?;
            output.line(&report.text())?;
            runs.push(report);
        }
    }
    let cpu = ratios(&costs(&all.lock), &costs(&all.redis));
    let floor = ratios(&costs(&all.floor), &costs(&all.redis));
    let throughput = ratios(&throughputs(&all.lock), &throughputs(&all.redis));
    let hot = ratios(&costs(&all.hot), &costs(&all.lock));
    all.cpu_lock_over_redis = median(&cpu);
    all.cpu_floor_over_redis = median(&floor);
    all.throughput_lock_over_redis = median(&throughput);
    all.cpu_hot_over_lock = median(&hot);
    for (name, runs) in [("redis", &all.redis), ("floor", &all.floor), ("lock", &all.lock), ("hot", &all.hot)]
    {
        output.line(&format!(
            "{name}: server cpu us/op {}; ops/s {}",
            spread(&costs(runs)),
            spread(&throughputs(runs))
        ))?;
    }
    output.line(&format!("compare: server cpu lock/redis {}", spread(&cpu)))?;
    output.line(&format!("compare: server cpu floor/redis {}", spread(&floor)))?;
    output.line(&format!("compare: throughput lock/redis {}", spread(&throughput)))?;
    output.line(&format!("compare: server cpu hot/lock {}", spread(&hot)))?;
    let valid = all.redis.iter().chain(&all.floor).chain(&all.lock).chain(&all.hot).all(|run| run.valid);
    output.document(&host, valid, &all)?;
    Ok(valid)
}

fn throughputs(runs: &[RunReport]) -> Vec<f64> {
    runs.iter().map(|run| run.total.ops_per_second).collect()
}

fn costs(runs: &[RunReport]) -> Vec<f64> {
    runs.iter().map(|run| run.server_cost.as_ref().map_or(0.0, |cost| cost.us_per_operation)).collect()
}

fn ratios(subject: &[f64], reference: &[f64]) -> Vec<f64> {
    subject
        .iter()
        .zip(reference)
        .map(|(subject, reference)| subject / reference.max(f64::MIN_POSITIVE))
        .collect()
}
