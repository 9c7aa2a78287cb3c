//! The wire protocol, without any I/O: three lines in, one line out.

mod frame;
mod reply;
mod request;

pub use frame::{Frame, LINE_LIMIT, next_frame};
pub use reply::{write_json_number, write_json_text, write_outcome};
pub use request::{Command, Malformed, Request, parse, trim};
