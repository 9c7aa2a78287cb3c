//! The `lockd` command as a library, so that everything but the process itself can be tested without starting one.
//!
//! The way of a start: [`resolve`] turns arguments, environment and configuration file into one [`Command`];
//! [`log`] opens the log that was asked for; [`serve()`] runs the server until [`signals`] end it. Every flag is
//! described once, in [`flags`]; parsing, variables, file keys, `--help` and `docs/config.md` follow from there.

pub mod client;
mod command;
mod command_line;
mod completion;
mod config;
mod config_file;
mod description;
mod dev;
pub mod flags;
mod help;
mod listen;
pub mod log;
pub mod manual;
mod notice;
pub mod reference;
mod resolve;
pub mod serve;
pub mod signals;
mod source;
mod value;
mod verb;
mod version;

pub use command::{Command, Report, UsageError};
pub use config::{DiskDurability, ServerConfig};
pub use config_file::ReadFile;
pub use dev::Greeting;
pub use listen::{Family, Listen};
pub use notice::Notice;
pub use resolve::{Inputs, resolve};
pub use serve::serve;
pub use verb::Verb;
