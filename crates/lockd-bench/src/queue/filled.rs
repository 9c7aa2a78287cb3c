//! Queues that are filled before they are measured.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::calls::{Delay, Messenger};
use crate::calls::Document;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Plan, Workload, drive};
use crate::process::ServerProcess;
use crate::session::start_lockd;
use crate::settings::{Settings, Store};

/// Many enough that a commit carries many messages.
const PRODUCERS: usize = 64;
const LONGEST_FILLING: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Filling {
    endpoint: Endpoint,
    queue: String,
    delay: Delay,
    payload_bytes: usize,
}

impl Workload for Filling {
    type Client = (Messenger, Document);

    fn label(&self) -> String {
        "fill".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["enqueue"]
    }

    async fn join(&self, index: usize) -> Result<Self::Client, Fault> {
        let document = Document::new(self.payload_bytes, index as u64 + 1);
        Ok((Messenger::open(&self.endpoint).await?, document))
    }

    async fn operate(
        &self,
        (messenger, document): &mut Self::Client,
        log: &mut OperationLog,
    ) -> Result<(), Fault> {
        messenger.enqueue(&self.queue, self.delay, document.next_revision()).await?;
        log.lap();
        Ok(())
    }
}

/// Puts so many messages into a queue.
pub(crate) fn fill(
    endpoint: &Endpoint,
    queue: &str,
    delay: Delay,
    payload_bytes: usize,
    messages: u64,
) -> Result<(), Fault> {
    let filling = Filling { endpoint: endpoint.clone(), queue: queue.to_owned(), delay, payload_bytes };
    let plan = Plan {
        clients: PRODUCERS,
        threads: 1,
        warmup: Duration::ZERO,
        duration: LONGEST_FILLING,
        operations: Some(messages),
        rate: None,
    };
    let measured = drive(&plan, &Arc::new(filling), || {})?;
    match measured.first_error {
        Some(error) => Err(Fault::Setup(format!("filling queue {queue}: {error}"))),
        None => Ok(()),
    }
}

/// Starts a server on a store that `prepare` has filled through another server. On disk that one does not sync, so that filling
/// is not a matter of the disk; the one that is measured is started afresh, with whatever the settings say.
pub(crate) fn start_filled(
    settings: &Settings,
    directory: &Path,
    prepare: impl FnOnce(&Endpoint) -> Result<(), Fault>,
) -> Result<ServerProcess, Fault> {
    if settings.store == Store::Memory {
        let server = start_lockd(settings, directory)?;
        prepare(&server.endpoint)?;
        return Ok(server);
    }
    let mut unsynced = settings.clone();
    unsynced.server_args.push("--disk-durability=os".into());
    let server = start_lockd(&unsynced, directory)?;
    prepare(&server.endpoint)?;
    server.kill()?;
    start_lockd(settings, directory)
}
