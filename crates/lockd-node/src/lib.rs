//! The shell around the core: one [`Node`] runs one `lockd_core::Core` over one store.
//!
//! * `driver`: feeds the core and carries out what it asks for: loads, batches, answers, ticks;
//! * `node`: the calls that a server makes, with typed results;
//! * `intake`: bytes on their way in: hashed, kept small or streamed into a blob;
//! * `read`: reads from the newest durable snapshot, which never touch the core;
//! * `clock`: the time, without jumps;
//! * `recovery`: what a store is asked at start.

mod clock;
mod driver;
mod intake;
mod node;
mod queue;
mod read;
mod recovery;

pub use clock::SteadyClock;
pub use intake::{INLINE_MAX, Intake, Upload};
pub use node::{NewAttachment, Node, NodeSettings};
pub use queue::{DeadLetter, NewMessage};
pub use read::{Body, DocumentRead, ReadError};
