//! Flags and `DFLOCKD_*` variables: a flag beats the environment, which beats the default; only the secret is the other way
//! round, as it always was.

use crate::protocol::trim;
use std::collections::HashMap;
use std::path::PathBuf;

const MAX_SECONDS: i64 = 9_223_372_036;

/// Everything the daemon can be told. Durations are seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub host: String,
    pub port: u16,
    pub default_lease: u64,
    pub sweep_interval: u64,
    pub gc_interval: u64,
    pub gc_max_idle: u64,
    pub max_locks: u64,
    pub max_connections: u64,
    pub max_waiters: u64,
    pub read_timeout: u64,
    pub write_timeout: u64,
    pub shutdown_timeout: u64,
    pub auto_release: bool,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub secret: Option<Vec<u8>>,
    pub debug: bool,
    pub metrics_addr: Option<String>,
    pub snapshot_file: Option<PathBuf>,
    pub crash_grace: u64,
    /// What the operator should be told at start.
    pub warnings: Vec<String>,
}

/// What the command line asks for.
#[derive(PartialEq, Eq, Debug)]
pub enum Invocation {
    Serve(Box<Config>),
    Version,
    Help,
}

#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line cannot be read; the usage helps.
    #[error("{0}")]
    Syntax(String),
    #[error("{0}")]
    Value(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Bool,
}

struct Setting {
    flag: &'static str,
    variable: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
}

const fn setting(
    flag: &'static str,
    variable: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { flag, variable, kind, default, help }
}

const SETTINGS: &[Setting] = &[
    setting("host", "DFLOCKD_HOST", Kind::Text, "127.0.0.1", "address to listen on; empty means all"),
    setting("port", "DFLOCKD_PORT", Kind::Integer, "6388", "port to listen on; 0 picks a free one"),
    setting(
        "default-lease-ttl",
        "DFLOCKD_DEFAULT_LEASE_TTL_S",
        Kind::Integer,
        "33",
        "seconds a grant lasts when the client names no lease",
    ),
    setting(
        "lease-sweep-interval",
        "DFLOCKD_LEASE_SWEEP_INTERVAL_S",
        Kind::Integer,
        "1",
        "seconds between looks at expired leases",
    ),
    setting("gc-interval", "DFLOCKD_GC_LOOP_SLEEP", Kind::Integer, "5", "seconds between looks at idle keys"),
    setting(
        "gc-max-idle",
        "DFLOCKD_GC_MAX_UNUSED_TIME",
        Kind::Integer,
        "60",
        "seconds after which an idle key is forgotten",
    ),
    setting(
        "max-locks",
        "DFLOCKD_MAX_LOCKS",
        Kind::Integer,
        "1024",
        "most keys at a time, idle ones included",
    ),
    setting(
        "max-connections",
        "DFLOCKD_MAX_CONNECTIONS",
        Kind::Integer,
        "0",
        "most connections at a time; 0 means no bound",
    ),
    setting(
        "max-waiters",
        "DFLOCKD_MAX_WAITERS",
        Kind::Integer,
        "0",
        "most waiters of one key; 0 means no bound",
    ),
    setting(
        "read-timeout",
        "DFLOCKD_READ_TIMEOUT_S",
        Kind::Integer,
        "23",
        "seconds in which a line must arrive",
    ),
    setting(
        "write-timeout",
        "DFLOCKD_WRITE_TIMEOUT_S",
        Kind::Integer,
        "5",
        "seconds in which a reply must be taken; 0 means no bound",
    ),
    setting(
        "shutdown-timeout",
        "DFLOCKD_SHUTDOWN_TIMEOUT_S",
        Kind::Integer,
        "30",
        "seconds a drain may last; 0 means no bound",
    ),
    setting(
        "auto-release-on-disconnect",
        "DFLOCKD_AUTO_RELEASE_ON_DISCONNECT",
        Kind::Bool,
        "true",
        "release what a connection holds when it ends",
    ),
    setting(
        "no-auto-release-on-disconnect",
        "",
        Kind::Bool,
        "false",
        "the same as --auto-release-on-disconnect=false",
    ),
    setting("tls-cert", "DFLOCKD_TLS_CERT", Kind::Text, "", "PEM file with the certificate chain"),
    setting("tls-key", "DFLOCKD_TLS_KEY", Kind::Text, "", "PEM file with the private key"),
    setting(
        "auth-token",
        "DFLOCKD_AUTH_TOKEN",
        Kind::Text,
        "",
        "secret that clients must present; the variable wins over the flag",
    ),
    setting("auth-token-file", "DFLOCKD_AUTH_TOKEN_FILE", Kind::Text, "", "file with that secret"),
    setting(
        "metrics-addr",
        "DFLOCKD_METRICS_ADDR",
        Kind::Text,
        "",
        "host:port for /metrics, /healthz and /readyz; empty means none",
    ),
    setting(
        "snapshot-file",
        "DFLOCKD_SNAPSHOT_FILE",
        Kind::Text,
        "",
        "file that carries held slots over a planned restart; empty means none",
    ),
    setting(
        "crash-grace",
        "DFLOCKD_CRASH_GRACE_S",
        Kind::Integer,
        "",
        "seconds without grants after a crash, with --snapshot-file; the default lease if not given",
    ),
    setting("debug", "DFLOCKD_DEBUG", Kind::Bool, "false", "log every request"),
    setting("version", "", Kind::Bool, "false", "print the version and exit"),
];

/// The text of `--help`.
pub fn usage() -> String {
    let mut text = String::from("Usage of dflockd:\n");
    for Setting { flag, variable, kind, default, help } in SETTINGS {
        let value = match kind {
            Kind::Text => " string",
            Kind::Integer => " int",
            Kind::Bool => "",
        };
        text.push_str(&format!("  --{flag}{value}\n    \t{help}"));
        if !default.is_empty() {
            text.push_str(&format!(" (default {default})"));
        }
        if !variable.is_empty() {
            text.push_str(&format!(" [{variable}]"));
        }
        text.push('\n');
    }
    text
}

/// Reads the command line (without the program's name) and the environment.
pub fn read(
    arguments: &[String],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Invocation, ConfigError> {
    let flags = read_flags(arguments)?;
    if flags.contains_key("help") {
        return Ok(Invocation::Help);
    }
    if flags.get("version").is_some_and(|value| value == "true") {
        return Ok(Invocation::Version);
    }
    let mut source = Source { flags, environment: &environment, warnings: Vec::new() };
    let config = resolve(&mut source)?;
    Ok(Invocation::Serve(Box::new(config)))
}

fn read_flags(arguments: &[String]) -> Result<HashMap<&'static str, String>, ConfigError> {
    let mut flags = HashMap::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(name) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else { break };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() {
            break;
        }
        if name.starts_with('-') || name.starts_with('=') {
            return Err(ConfigError::Syntax(format!("bad flag syntax: {argument}")));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        if matches!(name, "h" | "help") {
            flags.insert("help", "true".into());
            return Ok(flags);
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.flag == name) else {
            return Err(ConfigError::Syntax(format!("flag provided but not defined: -{name}")));
        };
        let value = match (setting.kind, value) {
            (Kind::Bool, None) => "true".to_owned(),
            (Kind::Bool, Some(text)) => go_bool(text)
                .ok_or_else(|| {
                    ConfigError::Syntax(format!("invalid boolean value {text:?} for -{name}: parse error"))
                })?
                .to_string(),
            (_, Some(text)) => text.to_owned(),
            (_, None) => arguments
                .next()
                .cloned()
                .ok_or_else(|| ConfigError::Syntax(format!("flag needs an argument: -{name}")))?,
        };
        if setting.kind == Kind::Integer {
            go_integer(&value).map_err(|reason| {
                ConfigError::Syntax(format!("invalid value {value:?} for flag -{name}: {reason}"))
            })?;
        }
        if name == "no-auto-release-on-disconnect" {
            // Two names of one setting: the last one counts.
            flags.insert("auto-release-on-disconnect", (value != "true").to_string());
        } else {
            flags.insert(setting.flag, value);
        }
    }
    Ok(flags)
}

fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Integers as on the old command line: a prefix tells the base, underscores separate digits.
fn go_integer(text: &str) -> Result<i64, &'static str> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, rest, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, lower.as_str(), false)
    };
    let misplaced =
        rest.is_empty() || rest.ends_with('_') || rest.contains("__") || (!prefixed && rest.starts_with('_'));
    if misplaced || !rest.chars().all(|char| char == '_' || char.is_digit(base)) {
        return Err("parse error");
    }
    let number = i128::from_str_radix(&rest.replace('_', ""), base).map_err(|_| "value out of range")?;
    i64::try_from(if negative { -number } else { number }).map_err(|_| "value out of range")
}

struct Source<'a> {
    flags: HashMap<&'static str, String>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl Source<'_> {
    fn variable(&self, flag: &str) -> Option<String> {
        let variable = SETTINGS.iter().find(|setting| setting.flag == flag)?.variable;
        if variable.is_empty() {
            None
        } else {
            (self.environment)(variable).filter(|value| !value.is_empty())
        }
    }

    fn name(flag: &str) -> &'static str {
        SETTINGS.iter().find(|setting| setting.flag == flag).map_or("", |setting| setting.variable)
    }

    fn ignored(&mut self, flag: &str, value: &str) {
        self.warnings.push(format!("{} is ignored: {value:?} cannot be read", Self::name(flag)));
    }

    fn conflict(&mut self, flag: &str, differs: bool, winner: &str) {
        if differs {
            self.warnings.push(format!("--{flag} and {} differ; {winner} wins", Self::name(flag)));
        }
    }

    fn text(&mut self, flag: &'static str, default: &str) -> String {
        let variable = self.variable(flag);
        match self.flags.get(flag).cloned() {
            Some(value) => {
                self.conflict(flag, variable.is_some_and(|variable| variable != value), "the flag");
                value
            }
            None => variable.unwrap_or_else(|| default.to_owned()),
        }
    }

    fn optional(&mut self, flag: &'static str) -> Option<String> {
        Some(self.text(flag, "")).filter(|text| !text.is_empty())
    }

    fn integer(&mut self, flag: &'static str, default: i64) -> i64 {
        let variable = self.variable(flag);
        let parsed = variable.as_deref().and_then(|text| text.parse::<i64>().ok());
        if let (Some(text), None) = (&variable, parsed) {
            self.ignored(flag, text);
        }
        match self.flags.get(flag).and_then(|value| go_integer(value).ok()) {
            Some(value) => {
                self.conflict(flag, parsed.is_some_and(|parsed| parsed != value), "the flag");
                value
            }
            None => parsed.unwrap_or(default),
        }
    }

    fn bool(&mut self, flag: &'static str, default: bool) -> bool {
        let variable = self.variable(flag);
        let parsed = variable.as_deref().and_then(|text| match text.to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" => Some(true),
            "0" | "no" | "false" => Some(false),
            _ => None,
        });
        if let (Some(text), None) = (&variable, parsed) {
            self.ignored(flag, text);
        }
        match self.flags.get(flag).map(|value| value == "true") {
            Some(value) => {
                self.conflict(flag, parsed.is_some_and(|parsed| parsed != value), "the flag");
                value
            }
            None => parsed.unwrap_or(default),
        }
    }

    /// A duration that must be above 0.
    fn positive(&mut self, flag: &'static str, default: i64) -> Result<u64, ConfigError> {
        match self.integer(flag, default) {
            seconds if (1..=MAX_SECONDS).contains(&seconds) => Ok(seconds as u64),
            seconds if flag == "gc-max-idle" => {
                Err(value(format!("--{flag} must be > 0 (got {})", duration(seconds))))
            }
            _ => Err(value(format!("--{flag} must be > 0"))),
        }
    }

    fn not_negative(&mut self, flag: &'static str, default: i64) -> Result<u64, ConfigError> {
        match self.integer(flag, default) {
            seconds if (0..=MAX_SECONDS).contains(&seconds) => Ok(seconds as u64),
            seconds => Err(value(format!("--{flag} must be >= 0 (got {})", duration(seconds)))),
        }
    }

    fn count(&mut self, flag: &'static str, default: i64, least: i64) -> Result<u64, ConfigError> {
        match self.integer(flag, default) {
            count if count >= least => Ok(count as u64),
            count if least == 1 => Err(value(format!("--{flag} must be > 0 (got {count})"))),
            count => Err(value(format!("--{flag} must be >= 0 (got {count})"))),
        }
    }
}

fn value(text: String) -> ConfigError {
    ConfigError::Value(text)
}

fn resolve(source: &mut Source<'_>) -> Result<Config, ConfigError> {
    let secret = secret(source)?;
    let port = source.integer("port", 6388);
    let default_lease = source.positive("default-lease-ttl", 33);
    let config = Config {
        host: source.text("host", "127.0.0.1"),
        port: u16::try_from(port).map_err(|_| value(format!("--port must be 0-65535 (got {port})")))?,
        sweep_interval: source.positive("lease-sweep-interval", 1)?,
        gc_interval: source.positive("gc-interval", 5)?,
        gc_max_idle: source.positive("gc-max-idle", 60)?,
        max_locks: source.count("max-locks", 1024, 1)?,
        max_connections: source.count("max-connections", 0, 0)?,
        max_waiters: source.count("max-waiters", 0, 0)?,
        read_timeout: source.positive("read-timeout", 23)?,
        write_timeout: source.not_negative("write-timeout", 5)?,
        shutdown_timeout: source.not_negative("shutdown-timeout", 30)?,
        auto_release: source.bool("auto-release-on-disconnect", true),
        tls_cert: source.optional("tls-cert").map(PathBuf::from),
        tls_key: source.optional("tls-key").map(PathBuf::from),
        secret,
        debug: source.bool("debug", false),
        metrics_addr: source.optional("metrics-addr"),
        snapshot_file: source.optional("snapshot-file").map(PathBuf::from),
        crash_grace: source.not_negative("crash-grace", *default_lease.as_ref().unwrap_or(&33) as i64)?,
        default_lease: default_lease?,
        warnings: Vec::new(),
    };
    Ok(Config { warnings: std::mem::take(&mut source.warnings), ..config })
}

/// The secret: variable, flag, file named by the flag, file named by the variable; the first that is given.
fn secret(source: &mut Source<'_>) -> Result<Option<Vec<u8>>, ConfigError> {
    let flag = source.flags.get("auth-token").cloned();
    let variable = source.variable("auth-token");
    let differ = flag.is_some() && variable.is_some() && flag != variable;
    source.conflict("auth-token", differ, "the variable");
    let text = match variable.or(flag) {
        Some(text) => text.into_bytes(),
        None => {
            let Some(path) = source.optional("auth-token-file") else { return Ok(None) };
            std::fs::read(&path).map_err(|error| {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                    std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                    _ => error.to_string(),
                };
                value(format!("reading auth token file {path:?}: open {path}: {reason}"))
            })?
        }
    };
    let secret = trim(&text);
    if secret.is_empty() {
        return Err(value("the auth token is blank; give a secret or leave the setting out".into()));
    }
    if secret.len() > crate::protocol::LINE_LIMIT || secret.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(value(
            "the auth token must fit in one line of 256 bytes, or no client can send it".into(),
        ));
    }
    Ok(Some(secret.to_vec()))
}

/// Seconds in the units that messages use.
fn duration(seconds: i64) -> String {
    let (sign, left) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
    let (hours, minutes, rest) = (left / 3600, left / 60 % 60, left % 60);
    if hours > 0 {
        format!("{sign}{hours}h{minutes}m{rest}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m{rest}s")
    } else {
        format!("{sign}{rest}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let look =
            |name: &str| variables.iter().find(|entry| entry.0 == name).map(|entry| entry.1.to_owned());
        match read(&arguments, look) {
            Ok(Invocation::Serve(config)) => Ok(*config),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_flag_beats_the_environment_and_says_so_only_when_they_differ() {
        let env = [("DFLOCKD_MAX_LOCKS", "1"), ("DFLOCKD_DEBUG", "maybe")];
        let config = parse("--max-locks 2", &env).unwrap();
        assert_eq!((config.max_locks, config.warnings.len(), config.debug), (2, 2, false));
        let config = parse("--max-locks 1", &env).unwrap();
        assert_eq!((config.max_locks, config.warnings.len()), (1, 1));
        assert_eq!(parse("", &[("DFLOCKD_DEFAULT_LEASE_TTL_S", "0x10")]).unwrap().default_lease, 33);
    }

    #[test]
    fn the_secret_is_never_in_a_warning() {
        let config = parse("--auth-token flagtok", &[("DFLOCKD_AUTH_TOKEN", " envtok ")]).unwrap();
        assert_eq!(config.secret.as_deref(), Some(&b"envtok"[..]));
        assert!(config.warnings.len() == 1 && !config.warnings[0].contains("tok "), "{:?}", config.warnings);
        assert!(parse("", &[("DFLOCKD_AUTH_TOKEN", "  ")]).is_err());
    }

    #[test]
    fn integers_of_the_command_line() {
        for (text, number) in [
            ("0x10", 16),
            ("010", 8),
            ("0o10", 8),
            ("0b11", 3),
            ("1_000", 1000),
            ("-3", -3),
            ("0", 0),
            ("0_7", 7),
        ] {
            assert_eq!(go_integer(text), Ok(number), "{text}");
        }
        for text in ["", "-", "1__0", "_1", "1_", "08", "abc", "1.5", "0x"] {
            assert_eq!(go_integer(text), Err("parse error"), "{text}");
        }
        assert_eq!(go_integer("9223372036854775808"), Err("value out of range"));
    }

    #[test]
    fn the_last_of_two_names_counts() {
        assert!(!parse("--no-auto-release-on-disconnect", &[]).unwrap().auto_release);
        assert!(
            parse("--no-auto-release-on-disconnect --auto-release-on-disconnect", &[]).unwrap().auto_release
        );
        assert!(
            !parse("--auto-release-on-disconnect --no-auto-release-on-disconnect", &[]).unwrap().auto_release
        );
        assert!(parse("--no-auto-release-on-disconnect=false", &[]).unwrap().auto_release);
    }

    #[test]
    fn crash_grace_follows_the_default_lease() {
        assert_eq!(parse("--default-lease-ttl 7", &[]).unwrap().crash_grace, 7);
        assert_eq!(parse("--default-lease-ttl 7 --crash-grace 0", &[]).unwrap().crash_grace, 0);
        assert_eq!(duration(-90), "-1m30s");
    }
}
