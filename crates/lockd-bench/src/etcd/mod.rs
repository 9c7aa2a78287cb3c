//! etcd as the reference: started on the same disk and driven over gRPC as a native client would.

pub(crate) mod cycle;
pub(crate) mod grpc;
pub(crate) mod message;

use std::path::Path;
use std::process::Command;

use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::process::{Health, ServerProcess, free_port};

/// Starts a single etcd member with default settings (it syncs its log before it answers) in `directory`.
pub(crate) fn start(binary: &Path, directory: &Path) -> Result<ServerProcess, Fault> {
    let (client, peer) = (free_port()?, free_port()?);
    let client_url = format!("http://127.0.0.1:{client}");
    let peer_url = format!("http://127.0.0.1:{peer}");
    let mut command = Command::new(binary);
    command
        .env_clear()
        .current_dir(directory)
        .arg("--name=reference")
        .arg(format!("--data-dir={}", directory.join("etcd").display()))
        .arg(format!("--listen-client-urls={client_url}"))
        .arg(format!("--advertise-client-urls={client_url}"))
        .arg(format!("--listen-peer-urls={peer_url}"))
        .arg(format!("--initial-advertise-peer-urls={peer_url}"))
        .arg(format!("--initial-cluster=reference={peer_url}"))
        .args(["--logger=zap", "--log-level=error"]);
    let endpoint = Endpoint::parse(&client_url)?;
    ServerProcess::start("etcd", command, endpoint, directory.join("etcd.log"), &Health::Http("/health"))
}
