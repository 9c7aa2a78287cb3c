//! A line on the terminal that shows how far a large transfer has come.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const WORTH_SHOWING: u64 = 4 << 20;
const REDRAW: Duration = Duration::from_millis(100);
/// A line must fit into 80 columns, or it could not be drawn over.
const BAR: usize = 24;
const LABEL: usize = 20;
/// Before that, a speed says nothing.
const MEASURABLE: Duration = Duration::from_millis(200);

/// Shows itself only on a terminal and only for transfers that take a while.
#[derive(Debug)]
pub(super) struct Progress {
    label: String,
    total: Option<u64>,
    done: u64,
    started: Instant,
    drawn: Option<Instant>,
    enabled: bool,
}

impl Progress {
    pub(super) fn new(label: &str, total: Option<u64>) -> Self {
        let large = total.is_none_or(|total| total >= WORTH_SHOWING);
        let label: String = label.chars().filter(|letter| !letter.is_control()).take(LABEL).collect();
        Progress {
            label,
            total,
            done: 0,
            started: Instant::now(),
            drawn: None,
            enabled: large && std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW);
        if self.enabled && due && self.done >= WORTH_SHOWING.min(self.total.unwrap_or(WORTH_SHOWING) / 8) {
            self.drawn = Some(Instant::now());
            let _ = write!(std::io::stderr(), "\r{}\x1b[K", self.text());
        }
    }

    fn text(&self) -> String {
        let elapsed = self.started.elapsed();
        let speed = match elapsed < MEASURABLE {
            true => String::new(),
            false => format!(" ({}/s)", size(self.done as f64 / elapsed.as_secs_f64())),
        };
        let amount = format!("{}{speed}", size(self.done as f64));
        match self.total.filter(|total| *total > 0) {
            None => format!("{} {amount}", self.label),
            Some(total) => {
                let share = (self.done as f64 / total as f64).min(1.0);
                let filled = (share * BAR as f64) as usize;
                let bar = format!("{}{}", "#".repeat(filled), "-".repeat(BAR - filled));
                format!("{} [{bar}] {:3.0} % {amount}", self.label, share * 100.0)
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn size(bytes: f64) -> String {
    let (scale, unit) = match bytes {
        bytes if bytes >= 1e9 => (1e9, "GB"),
        bytes if bytes >= 1e6 => (1e6, "MB"),
        _ => (1e3, "kB"),
    };
    format!("{:.1} {unit}", bytes / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up() {
        let mut progress = Progress::new("a\x1b[31m", Some(8 << 20));
        progress.done = 4 << 20;
        let text = progress.text();
        assert!(text.contains("[############------------]  50 % 4.2 MB"), "{text}");
        assert!(!text.contains('\x1b'));
        let mut progress = Progress::new(&"x".repeat(100), Some(999_900_000_000));
        progress.done = 999_900_000_000;
        progress.started = Instant::now().checked_sub(Duration::from_millis(1001)).unwrap();
        assert!(progress.text().len() < 80, "{}", progress.text());
    }
}
