//! The server: one thread that owns the table and every socket. This file is its life: start, the turns of the loop, end.

mod clock;
mod connection;
mod eagerness;
mod exchange;
#[cfg(test)]
mod fairness;
mod listener;
mod stats;
mod status;
mod transport;

use crate::config::Config;
use crate::log::{Level, Log};
use crate::snapshot::{self, Past, SnapshotError};
use crate::table::{Deadlines, Event, Hold, Notice, Rules, SECOND, Slab, Table};
use crate::tls::{self, TlsError};
use clock::Clock;
use connection::{Connection, Phase};
use eagerness::Eagerness;
use listener::{ListenError, Listener};
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LISTENER: Token = Token(usize::MAX);
const METRICS: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);
const CLOCK: Token = Token(usize::MAX - 3);

/// Pieces of each kind of table work, and connections closed, between two looks at the sockets.
const SLICE: u32 = 256;
const CLOSES: usize = 32;
const TIMERS: usize = 256;
/// Log lines a second about single requests and leases; a crowd of them must not cost more than the work itself.
const LINES_PER_SECOND: u32 = 200;
/// What one read takes at most.
const SCRATCH: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("both --tls-cert and --tls-key must be provided together")]
    HalfTls,
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("event loop: {0}")]
    Loop(#[from] io::Error),
}

/// Counters for the metrics page that the table does not know.
#[derive(Clone, Copy, Default, Debug)]
struct Counters {
    requests: [u64; 8],
    malformed: u64,
    auth_failures: u64,
    rejected: u64,
    accepted: u64,
}

pub struct Server {
    config: Config,
    log: Log,
    poll: Poll,
    listener: Option<Listener>,
    metrics: Option<Listener>,
    signals: mio::net::UnixStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    table: Table,
    clock: Clock,
    eagerness: Eagerness,
    now: u64,

    connections: Slab<Connection>,
    timers: Deadlines,
    admitted: u64,
    pages: u64,
    last_id: u64,
    /// Accepted while there was no room. Whether there is room is only known after the next look at the sockets, because
    /// a connection that ended before these were opened may not have been seen yet.
    door: VecDeque<(mio::net::TcpStream, SocketAddr)>,
    /// Admitted connections that have ended and are being cleaned up.
    departing: u64,
    /// Connections with something to do although their socket has nothing new.
    runnable: VecDeque<u32>,
    closing: VecDeque<u32>,
    scratch: Vec<u8>,
    /// Replies to the requests that are being executed.
    replies: Vec<u8>,
    /// The reply to a connection that has waited.
    grant: Vec<u8>,
    counters: Counters,
    lines_left: u32,
    lines_until: u64,
    /// The drain ends then at the latest.
    drain_until: Option<u64>,
    draining: bool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("table", &self.table)
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

/// What the start sets up before there is a server.
struct Parts {
    poll: Poll,
    listener: Listener,
    metrics: Option<Listener>,
    signals: mio::net::UnixStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    clock: Clock,
    past: Past,
}

fn prepare(config: &Config) -> Result<Parts, ServerError> {
    if config.tls_cert.is_some() != config.tls_key.is_some() {
        return Err(ServerError::HalfTls);
    }
    raise_file_limit();
    let mut listener = Listener::bind(&config.host, config.port)?;
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(tls::load(cert, key)?),
        _ => None,
    };
    let mut metrics = config.metrics_addr.as_deref().map(Listener::bind_address).transpose()?;
    let poll = Poll::new()?;
    let registry = poll.registry();
    registry.register(&mut listener.socket, LISTENER, Interest::READABLE)?;
    if let Some(metrics) = &mut metrics {
        registry.register(&mut metrics.socket, METRICS, Interest::READABLE)?;
    }
    let (read, write) = std::os::unix::net::UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    read.set_nonblocking(true)?;
    let mut signals = mio::net::UnixStream::from_std(read);
    registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
    let past = match &config.snapshot_file {
        Some(path) => {
            let past = snapshot::read(path)?;
            snapshot::mark_running(path)?;
            past
        }
        None => Past::None,
    };
    let clock = Clock::start(poll.registry(), CLOCK)?;
    Ok(Parts { poll, listener, metrics, signals, tls, clock, past })
}

/// Many connections need many descriptors; take what the system lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused: then the limit stays what it was, and accepting waits when it is reached.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Random bits for tokens, drawn in blocks.
fn entropy() -> u64 {
    thread_local! {
        static POOL: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        if pool.is_empty() {
            pool.resize(4096, 0);
            while aws_lc_rs::rand::fill(pool).is_err() {
                // The system has no randomness yet; a predictable token would be worse than waiting.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let at = pool.len() - 8;
        let value = pool[at..].iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        pool.truncate(at);
        value
    })
}

impl Server {
    /// Binds, loads certificates, reads the snapshot. On failure the log comes back with the reason.
    pub fn bind(config: Config, mut log: Log) -> Result<Self, Box<(ServerError, Log)>> {
        let parts = match prepare(&config) {
            Ok(parts) => parts,
            Err(error) => return Err(Box::new((error, log))),
        };
        for warning in &config.warnings {
            log.event(Level::Warn, "configuration", &[("detail", warning)]);
        }
        // Counters must also grow over restarts that know nothing of each other.
        let mut first_counter = (unix_now() / 1_000_000) << 20;
        let mut grace_until = 0;
        let mut holds = Vec::new();
        match parts.past {
            Past::None => {}
            Past::Clean { counter, grace, holds: held } => {
                first_counter = first_counter.max(counter);
                grace_until = grace.saturating_sub(unix_now());
                if grace_until > 0 {
                    let seconds = grace_until.div_ceil(SECOND);
                    log.event(
                        Level::Warn,
                        "a run before the last crashed, still granting nothing for a while",
                        &[("seconds", &seconds)],
                    );
                }
                holds = held;
            }
            Past::Crashed => {
                grace_until = config.crash_grace.saturating_mul(SECOND);
                log.event(
                    Level::Warn,
                    "the last run crashed, granting nothing for a while",
                    &[("seconds", &config.crash_grace)],
                );
            }
        }
        let rules = Rules {
            max_locks: config.max_locks,
            max_waiters: config.max_waiters,
            sweep_interval: config.sweep_interval * SECOND,
            gc_interval: config.gc_interval * SECOND,
            gc_max_idle: config.gc_max_idle * SECOND,
            auto_release: config.auto_release,
            grace_until,
            first_counter,
            tell_pruned: config.debug,
        };
        let mut table = Table::new(rules, Box::new(entropy));
        let wall = unix_now();
        let restored = holds.iter().filter(|hold| hold.deadline > wall).count();
        for hold in holds.into_iter().filter(|hold| hold.deadline > wall) {
            table.restore(0, &Hold { deadline: hold.deadline - wall, ..hold });
        }
        if restored > 0 {
            log.event(Level::Info, "held slots restored", &[("count", &restored)]);
        }
        log.event(Level::Info, "listening", &[("addr", &parts.listener.address)]);
        if let Some(metrics) = &parts.metrics {
            log.event(Level::Info, "metrics listening", &[("addr", &metrics.address)]);
        }
        if parts.tls.is_some() {
            log.event(Level::Info, "TLS enabled", &[]);
        }
        log.flush();
        Ok(Self {
            config,
            log,
            poll: parts.poll,
            listener: Some(parts.listener),
            metrics: parts.metrics,
            signals: parts.signals,
            tls: parts.tls,
            table,
            clock: parts.clock,
            eagerness: Eagerness::new(std::thread::available_parallelism().map_or(1, NonZero::get)),
            now: 0,
            connections: Slab::new(),
            timers: Deadlines::default(),
            admitted: 0,
            pages: 0,
            last_id: 0,
            door: VecDeque::new(),
            departing: 0,
            runnable: VecDeque::new(),
            closing: VecDeque::new(),
            scratch: vec![0; SCRATCH],
            replies: Vec::new(),
            grant: Vec::new(),
            counters: Counters::default(),
            lines_left: 0,
            lines_until: 0,
            drain_until: None,
            draining: false,
        })
    }

    /// Serves until a drain has ended.
    pub fn run(mut self) -> Result<(), ServerError> {
        let result = self.turns();
        if let Err(error) = &result {
            self.log.event(Level::Error, "server error", &[("err", error)]);
        }
        result
    }

    fn turns(&mut self) -> Result<(), ServerError> {
        let mut events = Events::with_capacity(256);
        let mut busy = false;
        loop {
            self.now = self.clock.now();
            let timeout = self.patience(busy);
            match self.look(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            self.now = self.clock.now();
            self.clock.looked(events.is_empty());
            self.allow_lines();
            for event in &events {
                match event.token() {
                    LISTENER => self.ready(|server| server.listener.as_mut()),
                    METRICS => self.ready(|server| server.metrics.as_mut()),
                    SIGNALS => self.signalled(),
                    CLOCK => self.clock.told(),
                    Token(slot) => self.wake(slot as u32, event),
                }
            }
            for _ in 0..self.runnable.len() {
                let Some(slot) = self.runnable.pop_front() else { break };
                if let Some(connection) = self.connections.get_mut(slot) {
                    connection.queued = false;
                    self.drive(slot);
                }
            }
            for _ in 0..TIMERS {
                let Some(slot) = self.timers.pop_due(self.now) else { break };
                self.timer(slot);
            }
            busy = self.table.advance(self.now, SLICE);
            self.tell();
            for _ in 0..CLOSES {
                let Some(slot) = self.closing.pop_front() else { break };
                self.close(slot);
            }
            // Last, so that a connection that just ended has made room.
            self.accept();
            self.write_notices();
            self.log.flush();
            if self.draining
                && (self.admitted == 0 || self.drain_until.is_some_and(|until| until <= self.now))
            {
                return self.end();
            }
        }
    }

    /// Waits for events, awake for a moment if that is worth it, then asleep.
    fn look(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return self.poll.poll(events, timeout);
        }
        if let Some(look) = self.eagerness.look() {
            let since = Instant::now();
            let mut took = Duration::ZERO;
            while took < look {
                self.poll.poll(events, Some(Duration::ZERO))?;
                took = since.elapsed();
                if !events.is_empty() {
                    self.eagerness.found(took);
                    return Ok(());
                }
            }
            self.eagerness.missed();
        }
        let since = Instant::now();
        self.poll.poll(events, timeout)?;
        if !events.is_empty() {
            self.eagerness.slept(since.elapsed());
        }
        Ok(())
    }

    /// How long the next look at the sockets may sleep.
    fn patience(&mut self, busy: bool) -> Option<Duration> {
        if busy || !self.runnable.is_empty() || !self.closing.is_empty() || !self.door.is_empty() {
            return Some(Duration::ZERO);
        }
        let accepting = [&self.listener, &self.metrics].into_iter().flatten().filter_map(Listener::resume_at);
        let first = self.timers.first().map(|first| first.0);
        let next = accepting.chain(first).chain(self.table.next_deadline()).chain(self.drain_until).min();
        self.clock.patience(self.now, next)
    }

    fn ready(&mut self, listener: impl Fn(&mut Self) -> Option<&mut Listener>) {
        if let Some(listener) = listener(self) {
            listener.pending = true;
        }
    }

    fn signalled(&mut self) {
        let mut bytes = [0; 64];
        while matches!(io::Read::read(&mut self.signals, &mut bytes), Ok(count) if count > 0) {}
        if self.draining {
            return;
        }
        self.log.event(Level::Info, "shutting down, draining connections", &[]);
        self.draining = true;
        self.listener = None;
        self.door.clear();
        if self.config.shutdown_timeout > 0 {
            self.drain_until =
                Some(self.now.saturating_add(self.config.shutdown_timeout.saturating_mul(SECOND)));
        }
        self.table.drain();
    }

    /// Tells connections what happened to them.
    fn tell(&mut self) {
        while let Some(event) = self.table.next_event() {
            self.tell_one(event);
        }
    }

    fn tell_one(&mut self, event: Event) {
        match event {
            Event::Granted { conn, token, lease } => self.granted(conn, token, lease),
            Event::TimedOut { conn } => self.unblock(conn, b"timeout\n"),
            Event::Interrupted { conn } => self.unblock(conn, b"error\n"),
            Event::Left { conn } => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.left = true;
                    if connection.phase == Phase::Gone {
                        self.closing.push_back(conn);
                    }
                }
            }
        }
    }

    fn close(&mut self, slot: u32) {
        self.timers.remove(slot);
        let Some(connection) = self.connections.remove(slot) else { return };
        if connection.page {
            self.pages -= 1;
            return;
        }
        self.admitted -= 1;
        self.departing -= 1;
        if let Some(listener) = &mut self.listener {
            // A descriptor is free again.
            listener.resume();
        }
        if self.log.enabled(Level::Debug) {
            self.log.event(
                Level::Debug,
                "client closed",
                &[("peer", &connection.peer), ("conn_id", &connection.id)],
            );
        }
    }

    fn end(&mut self) -> Result<(), ServerError> {
        if self.admitted > 0 {
            self.log.event(Level::Warn, "shutdown timeout reached, force-closing connections", &[]);
        }
        while self.table.advance(self.now, u32::MAX) {}
        if let Some(path) = &self.config.snapshot_file {
            let (wall, now) = (unix_now(), self.now);
            let holds = self.table.holds().filter(|hold| hold.deadline > now);
            let dated = holds.map(|hold| Hold { deadline: wall.saturating_add(hold.deadline - now), ..hold });
            let grace = match self.table.grace_left(now) {
                0 => 0,
                left => wall.saturating_add(left),
            };
            snapshot::write(path, self.table.next_counter(), grace, dated)?;
        }
        Ok(())
    }

    fn allow_lines(&mut self) {
        if self.now < self.lines_until {
            return;
        }
        self.lines_until = self.now + SECOND;
        self.lines_left = LINES_PER_SECOND;
        let suppressed = self.table.allow_notices(LINES_PER_SECOND);
        if suppressed > 0 {
            self.log.event(Level::Warn, "log lines about keys suppressed", &[("count", &suppressed)]);
        }
    }

    /// True while lines about single requests are allowed in this second.
    fn may_log(&mut self) -> bool {
        let allowed = self.lines_left > 0;
        self.lines_left = self.lines_left.saturating_sub(1);
        allowed
    }

    fn write_notices(&mut self) {
        if !self.table.has_notices() {
            return;
        }
        for notice in self.table.take_notices() {
            let (level, msg, key, name, conn) = match notice {
                Notice::LeaseExpired { key, conn } => (Level::Warn, "lease expired", key, "conn", conn),
                Notice::EvictedOnAcquire { key, conn } => {
                    (Level::Warn, "evicting expired lease on acquire", key, "conn", conn)
                }
                Notice::RenewRejected { key, conn } => {
                    (Level::Warn, "renew rejected (already expired)", key, "conn", conn)
                }
                Notice::ReleasedOnDisconnect { key, conn } => {
                    (Level::Warn, "disconnect cleanup: releasing", key, "conn_id", conn)
                }
                Notice::Pruned { key } => {
                    let key = String::from_utf8_lossy(&key);
                    self.log.event(Level::Debug, "GC: pruning unused state", &[("key", &key)]);
                    continue;
                }
            };
            self.log.event(level, msg, &[("key", &String::from_utf8_lossy(&key)), (name, &conn)]);
        }
    }
}
