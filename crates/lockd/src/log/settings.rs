//! What the `LOCKD_LOG_*` variables ask of the log.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Level;
use crate::notice::Notice;
use crate::resolve::expand_home;
use crate::value;

/// A variable of the log, for the documentation.
#[derive(Debug)]
pub(crate) struct LogVariable {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

/// All of them; those after `LOCKD_LOG_FORCE_COLOR` have no effect here.
pub(crate) const VARIABLES: &[LogVariable] = &[
    LogVariable {
        name: "LOCKD_LOG_LEVEL",
        default: "info",
        help: "Least severe level: trace, debug, info, warn, error, fatal, panic, or none, off, disabled. \
               --log-level wins over it, except for the welcome line.",
    },
    LogVariable {
        name: "LOCKD_LOG_MODE",
        default: "structured",
        help: "structured (or json) for one JSON object a line, console for people. lockd dev uses console.",
    },
    LogVariable {
        name: "LOCKD_LOG_OUTPUT",
        default: "stderr",
        help: "stderr, stdout, default (stderr), the path of a file to append to, or both: stderr+PATH, stdout+PATH, \
               default+PATH.",
    },
    LogVariable {
        name: "LOCKD_LOG_OUTPUT_FILE_MODE",
        default: "0600",
        help: "Permissions of a log file that is created, in octal.",
    },
    LogVariable {
        name: "LOCKD_LOG_DISABLE_TIMESTAMP",
        default: "false",
        help: "Leave the time out of every line.",
    },
    LogVariable {
        name: "LOCKD_LOG_NO_COLOR",
        default: "false",
        help: "No colours in console mode. NO_COLOR with any value says the same.",
    },
    LogVariable {
        name: "LOCKD_LOG_FORCE_COLOR",
        default: "false",
        help: "Colours in console mode even if the output is not a terminal.",
    },
    LogVariable { name: "LOCKD_LOG_UTC", default: "true", help: "No effect: times are always UTC." },
    LogVariable {
        name: "LOCKD_LOG_TIME_FORMAT",
        default: "",
        help: "No effect: times are always RFC 3339 with milliseconds.",
    },
    LogVariable { name: "LOCKD_LOG_PALETTE", default: "", help: "No effect: there is one palette." },
    LogVariable {
        name: "LOCKD_LOG_VERBOSE_FIELDS",
        default: "",
        help: "No effect: all fields are always written.",
    },
    LogVariable {
        name: "LOCKD_LOG_CALLER_KEYVAL",
        default: "",
        help: "No effect: lines do not name their source.",
    },
    LogVariable {
        name: "LOCKD_LOG_CALLER_KEY",
        default: "",
        help: "No effect: lines do not name their source.",
    },
];

const WITHOUT_EFFECT: [&str; 6] = [
    "LOCKD_LOG_UTC",
    "LOCKD_LOG_TIME_FORMAT",
    "LOCKD_LOG_PALETTE",
    "LOCKD_LOG_VERBOSE_FIELDS",
    "LOCKD_LOG_CALLER_KEYVAL",
    "LOCKD_LOG_CALLER_KEY",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One JSON object a line.
    Structured,
    /// For people.
    Console,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stderr,
    Stdout,
}

/// Where lines go: a stream, a file, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub stream: Option<Stream>,
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: Level,
    /// The level by the environment alone, which decides about the welcome line.
    pub(super) welcome_level: Level,
    pub mode: Mode,
    pub output: Output,
    pub file_mode: u32,
    pub timestamps: bool,
    /// `None` leaves it to whether the output is a terminal.
    pub colour: Option<bool>,
    pub(super) without_effect: Vec<&'static str>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: Level::Info,
            welcome_level: Level::Info,
            mode: Mode::Structured,
            output: Output { stream: Some(Stream::Stderr), file: None },
            file_mode: 0o600,
            timestamps: true,
            colour: None,
            without_effect: Vec::new(),
        }
    }
}

impl LogSettings {
    /// Reads the variables; `mode` is what counts without `LOCKD_LOG_MODE`.
    pub fn from_env(env: &dyn Fn(&str) -> Option<OsString>, mode: Mode) -> Result<LogSettings, String> {
        let text = |name: &str| -> Result<Option<String>, String> {
            match env(name).filter(|value| !value.is_empty()) {
                None => Ok(None),
                Some(value) => match value.into_string() {
                    Ok(text) => Ok(Some(text)),
                    Err(_) => Err(format!("config: {name}: the value is not valid UTF-8")),
                },
            }
        };
        let switch = |name: &str| match text(name)? {
            None => Ok(false),
            Some(word) => value::parse_bool(&word).map_err(|reason| format!("config: {name}: {reason}")),
        };

        let mut settings = LogSettings { mode, ..LogSettings::default() };
        if let Some(word) = text("LOCKD_LOG_LEVEL")? {
            settings.level = Level::parse(&word).ok_or_else(|| {
                format!(
                    "config: unknown log level {word:?} (options: {}), set by LOCKD_LOG_LEVEL",
                    crate::flags::LEVELS.join(", ")
                )
            })?;
            settings.welcome_level = settings.level;
        }
        if let Some(word) = text("LOCKD_LOG_MODE")? {
            settings.mode = match word.trim().to_ascii_lowercase().as_str() {
                "console" => Mode::Console,
                "structured" | "json" => Mode::Structured,
                _ => {
                    return Err(format!(
                        "config: unknown log mode {word:?} (options: console, structured, json), set by LOCKD_LOG_MODE"
                    ));
                }
            };
        }
        if let Some(word) = text("LOCKD_LOG_OUTPUT")? {
            let home = env("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
            settings.output = output(word.trim(), home.as_deref());
        }
        if let Some(word) = text("LOCKD_LOG_OUTPUT_FILE_MODE")? {
            settings.file_mode = value::parse_mode(&word)
                .map_err(|reason| format!("config: LOCKD_LOG_OUTPUT_FILE_MODE: {reason}"))?;
        }
        settings.timestamps = !switch("LOCKD_LOG_DISABLE_TIMESTAMP")?;
        if switch("LOCKD_LOG_FORCE_COLOR")? {
            settings.colour = Some(true);
        } else if switch("LOCKD_LOG_NO_COLOR")? || text("NO_COLOR")?.is_some() {
            settings.colour = Some(false);
        }
        settings.without_effect = WITHOUT_EFFECT
            .into_iter()
            .filter(|name| env(name).is_some_and(|value| !value.is_empty()))
            .collect();
        Ok(settings)
    }

    /// What a flag or a file asks for, over the environment.
    pub(crate) fn set_level(&mut self, word: &str) {
        self.level = Level::parse(word).unwrap_or(self.level);
    }

    pub(crate) fn notices(&self) -> impl Iterator<Item = Notice> {
        self.without_effect.iter().map(|variable| Notice::LogVariable { variable })
    }
}

fn output(text: &str, home: Option<&Path>) -> Output {
    let stream = |word: &str| match word {
        "stderr" | "default" => Some(Stream::Stderr),
        "stdout" => Some(Stream::Stdout),
        _ => None,
    };
    if let Some(stream) = stream(text) {
        return Output { stream: Some(stream), file: None };
    }
    let (stream, path) = match text.split_once('+') {
        Some((word, path)) if stream(word).is_some() && !path.is_empty() => (stream(word), path),
        _ => (None, text),
    };
    Output { stream, file: Some(expand_home(Path::new(path), home)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<LogSettings, String> {
        let env =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        LogSettings::from_env(&env, Mode::Structured)
    }

    #[test]
    fn outputs_are_a_stream_a_file_or_both() {
        let output = |text| {
            let output = read(&[("LOCKD_LOG_OUTPUT", text), ("HOME", "/h")]).unwrap().output;
            (output.stream, output.file.map(|path| path.display().to_string()))
        };
        assert_eq!(output("stdout"), (Some(Stream::Stdout), None));
        assert_eq!(output("default"), (Some(Stream::Stderr), None));
        assert_eq!(output("/var/log/a+b"), (None, Some("/var/log/a+b".into())));
        assert_eq!(output("stderr+~/x"), (Some(Stream::Stderr), Some("/h/x".into())));
        assert_eq!(output("default+x"), (Some(Stream::Stderr), Some("x".into())));
        assert_eq!(output("stdout+x"), (Some(Stream::Stdout), Some("x".into())));
    }

    #[test]
    fn bad_values_name_the_variable() {
        for (name, word) in [
            ("LOCKD_LOG_LEVEL", "bogus"),
            ("LOCKD_LOG_MODE", "xml"),
            ("LOCKD_LOG_OUTPUT_FILE_MODE", "rw"),
            ("LOCKD_LOG_DISABLE_TIMESTAMP", "perhaps"),
            ("LOCKD_LOG_NO_COLOR", "perhaps"),
            ("LOCKD_LOG_FORCE_COLOR", "perhaps"),
        ] {
            let error = read(&[(name, word)]).unwrap_err();
            assert!(error.contains(name) && error.contains(word), "{error}");
            assert_eq!(read(&[(name, "")]), read(&[]), "empty {name}");
        }
    }

    #[test]
    fn colour_is_forced_refused_or_left_open() {
        assert_eq!(read(&[]).unwrap().colour, None);
        assert_eq!(read(&[("NO_COLOR", "1")]).unwrap().colour, Some(false));
        assert_eq!(read(&[("LOCKD_LOG_NO_COLOR", "true")]).unwrap().colour, Some(false));
        assert_eq!(read(&[("NO_COLOR", "1"), ("LOCKD_LOG_FORCE_COLOR", "1")]).unwrap().colour, Some(true));
    }

    #[test]
    fn every_variable_is_documented_once() {
        for name in WITHOUT_EFFECT {
            let listed: Vec<_> = VARIABLES.iter().filter(|variable| variable.name == name).collect();
            assert!(matches!(listed.as_slice(), [one] if one.help.starts_with("No effect")), "{name}");
        }
    }
}
