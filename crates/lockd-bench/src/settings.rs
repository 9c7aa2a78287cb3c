//! The command line: what to measure, on which server, how long.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::calls::Document;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::Plan;

pub(crate) const HELP: &str = "\
lockd-bench: load generator for lockd

usage: lockd-bench WORKLOAD [FLAGS]

workloads on a lockd server:
  lock          acquire, update, release on an own key per client
  public-read   lease-less get of one committed state
  health        GET /healthz, the empty answer other figures are compared with
  keepalive     keepalive of a lease each client holds
  handover      --clients waiters on one key: release answered -> next grant received
  held-leases   --leases held at once: memory, restart after a kill, expiry all together
  read-ratio    health and public-read in turn on one server; ratio of processor time
queue workloads on a lockd server:
  queue         enqueue, dequeue, ack: every client on the same queue
  queue-drain   consuming a filled queue by dequeue and by subscribe, in turns; ratio
  queue-handover  enqueue to a consumer that waits, a pair of them a client
  queue-depth   dequeue from an empty queue, from --messages ready, from --messages delayed, in turns; ratios
  queue-scale   memory and latency: a large payload, many queues, many waiting consumers, a crowded neighbour
with Redis Streams as the reference:
  redis-queue   the equivalent of queue: XADD, XREADGROUP, XACK with XDEL
  queue-compare redis-queue and queue in turns on the same disk; ratios
with etcd as the reference:
  etcd-lock     the lock cycle's equivalent on etcd
  compare       etcd-lock and lock in turn on the same disk; ratios

which server:
  --endpoint URL        a running server: http://127.0.0.1:PORT or unix:///PATH
  --server-bin PATH     start this lockd (default: the one beside lockd-bench) with a new store for every run
  --store disk|mem|URL  store of a started server (default disk; disk is a new directory under --root)
  --transport tcp|unix  how a started server is reached (default tcp)
  --server-arg ARG      further argument for a started server (repeatable)
  --bundle FILE         start with this bundle and encryption at rest (default: without encryption)
  --root DIR            where run directories are made (default: the temporary directory)
  --keep-root           leave the run directories (stores and server logs) behind
  --etcd-bin PATH       default /usr/bin/etcd
  --redis-bin PATH      default /usr/bin/redis-server
  --etcd-connections N  share so many connections among the clients (default: one each)

how:
  --clients N           concurrent clients, one connection each (default 8; handover and queue 16,
                        held-leases 64, queue-handover and queue-depth 1)
  --client-counts A,B   client counts of compare (default 1,64) and queue-compare (default 16)
  --threads N           generator threads, at most 2 (default 1)
  --duration SECONDS    measured time of a run (default 5)
  --warmup SECONDS      unmeasured time before it (default 1)
  --ops N               end a run after N operations, if that comes first
  --rate N              fixed arrivals a second in total; latency counts from the scheduled arrival
  --runs N              repeat, report the median too (default 3; held-leases 1)
  --payload-bytes N     size of the JSON state (default 4096)
  --keys own|fresh      lock: one key a client, or a new key every cycle (default own)
  --messages N          queue-drain: in the queue (default 200000); queue-depth: in each (default 1000000)
  --prefetch N          queue-drain: page size of subscribe (default 16)
  --acks                queue-drain: acknowledge every message
  --leases N            held-leases: how many (default 100000)
  --ttl SECONDS         held-leases: time from the first grant to the expiry of all (default: as needed)
  --freeze              held-leases: stop the server over the deadline, so that all leases expire in one instant
  --json                one JSON document instead of text

A run with any error is marked invalid and makes the exit status 1.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Lock,
    PublicRead,
    Health,
    Keepalive,
    Handover,
    HeldLeases,
    ReadRatio,
    EtcdLock,
    Compare,
    Queue,
    QueueDrain,
    QueueHandover,
    QueueDepth,
    QueueScale,
    RedisQueue,
    QueueCompare,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Disk,
    Memory,
    Url(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) task: Task,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) server_bin: Option<PathBuf>,
    pub(crate) store: Store,
    pub(crate) unix: bool,
    pub(crate) server_args: Vec<OsString>,
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) root: PathBuf,
    pub(crate) keep_root: bool,
    pub(crate) etcd_bin: PathBuf,
    pub(crate) redis_bin: PathBuf,
    pub(crate) etcd_connections: Option<usize>,
    pub(crate) client_counts: Vec<usize>,
    pub(crate) plan: Plan,
    pub(crate) runs: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) fresh_keys: bool,
    pub(crate) messages: u64,
    pub(crate) prefetch: usize,
    pub(crate) acks: bool,
    pub(crate) leases: usize,
    pub(crate) ttl: Option<u64>,
    pub(crate) freeze: bool,
    pub(crate) json: bool,
}

const MAX_CLIENTS: usize = 10_000;
const MAX_SECONDS: f64 = 3600.0;

impl Settings {
    /// `None` when only the help was asked for.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Settings>, Fault> {
        use lexopt::prelude::{Long, Short, Value};
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut task = None;
        let mut clients = None;
        let mut runs = None;
        let mut messages = None;
        let mut settings = Settings {
            task: Task::Lock,
            endpoint: None,
            server_bin: None,
            store: Store::Disk,
            unix: false,
            server_args: Vec::new(),
            bundle: None,
            root: std::env::temp_dir(),
            keep_root: false,
            etcd_bin: PathBuf::from("/usr/bin/etcd"),
            redis_bin: PathBuf::from("/usr/bin/redis-server"),
            etcd_connections: None,
            client_counts: Vec::new(),
            plan: Plan {
                clients: 8,
                threads: 1,
                warmup: Duration::from_secs(1),
                duration: Duration::from_secs(5),
                operations: None,
                rate: None,
            },
            runs: 3,
            payload_bytes: 4096,
            fresh_keys: false,
            messages: 0,
            prefetch: 16,
            acks: false,
            leases: 100_000,
            ttl: None,
            freeze: false,
            json: false,
        };
        while let Some(argument) = parser.next().map_err(usage)? {
            let mut flag = match argument {
                Short('h') => return Ok(None),
                Long(name) => Flag { name: name.to_owned(), parser: &mut parser },
                Value(value) if task.is_none() => {
                    task = Some(parse_task(&value.to_string_lossy())?);
                    continue;
                }
                other => return Err(usage(other.unexpected())),
            };
            match flag.name.as_str() {
                "help" => return Ok(None),
                "endpoint" => settings.endpoint = Some(Endpoint::parse(&flag.text()?)?),
                "server-bin" => settings.server_bin = Some(flag.value()?.into()),
                "store" => {
                    settings.store = match flag.text()?.as_str() {
                        "disk" => Store::Disk,
                        "mem" | "mem://" => Store::Memory,
                        url if url.contains("://") => Store::Url(url.to_owned()),
                        other => return Err(flag.wrong(other, "disk, mem or a store URL")),
                    }
                }
                "transport" => {
                    settings.unix = match flag.text()?.as_str() {
                        "tcp" => false,
                        "unix" => true,
                        other => return Err(flag.wrong(other, "tcp or unix")),
                    }
                }
                "server-arg" => settings.server_args.push(flag.value()?),
                "bundle" => settings.bundle = Some(flag.value()?.into()),
                "root" => settings.root = flag.value()?.into(),
                "keep-root" => settings.keep_root = true,
                "etcd-bin" => settings.etcd_bin = flag.value()?.into(),
                "redis-bin" => settings.redis_bin = flag.value()?.into(),
                "messages" => messages = Some(flag.count(1, 100_000_000)?),
                "prefetch" => settings.prefetch = flag.count(1, 64)? as usize,
                "acks" => settings.acks = true,
                "etcd-connections" => {
                    settings.etcd_connections = Some(flag.count(1, MAX_CLIENTS as u64)? as usize);
                }
                "clients" => clients = Some(flag.count(1, MAX_CLIENTS as u64)? as usize),
                "client-counts" => {
                    let text = flag.text()?;
                    settings.client_counts = text
                        .split(',')
                        .map(|part| match part.trim().parse() {
                            Ok(count) if (1..=MAX_CLIENTS).contains(&count) => Ok(count),
                            _ => Err(flag.wrong(&text, "numbers of clients as in 1,64")),
                        })
                        .collect::<Result<_, _>>()?;
                }
                "threads" => settings.plan.threads = flag.count(1, 2)? as usize,
                "duration" => settings.plan.duration = flag.seconds(0.01)?,
                "warmup" => settings.plan.warmup = flag.seconds(0.0)?,
                "ops" => settings.plan.operations = Some(flag.count(1, u64::MAX)?),
                "rate" => settings.plan.rate = Some(flag.number(0.01, 10_000_000.0)?),
                "runs" => runs = Some(flag.count(1, 100)? as usize),
                "payload-bytes" => {
                    settings.payload_bytes =
                        flag.count(Document::MIN_BYTES as u64, 64 * 1024 * 1024)? as usize;
                }
                "keys" => {
                    settings.fresh_keys = match flag.text()?.as_str() {
                        "own" => false,
                        "fresh" => true,
                        other => return Err(flag.wrong(other, "own or fresh")),
                    }
                }
                "leases" => settings.leases = flag.count(1, 10_000_000)? as usize,
                "ttl" => settings.ttl = Some(flag.count(5, 1800)?),
                "freeze" => settings.freeze = true,
                "json" => settings.json = true,
                other => {
                    return Err(Fault::Setup(format!(
                        "unknown flag --{other}; lockd-bench --help lists them"
                    )));
                }
            }
        }
        settings.task =
            task.ok_or_else(|| Fault::Setup("name a workload; lockd-bench --help lists them".to_owned()))?;
        settings.plan.clients = clients.unwrap_or(match settings.task {
            Task::Handover | Task::Queue | Task::RedisQueue => 16,
            Task::QueueHandover | Task::QueueDepth => 1,
            Task::HeldLeases => 64,
            _ => 8,
        });
        if settings.client_counts.is_empty() {
            settings.client_counts = if settings.task == Task::QueueCompare { vec![16] } else { vec![1, 64] };
        }
        settings.messages =
            messages.unwrap_or(if settings.task == Task::QueueDepth { 1_000_000 } else { 200_000 });
        let once = matches!(settings.task, Task::HeldLeases | Task::QueueScale);
        settings.runs = runs.unwrap_or(if once { 1 } else { 3 });
        settings.check()?;
        Ok(Some(settings))
    }

    fn check(&self) -> Result<(), Fault> {
        if self.endpoint.is_some() {
            if self.server_bin.is_some() {
                return Err(Fault::Setup("give --endpoint or --server-bin, not both".into()));
            }
            if matches!(
                self.task,
                Task::HeldLeases
                    | Task::Compare
                    | Task::EtcdLock
                    | Task::QueueDrain
                    | Task::QueueDepth
                    | Task::QueueScale
                    | Task::RedisQueue
                    | Task::QueueCompare
            ) {
                return Err(Fault::Setup(
                    "this workload starts its own servers; leave --endpoint out".into(),
                ));
            }
        }
        if self.plan.rate.is_some() && matches!(self.task, Task::Handover | Task::QueueHandover) {
            return Err(Fault::Setup("a hand-over has no arrivals of its own; leave --rate out".into()));
        }
        Ok(())
    }
}

fn parse_task(name: &str) -> Result<Task, Fault> {
    Ok(match name {
        "lock" => Task::Lock,
        "public-read" => Task::PublicRead,
        "health" => Task::Health,
        "keepalive" => Task::Keepalive,
        "handover" => Task::Handover,
        "held-leases" => Task::HeldLeases,
        "read-ratio" => Task::ReadRatio,
        "etcd-lock" => Task::EtcdLock,
        "compare" => Task::Compare,
        "queue" => Task::Queue,
        "queue-drain" => Task::QueueDrain,
        "queue-handover" => Task::QueueHandover,
        "queue-depth" => Task::QueueDepth,
        "queue-scale" => Task::QueueScale,
        "redis-queue" => Task::RedisQueue,
        "queue-compare" => Task::QueueCompare,
        other => {
            return Err(Fault::Setup(format!("unknown workload {other:?}; lockd-bench --help lists them")));
        }
    })
}

fn usage(error: lexopt::Error) -> Fault {
    Fault::Setup(format!("{error}; lockd-bench --help lists the flags"))
}

/// A long flag whose value is being read.
struct Flag<'p> {
    name: String,
    parser: &'p mut lexopt::Parser,
}

impl Flag<'_> {
    fn value(&mut self) -> Result<OsString, Fault> {
        self.parser.value().map_err(usage)
    }

    fn text(&mut self) -> Result<String, Fault> {
        let value = self.value()?;
        value.into_string().map_err(|value| self.wrong(&value.to_string_lossy(), "text in UTF-8"))
    }

    fn count(&mut self, least: u64, most: u64) -> Result<u64, Fault> {
        let text = self.text()?;
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.wrong(&text, &format!("a whole number from {least} to {most}"))),
        }
    }

    fn number(&mut self, least: f64, most: f64) -> Result<f64, Fault> {
        let text = self.text()?;
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.wrong(&text, &format!("a number from {least} to {most}"))),
        }
    }

    /// Seconds, with or without the `s`.
    fn seconds(&mut self, least: f64) -> Result<Duration, Fault> {
        let text = self.text()?;
        match text.trim_end_matches('s').parse() {
            Ok(number) if (least..=MAX_SECONDS).contains(&number) => Ok(Duration::from_secs_f64(number)),
            _ => Err(self.wrong(&text, &format!("seconds from {least} to {MAX_SECONDS}"))),
        }
    }

    fn wrong(&self, value: &str, wanted: &str) -> Fault {
        Fault::Setup(format!("--{} {value:?}: write {wanted}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Settings>, Fault> {
        Settings::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_are_read_in_any_order() {
        let settings = read(
            "--clients 64 lock --duration=2.5s --rate 100 --keys fresh --store mem --server-arg --x --json",
        )
        .unwrap()
        .unwrap();
        assert_eq!(settings.task, Task::Lock);
        assert_eq!(settings.plan.clients, 64);
        assert_eq!(settings.plan.duration, Duration::from_millis(2500));
        assert_eq!(settings.plan.rate, Some(100.0));
        assert_eq!(settings.store, Store::Memory);
        assert_eq!(settings.server_args, [OsString::from("--x")]);
        assert!(settings.fresh_keys && settings.json);
        assert_eq!(read("handover").unwrap().unwrap().plan.clients, 16);
        assert!(read("compare --help").unwrap().is_none());
    }

    #[test]
    fn wrong_flags_name_the_value_and_the_way_out() {
        for (line, part) in [
            ("", "name a workload"),
            ("dance", "unknown workload \"dance\""),
            ("lock --clients 0", "--clients \"0\": write a whole number from 1"),
            ("lock --duration soon", "--duration \"soon\": write seconds"),
            ("lock --speed 3", "unknown flag --speed"),
            ("lock --endpoint http://10.1.2.3:1", "only loopback"),
            ("held-leases --endpoint http://127.0.0.1:1", "starts its own"),
            ("handover --rate 5", "leave --rate out"),
            ("lock --payload-bytes 3", "--payload-bytes"),
        ] {
            let fault = read(line).unwrap_err().to_string();
            assert!(fault.contains(part), "{line}: {fault}");
        }
    }
}
