//! Drives a script with many connections on one thread, closed-loop or along a fixed arrival schedule. It does no more than
//! one read and one write for an answer and the next request, so that it leaves the other processor to the server.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bench_kit::measured::{Measured, nanos_between};
use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::fault::Fault;
use crate::script::{OperationLog, Script, Step};

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// Arrivals a second for all clients together; `None` is closed-loop.
    pub(crate) rate: Option<f64>,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
    begun: Instant,
    counts: bool,
    log: OperationLog,
}

const ALARM: u64 = u64::MAX;
const EVENTS: usize = 128;
const DRAIN: Duration = Duration::from_secs(30);
/// A run that gets nothing but errors must not go on until the end of its time.
const MAX_ERRORS: u64 = 1000;

/// Connected clients, to be driven once or more often.
#[derive(Debug)]
pub(crate) struct Engine {
    epoll: OwnedFd,
    /// Wakes at the next scheduled arrival or end of a stage; epoll's own time-out counts whole milliseconds.
    alarm: OwnedFd,
    alarm_at: Option<Instant>,
    connections: Vec<Connection>,
    request: Vec<u8>,
}

pub(crate) fn connect(port: u16) -> Result<TcpStream, Fault> {
    let socket = TcpStream::connect(("127.0.0.1", port)).map_err(|source| Fault::Connect { port, source })?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl Engine {
    pub(crate) fn connect(port: u16, clients: usize) -> Result<Engine, Fault> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &alarm, epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN)?;
        let mut connections = Vec::with_capacity(clients);
        for number in 0..clients {
            let socket = connect(port)?;
            epoll::add(
                &epoll,
                &socket,
                epoll::EventData::new_u64(number as u64),
                epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
            )?;
            let now = Instant::now();
            let (partial, log) = (Vec::new(), OperationLog::begin(now));
            connections.push(Connection { socket, partial, begun: now, counts: false, log });
        }
        Ok(Engine { epoll, alarm, alarm_at: None, connections, request: Vec::with_capacity(1024) })
    }

    /// Runs the plan. `at_window` is called right when the measured window opens and after the last answer.
    pub(crate) fn drive(
        &mut self,
        plan: &Plan,
        script: &mut impl Script,
        mut at_window: impl FnMut(),
    ) -> Result<Measured, Fault> {
        let began = Instant::now();
        let mut run = Run {
            window: began + plan.warmup,
            end: began + plan.warmup + plan.duration,
            began,
            rate: plan.rate,
            arrivals: 0,
            idle: (0..self.connections.len()).map(|client| (client, began)).collect(),
            busy: 0,
            measured: Measured::empty(script.phases().len())?,
        };
        let mut opened = false;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; 16 << 10];
        loop {
            let now = Instant::now();
            if !opened && now >= run.window {
                at_window();
                opened = true;
            }
            let next = self.start_due(&mut run, script, opened)?;
            if run.busy == 0 && next.is_none() && opened {
                break;
            }
            let now = Instant::now();
            if now > run.end + DRAIN {
                run.measured.total.errors += run.busy as u64;
                run.measured.first_error.get_or_insert_with(|| {
                    format!("clients were still waiting for an answer after {DRAIN:?}")
                });
                break;
            }
            let boundary = if !opened {
                run.window
            } else if now < run.end {
                run.end
            } else {
                run.end + DRAIN + Duration::from_millis(1)
            };
            self.set_alarm(next.map_or(boundary, |next| next.min(boundary)), now)?;
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            for event in &events {
                let data = event.data;
                match data.u64() {
                    ALARM => {
                        // Whether it rang once or twice does not matter.
                        let mut rings = [0; 8];
                        let _ = rustix::io::read(&self.alarm, &mut rings);
                        self.alarm_at = None;
                    }
                    client => self.receive(client as usize, &mut buffer, &mut run, script)?,
                }
            }
        }
        at_window();
        Ok(run.measured)
    }

    /// Starts what is due, and tells when the next arrival is if a client is free for it.
    fn start_due(
        &mut self,
        run: &mut Run,
        script: &mut impl Script,
        opened: bool,
    ) -> Result<Option<Instant>, Fault> {
        loop {
            let now = Instant::now();
            let ended = run.measured.total.errors >= MAX_ERRORS;
            let Some(rate) = run.rate else {
                if ended || now >= run.end {
                    return Ok(None);
                }
                let Some((client, _)) = run.idle.pop_front() else { return Ok(None) };
                self.begin(client, now, opened, run, script)?;
                continue;
            };
            let due = run.began + Duration::from_secs_f64(run.arrivals as f64 / rate);
            if ended || due >= run.end {
                return Ok(None);
            }
            if now > run.end + DRAIN / 3 {
                run.measured.unsent += 1;
                run.arrivals += 1;
                continue;
            }
            let Some(&(client, idle_since)) = run.idle.front() else { return Ok(None) };
            if now < due {
                return Ok(Some(due));
            }
            run.idle.pop_front();
            run.arrivals += 1;
            let counts = due >= run.window;
            if counts && idle_since <= due {
                run.measured.lateness.record(nanos_between(due, now));
            }
            self.begin(client, due, counts, run, script)?;
        }
    }

    fn begin(
        &mut self,
        client: usize,
        begun: Instant,
        counts: bool,
        run: &mut Run,
        script: &mut impl Script,
    ) -> Result<(), Fault> {
        run.busy += 1;
        let connection = &mut self.connections[client];
        (connection.begun, connection.counts) = (begun, counts);
        connection.log = OperationLog::begin(begun);
        self.request.clear();
        script.begin(client, &mut self.request);
        connection.socket.write_all(&self.request)?;
        Ok(())
    }

    fn receive(
        &mut self,
        client: usize,
        buffer: &mut [u8],
        run: &mut Run,
        script: &mut impl Script,
    ) -> Result<(), Fault> {
        let connection = &mut self.connections[client];
        let count = connection.socket.read(buffer)?;
        if count == 0 {
            return Err(Fault::Closed);
        }
        let mut rest = &buffer[..count];
        let now = Instant::now();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, more) = (&rest[..end], &rest[end + 1..]);
            rest = more;
            let whole;
            let line = if connection.partial.is_empty() {
                line
            } else {
                connection.partial.extend_from_slice(line);
                whole = std::mem::take(&mut connection.partial);
                &whole
            };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.request.clear();
            connection.log.requests += 1;
            match script.answer(client, line, now, &mut connection.log, &mut self.request) {
                Ok(Step::Asked) => {
                    connection.log.sent = Instant::now();
                    connection.socket.write_all(&self.request)?;
                    continue;
                }
                Ok(Step::Done) if connection.counts => {
                    let log = &connection.log;
                    run.measured.finish_operation(&log.nanos, log.requests, connection.begun, run.window);
                }
                Ok(Step::Done) => {}
                // Errors count in the warm-up too: a server that fails then is not fit to be measured.
                Err(fault) => {
                    let phase = connection.log.nanos.iter().flatten().count().saturating_sub(1);
                    run.measured.count_error(phase, &fault);
                }
            }
            run.busy -= 1;
            run.idle.push_back((client, now));
        }
        connection.partial.extend_from_slice(rest);
        Ok(())
    }

    fn set_alarm(&mut self, at: Instant, now: Instant) -> Result<(), Fault> {
        if self.alarm_at == Some(at) {
            return Ok(());
        }
        self.alarm_at = Some(at);
        // Zero would switch it off.
        let wait = at.saturating_duration_since(now).max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) },
        };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

/// Where a run is.
#[derive(Debug)]
struct Run {
    began: Instant,
    window: Instant,
    end: Instant,
    rate: Option<f64>,
    arrivals: u64,
    /// Clients without an operation, and since when; the one that has waited longest is next.
    idle: VecDeque<(usize, Instant)>,
    busy: usize,
    measured: Measured,
}
