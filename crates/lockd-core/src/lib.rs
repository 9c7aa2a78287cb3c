//! The rules of lockd.
//!
//! [`Core`] is a state machine without I/O: it has no tasks, no sockets, no clock and no randomness. It is fed [`Input`]s
//! (requests, loaded records, durable batches, the time) and hands back [`Output`]s (records to load, batches to write,
//! answers to give). Everything around it, the server or the simulator, is a shell that does the I/O.
//!
//! Where to look:
//!
//! * [`records`]: the durable schema, one file a record;
//! * [`decide`]: the rules, one file an operation, on one key record at a time;
//! * [`machine`]: which records an operation needs, in which order things happen, and when an answer may be given;
//! * [`view`]: what readers see of a record.

mod answers;
pub mod decide;
mod lanes;
mod lease_book;
mod listing;
pub mod machine;
mod moment;
pub mod op;
mod queues;
pub mod records;
mod txns;
pub mod view;
mod window;

pub use decide::Limits;
pub use machine::{Core, Footprint, Input, LoadError, Output, RequestId, Settings, Strides};
pub use moment::Moment;
