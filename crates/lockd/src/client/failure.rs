//! Why a client command failed, in the words that scripts know.

use std::fmt;

pub(super) type Outcome<T> = Result<T, Failure>;

#[derive(Debug)]
pub(super) enum Failure {
    /// The command line cannot be carried out as it is.
    Usage(String),
    /// Something on this side.
    Local(String),
    /// The server said no.
    Service(Refusal),
    /// No server could be reached or the connection broke.
    Unreachable { attempted: String, cause: String },
    /// There is no document, and `--exit-code` asks to say so in the exit status alone.
    Absent,
    /// SIGINT or SIGTERM.
    Interrupted,
    /// The reader of our output has gone.
    NobodyReads,
}

/// An error answer of a server.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Empty when the answer was not one of lockd's.
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) retry_after_seconds: u64,
    /// Under which the server's log knows the request.
    pub(super) correlation_id: String,
}

impl Failure {
    pub(super) fn code(&self) -> &str {
        match self {
            Failure::Service(refusal) => &refusal.code,
            _ => "",
        }
    }

    /// What helps a person who looks for the reason in the server's log; scripts do not expect it.
    pub(super) fn trace(&self) -> Option<String> {
        match self {
            Failure::Service(Refusal { status, correlation_id, .. }) if correlation_id.is_empty() => {
                Some(format!("HTTP status {status}"))
            }
            Failure::Service(Refusal { status, correlation_id, .. }) => {
                Some(format!("HTTP status {status}, correlation id {correlation_id}"))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Local(text) => out.write_str(text),
            Failure::Service(Refusal { code, status, .. }) if code.is_empty() => {
                write!(out, "lockd: status {status}")
            }
            Failure::Service(Refusal { code, detail, .. }) if detail.is_empty() => {
                write!(out, "lockd: {code}")
            }
            Failure::Service(Refusal { code, detail, .. }) => write!(out, "lockd: {code} ({detail})"),
            Failure::Unreachable { attempted, cause } => {
                write!(out, "lockd: all endpoints unreachable (attempted {attempted}): {cause}")
            }
            Failure::Absent => out.write_str("there is no document"),
            Failure::Interrupted => out.write_str("interrupted"),
            Failure::NobodyReads => out.write_str("nobody reads the output"),
        }
    }
}
