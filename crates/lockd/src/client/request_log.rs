//! `--log-level`: one line for every request, for those who want to see what a command does.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use super::{Failure, Outcome};
use crate::flags::{ClientSettings, LEVELS};

/// Where the lines go; nowhere unless asked for.
#[derive(Debug)]
pub(super) struct RequestLog(Option<Mutex<Target>>);

#[derive(Debug)]
enum Target {
    Stdout,
    Stderr,
    File(File),
}

impl RequestLog {
    pub(super) fn open(settings: &ClientSettings) -> Outcome<Self> {
        let level = if settings.verbose { "trace" } else { settings.log_level.trim() };
        let level = level.to_ascii_lowercase();
        if level.is_empty() {
            return Ok(Self(None));
        }
        if !LEVELS.contains(&&*level) {
            return Err(Failure::Local(format!("invalid client log level {level:?}")));
        }
        let target = match settings.log_output.trim() {
            "" | "stderr" => Target::Stderr,
            "-" | "stdout" => Target::Stdout,
            path => Target::File(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .map_err(|error| Failure::Local(format!("open client log {path}: {error}")))?,
            ),
        };
        Ok(Self(matches!(&*level, "trace" | "debug").then(|| Mutex::new(target))))
    }

    pub(super) fn request(&self, method: &str, url: &str, status: u16, elapsed: Duration) {
        let Some(target) = &self.0 else { return };
        let line = format!(
            "{}\n",
            serde_json::json!({
                "ts": jiff::Timestamp::now().to_string(),
                "lvl": "debug",
                "msg": "client.http.request",
                "app": "lockd",
                "method": method,
                "url": url,
                "status": status,
                "elapsed_ms": elapsed.as_millis() as u64,
            })
        );
        // A log that cannot be written must not fail the command.
        if let Ok(mut target) = target.lock() {
            let _ = match &mut *target {
                Target::Stdout => std::io::stdout().write_all(line.as_bytes()),
                Target::Stderr => std::io::stderr().write_all(line.as_bytes()),
                Target::File(file) => file.write_all(line.as_bytes()),
            };
        }
    }
}
