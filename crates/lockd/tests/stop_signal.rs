//! Stopping by signal, in a process of its own: this test starts itself once more to be that process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what the tests share is part of the tests")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use lockd::signals::StopSignal;
use rustix::process::{Pid, Signal, kill_process};

/// Set in the child.
const ROLE: &str = "LOCKD_TEST_STOP_SIGNAL_CHILD";

/// Not a test of its own: what the child does. It reports every step and hangs after the first signal, though
/// not for ever, lest a failing test leave it behind.
#[test]
fn child() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut signal = StopSignal::install().unwrap();
        println!("\nready");
        println!("stopped by {}", signal.first().await);
        std::thread::sleep(std::time::Duration::from_secs(20));
    });
}

struct Process {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Process {
    fn start() -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(ROLE, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        Process { child, lines: Box::new(lines) }
    }

    fn await_line(&mut self, text: &str) {
        assert!(self.lines.any(|line| line == text), "the child ended without saying {text:?}");
    }

    fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_signal_asks_and_the_second_ends_even_a_process_that_hangs() {
    for (first, name, second, code) in [
        (Signal::TERM, "SIGTERM", Signal::TERM, 143),
        (Signal::INT, "SIGINT", Signal::TERM, 143),
        (Signal::TERM, "SIGTERM", Signal::INT, 130),
    ] {
        let mut process = Process::start();
        process.await_line("ready");
        process.kill(first);
        process.await_line(&format!("stopped by {name}"));
        assert_eq!(process.child.try_wait().unwrap(), None, "the first signal must not end the process");
        process.kill(second);
        let status = process.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(code), None));
    }
}
