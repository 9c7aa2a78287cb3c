//! Latency histograms and the figures reported from them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Unmeasurable;

/// Latencies of one kind of call, in nanoseconds, to three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
    pub errors: u64,
}

const LONGEST_NANOS: u64 = 600_000_000_000;

impl Latencies {
    pub fn new() -> Result<Latencies, Unmeasurable> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NANOS, 3)
            .map_err(|error| Unmeasurable(format!("cannot build a latency histogram: {error}")))?;
        Ok(Latencies { histogram, errors: 0 })
    }

    pub fn record(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos.max(1));
    }

    pub fn merge(&mut self, other: &Latencies) {
        // Both have the same bounds, so nothing can be out of range.
        let _ = self.histogram.add(&other.histogram);
        self.errors += other.errors;
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub fn figures(&self, label: &str, elapsed: Duration) -> Figures {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile: f64| {
            if self.histogram.is_empty() { 0.0 } else { micros(self.histogram.value_at_quantile(quantile)) }
        };
        Figures {
            label: label.to_owned(),
            ops: self.count(),
            ops_per_second: self.count() as f64 / elapsed.as_secs_f64().max(1e-9),
            avg_us: if self.histogram.is_empty() { 0.0 } else { self.histogram.mean() / 1000.0 },
            p50_us: at(0.50),
            p90_us: at(0.90),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            min_us: if self.histogram.is_empty() { 0.0 } else { micros(self.histogram.min()) },
            max_us: if self.histogram.is_empty() { 0.0 } else { micros(self.histogram.max()) },
            errors: self.errors,
        }
    }
}

/// One line of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub label: String,
    pub ops: u64,
    pub ops_per_second: f64,
    pub avg_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p95_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub min_us: f64,
    pub max_us: f64,
    pub errors: u64,
}

impl Figures {
    pub fn line(&self) -> String {
        format!(
            "{}: ops={} ops/s={:.0} avg={} p50={} p90={} p95={} p99={} p99.9={} min={} max={} errors={}",
            self.label,
            self.ops,
            self.ops_per_second,
            duration_text(self.avg_us),
            duration_text(self.p50_us),
            duration_text(self.p90_us),
            duration_text(self.p95_us),
            duration_text(self.p99_us),
            duration_text(self.p999_us),
            duration_text(self.min_us),
            duration_text(self.max_us),
            self.errors
        )
    }
}

pub fn duration_text(micros: f64) -> String {
    if micros >= 1_000_000.0 {
        format!("{:.3}s", micros / 1_000_000.0)
    } else if micros >= 1000.0 {
        format!("{:.3}ms", micros / 1000.0)
    } else {
        format!("{micros:.1}us")
    }
}

/// Index of the element with the median value (the lower one of an even number).
pub fn median_index(values: &[f64]) -> usize {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    order.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

pub fn median(values: &[f64]) -> f64 {
    values.get(median_index(values)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_all_merged_values() {
        let mut first = Latencies::new().unwrap();
        let mut second = Latencies::new().unwrap();
        for millis in 1..=50 {
            first.record(millis * 1_000_000);
            second.record((millis + 50) * 1_000_000);
        }
        second.errors = 2;
        first.merge(&second);
        let figures = first.figures("x", Duration::from_secs(2));
        assert_eq!((figures.ops, figures.errors), (100, 2));
        assert!((figures.ops_per_second - 50.0).abs() < 1e-9);
        assert!((figures.p50_us - 50_000.0).abs() < 100.0, "{}", figures.p50_us);
        assert!((figures.p99_us - 99_000.0).abs() < 100.0, "{}", figures.p99_us);
        assert!((figures.max_us - 100_000.0).abs() < 100.0, "{}", figures.max_us);
    }

    #[test]
    fn medians_ignore_outliers() {
        assert_eq!(median_index(&[9.0, 1.0, 5.0]), 2);
        assert!((median(&[4.0, 1.0, 100.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }

    #[test]
    fn a_line_has_the_agreed_form() {
        let line = Latencies::new().unwrap().figures("lock", Duration::from_secs(1)).line();
        assert_eq!(
            line,
            "lock: ops=0 ops/s=0 avg=0.0us p50=0.0us p90=0.0us p95=0.0us p99=0.0us p99.9=0.0us min=0.0us max=0.0us errors=0"
        );
    }
}
