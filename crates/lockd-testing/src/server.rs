//! A lockd process for one test: started on a free port or a unix socket with a store of its own, killed and restarted at
//! will, gone when it is dropped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::guard::Guard;
use crate::waiting::on_a_thread;
use crate::{ChaosProxyBuilder, Endpoint, Error, Log, probe, show};

/// Generous: a busy machine, a debug build, a store that has to be recovered.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The server gives itself 5 s (see [`TestServerBuilder::start`]); longer means that it hangs.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often to look whether a process has ended or answers; nothing tells us.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where a test server keeps its data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Store {
    #[default]
    Mem,
    Disk,
    Url(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Listen {
    #[default]
    FreePort,
    Unix,
    At(Endpoint),
}

/// How to start a [`TestServer`]. Made by [`TestServer::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing runs before start()"]
pub struct TestServerBuilder {
    store: Store,
    listen: Listen,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    binary: Option<PathBuf>,
    ready_within: Duration,
}

impl TestServerBuilder {
    /// Keeps data in memory: the fastest, and empty after a restart. This is the default.
    pub fn mem(mut self) -> Self {
        self.store = Store::Mem;
        self
    }

    /// Keeps data in a temporary directory of its own, which lasts over restarts and goes away with the server.
    pub fn disk(mut self) -> Self {
        self.store = Store::Disk;
        self
    }

    /// Keeps data in this directory, which is not removed.
    pub fn disk_at(self, directory: impl AsRef<Path>) -> Self {
        let url = format!("disk://{}", directory.as_ref().display());
        self.store_url(url)
    }

    /// Any other store that `lockd --store` takes.
    pub fn store_url(mut self, url: impl Into<String>) -> Self {
        self.store = Store::Url(url.into());
        self
    }

    /// Listens on a unix socket in a temporary directory instead of a free port of 127.0.0.1.
    pub fn unix_socket(mut self) -> Self {
        self.listen = Listen::Unix;
        self
    }

    /// Listens exactly there.
    pub fn listen(mut self, endpoint: impl Into<Endpoint>) -> Self {
        self.listen = Listen::At(endpoint.into());
        self
    }

    /// Adds an argument of the command line, such as `--json-max=1MiB`. A later one wins over an earlier one and over
    /// what the test server sets itself.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable for the server. Variables `LOCKD_…` of the test program do not reach it otherwise.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The program to start; without it [`lockd_binary`](crate::lockd_binary) finds one.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// How long the server may take until it is ready: 30 s unless told otherwise.
    pub fn ready_within(mut self, patience: Duration) -> Self {
        self.ready_within = patience;
        self
    }

    /// Starts the server and waits until it is ready.
    ///
    /// It serves plain HTTP without encryption at rest, reads no configuration file, and drains for at most 4 of 5 seconds
    /// when it is stopped.
    pub fn start(self) -> Result<TestServer, Error> {
        let home = tempfile::Builder::new()
            .prefix("lockd-testing-")
            .tempdir()
            .map_err(Error::io("make a temporary directory for a test server"))?;
        let program = match &self.binary {
            Some(path) => path.clone(),
            None => crate::lockd_binary()?,
        };
        let listen = match &self.listen {
            Listen::FreePort => Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
            Listen::Unix => Endpoint::Unix(home.path().join("lockd.sock")),
            Listen::At(endpoint) => endpoint.clone(),
        };
        let guard = Guard::over(home.path());
        let setup = Setup { program, with: self, home: home.path().to_owned(), log: Log::default() };
        let mut process = Process { running: None, guard };
        let endpoint = setup.launch(&mut process, &listen)?;
        let process = Mutex::new(process);
        Ok(TestServer { inner: Arc::new(Inner { setup, endpoint, process, _home: home }) })
    }

    /// [`start`](Self::start) for callers in async code: the waiting does not hold up other tasks.
    pub async fn start_async(self) -> Result<TestServer, Error> {
        on_a_thread(move || self.start()).await?
    }
}

/// A running lockd with a store of its own, for tests. Clones are the same server; when the last one is dropped, the process
/// is killed and its temporary files are removed (also when the test program is killed, or keeps the server in a static).
///
/// If the last one is dropped because the test fails, the log of the server is printed with the output of the test.
///
/// ```
/// use lockd_testing::TestServer;
///
/// let server = TestServer::start()?;
/// // Give server.url() to your client: http://127.0.0.1:…
/// assert!(server.is_ready());
/// # Ok::<(), lockd_testing::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TestServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    setup: Setup,
    endpoint: Endpoint,
    process: Mutex<Process>,
    // Removed after the process is gone: fields are dropped behind `drop`.
    _home: tempfile::TempDir,
}

impl TestServer {
    /// A server in memory on a free port of 127.0.0.1. For anything else use [`builder`](Self::builder).
    pub fn start() -> Result<TestServer, Error> {
        Self::builder().start()
    }

    /// [`start`](Self::start) in async code.
    pub async fn start_async() -> Result<TestServer, Error> {
        Self::builder().start_async().await
    }

    /// A server of your choice.
    ///
    /// ```
    /// let server = lockd_testing::TestServer::builder().disk().unix_socket().arg("--json-max=1MiB").start()?;
    /// assert!(server.url().starts_with("unix:///"));
    /// # Ok::<(), lockd_testing::Error>(())
    /// ```
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder {
            store: Store::default(),
            listen: Listen::default(),
            arguments: Vec::new(),
            environment: Vec::new(),
            binary: None,
            ready_within: READY_WITHIN,
        }
    }

    /// Where the server listens: the same after every restart.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// [`endpoint`](Self::endpoint) as clients take it: `http://127.0.0.1:…` or `unix:///…`.
    pub fn url(&self) -> String {
        self.inner.endpoint.to_string()
    }

    /// A [chaos proxy](crate::ChaosProxy) in front of this server, yet to be started.
    pub fn proxy(&self) -> ChaosProxyBuilder {
        crate::ChaosProxy::to(self.endpoint())
    }

    /// What the server has logged, restarts included.
    pub fn log(&self) -> &Log {
        &self.inner.setup.log
    }

    /// The number of the process; `None` after it was stopped or killed.
    pub fn pid(&self) -> Option<u32> {
        self.inner.lock().running.as_ref().map(|running| running.child.id())
    }

    /// Whether the process is there. One that has crashed is not.
    pub fn is_running(&self) -> bool {
        self.inner.lock().is_running()
    }

    /// Whether the server says that it serves.
    pub fn is_ready(&self) -> bool {
        probe::status(self.endpoint(), "/readyz").is_ok_and(|status| status == 200)
    }

    /// `kill -9`: a crash. No drain, no farewell; leases stay held in a disk store. Does nothing to a dead server.
    pub fn kill(&self) {
        self.inner.lock().kill();
    }

    /// SIGTERM: the server drains and ends. Returns how it ended.
    pub fn stop(&self) -> Result<ExitStatus, Error> {
        self.inner.stop()
    }

    /// [`stop`](Self::stop) in async code.
    pub async fn stop_async(&self) -> Result<ExitStatus, Error> {
        let inner = self.inner.clone();
        on_a_thread(move || inner.stop()).await?
    }

    /// Starts the server again on the same endpoint and store, after a `kill -9` if it still runs.
    ///
    /// ```
    /// let server = lockd_testing::TestServer::builder().disk().start()?;
    /// let before = server.url();
    /// server.restart()?;
    /// assert!(server.is_ready() && server.url() == before);
    /// # Ok::<(), lockd_testing::Error>(())
    /// ```
    pub fn restart(&self) -> Result<(), Error> {
        self.inner.restart()
    }

    /// [`restart`](Self::restart) in async code.
    pub async fn restart_async(&self) -> Result<(), Error> {
        let inner = self.inner.clone();
        on_a_thread(move || inner.restart()).await?
    }

    /// Freezes the process (SIGSTOP): connections are accepted by the kernel, and nobody answers.
    pub fn freeze(&self) -> Result<(), Error> {
        self.inner.lock().signal(Signal::STOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self) -> Result<(), Error> {
        self.inner.lock().signal(Signal::CONT)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) -> Result<ExitStatus, Error> {
        let mut process = self.lock();
        process.signal(Signal::TERM)?;
        // A frozen process would not hear it.
        process.signal(Signal::CONT)?;
        if let Some(status) = process.wait(STOP_WITHIN)? {
            return Ok(status);
        }
        process.kill();
        Err(Error::WouldNotStop { patience: STOP_WITHIN, log: self.setup.log.text() })
    }

    fn restart(&self) -> Result<(), Error> {
        let mut process = self.lock();
        process.kill();
        let deadline = Instant::now() + self.setup.with.ready_within;
        loop {
            match self.setup.launch(&mut process, &self.endpoint) {
                // While nobody listened there, the kernel may have lent the port to a connection of somebody else.
                Err(Error::Ended { log, .. }) if log.contains("in use") && Instant::now() < deadline => {
                    std::thread::sleep(LOOK_EVERY);
                }
                launched => return launched.map(drop),
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        process.kill();
        process.guard.dismiss();
        if std::thread::panicking() {
            show(&format!("log of lockd at {}:\n{}", self.endpoint, self.setup.log.text()));
        }
    }
}

/// All that is needed to start the process, again and again.
#[derive(Debug)]
struct Setup {
    program: PathBuf,
    with: TestServerBuilder,
    home: PathBuf,
    log: Log,
}

impl Setup {
    fn command(&self, listen: &Endpoint) -> Command {
        let mut command = Command::new(&self.program);
        // Whoever runs the tests may have configured a lockd of their own.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LOCKD_"))
        {
            command.env_remove(name);
        }
        let store = match &self.with.store {
            Store::Mem => "mem://".to_owned(),
            Store::Disk => format!("disk://{}", self.home.join("store").display()),
            Store::Url(url) => url.clone(),
        };
        command
            .env("LOCKD_CONFIG_DIR", &self.home)
            .args(["--store", &store, "--disable-mtls", "--disable-storage-encryption"])
            .args(["--drain-grace", "4s", "--shutdown-timeout", "5s"]);
        match listen {
            Endpoint::Tcp(address) => command.args(["--listen", &address.to_string()]),
            Endpoint::Unix(path) => command.args(["--listen-proto", "unix", "--listen"]).arg(path),
        };
        command
            .args(&self.with.arguments)
            .envs(self.with.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the process and waits until it is ready. If that fails, no process is left.
    fn launch(&self, process: &mut Process, listen: &Endpoint) -> Result<Endpoint, Error> {
        let from = self.log.position();
        let mut child =
            self.command(listen).spawn().map_err(Error::io(format!("start {}", self.program.display())))?;
        process.guard.watch(child.id());
        let log = self.log.clone();
        let reader = child.stderr.take().map(|stderr| std::thread::spawn(move || log.collect(stderr)));
        process.running = Some(Running { child, reader });
        let ready = self.wait_until_ready(process, from);
        if ready.is_err() {
            process.kill();
        }
        ready
    }

    fn wait_until_ready(&self, process: &mut Process, from: usize) -> Result<Endpoint, Error> {
        let deadline = Instant::now() + self.with.ready_within;
        let mut endpoint = None;
        loop {
            if endpoint.is_none() {
                let soon = deadline.min(Instant::now() + LOOK_EVERY);
                let line = self.log.wait_from(from, soon, |line| listening(line).is_some());
                endpoint = line.as_deref().and_then(listening);
            }
            if let Some(endpoint) = &endpoint {
                if probe::status(endpoint, "/readyz").is_ok_and(|status| status == 200) {
                    return Ok(endpoint.clone());
                }
                std::thread::sleep(LOOK_EVERY);
            }
            if let Some(status) = process.wait(Duration::ZERO)? {
                return Err(Error::Ended { status, log: self.log.text_from(from) });
            }
            if Instant::now() >= deadline {
                let patience = self.with.ready_within;
                return Err(Error::NotReady { patience, log: self.log.text_from(from) });
            }
        }
    }
}

/// Where the server listens, if this line of its log says so.
fn listening(line: &str) -> Option<Endpoint> {
    let line = serde_json::from_str::<serde_json::Value>(line).ok()?;
    if line["msg"] != "listening" {
        return None;
    }
    line["address"].as_str()?.parse().ok()
}

#[derive(Debug)]
struct Process {
    running: Option<Running>,
    guard: Guard,
}

#[derive(Debug)]
struct Running {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    fn is_running(&mut self) -> bool {
        // Not being able to ask says nothing about the process.
        let ended = matches!(self.wait(Duration::ZERO), Ok(Some(_)));
        !ended && self.running.is_some()
    }

    /// Waits until the process has ended; `None` if it has not.
    fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let running = self.running.as_mut().ok_or(Error::NotRunning)?;
            let status = running.child.try_wait().map_err(Error::io("ask for the state of lockd"))?;
            if status.is_some() {
                self.ended();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        let running = self.running.as_ref().ok_or(Error::NotRunning)?;
        // The process may be dead, but its number is ours until it is waited for.
        let pid = i32::try_from(running.child.id()).ok().and_then(Pid::from_raw).ok_or(Error::NotRunning)?;
        kill_process(pid, signal).map_err(|error| Error::io("send a signal to lockd")(error.into()))
    }

    fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
            self.ended();
        }
    }

    fn ended(&mut self) {
        self.guard.forget();
        if let Some(reader) = self.running.take().and_then(|running| running.reader) {
            // The pipe has no other writer, so that the thread sees its end.
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_that_says_listening_tells_the_address() {
        let line = r#"{"lvl":"info","msg":"listening","network":"tcp","address":"127.0.0.1:4"}"#;
        assert_eq!(listening(line), "127.0.0.1:4".parse().ok());
        assert_eq!(listening(r#"{"msg":"other","address":"127.0.0.1:4"}"#), None);
        assert_eq!(listening(r#"{"msg":"listening","address":"elsewhere"}"#), None);
        assert_eq!(listening("not JSON"), None);
    }
}
