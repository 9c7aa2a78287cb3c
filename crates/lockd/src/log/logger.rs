//! Writes finished lines to where they belong. Losing the reader of the log never stops the server.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt;

use super::layer::LogLayer;
use super::line::{Form, Line, Value};
use super::{Level, LogSettings, Mode, Stream};
use crate::version::VERSION;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("config: LOCKD_LOG_OUTPUT: open log file {path:?}: {cause}")]
    Open { path: PathBuf, cause: io::Error },
    #[error("another log is already installed in this process")]
    Installed,
}

/// The open log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Logger {
    sink: Arc<Sink>,
}

#[derive(Debug)]
pub(super) struct Sink {
    pub(super) form: Form,
    stream: Option<Stream>,
    file: Option<File>,
}

/// Opens the log and makes it the destination of all `tracing` events of the process.
pub fn install(settings: &LogSettings) -> Result<Logger, LogError> {
    let logger = Logger::open(settings)?;
    let layer = LogLayer::new(Arc::clone(&logger.sink), settings.level);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .map_err(|_| LogError::Installed)?;
    Ok(logger)
}

impl Logger {
    pub fn open(settings: &LogSettings) -> Result<Logger, LogError> {
        let open = |path: &PathBuf| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(settings.file_mode)
                .open(path)
                .map_err(|cause| LogError::Open { path: path.clone(), cause })
        };
        let file = settings.output.file.as_ref().map(open).transpose()?;
        Ok(Logger::new(settings, settings.output.stream, file))
    }

    /// A log on stderr, for when the one that was asked for cannot be opened.
    pub fn stderr(settings: &LogSettings) -> Logger {
        Logger::new(settings, Some(Stream::Stderr), None)
    }

    fn new(settings: &LogSettings, stream: Option<Stream>, file: Option<File>) -> Logger {
        let terminal = match stream {
            // A file beside the terminal gets the same bytes.
            Some(_) | None if file.is_some() => false,
            Some(Stream::Stderr) => io::stderr().is_terminal(),
            Some(Stream::Stdout) => io::stdout().is_terminal(),
            None => false,
        };
        let form = Form {
            mode: settings.mode,
            colour: settings.mode == Mode::Console && settings.colour.unwrap_or(terminal),
            timestamps: settings.timestamps,
        };
        Logger { sink: Arc::new(Sink { form, stream, file }) }
    }

    #[cfg(test)]
    pub(super) fn sink(&self) -> Arc<Sink> {
        Arc::clone(&self.sink)
    }

    /// The first line of a server process. The environment decides whether it is written, the flag does not.
    pub fn welcome(&self, settings: &LogSettings) {
        if settings.welcome_level > Level::Info {
            return;
        }
        let form = self.sink.form;
        let mut line = Line::default();
        line.message = format!("welcome to lockd {VERSION}");
        line.sys = "server.lifecycle.init".into();
        line.field(form, "version", Value::Text(format_args!("{VERSION}")));
        line.field(form, "pid", Value::Plain(format_args!("{}", std::process::id())));
        line.field(form, "uid", Value::Plain(format_args!("{}", rustix::process::getuid().as_raw())));
        line.field(form, "gid", Value::Plain(format_args!("{}", rustix::process::getgid().as_raw())));
        line.field(form, "loglevel", Value::Text(format_args!("{}", settings.level)));
        self.sink.write(line.finish(form, Level::Info));
    }

    /// The last line of a process that ends with an error; written whatever the level, and always where people look.
    pub fn command_failed(&self, error: &dyn Display) {
        let form = self.sink.form;
        let mut line = Line::default();
        line.message = "command failed".into();
        line.sys = "cli.root".into();
        line.field(form, "error", Value::Text(format_args!("{error}")));
        let bytes = line.finish(form, Level::Error);
        self.sink.write(bytes);
        if self.sink.stream.is_none() {
            let _ = io::stderr().write_all(bytes);
        }
    }
}

impl Sink {
    /// One call a line, so that lines of several threads and processes do not mix. A reader that is gone or a full
    /// disk costs the line, nothing else.
    pub(super) fn write(&self, line: &[u8]) {
        let _ = match self.stream {
            Some(Stream::Stderr) => io::stderr().write_all(line),
            Some(Stream::Stdout) => io::stdout().write_all(line),
            None => Ok(()),
        };
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::*;

    #[test]
    fn cli_63_the_environment_alone_decides_about_the_welcome_line() {
        let directory = tempfile::tempdir().unwrap();
        let written = |name: &str, env_level: &'static str, flag: &str| {
            let path = directory.path().join(name);
            let env = |name: &str| (name == "LOCKD_LOG_LEVEL").then(|| env_level.into());
            let mut settings = LogSettings::from_env(&env, Mode::Structured).unwrap();
            settings.set_level(flag);
            settings.output = Output { stream: None, file: Some(path.clone()) };
            Logger::open(&settings).unwrap().welcome(&settings);
            std::fs::read_to_string(path).unwrap()
        };
        let text = written("a", "info", "none");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["msg"], format!("welcome to lockd {VERSION}"));
        assert_eq!(line["sys"], "server.lifecycle.init");
        assert_eq!(line["loglevel"], "none");
        assert_eq!(line["pid"], std::process::id());
        assert_eq!(text.matches("\"app\"").count(), 1);
        assert_eq!(written("b", "none", "info"), "");
    }

    #[test]
    fn a_log_file_is_created_with_its_mode_and_appended_to() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let output = Output { stream: None, file: Some(path.clone()) };
        let settings = LogSettings { output, file_mode: 0o600, ..LogSettings::default() };
        for _ in 0..2 {
            Logger::open(&settings).unwrap().welcome(&settings);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
