//! Redis Streams as the peer of the queue: started on the same disk with every write synced before its answer.

pub(crate) mod connection;
pub(crate) mod cycle;

use std::path::Path;
use std::process::Command;

use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::process::{Health, ServerProcess, free_port};

/// Starts Redis in `directory`: the append-only file synced always, no snapshots beside it, the rest as it comes.
pub(crate) fn start(binary: &Path, directory: &Path) -> Result<ServerProcess, Fault> {
    let port = free_port()?;
    let mut command = Command::new(binary);
    command
        .env_clear()
        .current_dir(directory)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
        .arg("--dir")
        .arg(std::path::absolute(directory)?);
    let endpoint = Endpoint::parse(&format!("http://127.0.0.1:{port}"))?;
    ServerProcess::start("redis-server", command, endpoint, directory.join("redis.log"), &Health::Ping)
}
