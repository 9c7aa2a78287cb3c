//! The built daemon as a child process, and a scripted server for what a real one does not do.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "shared by several test programs"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use dflockd_client::{Client, Stats};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The dflockd to test: `DFLOCKD_BIN`, or the one cargo builds from this workspace, in the profile of the tests.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("DFLOCKD_BIN") {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "DFLOCKD_BIN={} is not a file", path.display());
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
        .args(["build", "--package", "dflockd", "--bin", "dflockd"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("run cargo to build dflockd");
    assert!(output.status.success(), "cargo could not build dflockd; set DFLOCKD_BIN to test another binary");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "dflockd")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo did not say where it put dflockd")
}

pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn start(flags: &[&str]) -> Daemon {
        Daemon::start_at(0, flags)
    }

    /// Port 0 lets the system choose; the log says which.
    pub(crate) fn start_at(port: u16, flags: &[&str]) -> Daemon {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DFLOCKD_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["--port", &port.to_string()])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        loop {
            let before = seen.len();
            assert!(log.read_line(&mut seen).unwrap() > 0, "dflockd ended before it listened: {seen}");
            if seen[before..].contains("msg=listening") {
                break;
            }
        }
        let port = seen.trim_end().rsplit(':').next().unwrap().parse().unwrap();
        // Read on, so that the server never writes to a closed pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Daemon { child, port }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address()).unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for the stats until they are as wanted; the test's own time limit is the only bound.
pub(crate) async fn until(client: &Client, wanted: impl Fn(&Stats) -> bool) {
    while !wanted(&client.stats(0).await.unwrap()) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

pub(crate) fn waiters(stats: &Stats, key: &str) -> u64 {
    stats.locks.iter().find(|lock| lock.key == key).map_or(0, |lock| lock.waiters)
}

/// What the scripted server does about a request.
pub(crate) const SILENCE: &str = "";
pub(crate) const HANG_UP: &str = "hang up";

/// Answers requests with the replies of a script, in order over all connections, and remembers them.
pub(crate) struct Mock {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    sockets: Arc<Mutex<Vec<Arc<tokio::sync::Mutex<tokio::net::tcp::OwnedWriteHalf>>>>>,
}

impl Mock {
    pub(crate) async fn start(script: &[&str]) -> Mock {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counter, count) = watch::channel(0);
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Vec<String>>> =
            Arc::new(Mutex::new(script.iter().rev().map(|reply| (*reply).to_owned()).collect()));
        let counter = Arc::new(counter);
        let (all, writers) = (Arc::clone(&seen), Arc::clone(&sockets));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, script, counter) = (Arc::clone(&all), Arc::clone(&script), Arc::clone(&counter));
                let (read, write) = socket.into_split();
                let write = Arc::new(tokio::sync::Mutex::new(write));
                writers.lock().unwrap().push(Arc::clone(&write));
                tokio::spawn(async move {
                    let mut lines = tokio::io::BufReader::new(read);
                    loop {
                        let mut request = String::new();
                        for _ in 0..3 {
                            if lines.read_line(&mut request).await.unwrap_or(0) == 0 {
                                return;
                            }
                        }
                        let reply = script.lock().unwrap().pop().unwrap_or_default();
                        if reply == HANG_UP {
                            let _ = write.lock().await.shutdown().await;
                        } else {
                            let _ = write.lock().await.write_all(reply.as_bytes()).await;
                        }
                        seen.lock().unwrap().push(request);
                        counter.send_modify(|count| *count += 1);
                    }
                });
            }
        });
        Mock { port, seen, count, sockets }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(format!("127.0.0.1:{}", self.port)).unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn requested(&self, count: usize) {
        self.count.clone().wait_for(|seen| *seen >= count).await.unwrap();
    }

    /// Says something unasked on the first connection.
    pub(crate) async fn say(&self, text: &str) {
        let writer = Arc::clone(&self.sockets.lock().unwrap()[0]);
        writer.lock().await.write_all(text.as_bytes()).await.unwrap();
    }
}

/// A plain socket.
pub(crate) async fn dial(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}
