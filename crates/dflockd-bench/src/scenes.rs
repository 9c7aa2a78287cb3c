//! What load alone does not show: memory, a crowd that leaves, keys that expire and are collected while others work.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_kit::clocks::Reading;
use bench_kit::measured::Measured;
use bench_kit::report::{Disturbance, Output};
use bench_kit::statistics::{Figures, duration_text};
use serde::Serialize;

use crate::crowd;
use crate::engine::{Engine, Plan, connect};
use crate::fault::Fault;
use crate::script::{Pairs, Way};
use crate::server::Server;
use crate::session::host;
use crate::settings::Settings;

#[derive(Debug, Serialize)]
struct Memory {
    connections: usize,
    held: usize,
    start_bytes: u64,
    bytes_per_idle_connection: f64,
    bytes_per_blocked_waiter: f64,
    bytes_per_held_key: f64,
}

/// Growth of the resident memory of new servers, divided by what it is for.
pub(crate) fn memory(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = host();
    output.line(&host.line())?;
    let growth = |count: usize, occupy: &dyn Fn(&Server) -> Result<Vec<std::net::TcpStream>, Fault>| {
        let server = quiet_server(settings, &[])?;
        // Buffers that any use at all needs.
        let used = crowd::idle(server.port, 64)?;
        crowd::hold(&used[0], "used", 1000, 1)?;
        drop(used);
        let before = server.settled_bytes()?;
        let sockets = occupy(&server)?;
        let after = server.settled_bytes()?;
        drop(sockets);
        let each = after.saturating_sub(before) as f64 / count as f64;
        Ok::<_, Fault>((before, each))
    };
    let count = settings.crowd;
    let (start_bytes, idle) = growth(count, &|server| crowd::idle(server.port, count))?;
    output.line(&format!("idle connections: {count}, {idle:.0} B each"))?;
    let (_, blocked) = growth(count, &|server| {
        let mut sockets = vec![connect(server.port)?];
        crowd::hold(&sockets[0], "busy", 1, 3600)?;
        sockets.extend(crowd::waiting(server.port, "busy/00000000", count)?);
        until(server, "dflockd_waiters ", count as u64)?;
        Ok(sockets)
    })?;
    output.line(&format!("blocked waiters: {count}, {blocked:.0} B each, the connection included"))?;
    let (_, held) = growth(settings.held, &|server| holders(server, settings.held, 3600))?;
    output.line(&format!("held keys: {}, {held:.0} B each; the start: {start_bytes} B", settings.held))?;
    let result = Memory {
        connections: count,
        held: settings.held,
        start_bytes,
        bytes_per_idle_connection: idle,
        bytes_per_blocked_waiter: blocked,
        bytes_per_held_key: held,
    };
    output.document(&host, true, &result)?;
    Ok(true)
}

/// A server that does not end silent connections.
fn quiet_server(settings: &Settings, more: &[&str]) -> Result<Server, Fault> {
    let mut arguments = settings.server_args.clone();
    arguments.extend(["--read-timeout", "3600"].iter().chain(more).map(Into::into));
    Server::dflockd(&settings.server_bin, &arguments)
}

fn holders(server: &Server, keys: usize, lease: u64) -> Result<Vec<std::net::TcpStream>, Fault> {
    const CONNECTIONS: usize = 16;
    let end = Instant::now() + Duration::from_secs(lease);
    let mut sockets = Vec::new();
    for number in 0..CONNECTIONS {
        let socket = connect(server.port)?;
        let share = keys * (number + 1) / CONNECTIONS - keys * number / CONNECTIONS;
        // Whole seconds, so that all end within one second.
        let left = end.saturating_duration_since(Instant::now()).as_secs() + 1;
        crowd::hold(&socket, &format!("held/{number:02}"), share, left)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Waits until a metric has a value. Not for moments at which latencies count.
fn until(server: &Server, metric: &str, wanted: u64) -> Result<(), Fault> {
    let since = Instant::now();
    loop {
        let value = server.metric(metric)?;
        if value == wanted {
            return Ok(());
        }
        if since.elapsed() > Duration::from_secs(30) {
            return Err(Fault::Setup(format!("{metric}is {value} and does not become {wanted}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Latencies of the others in one span, and how late the generator's own timer was meanwhile.
#[derive(Clone, Debug, Serialize)]
struct Others {
    during: &'static str,
    pairs: Figures,
    generator_late_max_us: f64,
    unsent: u64,
    first_error: Option<String>,
    disturbance: Option<Disturbance>,
}

impl Others {
    fn of(during: &'static str, plan: &Plan, measured: Measured, disturbance: Option<Disturbance>) -> Others {
        Others {
            during,
            pairs: measured.total.figures(during, plan.duration),
            generator_late_max_us: measured.lateness.figures("", plan.duration).max_us,
            unsent: measured.unsent,
            first_error: measured.first_error,
            disturbance,
        }
    }

    fn line(&self) -> String {
        format!(
            "{}; generator late max={}{}{}",
            self.pairs.line(),
            duration_text(self.generator_late_max_us),
            self.disturbance.as_ref().map(|some| format!("; {}", some.text())).unwrap_or_default(),
            self.first_error.as_ref().map(|error| format!("; first error: {error}")).unwrap_or_default()
        )
    }

    fn valid(&self) -> bool {
        self.pairs.errors == 0 && self.unsent == 0 && self.pairs.ops > 0
    }
}

#[derive(Debug)]
struct Workers {
    engine: Engine,
    script: Pairs,
    plan: Plan,
    server_pid: u32,
}

impl Workers {
    fn new(settings: &Settings, server: &Server) -> Result<Workers, Fault> {
        let clients = settings.plan.clients;
        Ok(Workers {
            engine: Engine::connect(server.port, clients)?,
            script: Pairs::new("others", Way::Lock, clients, clients),
            plan: settings.plan.clone(),
            server_pid: server.pid(),
        })
    }

    /// Works for so long. `at_start` is called when the first latency counts.
    fn work(
        &mut self,
        during: &'static str,
        duration: Duration,
        mut at_start: impl FnMut(),
    ) -> Result<Others, Fault> {
        let plan = Plan { warmup: Duration::from_millis(100), duration, ..self.plan.clone() };
        let mut readings = Vec::with_capacity(2);
        let pid = self.server_pid;
        let measured = self.engine.drive(&plan, &mut self.script, || {
            readings.push(Reading::take(Some(pid)));
            if readings.len() == 1 {
                at_start();
            }
        })?;
        let mut readings = readings.into_iter();
        let disturbance = match (readings.next(), readings.next()) {
            (Some(before), Some(after)) => Disturbance::of(&after?.since(before?)),
            _ => None,
        };
        Ok(Others::of(during, &plan, measured, disturbance))
    }
}

#[derive(Debug, Serialize)]
struct Scene {
    spans: Vec<Others>,
}

/// Runs the crowd in a process of its own and waits until it holds its keys.
fn gather(settings: &Settings, server: &Server, keys_each: usize) -> Result<Child, Fault> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["crowd", "--port", &server.port.to_string()])
        .args(["--crowd", &settings.crowd.to_string(), "--keys-each", &keys_each.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut said)?;
    }
    if said != "ready\n" {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Fault::Setup("the crowd did not get its keys".into()));
    }
    Ok(child)
}

/// A crowd is killed while others work: once with all its keys, and once, for comparison, with one key a client.
pub(crate) fn leave(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    let host = host();
    output.line(&host.line())?;
    let mut spans = Vec::new();
    for run in 0..settings.runs {
        output.line(&format!("run {} of {}", run + 1, settings.runs))?;
        for (during, keys_each) in
            [("leaving-with-one-key-each", 1), ("leaving-with-all-keys", settings.keys_each)]
        {
            let server = quiet_server(settings, &[])?;
            let mut crowd = gather(settings, &server, keys_each)?;
            let mut workers = Workers::new(settings, &server)?;
            let before = workers.work("before", Duration::from_secs(2), || ())?;
            let seen = workers.work(during, Duration::from_secs(3), || {
                let _ = crowd.kill();
            })?;
            crowd.wait()?;
            until(&server, "dflockd_connections ", settings.plan.clients as u64)?;
            until(&server, "dflockd_holders ", 0)?;
            for span in [before, seen] {
                output.line(&span.line())?;
                spans.push(span);
            }
        }
    }
    finish(output, &host, spans)
}

/// Many keys expire within one second, and later are collected, while others work.
pub(crate) fn expiry(settings: &Settings, output: &Output) -> Result<bool, Fault> {
    const MAX_IDLE: u64 = 5;
    let host = host();
    output.line(&host.line())?;
    let mut spans = Vec::new();
    for _ in 0..settings.runs {
        let idle = MAX_IDLE.to_string();
        let server = quiet_server(settings, &["--gc-interval", "1", "--gc-max-idle", &idle])?;
        // Long enough for taking them and for the quiet span.
        let lease = 8 + settings.held as u64 / 40_000;
        let end = Instant::now() + Duration::from_secs(lease);
        let sockets = holders(&server, settings.held, lease)?;
        let mut workers = Workers::new(settings, &server)?;
        spans.push(workers.work("before", Duration::from_secs(2), || ())?);
        if server.metric("dflockd_holders ")? < settings.held as u64 || Instant::now() > end {
            return Err(Fault::Setup("taking the keys took too long; give a smaller --held".into()));
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now() + Duration::from_millis(200)));
        spans.push(workers.work("expiry", Duration::from_secs(4), || ())?);
        let expired = server.metric("dflockd_expirations_total ")?;
        spans.push(workers.work("collection", Duration::from_secs(MAX_IDLE + 3), || ())?);
        drop(sockets);
        if expired < settings.held as u64 {
            return Err(Fault::Setup(format!("only {expired} leases ended in the span measured")));
        }
        until(&server, "dflockd_keys ", settings.plan.clients as u64)?;
        for span in spans.iter().rev().take(3).rev() {
            output.line(&span.line())?;
        }
    }
    finish(output, &host, spans)
}

fn finish(output: &Output, host: &bench_kit::host::Host, spans: Vec<Others>) -> Result<bool, Fault> {
    let valid = spans.iter().all(Others::valid);
    output.document(host, valid, &Scene { spans })?;
    Ok(valid)
}
