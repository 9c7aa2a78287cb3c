//! What can go wrong with a test server or a proxy, in words that a failing test can print as they are.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a server or a proxy could not be started, stopped or reached.
///
/// Its `Debug` text is its `Display` text, so that `unwrap()` in a test shows the log of the server readably.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("LOCKD_BIN={} is not a file; set it to the path of a lockd program or unset it", .0.display())]
    NotAProgram(PathBuf),
    #[error(
        "there is no lockd program: LOCKD_BIN is not set, no directory of PATH has one, and the sources of lockd \
         are not here to build it; install lockd or set LOCKD_BIN to its path"
    )]
    NoProgram,
    #[error("cargo could not build lockd ({reason}); build it yourself and set LOCKD_BIN to its path")]
    Build { reason: String },
    #[error("cannot {what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("lockd ended ({status}) instead of listening; its log:\n{log}")]
    Ended { status: ExitStatus, log: String },
    #[error(
        "lockd was not ready within {patience:?}; if the machine is slow, raise ready_within, and keep --log-level \
         at info or finer, because the log says where the server listens; its log:\n{log}"
    )]
    NotReady { patience: Duration, log: String },
    #[error("lockd was still there {patience:?} after SIGTERM and has been killed; its log:\n{log}")]
    WouldNotStop { patience: Duration, log: String },
    #[error("the server is not running; call restart() to start it again")]
    NotRunning,
    #[error(
        "{0:?} is no endpoint; write http://127.0.0.1:9341, 127.0.0.1:9341, unix:///path/of/socket or /path/of/socket"
    )]
    NoEndpoint(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
