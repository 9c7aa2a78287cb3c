//! From arguments, environment and configuration file to one command: flag over variable over file over default.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::Invocation;
use crate::command::{Command, UsageError};
use crate::command_line::{self, CommandLine};
use crate::completion::{self, Shell};
use crate::config::ServerConfig;
use crate::config_file::{ConfigFile, ReadFile, Scalar};
use crate::dev::{self, Greeting};
use crate::flags::{self, Effect, Flag, Kind, Range, Settings};
use crate::help;
use crate::log::{LogSettings, Mode};
use crate::notice::Notice;
use crate::source::Source;
use crate::value;
use crate::verb::Verb;
use crate::version::{self, Form};

/// Everything a start depends on.
pub struct Inputs<'a> {
    /// Arguments without the program's name.
    pub args: &'a [OsString],
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    pub read_file: ReadFile<'a>,
}

impl std::fmt::Debug for Inputs<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Inputs").field("args", &self.args).finish_non_exhaustive()
    }
}

/// Finds out what to do.
pub fn resolve(inputs: &Inputs<'_>) -> Result<Command, UsageError> {
    let line = command_line::parse(inputs.args)?;
    let verb = line.verb;
    let only_flags = Sources { line: &line, env: &|_| None, file: None, home: home(inputs) };
    if only_flags.read_all_given()?.help {
        return Ok(Command::Print(help::text(verb)));
    }
    if verb.is_group() {
        return Ok(Command::Print(help::text(verb)));
    }
    line.check_words()?;
    match verb {
        Verb::Serve => serve(inputs, &line),
        Verb::Dev => dev(inputs, &line),
        Verb::Version => version(inputs, &line),
        Verb::Help => topic(&line),
        Verb::CompletionBash => Ok(Command::Print(completion::script(Shell::Bash))),
        Verb::CompletionZsh => Ok(Command::Print(completion::script(Shell::Zsh))),
        Verb::CompletionFish => Ok(Command::Print(completion::script(Shell::Fish))),
        Verb::CompletionPowershell => Ok(Command::Print(completion::script(Shell::Powershell))),
        Verb::Man => {
            let directory = line.words.first().map(String::as_str).unwrap_or_default();
            Ok(Command::Manual(expand_home(Path::new(directory), home(inputs).as_deref())))
        }
        _ => client(inputs, line),
    }
}

fn serve(inputs: &Inputs<'_>, line: &CommandLine) -> Result<Command, UsageError> {
    let setting = |message| UsageError::setting(Verb::Serve, message);
    let file = config_file(inputs, line, true).map_err(|message| UsageError::usage(Verb::Serve, message))?;
    let sources = Sources { line, env: inputs.env, file: file.as_ref(), home: home(inputs) };
    let log = LogSettings::from_env(inputs.env, Mode::Structured).map_err(setting)?;
    sources.configure(log, |_| Ok(())).map(Command::Serve)
}

/// A development server must not meet data or settings of a real one: it looks at no variable but those of the log,
/// and at a configuration file only when it is given on the command line.
fn dev(inputs: &Inputs<'_>, line: &CommandLine) -> Result<Command, UsageError> {
    let setting = |message| UsageError::setting(Verb::Dev, message);
    let file = config_file(inputs, line, false).map_err(setting)?;
    let sources = Sources { line, env: &|_| None, file: file.as_ref(), home: home(inputs) };
    let log = LogSettings::from_env(inputs.env, Mode::Console).map_err(setting)?;
    let mut data = String::new();
    let mut config = sources.configure(log, |settings| {
        if sources.is_default("listen") && settings.listen_proto != "unix" {
            settings.listen = dev::LISTEN.into();
            if settings.listen_proto == "tcp6" {
                settings.listen = dev::LISTEN.replace("127.0.0.1", "[::1]");
            }
        }
        if sources.is_default("disable-mtls") {
            settings.disable_mtls = true;
        }
        if sources.is_default("disable-storage-encryption") {
            settings.disable_storage_encryption = true;
        }
        let directory = match (&settings.data_dir, settings.store.is_empty()) {
            (Some(_), false) => {
                return Err("--data-dir and --store exclude each other: give one of them".into());
            }
            (None, false) => {
                data.clone_from(&settings.store);
                return Ok(());
            }
            (Some(directory), true) => directory.clone(),
            (None, true) => dev::data_dir(inputs.env)?,
        };
        settings.store = dev::store_url(&directory)?;
        data = directory.display().to_string();
        Ok(())
    })?;
    config.greeting = Some(Greeting { data });
    Ok(Command::Dev(config))
}

/// The file is read for its `client` keys; a server's settings have no say here.
fn client(inputs: &Inputs<'_>, line: CommandLine) -> Result<Command, UsageError> {
    let verb = line.verb;
    let setting = |message| UsageError::setting(verb, message);
    let file = config_file(inputs, &line, true).map_err(setting)?;
    let sources = Sources { line: &line, env: inputs.env, file: file.as_ref(), home: home(inputs) };
    let (settings, _) = sources.read_all()?;
    let timeout_given = !sources.is_default("timeout");
    let directory = config_directory(inputs, true);
    let correlation_id = (inputs.env)("LOCKD_CLIENT_CORRELATION_ID").and_then(|id| id.into_string().ok());
    Ok(Command::Client(Box::new(Invocation {
        verb,
        settings: settings.client,
        words: line.words,
        timeout_given,
        directory,
        home: home(inputs),
        correlation_id,
    })))
}

fn version(inputs: &Inputs<'_>, line: &CommandLine) -> Result<Command, UsageError> {
    let only_flags = Sources { line, env: &|_| None, file: None, home: home(inputs) };
    let settings = only_flags.read_all_given()?;
    let form = match (settings.version_only, settings.semver_only) {
        (true, true) => {
            return Err(UsageError::usage(
                Verb::Version,
                "--version and --semver are mutually exclusive".into(),
            ));
        }
        (true, false) => Form::Version,
        (false, true) => Form::Semver,
        (false, false) => Form::Full,
    };
    // The file has no say here; a broken one is still worth a word before the server is started with it.
    let warning = config_file(inputs, line, true).err();
    Ok(Command::Version { text: version::text(form), warning })
}

fn topic(line: &CommandLine) -> Result<Command, UsageError> {
    let verb = line.words.iter().try_fold(Verb::Serve, |verb, word| {
        verb.below(word).ok_or_else(|| UsageError::unknown_word(verb, word))
    })?;
    Ok(Command::Print(help::text(verb)))
}

fn config_file(
    inputs: &Inputs<'_>,
    line: &CommandLine,
    with_defaults: bool,
) -> Result<Option<ConfigFile>, String> {
    let home = home(inputs);
    let variable = |name: &str| -> Option<PathBuf> {
        let value = (inputs.env)(name).filter(|value| with_defaults && !value.is_empty())?;
        Some(expand_home(Path::new(&value), home.as_deref()))
    };
    let explicit = match line.last("config") {
        Some("") | None => variable("LOCKD_CONFIG"),
        Some(path) => Some(expand_home(Path::new(path), home.as_deref())),
    };
    let default = config_directory(inputs, with_defaults).map(|directory| directory.join("config.yaml"));
    ConfigFile::load(explicit, default, inputs.read_file)
}

/// Where the configuration and the bundles of this user are.
fn config_directory(inputs: &Inputs<'_>, with_defaults: bool) -> Option<PathBuf> {
    let home = home(inputs);
    let given = (inputs.env)("LOCKD_CONFIG_DIR").filter(|value| !value.is_empty());
    let given = given.map(|value| expand_home(Path::new(&value), home.as_deref()));
    given.or_else(|| home.map(|home| home.join(".lockd"))).filter(|_| with_defaults)
}

fn home(inputs: &Inputs<'_>) -> Option<PathBuf> {
    (inputs.env)("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

pub(crate) fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.to_owned(),
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// A value with its origin.
struct Found {
    text: String,
    source: Source,
    /// A bare number in the file, where it matters how it was written.
    bare_number: bool,
}

/// Everywhere a setting can come from, in the order that counts.
struct Sources<'a> {
    line: &'a CommandLine,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    file: Option<&'a ConfigFile>,
    home: Option<PathBuf>,
}

impl Sources<'_> {
    /// Settings from all sources, checked and combined. `adjust` comes between reading and checking.
    fn configure(
        &self,
        mut log: LogSettings,
        adjust: impl FnOnce(&mut Settings) -> Result<(), String>,
    ) -> Result<ServerConfig, UsageError> {
        let verb = self.line.verb;
        let setting = |message| UsageError::setting(verb, message);
        let (mut settings, mut notices) = self.read_all()?;
        adjust(&mut settings).map_err(setting)?;
        if settings.listen_proto == "unix" {
            settings.listen = self.expanded(&settings.listen);
        }
        if !self.is_default("log-level") {
            log.set_level(settings.log_level);
        }
        notices.extend(log.notices());
        let mut config = ServerConfig::new(settings, log).map_err(setting)?;
        config.config_file = self.file.map(|file| file.path.clone());
        config.notices.extend(notices);
        Ok(config)
    }

    /// What the command line alone says; enough to tell a request for help or a version.
    fn read_all_given(&self) -> Result<Settings, UsageError> {
        let mut settings = Settings::default();
        for given in &self.line.given {
            let found =
                Found { text: given.text.clone(), source: Source::Flag(given.flag.name), bare_number: false };
            self.apply(given.flag, &found, &mut settings)?;
        }
        Ok(settings)
    }

    fn read_all(&self) -> Result<(Settings, Vec<Notice>), UsageError> {
        let verb = self.line.verb;
        let mut settings = Settings::default();
        let mut notices = Vec::new();
        for flag in flags::of(verb) {
            let default =
                Found { text: flag.default.to_owned(), source: Source::Default, bare_number: false };
            if !default.text.is_empty() {
                self.apply(flag, &default, &mut settings)?;
            }
            let found = self.find(flag).map_err(|message| UsageError::setting(verb, message))?;
            if let Some(found) = found {
                self.apply(flag, &found, &mut settings)?;
                if let Effect::NoneHere(reason) = flag.effect {
                    notices.push(Notice::NoEffect { setting: flag.name, source: found.source, reason });
                }
            }
        }
        if let Some(file) = self.file {
            let is_known = |key: &str| {
                flags::all()
                    .filter(|flag| flag.scope.is_configurable())
                    .any(|flag| flag.name == key || flag.inverse == Some(key))
            };
            let unknown = file.unknown_keys(is_known).into_iter();
            notices.extend(unknown.map(|key| Notice::UnknownKey { key, path: file.path.clone() }));
        }
        Ok((settings, notices))
    }

    fn is_default(&self, name: &str) -> bool {
        flags::by_name(self.line.verb, name).is_some_and(|flag| matches!(self.find(flag), Ok(None)))
    }

    /// The value that counts for a flag, unless it has its default.
    fn find(&self, flag: &'static Flag) -> Result<Option<Found>, String> {
        if let Some(inverse) = flag.inverse
            && let Some(found) = self.find_configured(Some(flags::variable(inverse)), Some(inverse))?
        {
            let on = value::parse_bool(&found.text)
                .map_err(|reason| format!("config: {}: {reason}", found.source))?;
            return Ok(Some(Found { text: (!on).to_string(), ..found }));
        }
        let given = match flag.kind {
            Kind::List(_) => self.line.joined(flag.name),
            _ => self.line.last(flag.name).map(str::to_owned),
        };
        if let Some(text) = given {
            let source = Source::Flag(flag.name);
            return Ok(Some(Found { text, source, bare_number: false }));
        }
        match self.find_configured(flag.variable(), flag.key())? {
            None => self.find_configured(flag.second_variable.map(str::to_owned), None),
            found => Ok(found),
        }
    }

    /// The environment, else the file. An empty variable counts as unset.
    fn find_configured(&self, variable: Option<String>, key: Option<&str>) -> Result<Option<Found>, String> {
        if let Some(variable) = variable
            && let Some(value) = (self.env)(&variable).filter(|value| !value.is_empty())
        {
            let text = value
                .into_string()
                .map_err(|_| format!("config: {variable}: the value is not valid UTF-8"))?;
            return Ok(Some(Found { text, source: Source::Variable(variable), bare_number: false }));
        }
        let (Some(file), Some(name)) = (self.file, key) else {
            return Ok(None);
        };
        let source = Source::File { key: name.to_owned(), path: file.path.clone() };
        let (text, bare_number) = match file.get(name) {
            Ok(None) => return Ok(None),
            Ok(Some(Scalar::Text(text))) => (text, false),
            Ok(Some(Scalar::Number(text))) => (text, true),
            Err(reason) => return Err(format!("config: {source} {reason}")),
        };
        Ok(Some(Found { text, source, bare_number }))
    }

    /// Parses a value and stores it.
    fn apply(&self, flag: &Flag, found: &Found, settings: &mut Settings) -> Result<(), UsageError> {
        let text = found.text.as_str();
        let or_invalid = |reason: String| self.invalid(flag, found, &reason);
        match flag.kind {
            Kind::Text(set) => set(settings, text.to_owned()),
            Kind::List(set) => set(settings, value::parse_list(text).map_err(or_invalid)?),
            Kind::Path(set) => set(settings, self.expanded(text).into()),
            Kind::Switch(set) => set(settings, value::parse_bool(text).map_err(or_invalid)?),
            Kind::Choice(words, set) => {
                match words.iter().find(|word| word.eq_ignore_ascii_case(text.trim())) {
                    Some(word) => set(settings, word),
                    None => {
                        return Err(self.refused(format!(
                            "config: unknown {} {text:?} (options: {}), set by {}",
                            flag.words(),
                            words.join(", "),
                            found.source
                        )));
                    }
                }
            }
            Kind::Number(set) => {
                let number = value::parse_number(text).map_err(or_invalid)?;
                if let Some(number) = self.in_range(flag, found, number)? {
                    set(settings, number);
                }
            }
            Kind::Duration(set) => {
                let nanos = value::parse_duration(text).map_err(or_invalid)?;
                if let Some(nanos) = self.in_range(flag, found, nanos)? {
                    set(settings, Duration::from_nanos(nanos.unsigned_abs()));
                }
            }
            Kind::Size(set) => {
                let bytes = value::parse_size(text).map_err(|reason| {
                    self.refused(format!("parse {}: {reason}, set by {}", flag.name, found.source))
                })?;
                if bytes > 0 || flag.range != Range::ZeroIsDefault {
                    set(settings, bytes);
                }
            }
            Kind::Mode(_) if found.bare_number => {
                let reason =
                    format!("write the mode in quotes, such as \"0{text}\", so that it is read as octal");
                return Err(or_invalid(reason));
            }
            Kind::Mode(set) => set(settings, value::parse_mode(text).map_err(or_invalid)?),
        }
        Ok(())
    }

    /// The number if it is to be used, nothing if the default is to stay.
    fn in_range(&self, flag: &Flag, found: &Found, number: i64) -> Result<Option<i64>, UsageError> {
        match flag.range {
            Range::Any => Ok(Some(number)),
            Range::Positive if number <= 0 => Err(self.refused(format!("{} must be > 0", flag.words()))),
            Range::Positive => Ok(Some(number)),
            Range::PositiveOrDefault => Ok(Some(number).filter(|number| *number > 0)),
            Range::NotNegative | Range::ZeroIsDefault if number < 0 => Err(self.refused(format!(
                "config: {} must be >= 0, got {} from {}",
                flag.words(),
                found.text.trim(),
                found.source
            ))),
            Range::NotNegative => Ok(Some(number)),
            Range::ZeroIsDefault => Ok(Some(number).filter(|number| *number > 0)),
        }
    }

    /// A value that does not parse: on the command line a usage error, elsewhere a broken setting.
    fn invalid(&self, flag: &Flag, found: &Found, reason: &str) -> UsageError {
        match &found.source {
            Source::Flag(_) => UsageError::usage(
                self.line.verb,
                format!("invalid argument {:?} for \"--{}\" flag: {reason}", found.text, flag.name),
            ),
            source => self.refused(format!("config: {source}: {reason}")),
        }
    }

    fn refused(&self, message: String) -> UsageError {
        UsageError::setting(self.line.verb, message)
    }

    fn expanded(&self, path: &str) -> String {
        expand_home(Path::new(path), self.home.as_deref()).to_string_lossy().into_owned()
    }
}
