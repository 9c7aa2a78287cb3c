//! Runs of one workload: a server for each, the plan on it, the costs around it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::etcd;
use crate::etcd::cycle::EtcdCycle;
use crate::fault::Fault;
use crate::load::{Plan, Workload, drive};
use crate::process::{Health, RunDirectory, ServerProcess, free_port};
use crate::queue::cycle::MessageCycle;
use crate::queue::handover::MessageHandover;
use crate::redis;
use crate::redis::cycle::RedisCycle;
use crate::settings::{Settings, Store, Task};
use crate::workload::handover::{Handover, Release};
use crate::workload::keepalive::Keepalive;
use crate::workload::lock::LockCycle;
use crate::workload::read::Read;
use bench_kit::clocks::Reading;
use bench_kit::host::Host;
use bench_kit::report::{Output, RunReport, median_run, spread};

/// A server to measure: started for the purpose, or given.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) endpoint: Endpoint,
    // Declared before the directory: the server must be gone before its files are.
    pub(crate) process: Option<ServerProcess>,
    _directory: Option<RunDirectory>,
}

impl Subject {
    pub(crate) fn lockd(settings: &Settings) -> Result<Subject, Fault> {
        if let Some(endpoint) = &settings.endpoint {
            return Ok(Subject { endpoint: endpoint.clone(), process: None, _directory: None });
        }
        let directory = RunDirectory::create(&settings.root, settings.keep_root)?;
        let process = start_lockd(settings, directory.path())?;
        Ok(Subject::started(process, directory))
    }

    pub(crate) fn etcd(settings: &Settings) -> Result<Subject, Fault> {
        let directory = RunDirectory::create(&settings.root, settings.keep_root)?;
        let process = etcd::start(&settings.etcd_bin, directory.path())?;
        Ok(Subject::started(process, directory))
    }

    pub(crate) fn redis(settings: &Settings) -> Result<Subject, Fault> {
        let directory = RunDirectory::create(&settings.root, settings.keep_root)?;
        let process = redis::start(&settings.redis_bin, directory.path())?;
        Ok(Subject::started(process, directory))
    }

    /// A server that was started by somebody else, in this directory.
    pub(crate) fn started(process: ServerProcess, directory: RunDirectory) -> Subject {
        Subject { endpoint: process.endpoint.clone(), process: Some(process), _directory: Some(directory) }
    }

    pub(crate) fn measure<W: Workload>(&self, plan: &Plan, workload: &Arc<W>) -> Result<RunReport, Fault> {
        let mut readings = Vec::with_capacity(2);
        let measured = drive(plan, workload, || {
            readings.push(Reading::take(self.process.as_ref().map(ServerProcess::id)))
        })?;
        let mut readings = readings.into_iter();
        let spent = match (readings.next(), readings.next()) {
            (Some(before), Some(after)) => Some(after?.since(before?)),
            _ => None,
        };
        let (label, phases) = (workload.label(), workload.phases());
        Ok(RunReport::new(label, plan.clients, plan.rate, phases, &measured, spent))
    }
}

/// Starts lockd in `directory`; a store already there is served again.
pub(crate) fn start_lockd(settings: &Settings, directory: &Path) -> Result<ServerProcess, Fault> {
    let binary = match &settings.server_bin {
        Some(path) => path.clone(),
        None => beside_us("lockd")?,
    };
    let store = match &settings.store {
        Store::Disk => {
            let path = std::path::absolute(directory.join("store"))?;
            format!("disk://{}", path.display())
        }
        Store::Memory => "mem://".to_owned(),
        Store::Url(url) => url.clone(),
    };
    let (endpoint, listen): (Endpoint, Vec<OsString>) = if settings.unix {
        let path = std::path::absolute(directory.join("lockd.sock"))?;
        (
            Endpoint::Unix(path.clone()),
            vec!["--listen-proto".into(), "unix".into(), "--listen".into(), path.into()],
        )
    } else {
        let address = format!("127.0.0.1:{}", free_port()?);
        (Endpoint::parse(&format!("http://{address}"))?, vec!["--listen".into(), address.into()])
    };
    let mut command = Command::new(binary);
    // The user's own configuration and LOCKD_* variables must not colour the figures.
    command.env_clear().env("HOME", directory).current_dir(directory);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.args(["--store", &store, "--disable-mtls"]).args(listen);
    match &settings.bundle {
        Some(bundle) => command.arg("--bundle").arg(std::path::absolute(bundle)?),
        None => command.arg("--disable-storage-encryption"),
    };
    command.args(&settings.server_args);
    ServerProcess::start("lockd", command, endpoint, directory.join("lockd.log"), &Health::Http("/healthz"))
}

fn beside_us(name: &str) -> Result<PathBuf, Fault> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Fault::Setup(format!(
        "there is no {}; name a server with --server-bin PATH or --endpoint URL",
        path.display()
    )))
}

/// What the answers of the measured server are worth after a power cut.
pub(crate) fn durability(settings: &Settings) -> String {
    if settings.endpoint.is_some() {
        return "unknown: the server was not started by this run".to_owned();
    }
    match settings.task {
        Task::EtcdLock => return "fsync before each answer (etcd's default)".to_owned(),
        Task::RedisQueue => return "fsync before each answer (appendfsync always)".to_owned(),
        _ => {}
    }
    let encryption = if settings.bundle.is_some() { "encrypted" } else { "plaintext" };
    let sync = match &settings.store {
        Store::Memory => "none: memory".to_owned(),
        Store::Disk => "fsync before each answer".to_owned(),
        Store::Url(url) => format!("as {url} promises"),
    };
    let mut arguments: Vec<String> =
        settings.server_args.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if !arguments.is_empty() {
        arguments.insert(0, " changed by".to_owned());
    }
    format!("{sync}, {encryption} at rest{}", arguments.join(" "))
}

pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

#[derive(Debug, Serialize)]
struct Runs {
    runs: Vec<RunReport>,
    median_run: usize,
}

/// Repeats a single workload. True when all runs were valid.
pub(crate) fn repeat(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = Host::describe(&settings.root, durability(settings), "lockd-bench");
    output.line(&host.line())?;
    let mut runs = Vec::new();
    for run in 0..settings.runs {
        let report = single(settings, run)?;
        output.line(&format!("run {} of {}", run + 1, settings.runs))?;
        output.line(&report.text())?;
        runs.push(report);
    }
    let median = median_run(&runs);
    if runs.len() > 1 {
        output.line(&format!("median run: {}", median + 1))?;
        output.line(&format!(
            "  ops/s {}",
            spread(&runs.iter().map(|run| run.total.ops_per_second).collect::<Vec<_>>())
        ))?;
        let costs: Vec<f64> =
            runs.iter().filter_map(|run| run.server_cost.as_ref()).map(|cost| cost.us_per_request).collect();
        if !costs.is_empty() {
            output.line(&format!("  server cpu us/request {}", spread(&costs)))?;
        }
    }
    let valid = runs.iter().all(|run| run.valid);
    output.document(&host, valid, &Runs { runs, median_run: median })?;
    Ok(valid)
}

fn single(settings: &Settings, run: usize) -> Result<RunReport, Fault> {
    match settings.task {
        Task::EtcdLock => return etcd_run(settings, &settings.plan),
        Task::RedisQueue => return redis_run(settings, &settings.plan),
        _ => {}
    }
    let subject = Subject::lockd(settings)?;
    let endpoint = subject.endpoint.clone();
    // On a server that is not ours, keys of earlier invocations may still be leased.
    let prefix = format!("bench/{}-{run}", std::process::id());
    match settings.task {
        Task::PublicRead => {
            let read = block_on(Read::seeded(endpoint, &format!("{prefix}/read"), settings.payload_bytes))?;
            subject.measure(&settings.plan, &Arc::new(read))
        }
        Task::Health => subject.measure(&settings.plan, &Arc::new(Read::health(endpoint))),
        Task::Keepalive => subject.measure(&settings.plan, &Arc::new(Keepalive { endpoint, prefix })),
        Task::Queue => {
            let queue = format!("bench-{}-{run}", std::process::id());
            let cycle = MessageCycle { endpoint, queue, payload_bytes: settings.payload_bytes };
            subject.measure(&settings.plan, &Arc::new(cycle))
        }
        Task::QueueHandover => {
            let prefix = format!("bench-{}-{run}", std::process::id());
            let handover = MessageHandover { endpoint, prefix, payload_bytes: settings.payload_bytes };
            subject.measure(&settings.plan, &Arc::new(handover))
        }
        Task::Handover => {
            let key = format!("{prefix}/handover");
            let workload = Handover { endpoint, key, releases: Mutex::new(Release::default()) };
            // One client holds the key while the others wait.
            let plan = Plan { clients: settings.plan.clients + 1, ..settings.plan.clone() };
            subject.measure(&plan, &Arc::new(workload))
        }
        _ => subject.measure(&settings.plan, &Arc::new(lock_cycle(settings, endpoint, prefix))),
    }
}

fn lock_cycle(settings: &Settings, endpoint: Endpoint, prefix: String) -> LockCycle {
    LockCycle { endpoint, payload_bytes: settings.payload_bytes, fresh_keys: settings.fresh_keys, prefix }
}

/// One run of the lock cycle on a new lockd.
pub(crate) fn lock_run(settings: &Settings, plan: &Plan) -> Result<RunReport, Fault> {
    let subject = Subject::lockd(settings)?;
    let workload = lock_cycle(settings, subject.endpoint.clone(), "bench/compare".to_owned());
    subject.measure(plan, &Arc::new(workload))
}

/// One run of the equivalent cycle on a new etcd.
pub(crate) fn etcd_run(settings: &Settings, plan: &Plan) -> Result<RunReport, Fault> {
    let subject = Subject::etcd(settings)?;
    let connections = settings.etcd_connections.unwrap_or(plan.clients);
    let workload = EtcdCycle::new(subject.endpoint.clone(), settings.payload_bytes, connections)?;
    subject.measure(plan, &Arc::new(workload))
}

/// One run of the message cycle on a new lockd.
pub(crate) fn queue_run(settings: &Settings, plan: &Plan) -> Result<RunReport, Fault> {
    let subject = Subject::lockd(settings)?;
    let (endpoint, queue) = (subject.endpoint.clone(), "bench-compare".to_owned());
    let workload = MessageCycle { endpoint, queue, payload_bytes: settings.payload_bytes };
    subject.measure(plan, &Arc::new(workload))
}

/// One run of the equivalent cycle on a new Redis.
pub(crate) fn redis_run(settings: &Settings, plan: &Plan) -> Result<RunReport, Fault> {
    let subject = Subject::redis(settings)?;
    let workload = block_on(RedisCycle::new(subject.endpoint.clone(), settings.payload_bytes))?;
    subject.measure(plan, &Arc::new(workload))
}
