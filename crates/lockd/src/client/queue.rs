//! `lockd client queue`: messages. The modules are what is done with them; here is what all of them need to know.

pub(super) mod dead_letters;
mod delivery;
mod dequeue;
mod enqueue;
mod job;
mod observe;
mod settle;
mod work;

pub(super) use dequeue::dequeue;
pub(super) use enqueue::enqueue;
pub(super) use observe::{stats, watch};
pub(super) use settle::{ack, extend, nack};
pub(super) use work::work;

use super::{Failure, Invocation, Outcome, claim};

/// Where messages come from and go to.
#[derive(Debug, Clone)]
struct QueueName {
    namespace: String,
    name: String,
}

fn named(invocation: &Invocation) -> Outcome<QueueName> {
    let settings = &invocation.settings;
    let name = settings.queue.name.trim();
    if name.is_empty() {
        return Err(Failure::Usage("--queue is required (or set LOCKD_QUEUE_NAME)".into()));
    }
    Ok(QueueName { namespace: claim::namespace(settings)?, name: name.to_owned() })
}
