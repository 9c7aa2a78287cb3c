//! Settings from flags, variables and files: precedence, checks, and the texts of errors. Names that start with `cli_`
//! carry the number of the line of the contract's checklist that they prove.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what the tests share is part of the tests")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use lockd::log::{Level, Mode};
use lockd::{
    Command, DiskDurability, Family, Inputs, Listen, Notice, Report, ServerConfig, UsageError, resolve,
};

const SERVER: &str = "--store mem:// --disable-mtls --disable-storage-encryption";
const HOME: &str = "/home/someone";
const DEFAULT_FILE: &str = "/home/someone/.lockd/config.yaml";

/// A machine with an environment and files but without side effects.
#[derive(Default)]
struct Machine {
    env: BTreeMap<&'static str, OsString>,
    files: BTreeMap<&'static str, &'static str>,
}

impl Machine {
    fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.insert(name, value.into());
        self
    }

    fn file(mut self, path: &'static str, content: &'static str) -> Self {
        self.files.insert(path, content);
        self
    }

    fn run(&self, line: &str) -> Result<Command, UsageError> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let env = |name: &str| match name {
            "HOME" => Some(self.env.get(name).cloned().unwrap_or_else(|| HOME.into())),
            _ => self.env.get(name).cloned(),
        };
        let read_file = |path: &Path| match self.files.get(path.to_str().unwrap()) {
            Some(&"<directory>") => Err(io::ErrorKind::IsADirectory.into()),
            Some(content) => Ok(content.as_bytes().to_vec()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        resolve(&Inputs { args: &args, env: &env, read_file: &read_file })
    }

    /// The configuration of a server that would start.
    fn server(&self, flags: &str) -> ServerConfig {
        match self.run(&format!("{SERVER} {flags}")) {
            Ok(Command::Serve(config)) => config,
            other => panic!("{flags}: {other:?}"),
        }
    }

    fn dev(&self, flags: &str) -> ServerConfig {
        match self.run(&format!("dev {flags}")) {
            Ok(Command::Dev(config)) => config,
            other => panic!("{flags}: {other:?}"),
        }
    }

    fn error(&self, flags: &str) -> String {
        self.run(&format!("{SERVER} {flags}")).map(|command| format!("{command:?}")).unwrap_err().message
    }
}

fn machine() -> Machine {
    Machine::default()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = machine().server("");
    assert_eq!(config.listen, Listen::Tcp { host: String::new(), port: 9341, family: Family::Any });
    assert_eq!(config.http2_max_concurrent_streams, Some(1024));
    assert_eq!(config.store, "mem://");
    assert_eq!(config.disk_durability, DiskDurability::Fsync);
    assert_eq!(config.commit_max_ops, 4096);
    assert_eq!(config.default_namespace.as_str(), "default");
    assert_eq!(config.json_max, 104_857_600);
    assert_eq!(config.default_ttl, seconds(30));
    assert_eq!(config.max_ttl, seconds(1800));
    assert_eq!(config.acquire_block, seconds(60));
    assert_eq!(config.drain_grace, seconds(10));
    assert_eq!(config.shutdown_timeout, Some(seconds(10)));
    assert_eq!((config.log.level, config.log.mode), (Level::Info, Mode::Structured));
    assert_eq!(config.config_file, None);
    assert_eq!(config.greeting, None);
}

#[test]
fn every_live_setting_arrives() {
    let config = machine().server(
        "--listen 127.0.0.1:1 --listen-proto tcp4 --http2-max-concurrent-streams 0 --disk-durability os \
         --logstore-commit-max-ops 7 -n Ops --json-max 1MiB --default-ttl 1s --max-ttl 2s \
         --acquire-block 3s --drain-grace 0 --shutdown-timeout 0 --log-level debug",
    );
    assert_eq!(config.listen, Listen::Tcp { host: "127.0.0.1".into(), port: 1, family: Family::V4 });
    assert_eq!(config.http2_max_concurrent_streams, None);
    assert_eq!(config.disk_durability, DiskDurability::Os);
    assert_eq!(config.commit_max_ops, 7);
    assert_eq!(config.default_namespace.as_str(), "ops");
    assert_eq!(config.json_max, 1_048_576);
    assert_eq!(
        (config.default_ttl, config.max_ttl, config.acquire_block),
        (seconds(1), seconds(2), seconds(3))
    );
    assert_eq!((config.drain_grace, config.shutdown_timeout), (seconds(0), None));
    assert_eq!(config.log.level, Level::Debug);
    assert_eq!(config.notices, []);
}

#[test]
fn cli_02_without_a_store_nothing_starts() {
    for line in ["", "--store=", "--disable-mtls"] {
        let error = machine().run(line).unwrap_err();
        assert!(error.message.starts_with("config: store is required"), "{}", error.message);
        assert_eq!(error.report, Report::LogLine);
    }
}

#[test]
fn cli_06_flag_over_variable_over_file_over_default() {
    let file = || machine().file(DEFAULT_FILE, "drain-grace: 5s\n");
    let both = || file().env("LOCKD_DRAIN_GRACE", "4s");
    assert_eq!(both().server("--drain-grace 3s").drain_grace, seconds(3));
    assert_eq!(both().server("").drain_grace, seconds(4));
    assert_eq!(file().server("").drain_grace, seconds(5));
    assert_eq!(machine().server("").drain_grace, seconds(10));
    assert_eq!(machine().server("--drain-grace 1s --drain-grace 2s").drain_grace, seconds(2));
}

#[test]
fn cli_07_an_empty_variable_is_not_set() {
    let config = machine().env("LOCKD_LISTEN", "").file(DEFAULT_FILE, "listen: '[::1]:5'\n").server("");
    assert_eq!(config.listen.to_string(), "[::1]:5");
}

#[test]
fn cli_08_a_missing_file_matters_only_when_asked_for() {
    let error = machine().run("-c missing.yaml").unwrap_err();
    assert!(error.message.contains("config file \"missing.yaml\": "), "{}", error.message);
    assert!(error.message.contains("no such file or directory"), "{}", error.message);
    assert!(matches!(error.report, Report::UsageThenLogLine(_)));
    assert_eq!(machine().env("LOCKD_CONFIG_DIR", "/nowhere").server("").config_file, None);
    let error = machine().env("LOCKD_CONFIG", "/gone.toml").error("");
    assert!(error.contains("/gone.toml"), "{error}");
}

#[test]
fn cli_09_a_directory_is_no_file() {
    let error = machine().file("/etc", "<directory>").error("-c /etc");
    assert_eq!(error, "config file \"/etc\" is a directory");
}

#[test]
fn cli_10_the_directory_of_the_file_can_be_moved() {
    let machine = machine()
        .file(DEFAULT_FILE, "acquire-block: 1s\n")
        .file("/etc/lockd/config.yaml", "acquire-block: 2s\n")
        .file("/home/someone/other.json", r#"{"Acquire-Block": "3s"}"#);
    assert_eq!(machine.server("").acquire_block, seconds(1));
    let machine = machine.env("LOCKD_CONFIG_DIR", "/etc/lockd");
    assert_eq!(machine.server("").acquire_block, seconds(2));
    let machine = machine.env("LOCKD_CONFIG", "~/other.json");
    assert_eq!(machine.server("").acquire_block, seconds(3));
    assert_eq!(machine.server("--config /home/someone/.lockd/config.yaml").acquire_block, seconds(1));
}

#[test]
fn cli_12_sizes_are_binary_or_decimal_by_unit() {
    assert_eq!(machine().server("--json-max 1MiB").json_max, 1_048_576);
    assert_eq!(machine().server("--json-max 1MB").json_max, 1_000_000);
    assert_eq!(machine().server("--json-max 0").json_max, 104_857_600);
}

#[test]
fn cli_13_a_size_that_is_none_names_its_key() {
    let from_flag = machine().error("--json-max nonsense");
    assert!(from_flag.starts_with("parse json-max: ") && from_flag.contains("--json-max"), "{from_flag}");
    let from_env = machine().env("LOCKD_JSON_MAX", "nonsense").error("");
    assert!(from_env.starts_with("parse json-max: ") && from_env.contains("LOCKD_JSON_MAX"), "{from_env}");
}

#[test]
fn cli_14_a_broken_value_names_where_it_was_set() {
    let error = machine().env("LOCKD_DEFAULT_TTL", "abc").error("");
    assert!(error.contains("LOCKD_DEFAULT_TTL") && error.contains("\"abc\""), "{error}");
    let error = machine().file("/c.toml", "default-ttl = 30").error("-c /c.toml");
    assert!(error.contains("default-ttl") && error.contains("/c.toml") && error.contains("30s"), "{error}");
    let error = machine().file("/c.yaml", "default-ttl: [1s]").error("-c /c.yaml");
    assert!(error.contains("default-ttl") && error.contains("single value"), "{error}");
    let flag = machine().run("--default-ttl x").unwrap_err();
    assert!(
        flag.message.starts_with("invalid argument \"x\" for \"--default-ttl\" flag: "),
        "{}",
        flag.message
    );
    assert!(matches!(flag.report, Report::UsageThenLogLine(_)));
    // A flag that wins does not excuse nonsense in the file, but the file is then not looked at.
    assert!(machine().env("LOCKD_DEFAULT_TTL", "abc").run(&format!("{SERVER} --default-ttl 1s")).is_ok());
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_text_are_named() {
    use std::os::unix::ffi::OsStringExt;
    let error = machine().env("LOCKD_LISTEN", OsString::from_vec(vec![0xff])).error("");
    assert!(error.contains("LOCKD_LISTEN") && error.contains("UTF-8"), "{error}");
}

#[test]
fn cli_15_the_positive_key_wins_over_the_negative_flag() {
    let starts = |file, line: &str| {
        let line = format!("-c /c.yaml --store mem:// {line}");
        machine().file("/c.yaml", file).run(&line).is_ok()
    };
    assert!(starts("mtls: false\ndisable-mtls: false\n", ""));
    assert!(starts("mtls: 'false'\n", "--disable-mtls=false"));
    assert!(!starts("mtls: true\ndisable-mtls: true\n", "--disable-mtls"));
    assert!(starts("disable-mtls: true\n", ""));
    assert!(machine().env("LOCKD_MTLS", "0").run("--store mem://").is_ok());
    let error = machine().env("LOCKD_MTLS", "maybe").error("");
    assert!(error.contains("LOCKD_MTLS"), "{error}");
}

#[test]
fn mutual_tls_is_not_there_yet_and_says_so() {
    let error = machine().run("--store mem://").unwrap_err();
    assert!(error.message.starts_with("config: mutual TLS is not available"), "{}", error.message);
    assert!(error.message.contains("--disable-mtls"), "{}", error.message);
    assert_eq!(error.report, Report::LogLine);
}

#[test]
fn plain_http_is_warned_about_unless_it_stays_on_the_machine() {
    let warned = |flags: &str| {
        machine()
            .server(flags)
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::PlainHttpBeyondThisMachine { .. }))
    };
    for flags in ["", "--listen :1", "--listen 0.0.0.0:1", "--listen [::]:1", "--listen db.example.com:1"] {
        assert!(warned(flags), "{flags}");
    }
    for flags in [
        "--listen 127.0.0.1:1",
        "--listen localhost:1",
        "--listen [::1]:1",
        "--listen /run/x.sock --listen-proto unix",
    ] {
        assert!(!warned(flags), "{flags}");
    }
}

#[test]
fn missing_encryption_is_warned_about_on_disk_only() {
    let warned = |line: &str| match machine().run(line) {
        Ok(Command::Serve(config)) => config.notices.contains(&Notice::PlaintextAtRest),
        other => panic!("{line}: {other:?}"),
    };
    assert!(warned("--disable-mtls --store disk:///x"));
    assert!(!warned("--disable-mtls --store disk:///x --disable-storage-encryption"));
    assert!(!warned("--disable-mtls --store MEM://"));
    assert!(!warned("--disable-mtls --store memory://"));
}

#[test]
fn settings_without_effect_are_checked_and_warned_about_once() {
    let config = machine()
        .env("LOCKD_LOGSTORE_SEGMENT_SIZE", "1MB")
        .file(DEFAULT_FILE, "payload-spool-mem: 1k\n")
        .server("--sweeper-interval 1s --sweeper-interval -2s --disk-lock-file-cache-size -1");
    let set: Vec<_> = config
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::NoEffect { setting, .. } => Some(*setting),
            _ => None,
        })
        .collect();
    assert_eq!(
        set,
        ["payload-spool-mem", "sweeper-interval", "logstore-segment-size", "disk-lock-file-cache-size"]
    );
    assert!(machine().error("--sweeper-interval soon").contains("--sweeper-interval"));
    assert!(
        machine().error("--txn-replay-interval -1s").starts_with("config: txn replay interval must be >= 0")
    );
    let error = machine().error("--json-util x");
    assert!(error.starts_with("config: unknown json util \"x\" (options: lockd, jsonv2, stdlib)"), "{error}");
}

#[test]
fn unknown_keys_are_warned_about_and_ignored() {
    let config = machine()
        .file("/c.yaml", "Listen: 127.0.0.1:1\nclient: {server: x}\nmcp.path: /\nbogus: 1\nconfig: x\n")
        .server("-c /c.yaml");
    let unknown: Vec<_> = config
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::UnknownKey { key, .. } => Some(key.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(unknown, ["bogus", "config"]);
    assert_eq!(config.config_file.as_deref(), Some(Path::new("/c.yaml")));
}

#[test]
fn values_that_contradict_are_refused() {
    for (flags, message) in [
        ("--default-ttl 1h", "config: max ttl must be >= default ttl"),
        ("--drain-grace -1s", "config: drain grace must be >= 0"),
        ("--shutdown-timeout -1s", "config: shutdown timeout must be >= 0"),
        ("--default-ttl -1s", "config: default ttl must be >= 0"),
        ("--acquire-block -1s", "config: acquire block must be >= 0"),
        ("--http2-max-concurrent-streams -1", "config: http2 max concurrent streams must be >= 0"),
        ("--http2-max-concurrent-streams 4294967296", "config: http2 max concurrent streams must be <= "),
        ("--listen-proto udp", "config: unknown listen proto \"udp\" (options: tcp, tcp4, tcp6, unix)"),
        ("--listen-proto unix", "config: listen-proto unix needs --listen"),
        ("--listen /run/x.sock", "config: listen address \"/run/x.sock\" is a path"),
        ("--listen nowhere", "config: listen address \"nowhere\" has no port"),
        ("-n .txns", "config: default namespace"),
        ("--log-level bogus", "config: unknown log level \"bogus\""),
        ("--disk-durability maybe", "config: unknown disk durability \"maybe\" (options: fsync, os)"),
        ("--unix-socket-mode 999", "invalid argument \"999\" for \"--unix-socket-mode\" flag: invalid mode"),
        ("--disable-mtls=maybe", "invalid argument \"maybe\" for \"--disable-mtls\" flag: invalid boolean"),
    ] {
        let error = machine().error(flags);
        assert!(error.starts_with(message), "{flags}: {error}");
    }
}

#[test]
fn zero_means_the_default_where_the_contract_says_so() {
    let config = machine()
        .server("--default-ttl 0 --max-ttl 0s --acquire-block 0 --logstore-commit-max-ops 0 --json-max 0");
    let default = machine().server("");
    assert_eq!(config.default_ttl, default.default_ttl);
    assert_eq!(config.max_ttl, default.max_ttl);
    assert_eq!(config.acquire_block, default.acquire_block);
    assert_eq!(config.commit_max_ops, default.commit_max_ops);
    assert_eq!(config.json_max, default.json_max);
}

#[test]
fn a_unix_socket_has_a_path_and_a_mode() {
    let listen = |file| machine().file("/c.yaml", file).server("--listen-proto unix -c /c.yaml").listen;
    let expected = |mode| Listen::Unix { path: "/home/someone/x.sock".into(), mode };
    assert_eq!(listen("listen: ~/x.sock\nunix-socket-mode: '0660'\n"), expected(0o660));
    assert_eq!(listen("listen: ~/x.sock\nunix-socket-mode: 0660\n"), expected(0o660));
    assert_eq!(listen("listen: ~/x.sock\n"), expected(0o600));
    // A bare 432 may be 0o660 as well as 0432: ask instead of guessing.
    let error = machine().file("/c.yaml", "unix-socket-mode: 660\n").error("-c /c.yaml");
    assert!(error.contains("quotes"), "{error}");
}

#[test]
fn the_level_of_the_log_has_the_same_precedence() {
    let machine = machine().env("LOCKD_LOG_LEVEL", "error").file(DEFAULT_FILE, "log-level: trace\n");
    assert_eq!(machine.server("").log.level, Level::Error);
    assert_eq!(machine.server("--log-level none").log.level, Level::None);
    let file = Machine::default().file(DEFAULT_FILE, "log-level: trace\n");
    assert_eq!(file.server("").log.level, Level::Trace);
    let error = Machine::default().env("LOCKD_LOG_LEVEL", "loud").error("");
    assert!(error.contains("LOCKD_LOG_LEVEL") && error.contains("\"loud\""), "{error}");
}

#[test]
fn log_variables_without_effect_are_warned_about() {
    let config = machine().env("LOCKD_LOG_PALETTE", "dark").server("--listen 127.0.0.1:1");
    assert_eq!(config.notices, [Notice::LogVariable { variable: "LOCKD_LOG_PALETTE" }]);
}

#[test]
fn dev_needs_nothing() {
    let config = machine().dev("");
    assert_eq!(config.listen.to_string(), "127.0.0.1:9341");
    let data = if cfg!(target_os = "macos") {
        "disk:///home/someone/Library/Application%20Support/lockd"
    } else {
        "disk:///home/someone/.local/share/lockd"
    };
    assert_eq!(config.store, data);
    assert_eq!(config.log.mode, Mode::Console);
    assert_eq!(config.notices, []);
    assert!(config.greeting.is_some());
    assert_eq!(machine().env("XDG_DATA_HOME", "/data").dev("").store, "disk:///data/lockd");
    assert_eq!(machine().dev("--data-dir ~/x").store, "disk:///home/someone/x");
    assert_eq!(machine().dev("--store mem://").store, "mem://");
    assert_eq!(machine().dev("--listen-proto tcp6").listen.to_string(), "[::1]:9341");
    assert_eq!(machine().dev("--listen :1 --json-max 1k").json_max, 1000);
    assert!(!machine().dev("--listen :1").notices.is_empty());
}

#[test]
fn dev_never_meets_the_settings_of_a_real_server() {
    let machine = machine()
        .env("LOCKD_STORE", "disk:///var/lib/lockd")
        .env("LOCKD_CONFIG", "/etc/lockd.yaml")
        .env("LOCKD_LOG_LEVEL", "debug")
        .file(DEFAULT_FILE, "store: disk:///var/lib/lockd\n")
        .file("/etc/lockd.yaml", "store: disk:///var/lib/lockd\n")
        .file("/mine.yaml", "json-max: 1k\n");
    let config = machine.dev("");
    assert!(config.store.starts_with("disk:///home/someone/"), "{}", config.store);
    assert_eq!(config.log.level, Level::Debug);
    assert_eq!(machine.dev("-c /mine.yaml").json_max, 1000);
    assert_eq!(machine.dev("--log-level warn").log.level, Level::Warn);
}

#[test]
fn dev_reports_to_a_person() {
    let error = machine().run("dev --data-dir /x --store mem://").unwrap_err();
    assert!(error.message.contains("--data-dir"), "{}", error.message);
    assert_eq!(error.report, Report::Plain { hint: None });
    let error = machine().run("dev --disable-mtls=false").unwrap_err();
    assert!(error.message.contains("mutual TLS"), "{}", error.message);
    let error = machine().run("dev --bogus").unwrap_err();
    assert!(matches!(error.report, Report::UsageThenPlain(_)));
}

#[test]
fn a_broken_file_does_not_keep_the_version_secret() {
    match machine().file(DEFAULT_FILE, "a: [").run("version") {
        Ok(Command::Version { text, warning: Some(warning) }) => {
            assert!(text.starts_with("lockd v"), "{text}");
            assert!(warning.contains(DEFAULT_FILE), "{warning}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(machine().run("version"), Ok(Command::Version { warning: None, .. })));
}
