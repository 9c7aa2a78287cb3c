//! Contended hand-over: all clients queue on one key; who gets it releases it at once and queues again.

use std::sync::Mutex;
use std::time::Instant;

use crate::calls::{Caller, Waiting};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};
use bench_kit::measured::nanos_between;

const TTL_SECONDS: u64 = 60;
const LONGEST_WAIT_SECONDS: u32 = 60;

#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) endpoint: Endpoint,
    pub(crate) key: String,
    pub(crate) releases: Mutex<Release>,
}

/// The latest release of the key, named by the fencing token it ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Release {
    token: i64,
    sent: Option<Instant>,
    answered: Option<Instant>,
}

const HANDOVER: usize = 0;
const FROM_SENT: usize = 1;
const WAIT: usize = 2;
const RELEASE: usize = 3;

impl Handover {
    fn latest(&self) -> std::sync::MutexGuard<'_, Release> {
        self.releases.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Workload for Handover {
    type Client = Caller;

    fn label(&self) -> String {
        "handover".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["answered-to-granted", "sent-to-granted", "wait", "release"]
    }

    async fn join(&self, _: usize) -> Result<Caller, Fault> {
        Ok(Caller::new(Connection::open(&self.endpoint).await?))
    }

    async fn operate(&self, client: &mut Caller, log: &mut OperationLog) -> Result<(), Fault> {
        let asked = Instant::now();
        client.acquire(&self.key, TTL_SECONDS, Waiting::Seconds(LONGEST_WAIT_SECONDS)).await?;
        let granted = Instant::now();
        log.request();
        let token = client.grant().fencing_token;
        let before = *self.latest();
        if let Some(sent) = before.sent {
            if token != before.token + 1 {
                return Err(Fault::Unexpected {
                    call: "acquire",
                    detail: format!("fencing token {token} after the release of {}", before.token),
                });
            }
            // The grant may be read before the answer to the release that made it: no gap at all.
            let gap = before.answered.map_or(0, |answered| nanos_between(answered, granted));
            log.note(HANDOVER, gap);
            log.note(FROM_SENT, nanos_between(sent, granted));
        }
        log.note(WAIT, nanos_between(asked, granted));
        let sent = Instant::now();
        *self.latest() = Release { token, sent: Some(sent), answered: None };
        client.release(&self.key).await?;
        let answered = Instant::now();
        log.request();
        log.note(RELEASE, nanos_between(sent, answered));
        let mut latest = self.latest();
        if latest.token == token {
            latest.answered = Some(answered);
        }
        Ok(())
    }
}
