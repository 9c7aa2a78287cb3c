//! `dflockd`: FIFO locks and counting semaphores over a three-line TCP protocol.
//!
//! * [`table`] holds all rules: keys, holders, queues, leases. It does no I/O and takes time as an argument.
//! * [`protocol`] turns bytes into requests and outcomes into reply lines.
//! * [`server`] moves bytes: connections, TLS, timeouts, drain, the metrics page.
//! * [`snapshot`], [`config`], [`log`] are what their names say.
//!
//! # Why one thread and readiness events
//!
//! An operation of the table takes a fraction of a microsecond, the system calls around it several. So the table needs one
//! owner rather than a lock, and what is worth saving is everything between "bytes have arrived" and "the reply is on its
//! way": wake-ups of other threads, task switches, allocations. The server is therefore one thread over epoll: a request is
//! read into a buffer that all connections share, executed where it lies, and answered with one `write`. A connection owns no
//! buffer while it is idle, only some 200 bytes; a task with a future and two buffers would take several kilobytes.
//!
//! The price is that nothing in this thread may take long. All work that can be large (a crowd leaving, a million leases
//! ending at once, garbage, `stats` over all keys) is cut into slices, with the sockets served in between.

pub mod config;
pub mod log;
pub mod protocol;
pub mod server;
pub mod snapshot;
pub mod table;
mod tls;
