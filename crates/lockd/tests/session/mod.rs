//! A server of its own and a directory to work in, for tests of the built program from a shell.

#![allow(dead_code, reason = "every test program uses another part of it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A server of its own and a directory to work in.
pub(crate) struct Session {
    server: Child,
    arguments: Vec<String>,
    pub(crate) url: String,
    directory: TempDir,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Session {
    pub(crate) fn tcp() -> Session {
        Session::start(&["--listen", "127.0.0.1:0"])
    }

    pub(crate) fn start(listen: &[&str]) -> Session {
        let memory = ["--store", "mem://"];
        let arguments = memory.iter().chain(listen).map(|text| (*text).to_owned()).collect();
        Session::begin(tempfile::tempdir().unwrap(), arguments)
    }

    /// A server that keeps everything on disk and comes back at the same address.
    pub(crate) fn durable() -> Session {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("disk://{}", directory.path().join("data").display());
        let socket = directory.path().join("socket").display().to_string();
        let arguments =
            ["--store", &store, "--disk-durability", "os", "--listen-proto", "unix", "--listen", &socket];
        let arguments = arguments.map(str::to_owned).to_vec();
        Session::begin(directory, arguments)
    }

    fn begin(directory: TempDir, arguments: Vec<String>) -> Session {
        let (server, url) = Session::serve(&directory, &arguments);
        Session { server, arguments, url, directory }
    }

    fn serve(directory: &TempDir, arguments: &[String]) -> (Child, String) {
        let mut server = Command::new(env!("CARGO_BIN_EXE_lockd"))
            .args(["--disable-mtls", "--disable-storage-encryption", "--drain-grace", "0"])
            .args(arguments)
            .env_clear()
            .env("HOME", directory.path())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server ended before it listened").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["msg"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        // Somebody has to read on, or the server would wait for it.
        std::thread::spawn(move || lines.for_each(drop));
        let url = match address.starts_with('/') {
            true => format!("unix://{address}"),
            false => format!("http://{address}"),
        };
        (server, url)
    }

    /// Ends the server without a warning.
    pub(crate) fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        (self.server, self.url) = Session::serve(&self.directory, &self.arguments);
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a script in a POSIX shell, with `lockd` in its path.
    pub(crate) fn run(&self, script: &str) -> Output {
        self.shell(script).output().unwrap()
    }

    /// A shell that is about to run the script.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let bin = self.path().join("bin");
        if !bin.exists() {
            std::fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lockd"), bin.join("lockd")).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.path())
            .env("TMPDIR", self.path())
            .env("LOCKD_CLIENT_SERVER", &self.url)
            .env("LOCKD_CLIENT_DISABLE_MTLS", "true")
            .current_dir(self.path())
            .stdin(Stdio::null());
        shell
    }

    /// Standard output of a script that must succeed.
    pub(crate) fn out(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(output.status.success(), "{script}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a script that must fail with status 1.
    pub(crate) fn error(&self, script: &str) -> String {
        let output = self.run(script);
        assert_eq!(output.status.code(), Some(1), "{script}\n{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}
