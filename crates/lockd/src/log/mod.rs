//! The log: one JSON object a line (or a human form of the same), written with one call a line and never waited for by
//! anything but the thread that logs.
//!
//! `tracing` events become lines: the `message` is `msg`, a field `sys` names the area, all other fields follow. Fields
//! of enclosing spans are added after those of the event.

mod layer;
mod level;
mod line;
mod logger;
mod settings;

pub use level::Level;
pub use logger::{LogError, Logger, install};
pub use settings::{LogSettings, Mode, Output, Stream};

pub(crate) use settings::VARIABLES;
