//! The queue: its calls, and what is measured with them.

pub(crate) mod calls;
pub(crate) mod cycle;
pub(crate) mod depth;
pub(crate) mod drain;
pub(crate) mod filled;
pub(crate) mod handover;
pub(crate) mod scale;
pub(crate) mod stream;
