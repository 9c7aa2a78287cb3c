//! Server processes that a run starts itself, and what the kernel knows about them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::redis::connection::RedisConnection;

const START_LIMIT: Duration = Duration::from_secs(60);

/// Processor time of a process since it started, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct CpuTime {
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
}

impl CpuTime {
    /// `pid` may be `self`.
    pub(crate) fn of(pid: &str) -> Result<CpuTime, Fault> {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path)
            .map_err(|error| Fault::Setup(format!("cannot read {path}: {error}; has the server died?")))?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        parse_stat(&text)
            .map(|(user, system)| CpuTime {
                user_us: user as f64 * 1e6 / ticks,
                system_us: system as f64 * 1e6 / ticks,
            })
            .ok_or_else(|| Fault::Setup(format!("{path} has an unknown form: {text:?}")))
    }

    pub(crate) fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime { user_us: self.user_us - earlier.user_us, system_us: self.system_us - earlier.system_us }
    }

    pub(crate) fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

/// User and system ticks. The command name before them may itself contain blanks and brackets.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Processor time of the whole machine since it started, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MachineTime {
    pub(crate) busy_us: f64,
    /// Taken away by the hypervisor for other machines.
    pub(crate) stolen_us: f64,
}

impl MachineTime {
    pub(crate) fn now() -> Result<MachineTime, Fault> {
        let text = fs::read_to_string("/proc/stat")?;
        let scale = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        parse_machine(&text)
            .map(|(busy, stolen)| MachineTime {
                busy_us: busy as f64 * scale,
                stolen_us: stolen as f64 * scale,
            })
            .ok_or_else(|| Fault::Setup("/proc/stat has an unknown form".into()))
    }

    pub(crate) fn since(self, earlier: MachineTime) -> MachineTime {
        MachineTime { busy_us: self.busy_us - earlier.busy_us, stolen_us: self.stolen_us - earlier.stolen_us }
    }
}

/// Ticks of user, nice, system, irq and softirq together, and of steal. Idle and iowait are neither.
fn parse_machine(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let mut ticks = [0; 8];
    for slot in &mut ticks {
        *slot = fields.next()?.parse::<u64>().ok()?;
    }
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks;
    Some((user + nice + system + irq + softirq, steal))
}

/// How a server is asked whether it is ready.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    /// A GET of this path is answered 200.
    Http(&'static str),
    /// Redis' PING.
    Ping,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) endpoint: Endpoint,
    log: PathBuf,
    name: &'static str,
    /// From starting the process to its first answered health check.
    pub(crate) ready_after: Duration,
}

impl ServerProcess {
    /// Starts `command` and waits until it answers a health check at `path`.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        endpoint: Endpoint,
        log: PathBuf,
        health: &Health,
    ) -> Result<ServerProcess, Fault> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| Fault::Setup(format!("cannot write {}: {error}", log.display())))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let child = command.spawn().map_err(|error| {
            Fault::Setup(format!("cannot start {}: {error}", command.get_program().display()))
        })?;
        let mut server = ServerProcess { child, endpoint, log, name, ready_after: Duration::ZERO };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        loop {
            if runtime.block_on(health.probe(&server.endpoint)) {
                server.ready_after = started.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(Fault::Setup(format!(
                    "{name} ended with {status} before it served; its last output:\n{}",
                    server.last_output()
                )));
            }
            if started.elapsed() > START_LIMIT {
                return Err(Fault::Setup(format!(
                    "{name} did not answer {health:?} within {START_LIMIT:?}; its last output:\n{}",
                    server.last_output()
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cpu_time(&self) -> Result<CpuTime, Fault> {
        CpuTime::of(&self.id().to_string())
    }

    pub(crate) fn resident_bytes(&self) -> Result<u64, Fault> {
        let path = format!("/proc/{}/status", self.id());
        let text = fs::read_to_string(&path)
            .map_err(|error| Fault::Setup(format!("cannot read {path}: {error}; has {} died?", self.name)))?;
        parse_resident(&text).ok_or_else(|| Fault::Setup(format!("{path} does not tell VmRSS")))
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn kill(mut self) -> Result<(), Fault> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn last_output(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(2000)..];
        String::from_utf8_lossy(tail).trim_end().to_owned()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Health {
    async fn probe(&self, endpoint: &Endpoint) -> bool {
        let attempt = async {
            match self {
                Health::Http(path) => {
                    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    let mut connection = Connection::open(endpoint).await?;
                    connection.exchange(request.as_bytes()).await.map(|answer| answer.status == 200)
                }
                Health::Ping => {
                    let mut connection = RedisConnection::open(endpoint).await?;
                    connection.push(&[b"PING"])?;
                    connection.send("PING", 1).await.map(|reply| reply == b"+PONG\r\n")
                }
            }
        };
        matches!(tokio::time::timeout(Duration::from_secs(1), attempt).await, Ok(Ok(true)))
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A new directory under `root`, removed when dropped unless it is to be kept.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    keep: bool,
}

impl RunDirectory {
    pub(crate) fn create(root: &Path, keep: bool) -> Result<RunDirectory, Fault> {
        for attempt in 0..10_000 {
            let path = root.join(format!("lockd-bench-{}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(RunDirectory { path, keep }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(Fault::Setup(format!(
                        "cannot create {}: {error}; choose another --root",
                        path.display()
                    )));
                }
            }
        }
        Err(Fault::Setup(format!("no free directory name is left under {}", root.display())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_an_awkward_command_name() {
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 1200 34 0 0 20 0 1";
        assert_eq!(parse_stat(stat), Some((1200, 34)));
        assert_eq!(parse_stat("7 (x) S 1"), None);
    }

    #[test]
    fn busy_and_stolen_time_are_told_from_idle() {
        let stat = "cpu  10 1 20 5000 600 3 4 7 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(parse_machine(stat), Some((38, 7)));
        assert_eq!(parse_machine("intr 1 2 3"), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads: 1\n"), Some(2_097_152));
        assert_eq!(parse_resident("Name:\tx\n"), None);
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_output() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such store; exit 3"]);
        let endpoint = Endpoint::Unix(directory.path().join("none.sock"));
        let fault = ServerProcess::start(
            "lockd",
            command,
            endpoint,
            directory.path().join("log"),
            &Health::Http("/healthz"),
        )
        .unwrap_err()
        .to_string();
        assert!(fault.contains("exit status: 3") && fault.contains("no such store"), "{fault}");
    }
}
