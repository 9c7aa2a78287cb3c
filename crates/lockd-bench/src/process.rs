//! Server processes that a run starts itself, and what the kernel knows about them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_kit::clocks::{CpuTime, resident_bytes};

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::redis::connection::RedisConnection;

const START_LIMIT: Duration = Duration::from_secs(60);

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
        let mut server = ServerProcess { child, endpoint, log, ready_after: Duration::ZERO };
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
        Ok(CpuTime::of(&self.id().to_string())?)
    }

    pub(crate) fn resident_bytes(&self) -> Result<u64, Fault> {
        Ok(resident_bytes(self.id())?)
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
