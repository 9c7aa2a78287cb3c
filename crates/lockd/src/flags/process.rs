//! Flags of the process as a whole, and those that exist on the command line only.

use super::{Flag, Kind, Scope, Section};

pub(crate) const LEVELS: &[&str] =
    &["trace", "debug", "info", "warn", "error", "fatal", "panic", "none", "off", "disabled"];

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "config",
        short: Some('c'),
        kind: Kind::Path(|settings, path| settings.config = Some(path)),
        help: "Configuration file (.yaml, .yml, .json or .toml). Without it the server, but not lockd dev, \
               reads the file named by LOCKD_CONFIG, else config.yaml in LOCKD_CONFIG_DIR or ~/.lockd if there is one.",
        scope: Scope::Process,
        ..Flag::SERVER
    },
    Flag {
        name: "data-dir",
        kind: Kind::Path(|settings, path| settings.data_dir = Some(path)),
        help: "Where the development server keeps its data. Without it: lockd in the user's data directory.",
        scope: Scope::Dev,
        ..Flag::SERVER
    },
    Flag {
        name: "log-level",
        placeholder: "LEVEL",
        kind: Kind::Choice(LEVELS, |settings, level| settings.log_level = level),
        default: "info",
        help: "Least severe level that is logged: trace, debug, info, warn, error or none.",
        scope: Scope::Everywhere,
        ..Flag::SERVER
    },
    Flag {
        name: "drain-grace",
        kind: Kind::Duration(|settings, time| settings.drain_grace = time),
        default: "10s",
        help: "How long a stopping server lets holders finish before it closes the listener; at most 80 % of \
               --shutdown-timeout. 0 skips the wait.",
        ..Flag::SERVER
    },
    Flag {
        name: "shutdown-timeout",
        kind: Kind::Duration(|settings, time| settings.shutdown_timeout = time),
        default: "10s",
        help: "Time for the whole shutdown. 0 sets no limit.",
        ..Flag::SERVER
    },
    Flag {
        name: "help",
        short: Some('h'),
        kind: Kind::Switch(|settings, on| settings.help = on),
        default: "false",
        help: "Print this text.",
        scope: Scope::Process,
        ..Flag::SERVER
    },
    Flag {
        name: "version",
        section: Section::Version,
        kind: Kind::Switch(|settings, on| settings.version_only = on),
        default: "false",
        help: "Print the version with its leading v, and nothing else.",
        scope: Scope::Version,
        ..Flag::SERVER
    },
    Flag {
        name: "semver",
        section: Section::Version,
        kind: Kind::Switch(|settings, on| settings.semver_only = on),
        default: "false",
        help: "Print the bare semantic version.",
        scope: Scope::Version,
        ..Flag::SERVER
    },
];
