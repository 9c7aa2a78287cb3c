//! What the operator should hear once at start although it does not stop the server.

use std::path::PathBuf;

use crate::source::Source;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A setting was given that means nothing in this design.
    NoEffect { setting: &'static str, source: Source, reason: &'static str },
    /// A log variable was given that means nothing here.
    LogVariable { variable: &'static str },
    /// A key of the configuration file that nothing reads.
    UnknownKey { key: String, path: PathBuf },
    /// Anyone on the network can use the server.
    PlainHttpBeyondThisMachine { listen: String },
    /// The operator did not switch encryption at rest off, yet there is none.
    PlaintextAtRest,
}

impl Notice {
    /// Writes the notice to the log.
    pub fn log(&self) {
        const SYS: &str = "cli.root";
        match self {
            Notice::NoEffect { setting, source, reason } => {
                tracing::warn!(sys = SYS, setting, %source, reason, "setting has no effect here");
            }
            Notice::LogVariable { variable } => {
                tracing::warn!(sys = SYS, setting = variable, "setting has no effect here");
            }
            Notice::UnknownKey { key, path } => {
                tracing::warn!(sys = SYS, key, path = %path.display(), "config key not recognised");
            }
            Notice::PlainHttpBeyondThisMachine { listen } => tracing::warn!(
                sys = SYS,
                listen,
                hint = "listen on 127.0.0.1 or a unix socket, or keep the port behind a firewall",
                "mutual TLS is off and other machines can connect: anyone who reaches the port can read and change \
                 everything"
            ),
            Notice::PlaintextAtRest => tracing::warn!(
                sys = "storage.crypto.envelope",
                hint = "start with --disable-storage-encryption to accept this",
                "storage encryption is not available yet; data at rest is plaintext"
            ),
        }
    }
}
