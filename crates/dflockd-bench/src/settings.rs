//! The command line: what to measure, on which server, how long.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::Plan;
use crate::fault::Fault;

pub(crate) const HELP: &str = "\
dflockd-bench: load generator for dflockd

usage: dflockd-bench WORKLOAD [FLAGS]

an operation is an acquire and a release:
  lock          each client on a key of its own
  hot           all clients on one key
  semaphore     --limit slots a key, one key for 8 clients unless --keys says otherwise
  two-phase     enqueue, wait and release, each client on a key of its own
  handover      --clients waiters on one key: release sent -> next grant received
with Redis as the reference:
  redis         SET NX PX, then compare-and-delete by EVALSHA, each client on a key of its own
  floor         lock, on a server that grants everything unread: what one read and one write cost
  compare       redis, floor, lock and hot in turn; ratios
scenes:
  memory        bytes for an idle connection, a blocked waiter, a held key
  leave         500 clients with 200 keys each leave at once while others work
  expiry        --held keys expire and are collected while others work

which server:
  --server-bin PATH   the dflockd to start (default: the one beside dflockd-bench)
  --server-arg ARG    further argument for it (repeatable)
  --redis-bin PATH    default /usr/bin/redis-server

how:
  --clients N         connections (default 64; handover 100; leave, expiry 16)
  --keys N            share so many keys among the clients
  --limit N           slots of a semaphore (default 4)
  --duration SECONDS  measured time of a run (default 5)
  --warmup SECONDS    unmeasured time before it (default 1)
  --rate N            fixed arrivals a second in total; latency counts from the scheduled arrival
                      (leave, expiry: default 2000)
  --runs N            repeat, report the median too (default 3; memory, expiry 1)
  --held N            held keys of memory and expiry (default 1000000)
  --crowd N           connections of memory (default 5000), clients that leave (default 500)
  --json              one JSON document instead of text

A run with any error is marked invalid and makes the exit status 1.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Lock,
    Hot,
    Semaphore,
    TwoPhase,
    Handover,
    Redis,
    Floor,
    Compare,
    Memory,
    Leave,
    Expiry,
    /// What `leave` starts as a process of its own, so that the kernel ends all its connections in one go.
    Crowd,
    /// The process that `floor` measures.
    FloorServer,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) task: Task,
    pub(crate) server_bin: PathBuf,
    pub(crate) server_args: Vec<OsString>,
    pub(crate) redis_bin: PathBuf,
    pub(crate) plan: Plan,
    pub(crate) keys: Option<usize>,
    pub(crate) limit: u32,
    pub(crate) runs: usize,
    pub(crate) held: usize,
    pub(crate) crowd: usize,
    pub(crate) keys_each: usize,
    pub(crate) port: u16,
    pub(crate) json: bool,
}

const MAX_CLIENTS: u64 = 18_000;
const MAX_SECONDS: f64 = 3600.0;

impl Settings {
    /// `None` when only the help was asked for.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Settings>, Fault> {
        use lexopt::prelude::{Long, Short, Value};
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut task, mut clients, mut runs, mut crowd) = (None, None, None, None);
        let mut settings = Settings {
            task: Task::Lock,
            server_bin: std::env::current_exe()?.with_file_name("dflockd"),
            server_args: Vec::new(),
            redis_bin: PathBuf::from("/usr/bin/redis-server"),
            plan: Plan {
                clients: 0,
                warmup: Duration::from_secs(1),
                duration: Duration::from_secs(5),
                rate: None,
            },
            keys: None,
            limit: 4,
            runs: 0,
            held: 1_000_000,
            crowd: 0,
            keys_each: 200,
            port: 0,
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
                // The server runs in a directory of its own.
                "server-bin" => settings.server_bin = std::path::absolute(flag.value()?)?,
                "server-arg" => settings.server_args.push(flag.value()?),
                "redis-bin" => settings.redis_bin = std::path::absolute(flag.value()?)?,
                "clients" => clients = Some(flag.count(1, MAX_CLIENTS)? as usize),
                "keys" => settings.keys = Some(flag.count(1, MAX_CLIENTS)? as usize),
                "limit" => settings.limit = flag.count(1, u64::from(u32::MAX))? as u32,
                "duration" => settings.plan.duration = flag.seconds(0.01)?,
                "warmup" => settings.plan.warmup = flag.seconds(0.0)?,
                "rate" => settings.plan.rate = Some(flag.number(0.01, 10_000_000.0)?),
                "runs" => runs = Some(flag.count(1, 100)? as usize),
                "held" => settings.held = flag.count(1, 5_000_000)? as usize,
                "crowd" => crowd = Some(flag.count(1, MAX_CLIENTS)? as usize),
                "keys-each" => settings.keys_each = flag.count(1, 100_000)? as usize,
                "port" => settings.port = flag.count(1, 65535)? as u16,
                "json" => settings.json = true,
                other => {
                    return Err(Fault::Setup(format!(
                        "unknown flag --{other}; dflockd-bench --help lists them"
                    )));
                }
            }
        }
        settings.task =
            task.ok_or_else(|| Fault::Setup("name a workload; dflockd-bench --help lists them".to_owned()))?;
        let scene = matches!(settings.task, Task::Leave | Task::Expiry);
        settings.plan.clients = clients.unwrap_or(match settings.task {
            Task::Handover => 100,
            _ if scene => 16,
            _ => 64,
        });
        if scene {
            settings.plan.rate.get_or_insert(2000.0);
        }
        settings.crowd = crowd.unwrap_or(if settings.task == Task::Memory { 5000 } else { 500 });
        let once = matches!(settings.task, Task::Memory | Task::Expiry);
        settings.runs = runs.unwrap_or(if once { 1 } else { 3 });
        if settings.plan.rate.is_some() && settings.task == Task::Handover {
            return Err(Fault::Setup("handover has no arrivals of its own; leave --rate out".into()));
        }
        Ok(Some(settings))
    }

    /// How many keys the clients of a workload share.
    pub(crate) fn key_count(&self, task: Task) -> usize {
        self.keys.unwrap_or(match task {
            Task::Hot => 1,
            Task::Semaphore => self.plan.clients.div_ceil(8),
            _ => self.plan.clients,
        })
    }
}

fn parse_task(name: &str) -> Result<Task, Fault> {
    Ok(match name {
        "lock" => Task::Lock,
        "hot" => Task::Hot,
        "semaphore" => Task::Semaphore,
        "two-phase" => Task::TwoPhase,
        "handover" => Task::Handover,
        "redis" => Task::Redis,
        "floor" => Task::Floor,
        "compare" => Task::Compare,
        "memory" => Task::Memory,
        "leave" => Task::Leave,
        "expiry" => Task::Expiry,
        "crowd" => Task::Crowd,
        "floor-server" => Task::FloorServer,
        other => {
            return Err(Fault::Setup(format!("unknown workload {other:?}; dflockd-bench --help lists them")));
        }
    })
}

fn usage(error: lexopt::Error) -> Fault {
    Fault::Setup(error.to_string())
}

struct Flag<'a> {
    name: String,
    parser: &'a mut lexopt::Parser,
}

impl Flag<'_> {
    fn value(&mut self) -> Result<OsString, Fault> {
        self.parser.value().map_err(usage)
    }

    fn text(&mut self) -> Result<String, Fault> {
        Ok(self.value()?.to_string_lossy().into_owned())
    }

    fn wrong(&self, value: &str, wanted: &str) -> Fault {
        Fault::Setup(format!("--{} {value:?} is not {wanted}", self.name))
    }

    fn count(&mut self, least: u64, most: u64) -> Result<u64, Fault> {
        let text = self.text()?;
        match text.parse() {
            Ok(count) if (least..=most).contains(&count) => Ok(count),
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

    fn seconds(&mut self, least: f64) -> Result<Duration, Fault> {
        Ok(Duration::from_secs_f64(self.number(least, MAX_SECONDS)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Option<Settings>, Fault> {
        Settings::read(arguments.iter().map(OsString::from))
    }

    #[test]
    fn defaults_depend_on_the_workload() {
        let hot = read(&["hot"]).unwrap().unwrap();
        assert_eq!((hot.plan.clients, hot.key_count(Task::Hot), hot.runs), (64, 1, 3));
        let leave = read(&["leave", "--crowd", "7"]).unwrap().unwrap();
        assert_eq!((leave.plan.clients, leave.plan.rate, leave.crowd), (16, Some(2000.0), 7));
        assert!(read(&["--help"]).unwrap().is_none());
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, part) in [
            (&["lock", "--clients", "none"][..], "--clients \"none\""),
            (&["nothing"], "unknown workload \"nothing\""),
            (&[], "name a workload"),
            (&["lock", "--fast"], "unknown flag --fast"),
            (&["handover", "--rate", "5"], "leave --rate out"),
        ] {
            let fault = read(arguments).unwrap_err().to_string();
            assert!(fault.contains(part), "{arguments:?}: {fault}");
        }
    }
}
