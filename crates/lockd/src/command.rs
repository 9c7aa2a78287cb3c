//! What one invocation of `lockd` comes to: the command to carry out, or the error to report and how.

use std::path::PathBuf;

use crate::client::Invocation;
use crate::config::ServerConfig;
use crate::verb::Verb;

#[derive(Debug)]
pub enum Command {
    /// Run the server in the foreground.
    Serve(ServerConfig),
    /// The same, configured for a developer's machine; the configuration carries a greeting.
    Dev(ServerConfig),
    /// Print the text on stdout. A broken configuration file does not stop this; it is only mentioned.
    Version { text: String, warning: Option<String> },
    /// Talk to a running server.
    Client(Box<Invocation>),
    /// Print the text on stdout: a help text or a completion script.
    Print(String),
    /// Write the manual pages into the directory.
    Manual(PathBuf),
}

/// Why nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    pub message: String,
    pub report: Report,
}

/// How an error is shown: the server command reports to whoever reads its log, the others to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// One line in the log.
    LogLine,
    /// This usage text, then one line in the log.
    UsageThenLogLine(String),
    /// The text of the error; after it, perhaps a line on what to do next.
    Plain { hint: Option<String> },
    /// This usage text, then the text of the error.
    UsageThenPlain(String),
}

impl UsageError {
    /// A mistake in the command line itself: worth a look at the usage.
    pub(crate) fn usage(verb: Verb, message: String) -> Self {
        let usage = crate::help::usage(verb);
        let report = match verb {
            Verb::Serve => Report::UsageThenLogLine(usage),
            verb if verb.is_terse() => Report::Plain { hint: None },
            _ => Report::UsageThenPlain(usage),
        };
        Self { message, report }
    }

    /// A setting that cannot be used.
    pub(crate) fn setting(verb: Verb, message: String) -> Self {
        let report = match verb {
            Verb::Serve => Report::LogLine,
            _ => Report::Plain { hint: None },
        };
        Self { message, report }
    }

    pub(crate) fn unknown_word(verb: Verb, word: &str) -> Self {
        let path = verb.path();
        Self {
            message: format!("unknown command {word:?} for {path:?}"),
            report: Report::Plain {
                hint: (!verb.is_terse()).then(|| format!("Run '{path} --help' for usage.")),
            },
        }
    }
}
