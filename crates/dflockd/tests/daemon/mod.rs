//! The built daemon as a child process, and plain sockets to talk to it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared by several test programs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen; far beyond what any machine needs, so that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) lines: Vec<String>,
    log: BufReader<ChildStderr>,
    /// Leads the clock of the daemon; without it the daemon goes by the time of the machine.
    clock: Option<UnixStream>,
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
    /// A daemon whose clock stands still but for [`Daemon::pass`].
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    pub(crate) fn start_with(flags: &[&str], env: &[(&str, &str)]) -> Self {
        // Only debug builds can be led; a release build goes by the time of the machine, and the test with it.
        if !cfg!(debug_assertions) {
            return Self::spawn(flags, env, None);
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut daemon = Self::spawn(flags, env, Some(theirs));
        daemon.clock = Some(ours);
        daemon
    }

    /// A daemon that goes by the time of the machine.
    pub(crate) fn start_timed(flags: &[&str]) -> Self {
        Self::spawn(flags, &[], None)
    }

    fn spawn(flags: &[&str], env: &[(&str, &str)], clock: Option<UnixStream>) -> Self {
        let mut all = vec!["--port", "0"];
        all.extend(flags);
        let mut command = command(&all, env);
        if let Some(clock) = clock {
            command.stdin(OwnedFd::from(clock)).env("DFLOCKD_TEST_CLOCK", "stdin");
        }
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut daemon = Self { log, child, port: 0, lines: Vec::new(), clock: None };
        let line = daemon.log_line("msg=listening");
        daemon.port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        daemon
    }

    /// Waits until the kernel has delivered what was sent and the ends of what was closed.
    pub(crate) fn delivered(&self) {
        let since = Instant::now();
        loop {
            let patience = match in_flight(self.port) {
                // They may stay for ever, because the daemon does not read.
                Some(InFlight::Bytes) => Duration::from_millis(500),
                Some(InFlight::End) => Duration::from_secs(10),
                None => return,
            };
            if since.elapsed() > patience {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets time pass. Returns when the daemon has done everything that was due, after everything sent before.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.delivered();
        let Some(clock) = &mut self.clock else {
            std::thread::sleep(Duration::from_millis(ms));
            return;
        };
        let _ = clock.write_all(format!("{ms}\n").as_bytes());
        let mut answer = [0; 3];
        match clock.read_exact(&mut answer) {
            Ok(()) => assert_eq!(&answer, b"ok\n"),
            // The daemon ended on the way.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the daemon does not settle: {error}"),
        }
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

enum InFlight {
    Bytes,
    End,
}

/// What the kernel has for this port and has not handed over. (On a busy machine even the loopback takes its time.)
fn in_flight(port: u16) -> Option<InFlight> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let port_of = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let (mut clients, mut served) = (Vec::new(), Vec::new());
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(local), Some(remote)) = (port_of(fields[1]), port_of(fields[2])) else { continue };
        if remote == port && local != port {
            if !fields[4].starts_with("00000000:") {
                return Some(InFlight::Bytes);
            }
            clients.push((local, fields[3] == "01"));
        } else if local == port && fields[3] == "01" {
            served.push(remote);
        }
    }
    served.iter().any(|peer| !clients.contains(&(*peer, true))).then_some(InFlight::End)
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
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have closed already; what it said is what counts.
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// The next line without its LF; None at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut searched = 0;
        loop {
            let found = self.buffer[searched..].iter().position(|&byte| byte == b'\n');
            let found = found.map(|at| searched + at);
            searched = self.buffer.len();
            if let Some(end) = found {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(line[..end].iter().map(|&byte| char::from(byte)).collect());
            }
            let mut chunk = [0; 65536];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                // A process that was stopped and goes on is told so, where a socket has a read timeout.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("no line: {error}"),
            }
        }
    }

    /// A line that has arrived already.
    pub(crate) fn arrived(&mut self) -> Option<String> {
        let mut chunk = [0; 65536];
        self.socket.set_nonblocking(true).unwrap();
        while let Ok(count @ 1..) = self.socket.read(&mut chunk) {
            self.buffer.extend_from_slice(&chunk[..count]);
        }
        self.socket.set_nonblocking(false).unwrap();
        self.buffer.contains(&b'\n').then(|| self.line()).flatten()
    }

    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.line().unwrap_or_else(|| "<end>".into())
    }

    /// Asks for a slot that is free and returns its token.
    pub(crate) fn grant(&mut self, request: &str, lease: u64) -> String {
        self.send(request);
        self.granted(lease)
    }

    /// The token of the grant that the next line tells of.
    pub(crate) fn granted(&mut self, lease: u64) -> String {
        let line = self.line().unwrap_or_else(|| panic!("the connection ended instead of a grant"));
        let fields: Vec<&str> = line.split(' ').collect();
        assert!(fields.len() == 3 && matches!(fields[0], "ok" | "acquired"), "no grant: {line:?}");
        let digits = fields[1].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(fields[1].len() == 32 && digits, "no token: {line:?}");
        assert_eq!(fields[2], lease.to_string(), "{line:?}");
        fields[1].to_owned()
    }

    /// Asserts that the connection still works.
    pub(crate) fn is_open(&mut self) {
        assert_eq!(self.ask("ping\n\n\n"), "ok");
    }

    pub(crate) fn stats(&mut self) -> serde_json::Value {
        let reply = self.ask("stats\n\n\n");
        serde_json::from_str(reply.strip_prefix("ok ").unwrap_or_else(|| panic!("{reply}"))).unwrap()
    }

    /// Waits until so many requests are queued in the whole server.
    pub(crate) fn sees_waiters(&mut self, count: u64) {
        let since = Instant::now();
        loop {
            let stats = self.stats();
            let busy = [&stats["locks"], &stats["semaphores"]];
            let entries = busy.iter().flat_map(|array| array.as_array().unwrap());
            if entries.map(|entry| entry["waiters"].as_u64().unwrap()).sum::<u64>() == count {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "never {count} waiters: {stats}");
            std::thread::yield_now();
        }
    }

    /// Waits until the server counts so many connections.
    pub(crate) fn sees_connections(&mut self, count: u64) {
        let wanted = format!("ok {{\"connections\":{count},");
        until(self, "stats\n\n\n", |reply| reply.starts_with(&wanted));
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
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
        assert!(since.elapsed() < PATIENCE, "{request:?} still answers {reply}");
        std::thread::yield_now();
    }
}
