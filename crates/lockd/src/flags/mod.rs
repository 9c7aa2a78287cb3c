//! Every flag of the command line, described once. Parsing, `LOCKD_*` variables, keys of the configuration file,
//! `--help`, `docs/config.md` and the tests all come from these tables; the tables themselves are one file a section.

pub(crate) use process::LEVELS;

mod background;
mod client;
mod client_queue;
mod client_settings;
mod client_txn;
mod listener;
mod logstore;
mod process;
mod queue;
mod security;
mod settings;
mod storage;

use std::path::PathBuf;
use std::time::Duration;

pub use client_queue::QueueSettings;
pub use client_settings::ClientSettings;
pub use settings::Settings;

use crate::value;
use crate::verb::Verb;

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Long name without dashes; also the key in the configuration file.
    pub name: &'static str,
    pub short: Option<char>,
    pub section: Section,
    pub kind: Kind,
    /// What stands for the value in help; empty leaves it to the kind.
    pub placeholder: &'static str,
    /// As a user would write it; empty means there is none.
    pub default: &'static str,
    pub range: Range,
    /// What it does, as a sentence without the name.
    pub help: &'static str,
    pub effect: Effect,
    pub scope: Scope,
    /// A key and variable of the opposite meaning, which wins when it is set.
    pub inverse: Option<&'static str>,
    /// A variable that does not follow the rule.
    pub fixed_variable: Option<&'static str>,
    /// A variable that counts when the other one is not set.
    pub second_variable: Option<&'static str>,
    /// A key of the configuration file that does not follow the rule.
    pub fixed_key: Option<&'static str>,
}

impl Flag {
    /// What most flags are, to be completed with `..Flag::SERVER`.
    const SERVER: Flag = Flag {
        name: "",
        short: None,
        section: Section::Process,
        kind: Kind::Switch(|_, _| {}),
        placeholder: "",
        default: "",
        range: Range::NotNegative,
        help: "",
        effect: Effect::Live,
        scope: Scope::Server,
        inverse: None,
        fixed_variable: None,
        second_variable: None,
        fixed_key: None,
    };

    /// The environment variable that sets it, unless it exists on the command line only.
    pub fn variable(&self) -> Option<String> {
        let by_rule = || self.scope.is_configurable().then(|| variable(self.name));
        self.fixed_variable.map(str::to_owned).or_else(by_rule)
    }

    /// The key in the configuration file, if it can stand there.
    pub fn key(&self) -> Option<&'static str> {
        self.fixed_key.or_else(|| self.scope.is_configurable().then_some(self.name))
    }

    /// What stands for the value in help; empty for switches.
    pub fn placeholder(&self) -> &'static str {
        if self.placeholder.is_empty() { self.kind.placeholder() } else { self.placeholder }
    }

    /// The name in words, as validation messages put it: `txn replay interval`.
    pub fn words(&self) -> String {
        self.name.replace('-', " ")
    }

    /// The default the way help shows it; empty means there is none.
    pub fn shown_default(&self) -> String {
        match self.kind {
            Kind::Duration(_) => {
                value::parse_duration(self.default).map_or_else(|_| self.default.into(), value::show_duration)
            }
            Kind::Switch(_) if self.default == "false" => String::new(),
            _ => self.default.into(),
        }
    }
}

/// `LOCKD_` and the name in upper case.
pub fn variable(name: &str) -> String {
    format!("LOCKD_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// What a flag's value looks like, and where it goes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text(fn(&mut Settings, String)),
    /// May be given several times, and several values at a time with commas between them.
    List(fn(&mut Settings, Vec<String>)),
    /// A path; a leading `~` is the home directory.
    Path(fn(&mut Settings, PathBuf)),
    Choice(&'static [&'static str], fn(&mut Settings, &'static str)),
    /// A boolean that is true when given without a value.
    Switch(fn(&mut Settings, bool)),
    Number(fn(&mut Settings, i64)),
    Duration(fn(&mut Settings, Duration)),
    /// Bytes.
    Size(fn(&mut Settings, u64)),
    /// Octal file permissions.
    Mode(fn(&mut Settings, u32)),
}

impl Kind {
    fn placeholder(&self) -> &'static str {
        match self {
            Kind::Text(_) | Kind::List(_) => "TEXT",
            Kind::Path(_) => "PATH",
            Kind::Choice(..) => "WORD",
            Kind::Switch(_) => "",
            Kind::Number(_) => "N",
            Kind::Duration(_) => "DURATION",
            Kind::Size(_) => "SIZE",
            Kind::Mode(_) => "MODE",
        }
    }
}

/// What numbers, durations and sizes at or below zero mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Zero is a value like any other, less is an error.
    NotNegative,
    /// Zero stands for the default, less is an error.
    ZeroIsDefault,
    /// Everything up to zero stands for the default.
    PositiveOrDefault,
    /// Zero and less are errors.
    Positive,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Live,
    /// Accepted and checked for the sake of existing scripts; the text says why nothing follows from it.
    NoneHere(&'static str),
}

/// Which commands know a flag, and whether variables and files can set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The server command and `lockd dev`; variable and file key exist.
    Server,
    /// Every command; variable and file key exist.
    Everywhere,
    /// Every command, but neither a variable nor a key follow the rule (`--config`, `--help`).
    Process,
    /// `lockd dev` only, command line only.
    Dev,
    /// `lockd version` only, command line only.
    Version,
    /// Every command that talks to a server; each flag names its variable and key.
    Connection,
    /// These client commands only.
    Commands(&'static [Verb]),
}

impl Scope {
    pub fn is_configurable(self) -> bool {
        matches!(self, Scope::Server | Scope::Everywhere)
    }

    pub fn is_client(self) -> bool {
        matches!(self, Scope::Connection | Scope::Commands(_))
    }
}

/// The groups of `--help` and `docs/config.md`, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Process,
    Listener,
    Security,
    Storage,
    Limits,
    Queue,
    Background,
    LogStore,
    Version,
    Command,
    Connection,
}

impl Section {
    pub const ALL: [Section; 11] = [
        Section::Process,
        Section::Listener,
        Section::Security,
        Section::Storage,
        Section::Limits,
        Section::Queue,
        Section::Background,
        Section::LogStore,
        Section::Version,
        Section::Command,
        Section::Connection,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Section::Process => "Process",
            Section::Listener => "Listener",
            Section::Security => "Security",
            Section::Storage => "Storage",
            Section::Limits => "Leases and limits",
            Section::Queue => "Queues and transactions",
            Section::Background => "Background work",
            Section::LogStore => "Disk store internals",
            Section::Version => "Version",
            Section::Command => "Flags",
            Section::Connection => "Connection",
        }
    }
}

/// All flags, section by section.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    [
        process::FLAGS,
        listener::FLAGS,
        security::FLAGS,
        storage::FLAGS,
        queue::FLAGS,
        background::FLAGS,
        logstore::FLAGS,
        client::FLAGS,
        client_queue::FLAGS,
        client_txn::FLAGS,
    ]
    .into_iter()
    .flatten()
}

/// The flags of one command. Different commands may give the same name to different flags.
pub fn of(verb: Verb) -> impl Iterator<Item = &'static Flag> {
    all().filter(move |flag| verb.knows(flag.scope))
}

pub fn by_name(verb: Verb, name: &str) -> Option<&'static Flag> {
    of(verb).find(|flag| flag.name == name)
}

pub fn by_short(verb: Verb, letter: char) -> Option<&'static Flag> {
    of(verb).find(|flag| flag.short == Some(letter))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_flag_is_described_once_and_completely() {
        for verb in std::iter::once(Verb::Serve).chain(crate::verb::ENTRIES.iter().map(|entry| entry.verb)) {
            let mut names = HashSet::new();
            let mut letters = HashSet::new();
            for flag in of(verb) {
                assert!(names.insert(flag.name), "{} of {verb:?} twice", flag.name);
                assert!(flag.short.is_none_or(|letter| letters.insert(letter)), "-{:?} twice", flag.short);
            }
        }
        for flag in all() {
            assert!(!flag.help.is_empty() && flag.help.ends_with('.'), "--{}: {:?}", flag.name, flag.help);
            assert!(
                flag.name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(!matches!(flag.effect, Effect::NoneHere("")), "--{}", flag.name);
        }
    }

    #[test]
    fn variables_follow_the_name() {
        assert_eq!(by_name(Verb::Serve, "drain-grace").unwrap().variable().unwrap(), "LOCKD_DRAIN_GRACE");
        assert_eq!(by_short(Verb::Serve, 'n').unwrap().name, "default-namespace");
        assert_eq!(by_name(Verb::Serve, "config").unwrap().variable(), None);
    }
}
