//! A lockd process to test: found or built, started on a free port with a fresh or a kept store, watched until it
//! listens, and ended by a signal of the test's choice.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{self, Address, Request};
use crate::lease::Client;
use crate::reaper;

/// How long a server may take until it listens. Generous: a busy machine, a debug build.
const START_PATIENCE: Duration = Duration::from_secs(30);
const KEPT_LOG_LINES: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreKind {
    Mem,
    Disk,
}

/// Where a server under test keeps its data. A temporary directory goes away with its last owner.
#[derive(Debug, Clone)]
pub enum Store {
    Mem,
    Disk(Arc<tempfile::TempDir>),
    /// A directory that the test looks after itself.
    At(PathBuf),
}

impl Store {
    pub fn fresh(kind: StoreKind) -> Self {
        match kind {
            StoreKind::Mem => Self::Mem,
            StoreKind::Disk => {
                let directory = tempfile::Builder::new()
                    .prefix("lockd-conformance-")
                    .tempdir()
                    .expect("make a temporary directory for a disk store");
                reaper::sweep(directory.path());
                Self::Disk(Arc::new(directory))
            }
        }
    }

    pub fn kind(&self) -> StoreKind {
        match self {
            Self::Mem => StoreKind::Mem,
            Self::Disk(_) | Self::At(_) => StoreKind::Disk,
        }
    }

    /// The directory of a disk store.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Mem => None,
            Self::Disk(directory) => Some(directory.path().join("store")),
            Self::At(path) => Some(path.clone()),
        }
    }

    pub fn url(&self) -> String {
        match self.path() {
            None => "mem://".to_owned(),
            Some(path) => format!("disk://{}", path.display()),
        }
    }
}

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Launch {
    pub store: Store,
    arguments: Vec<String>,
    listen: String,
    environment: Vec<(String, String)>,
}

impl Launch {
    pub fn on(store: Store) -> Self {
        Self { store, arguments: Vec::new(), listen: "127.0.0.1:0".to_owned(), environment: Vec::new() }
    }

    pub fn fresh(kind: StoreKind) -> Self {
        Self::on(Store::fresh(kind))
    }

    /// Adds command line arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn listen(mut self, address: &str) -> Self {
        self.listen = address.to_owned();
        self
    }

    pub fn unix_socket(self, path: &Path) -> Self {
        self.listen(&path.display().to_string()).with(&["--listen-proto", "unix"])
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        // The environment of whoever runs the tests must not configure the server.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LOCKD_"))
        {
            command.env_remove(name);
        }
        command
            .args(["--store", &self.store.url(), "--disable-mtls", "--disable-storage-encryption"])
            .args(["--listen", &self.listen])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a server and waits until it is ready.
    #[track_caller]
    pub fn start(&self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Starts a server that may refuse to start.
    pub fn try_start(&self) -> Result<Server, StartFailure> {
        let mut command = self.command();
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("start {}: {error}", binary().display()));
        reaper::watch(child.id());
        let log = Log::default();
        let stderr = child.stderr.take().expect("the pipe for stderr");
        let reader = {
            let log = log.clone();
            std::thread::spawn(move || log.collect(stderr))
        };
        let mut server = Server {
            launch: self.clone(),
            child: Some(child),
            status: None,
            log,
            address: None,
            reader: Some(reader),
        };
        let deadline = Instant::now() + START_PATIENCE;
        let listening =
            server.log.wait_for(deadline, |line| line["msg"] == "listening" && line["address"].is_string());
        let address = match listening.as_ref().and_then(|line| line["address"].as_str()) {
            Some(address) => match address.parse::<SocketAddr>() {
                Ok(address) => Address::Tcp(address),
                Err(_) => Address::Unix(PathBuf::from(address)),
            },
            None => {
                // The log ended, or nothing came for too long.
                let status = server.wait_for_exit(Duration::from_secs(5));
                if status.is_none() {
                    server.kill();
                }
                return Err(StartFailure { status, log: server.log.text() });
            }
        };
        server.address = Some(address);
        let ready = || http::call(server.address(), &Request::get("/readyz")).is_ok_and(|r| r.status == 200);
        while !ready() {
            if Instant::now() >= deadline {
                return Err(StartFailure { status: None, log: server.log.text() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

/// A server that ended, or did not listen in time.
#[derive(Debug)]
pub struct StartFailure {
    /// `None` when the process was still there.
    pub status: Option<ExitStatus>,
    pub log: String,
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => {
                write!(f, "the server ended ({status}) instead of listening; its log:\n{}", self.log)
            }
            None => {
                write!(f, "the server did not become ready in {START_PATIENCE:?}; its log:\n{}", self.log)
            }
        }
    }
}

/// What a server wrote on stderr.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<(Mutex<LogLines>, Condvar)>);

#[derive(Debug, Default)]
struct LogLines {
    lines: VecDeque<String>,
    dropped: usize,
    ended: bool,
}

impl Log {
    fn collect(&self, from: impl std::io::Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(read) if read > 0) {
            let mut lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.lines.len() == KEPT_LOG_LINES {
                lines.lines.pop_front();
                lines.dropped += 1;
            }
            lines.lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
            self.0.1.notify_all();
        }
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.1.notify_all();
    }

    /// The first JSON line, past or future, that satisfies the predicate; `None` at the deadline or when the log
    /// has ended.
    pub fn wait_for(&self, deadline: Instant, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut seen = 0;
        let mut lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            for line in lines.lines.iter().skip(seen.max(lines.dropped) - lines.dropped) {
                if let Some(value) = serde_json::from_str::<Value>(line).ok().filter(&wanted) {
                    return Some(value);
                }
            }
            seen = lines.dropped + lines.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn text(&self) -> String {
        let lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    child: Option<Child>,
    status: Option<ExitStatus>,
    pub log: Log,
    address: Option<Address>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn address(&self) -> &Address {
        self.address.as_ref().expect("a started server has an address")
    }

    pub fn client(&self) -> Client {
        Client { address: self.address().clone(), store: self.launch.store.kind() }
    }

    pub fn store(&self) -> &Store {
        &self.launch.store
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the process is running").id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process id");
        let _ = kill_process(pid, signal);
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.wait_for_exit(Duration::ZERO).is_none()
    }

    /// Waits until the process has ended.
    pub fn wait_for_exit(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        while let Some(child) = self.child.as_mut() {
            if let Some(status) = child.try_wait().expect("ask for the state of the server process") {
                reaper::forget(child.id());
                self.child = None;
                self.status = Some(status);
                if let Some(reader) = self.reader.take() {
                    let _ = reader.join();
                }
                break;
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.status
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::KILL);
            self.wait_for_exit(Duration::from_secs(10));
        }
    }

    /// Ends the server with SIGTERM and asserts that it ends cleanly.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        match self.wait_for_exit(Duration::from_secs(20)) {
            Some(status) if status.success() => {}
            Some(status) => {
                panic!("the server ended with {status} after SIGTERM; its log:\n{}", self.log.text())
            }
            None => panic!("the server did not end within 20 s of SIGTERM; its log:\n{}", self.log.text()),
        }
    }

    /// Kills the server (if it still runs) and starts it again on the same store.
    #[track_caller]
    pub fn kill_and_restart(mut self) -> Self {
        self.kill();
        self.launch.start()
    }

    /// The launch that starts this server again.
    pub fn launch(&self) -> Launch {
        self.launch.clone()
    }

    /// A number from `/proc/<pid>/status` in KiB, such as `VmRSS` or `VmHWM`; `None` where there is no such file.
    pub fn memory_kib(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server that all tests of this program share, one for each kind of store.
pub fn shared(kind: StoreKind) -> &'static Server {
    static MEM: OnceLock<Server> = OnceLock::new();
    static DISK: OnceLock<Server> = OnceLock::new();
    let cell = match kind {
        StoreKind::Mem => &MEM,
        StoreKind::Disk => &DISK,
    };
    cell.get_or_init(|| Launch::fresh(kind).start())
}

/// The lockd to test: `LOCKD_BIN`, or the one cargo builds from this workspace, in the profile of the tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("LOCKD_BIN") {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "LOCKD_BIN={} is not a file", path.display());
            path
        }
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--package",
            "lockd",
            "--bin",
            "lockd",
            "--message-format",
            "json-render-diagnostics",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("run cargo to build lockd");
    assert!(output.status.success(), "cargo could not build lockd; set LOCKD_BIN to test another binary");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "lockd")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo did not say where it put lockd")
}
