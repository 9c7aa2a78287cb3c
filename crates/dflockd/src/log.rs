//! Log lines `key=value` on stderr, as operators grep them. A thread writes them, so that a reader of stderr that
//! stands still never stops the server; lines that find no room are counted and that is said later.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug)]
pub struct Log {
    least: Level,
    pending: String,
    lost: u64,
    channel: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
}

impl Log {
    /// Begins to write. Without a thread to be had, lines are dropped rather than the server.
    pub fn start(debug: bool) -> Self {
        let (channel, lines) = sync_channel(256);
        let writer = std::thread::Builder::new()
            .name("log".into())
            .stack_size(64 << 10)
            .spawn(move || write(&lines))
            .ok();
        Self {
            least: if debug { Level::Debug } else { Level::Info },
            pending: String::new(),
            lost: 0,
            channel: Some(channel),
            writer,
        }
    }

    pub fn enabled(&self, level: Level) -> bool {
        level >= self.least
    }

    pub fn event(&mut self, level: Level, msg: &str, attributes: &[(&str, &dyn fmt::Display)]) {
        if self.enabled(level) {
            format_line(&mut self.pending, SystemTime::now(), level, msg, attributes);
        }
    }

    /// Hands the collected lines to the writer.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if self.lost > 0 {
            let lost = self.lost;
            format_line(
                &mut self.pending,
                SystemTime::now(),
                Level::Warn,
                "log lines lost, stderr is not read",
                &[("batches", &lost)],
            );
        }
        let lines = std::mem::take(&mut self.pending);
        match self.channel.as_ref().map(|channel| channel.try_send(lines)) {
            Some(Err(TrySendError::Full(_))) => self.lost += 1,
            _ => self.lost = 0,
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
        self.channel = None;
        // A writer that is stuck in a full pipe must not keep the process; one that is not ends in no time.
        if let Some(writer) = self.writer.take() {
            let patience = std::time::Instant::now();
            while !writer.is_finished() && patience.elapsed().as_millis() < 500 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

fn write(lines: &Receiver<String>) {
    while let Ok(lines) = lines.recv() {
        let _ = std::io::stderr().write_all(lines.as_bytes());
    }
}

/// One line in the layout of the log.
pub fn format_line(
    line: &mut String,
    now: SystemTime,
    level: Level,
    msg: &str,
    attributes: &[(&str, &dyn fmt::Display)],
) {
    let level = match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let _ = write!(line, "time={} level={level} msg=", Timestamp(now));
    write_value(line, msg);
    for (name, value) in attributes {
        let _ = write!(line, " {name}=");
        write_value(line, &value.to_string());
    }
    line.push('\n');
}

fn write_value(line: &mut String, value: &str) {
    let plain = |char: char| {
        char > ' ' && char != '"' && char != '=' && char != '\\' && !char.is_control() && char != '\u{fffd}'
    };
    if !value.is_empty() && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for char in value.chars() {
        match char {
            '"' | '\\' => line.extend(['\\', char]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            char if char.is_control() => {
                let _ = write!(line, "\\x{:02x}", char as u32);
            }
            char => line.push(char),
        }
    }
    line.push('"');
}

struct Timestamp(SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Days since 0000-03-01, so that the leap day is the last of its year; 400 years are 146,097 days.
        let day = days + 719_468;
        let era_day = day % 146_097;
        let year_of_era = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
        let year_day = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * year_day + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = day / 146_097 * 400 + year_of_era + u64::from(month <= 2);
        write!(
            f,
            "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            year_day - (153 * shifted + 2) / 5 + 1,
            second / 3600,
            second / 60 % 60,
            second % 60,
            since.subsec_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_line_reads_as_operators_expect() {
        let mut line = String::new();
        let when = UNIX_EPOCH + Duration::from_millis(1_709_210_096_007);
        format_line(
            &mut line,
            when,
            Level::Warn,
            "lease expired",
            &[("key", &"a b"), ("conn", &7), ("e", &"")],
        );
        assert_eq!(
            line,
            "time=2024-02-29T12:34:56.007Z level=WARN msg=\"lease expired\" key=\"a b\" conn=7 e=\"\"\n"
        );
    }
}
