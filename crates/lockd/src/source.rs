//! Where a setting came from, so that every complaint can name it.

use std::fmt;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line; the flag's long name.
    Flag(&'static str),
    Variable(String),
    File {
        key: String,
        path: PathBuf,
    },
    /// The product's default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(name) => write!(out, "--{name}"),
            Source::Variable(name) => out.write_str(name),
            Source::File { key, path } => write!(out, "key {key:?} in {}", path.display()),
            Source::Default => out.write_str("the default"),
        }
    }
}
