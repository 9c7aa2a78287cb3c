//! The built daemon as a child process, and plain sockets to talk to it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared by several test programs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) lines: Vec<String>,
    log: BufReader<ChildStderr>,
}

pub(crate) fn command(flags: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dflockd"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DFLOCKD_")) {
        command.env_remove(name);
    }
    command.args(flags).envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Daemon {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    pub(crate) fn start_with(flags: &[&str], env: &[(&str, &str)]) -> Self {
        let mut all = vec!["--port", "0"];
        all.extend(flags);
        let mut child = command(&all, env).spawn().unwrap();
        let mut daemon =
            Self { log: BufReader::new(child.stderr.take().unwrap()), child, port: 0, lines: Vec::new() };
        let line = daemon.log_line("msg=listening");
        daemon.port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        daemon
    }

    /// Reads the log up to a line with this text.
    pub(crate) fn log_line(&mut self, wanted: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "the log ended without {wanted:?}: {:?}",
                self.lines
            );
            self.lines.push(line.clone());
            if line.contains(wanted) {
                return line;
            }
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have closed already; what it said is what counts.
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// The next line without its LF; None at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(line[..end].iter().map(|&byte| char::from(byte)).collect());
            }
            let mut chunk = [0; 65536];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no line: {error}"),
            }
        }
    }

    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.line().unwrap_or_else(|| "<end>".into())
    }

    /// Asks and returns the token of the grant.
    pub(crate) fn token(&mut self, request: &str) -> String {
        let reply = self.ask(request);
        let mut fields = reply.split(' ');
        assert!(matches!(fields.next(), Some("ok" | "acquired")), "{request:?} -> {reply}");
        fields.next().unwrap().to_owned()
    }

    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some(line) = self.line() {
            text.push_str(&line);
            text.push('\n');
        }
        text.extend(self.buffer.drain(..).map(char::from));
        text
    }
}

/// Asks again and again until the reply is as wanted: for what the server does in its own time.
pub(crate) fn until(client: &mut Client, request: &str, wanted: impl Fn(&str) -> bool) -> String {
    let since = Instant::now();
    loop {
        let reply = client.ask(request);
        if wanted(&reply) {
            return reply;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{request:?} still answers {reply}");
        std::thread::yield_now();
    }
}
