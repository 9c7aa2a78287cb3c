//! The line on the terminal that tells how far a long input has been read.

use std::{
    fmt::Write as _,
    io::Write,
    time::{Duration, Instant},
};

/// Short inputs need no line.
const FIRST: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_millis(100);
/// Columns of the bar itself.
const BAR: u64 = 24;

/// Tells of the reading of one input. Does nothing unless it is wanted.
#[derive(Debug)]
pub(crate) struct Progress {
    /// None if nothing is to be shown.
    begun: Option<Instant>,
    total: Option<u64>,
    read: u64,
    next: Duration,
    shown: bool,
}

impl Progress {
    pub(crate) fn new(wanted: bool, total: Option<u64>) -> Progress {
        Progress { begun: wanted.then(Instant::now), total, read: 0, next: FIRST, shown: false }
    }

    pub(crate) fn advance(&mut self, bytes: usize, selected: u64, stderr: &mut dyn Write) {
        let Some(begun) = self.begun else { return };
        self.read += bytes as u64;
        let elapsed = begun.elapsed();
        if elapsed >= self.next {
            self.next = elapsed + BETWEEN;
            self.shown = true;
            // If nobody can see it there is nothing to do about it.
            // A terminal that is too narrow should cut the line and not break it: its first part would stay.
            let line = line(self.read, self.total, elapsed, selected);
            let _ = write!(stderr, "\r\x1b[K\x1b[?7l{line}\x1b[?7h");
            let _ = stderr.flush();
        }
    }

    /// Clears the line, so that something else can be written.
    pub(crate) fn clear(&mut self, stderr: &mut dyn Write) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(stderr, "\r\x1b[K");
            let _ = stderr.flush();
        }
    }
}

fn line(read: u64, total: Option<u64>, elapsed: Duration, selected: u64) -> String {
    let mut line = String::new();
    if let Some(total) = total.filter(|&total| total > 0) {
        // A file that is being written to can be longer than it was.
        let share = read.min(total);
        let filled = (u128::from(share) * u128::from(BAR) / u128::from(total)) as usize;
        let percent = u128::from(share) * 100 / u128::from(total);
        let _ = write!(line, "[{:-<width$}] {percent:3} % ", "#".repeat(filled), width = BAR as usize);
    }
    let rate = (read as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let _ = write!(line, "{} read, {}/s, {selected} selected", amount(read), amount(rate));
    line
}

fn amount(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{value:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_how_fast_and_how_many() {
        assert_eq!(
            line(500_000_000, Some(2_000_000_000), Duration::from_secs(1), 42),
            "[######------------------]  25 % 500.0 MB read, 500.0 MB/s, 42 selected"
        );
        assert_eq!(line(999, None, Duration::from_secs(1), 0), "999 B read, 999 B/s, 0 selected");
        assert!(line(300, Some(200), Duration::ZERO, 0).starts_with("[########################] 100 % "));
    }

    #[test]
    fn nothing_is_shown_unless_wanted_and_needed() {
        let mut stderr = Vec::new();
        for wanted in [false, true] {
            let mut progress = Progress::new(wanted, None);
            progress.next = Duration::MAX;
            progress.advance(1 << 30, 0, &mut stderr);
            progress.clear(&mut stderr);
        }
        assert!(stderr.is_empty());
        let mut progress = Progress::new(true, None);
        progress.next = Duration::ZERO;
        progress.advance(1 << 30, 0, &mut stderr);
        progress.clear(&mut stderr);
        let text = String::from_utf8(stderr).unwrap();
        assert!(
            text.starts_with("\r\x1b[K\x1b[?7l1.1 GB read, ") && text.ends_with("0 selected\x1b[?7h\r\x1b[K"),
            "{text:?}"
        );
    }
}
