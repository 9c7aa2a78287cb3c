//! The result of runs, as text lines or as one JSON document.

use std::io::Write as _;

use serde::Serialize;

use crate::Unmeasurable;
use crate::clocks::{CpuTime, Spent};
use crate::host::Host;
use crate::measured::Measured;
use crate::statistics::{Figures, duration_text, median_index};

/// How much of the machine went elsewhere while a run was measured, in percent of its processors.
#[derive(Clone, Debug, Serialize)]
pub struct Disturbance {
    pub other_processes_percent: f64,
    pub stolen_percent: f64,
}

/// More than this is worth a warning: latencies are then partly somebody else's.
const DISTURBED_PERCENT: f64 = 10.0;

impl Disturbance {
    pub fn of(spent: &Spent) -> Option<Disturbance> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let all = spent.window.as_secs_f64() * 1e6 * processors;
        let ours = spent.server?.total_us() + spent.generator.total_us();
        let percent = |micros: f64| (micros / all.max(1.0) * 100.0).max(0.0);
        Some(Disturbance {
            other_processes_percent: percent(spent.machine.busy_us - ours),
            stolen_percent: percent(spent.machine.stolen_us),
        })
    }

    pub fn text(&self) -> String {
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
pub struct Cost {
    pub user_us_per_request: f64,
    pub system_us_per_request: f64,
    pub us_per_request: f64,
    pub us_per_operation: f64,
}

impl Cost {
    pub fn of(spent: CpuTime, requests: u64, operations: u64) -> Cost {
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
pub struct RunReport {
    pub label: String,
    pub clients: usize,
    /// `closed-loop`, or the arrivals a second.
    pub load: String,
    pub elapsed_seconds: f64,
    pub requests: u64,
    pub phases: Vec<Figures>,
    pub total: Figures,
    pub server_cost: Option<Cost>,
    pub generator_cost: Option<Cost>,
    /// Known only when the server's own time is.
    pub disturbance: Option<Disturbance>,
    /// 99th percentile of the generator's own delay in sending at scheduled times.
    pub generator_late_p99_us: Option<f64>,
    pub unsent: u64,
    pub first_error: Option<String>,
    pub valid: bool,
}

impl RunReport {
    pub fn new(
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

    pub fn text(&self) -> String {
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
pub fn median_run(runs: &[RunReport]) -> usize {
    median_index(&runs.iter().map(|run| run.total.ops_per_second).collect::<Vec<_>>())
}

/// Least, median and greatest of a figure over the runs.
pub fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} (from {:.2} to {:.2})", crate::statistics::median(values), least, most)
}

/// Where results go: lines as they come, or everything at the end as one JSON document.
#[derive(Debug)]
pub struct Output {
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
    pub fn new(json: bool) -> Output {
        Output { json }
    }

    pub fn line(&self, text: &str) -> Result<(), Unmeasurable> {
        if self.json {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    pub fn document<T: Serialize>(&self, host: &Host, valid: bool, result: &T) -> Result<(), Unmeasurable> {
        if !self.json {
            return Ok(());
        }
        let document = Document { host, valid, result };
        let text = serde_json::to_string_pretty(&document)
            .map_err(|error| Unmeasurable(format!("cannot write the result as JSON: {error}")))?;
        writeln!(std::io::stdout().lock(), "{text}")?;
        Ok(())
    }
}
