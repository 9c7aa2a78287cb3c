//! Servers that a run starts itself: the lock daemon, and Redis as the reference.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_kit::clocks::resident_bytes;
use tempfile::TempDir;

use crate::fault::Fault;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    metrics_port: Option<u16>,
    // Dropped last: the server writes there.
    _directory: TempDir,
}

impl Server {
    /// Starts dflockd with room for as many keys as anybody measures.
    pub(crate) fn dflockd(binary: &Path, arguments: &[OsString]) -> Result<Server, Fault> {
        let (port, metrics_port) = (free_port()?, free_port()?);
        let mut command = Command::new(binary);
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--max-locks", "10000000"])
            .args(["--metrics-addr", &format!("127.0.0.1:{metrics_port}")])
            .args(arguments);
        Server::start(command, port, Some(metrics_port))
    }

    /// Starts Redis without persistence; everything else is its default.
    pub(crate) fn redis(binary: &Path) -> Result<Server, Fault> {
        let port = free_port()?;
        let mut command = Command::new(binary);
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        Server::start(command, port, None)
    }

    /// Starts what `floor` measures.
    pub(crate) fn floor() -> Result<Server, Fault> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor-server", "--port", &port.to_string()]);
        Server::start(command, port, None)
    }

    fn start(mut command: Command, port: u16, metrics_port: Option<u16>) -> Result<Server, Fault> {
        let directory = tempfile::tempdir()?;
        let log_path = directory.path().join("log");
        let log = File::create(&log_path)?;
        // The user's own DFLOCKD_* variables must not colour the figures.
        command.env_clear().current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| {
            Fault::Setup(format!("cannot start {}: {error}", command.get_program().display()))
        })?;
        let mut server = Server { child, port, metrics_port, _directory: directory };
        let started = Instant::now();
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            let ended = server.child.try_wait()?;
            if ended.is_some() || started.elapsed() > START_LIMIT {
                let why =
                    ended.map_or_else(|| "did not serve".to_owned(), |status| format!("ended with {status}"));
                let log = std::fs::read(&log_path).unwrap_or_default();
                let tail =
                    String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).trim_end().to_owned();
                return Err(Fault::Setup(format!(
                    "{} {why}; its last output:\n{tail}",
                    command.get_program().display()
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, once it has stopped moving.
    pub(crate) fn settled_bytes(&self) -> Result<u64, Fault> {
        let mut last = resident_bytes(self.pid())?;
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(100));
            let now = resident_bytes(self.pid())?;
            if now.abs_diff(last) < 64 << 10 {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    /// A gauge or counter from the metrics page of dflockd.
    pub(crate) fn metric(&self, name: &str) -> Result<u64, Fault> {
        let Some(port) = self.metrics_port else {
            return Err(Fault::Setup("this server has no metrics".into()));
        };
        let mut socket =
            TcpStream::connect(("127.0.0.1", port)).map_err(|source| Fault::Connect { port, source })?;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut page = String::new();
        socket.read_to_string(&mut page)?;
        page.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .ok_or_else(|| Fault::Setup(format!("the metrics page does not tell {name}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that was free a moment ago.
fn free_port() -> Result<u16, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_reported() {
        let fault = Server::dflockd(Path::new("/bin/false"), &[]).unwrap_err().to_string();
        assert!(fault.contains("exit status: 1"), "{fault}");
        let fault = Server::redis(Path::new("/nonexistent/redis")).unwrap_err().to_string();
        assert!(fault.contains("cannot start /nonexistent/redis"), "{fault}");
    }
}
