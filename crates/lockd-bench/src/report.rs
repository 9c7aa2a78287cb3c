//! The result of runs, as text lines or as one JSON document.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::fault::Fault;
use crate::host::Host;
use crate::load::Measured;
use crate::process::{CpuTime, MachineTime, ServerProcess};
use crate::statistics::{Figures, duration_text, median_index};

/// Processor time spent during a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) server: Option<CpuTime>,
    pub(crate) generator: CpuTime,
    pub(crate) machine: MachineTime,
    pub(crate) window: Duration,
}

/// The clocks of a run at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    at: Instant,
    server: Option<CpuTime>,
    generator: CpuTime,
    machine: MachineTime,
}

impl Reading {
    pub(crate) fn take(server: Option<&ServerProcess>) -> Result<Reading, Fault> {
        Ok(Reading {
            at: Instant::now(),
            server: server.map(ServerProcess::cpu_time).transpose()?,
            generator: CpuTime::of("self")?,
            machine: MachineTime::now()?,
        })
    }

    pub(crate) fn since(self, earlier: Reading) -> Spent {
        Spent {
            server: self.server.zip(earlier.server).map(|(now, then)| now.since(then)),
            generator: self.generator.since(earlier.generator),
            machine: self.machine.since(earlier.machine),
            window: self.at.saturating_duration_since(earlier.at),
        }
    }
}

/// How much of the machine went elsewhere while a run was measured, in percent of its processors.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Disturbance {
    pub(crate) other_processes_percent: f64,
    pub(crate) stolen_percent: f64,
}

/// More than this is worth a warning: latencies are then partly somebody else's.
const DISTURBED_PERCENT: f64 = 10.0;

impl Disturbance {
    pub(crate) fn of(spent: &Spent) -> Option<Disturbance> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let all = spent.window.as_secs_f64() * 1e6 * processors;
        let ours = spent.server?.total_us() + spent.generator.total_us();
        let percent = |micros: f64| (micros / all.max(1.0) * 100.0).max(0.0);
        Some(Disturbance {
            other_processes_percent: percent(spent.machine.busy_us - ours),
            stolen_percent: percent(spent.machine.stolen_us),
        })
    }

    pub(crate) fn text(&self) -> String {
        let large = self.other_processes_percent + self.stolen_percent > DISTURBED_PERCENT;
        format!(
            "others {:.0}% stolen {:.0}% of the machine{}",
            self.other_processes_percent,
            self.stolen_percent,
            if large { " (DISTURBED)" } else { "" }
        )
    }
}

/// Processor time a run cost, per request and per operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) user_us_per_request: f64,
    pub(crate) system_us_per_request: f64,
    pub(crate) us_per_request: f64,
    pub(crate) us_per_operation: f64,
}

impl Cost {
    fn of(spent: CpuTime, requests: u64, operations: u64) -> Cost {
        let requests = requests.max(1) as f64;
        Cost {
            user_us_per_request: spent.user_us / requests,
            system_us_per_request: spent.system_us / requests,
            us_per_request: spent.total_us() / requests,
            us_per_operation: spent.total_us() / operations.max(1) as f64,
        }
    }

    fn text(&self) -> String {
        format!(
            "{:.1}us/request (user {:.1} + sys {:.1}), {:.1}us/op",
            self.us_per_request, self.user_us_per_request, self.system_us_per_request, self.us_per_operation
        )
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunReport {
    pub(crate) label: String,
    pub(crate) clients: usize,
    /// `closed-loop`, or the arrivals a second.
    pub(crate) load: String,
    pub(crate) elapsed_seconds: f64,
    pub(crate) requests: u64,
    pub(crate) phases: Vec<Figures>,
    pub(crate) total: Figures,
    pub(crate) server_cost: Option<Cost>,
    pub(crate) generator_cost: Option<Cost>,
    /// Known only when the server's own time is.
    pub(crate) disturbance: Option<Disturbance>,
    /// 99th percentile of the generator's own delay in sending at scheduled times.
    pub(crate) generator_late_p99_us: Option<f64>,
    pub(crate) unsent: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) valid: bool,
}

impl RunReport {
    pub(crate) fn new(
        label: String,
        clients: usize,
        rate: Option<f64>,
        phase_names: &[&str],
        measured: &Measured,
        spent: Option<Spent>,
    ) -> RunReport {
        let operations = measured.total.count();
        let cost = |spent| Cost::of(spent, measured.requests, operations);
        let total = measured.total.figures(&label, measured.elapsed);
        let late = measured.lateness.figures("", measured.elapsed).p99_us;
        RunReport {
            clients,
            load: rate.map_or_else(|| "closed-loop".to_owned(), |rate| format!("{rate}/s")),
            elapsed_seconds: measured.elapsed.as_secs_f64(),
            requests: measured.requests,
            phases: phase_names
                .iter()
                .zip(&measured.phases)
                .map(|(name, phase)| phase.figures(&format!("{label}.{name}"), measured.elapsed))
                .collect(),
            valid: total.errors == 0 && measured.unsent == 0 && operations > 0,
            total,
            server_cost: spent.and_then(|spent| spent.server).map(cost),
            generator_cost: spent.map(|spent| cost(spent.generator)),
            disturbance: spent.as_ref().and_then(Disturbance::of),
            generator_late_p99_us: rate.map(|_| late),
            unsent: measured.unsent,
            first_error: measured.first_error.clone(),
            label,
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.phases.len() > 1 {
            lines.extend(self.phases.iter().map(Figures::line));
        }
        lines.push(self.total.line());
        let mut about = format!(
            "  clients={} load={} elapsed={:.2}s requests={}",
            self.clients, self.load, self.elapsed_seconds, self.requests
        );
        if let Some(cost) = &self.server_cost {
            about.push_str(&format!("; server cpu {}", cost.text()));
        }
        if let Some(cost) = &self.generator_cost {
            about.push_str(&format!("; generator cpu {:.1}us/request", cost.us_per_request));
        }
        if let Some(late) = self.generator_late_p99_us {
            about.push_str(&format!("; generator late p99={}", duration_text(late)));
        }
        if let Some(disturbance) = &self.disturbance {
            about.push_str(&format!("; {}", disturbance.text()));
        }
        lines.push(about);
        if !self.valid {
            lines.push(format!(
                "  INVALID: errors={} unsent={} ops={}{}",
                self.total.errors,
                self.unsent,
                self.total.ops,
                self.first_error.as_ref().map(|error| format!("; first error: {error}")).unwrap_or_default()
            ));
        }
        lines.join("\n")
    }
}

/// Index of the run with the median throughput.
pub(crate) fn median_run(runs: &[RunReport]) -> usize {
    median_index(&runs.iter().map(|run| run.total.ops_per_second).collect::<Vec<_>>())
}

/// Least, median and greatest of a figure over the runs.
pub(crate) fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} (from {:.2} to {:.2})", crate::statistics::median(values), least, most)
}

/// Where results go: lines as they come, or everything at the end as one JSON document.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

#[derive(Serialize)]
struct Document<'a, T> {
    host: &'a Host,
    valid: bool,
    #[serde(flatten)]
    result: &'a T,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    pub(crate) fn line(&self, text: &str) -> Result<(), Fault> {
        if self.json {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    pub(crate) fn document<T: Serialize>(&self, host: &Host, valid: bool, result: &T) -> Result<(), Fault> {
        if !self.json {
            return Ok(());
        }
        let document = Document { host, valid, result };
        let text = serde_json::to_string_pretty(&document)
            .map_err(|error| Fault::Setup(format!("cannot write the result as JSON: {error}")))?;
        writeln!(std::io::stdout().lock(), "{text}")?;
        Ok(())
    }
}
