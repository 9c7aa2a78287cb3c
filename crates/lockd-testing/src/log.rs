//! What a server wrote on stderr: the last lines, kept across restarts, to be waited for and to be printed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const KEPT_LINES: usize = 2000;

/// The log of a [`TestServer`](crate::TestServer): its last 2000 lines, those before a restart included.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<String>,
    dropped: usize,
}

impl Log {
    /// The lines that are kept, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lock().kept.iter().cloned().collect()
    }

    /// The first line, past or future, that satisfies `wanted`; `None` if none came within `patience`.
    pub fn wait_for(&self, patience: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.wait_from(0, Instant::now() + patience, wanted)
    }

    pub(crate) fn text(&self) -> String {
        self.lock().kept.iter().flat_map(|line| ["  ", line, "\n"]).collect()
    }

    /// How many lines there have been so far.
    pub(crate) fn position(&self) -> usize {
        let lines = self.lock();
        lines.dropped + lines.kept.len()
    }

    pub(crate) fn text_from(&self, position: usize) -> String {
        let lines = self.lock();
        let skip = position.saturating_sub(lines.dropped);
        lines.kept.iter().skip(skip).flat_map(|line| ["  ", line, "\n"]).collect()
    }

    pub(crate) fn wait_from(
        &self,
        position: usize,
        deadline: Instant,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let mut seen = position;
        let mut lines = self.lock();
        loop {
            let fresh = lines.kept.iter().skip(seen.saturating_sub(lines.dropped));
            if let Some(line) = fresh.into_iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = lines.dropped + lines.kept.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            lines = self.0.grown.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Reads lines until the writer is gone.
    pub(crate) fn collect(&self, from: impl Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(read) if read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut lines = self.lock();
            if lines.kept.len() == KEPT_LINES {
                lines.kept.pop_front();
                lines.dropped += 1;
            }
            lines.kept.push_back(text);
            self.0.grown.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_positions_outlive_the_rest() {
        let log = Log::default();
        let text: String = (0..KEPT_LINES + 10).map(|n| format!("line {n}\n")).collect();
        log.collect(text.as_bytes());
        assert_eq!(log.position(), KEPT_LINES + 10);
        assert_eq!(log.lines()[0], "line 10");
        assert_eq!(log.wait_for(Duration::ZERO, |line| line == "line 9"), None);
        assert_eq!(log.text_from(KEPT_LINES + 9), format!("  line {}\n", KEPT_LINES + 9));
        let soon = Instant::now();
        assert_eq!(
            log.wait_from(KEPT_LINES + 10, soon, |_| true),
            None,
            "only what comes after the position"
        );
    }

    #[test]
    fn a_line_of_the_future_ends_the_wait() {
        let log = Log::default();
        let writer = log.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.collect("one\ntwo".as_bytes()));
            assert_eq!(log.wait_for(Duration::from_secs(30), |line| line == "two").as_deref(), Some("two"));
        });
    }
}
