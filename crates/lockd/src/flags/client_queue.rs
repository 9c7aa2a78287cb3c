//! Flags of `lockd client queue`, and what they said.

use std::time::Duration;

use super::client::{COMMAND, FORMATS};
use super::{Flag, Kind, Range, Scope};
use crate::verb::Verb::{
    self, DeadLetters, DeadLettersList, DeadLettersPayload, DeadLettersPurge, DeadLettersRedrive,
    DeadLettersShow, Queue, QueueAck, QueueDequeue, QueueEnqueue, QueueExtend, QueueNack, QueueStats,
    QueueWatch, QueueWork,
};

/// Raw values; empty text and zero stand for "not given".
#[derive(Debug, Default, Clone)]
pub struct QueueSettings {
    pub name: String,
    pub data: String,
    pub delay: Duration,
    pub visibility: Duration,
    pub time_to_live: Duration,
    pub max_attempts: i64,
    pub attributes: Vec<String>,
    pub start_after: String,
    pub stateful: bool,
    pub message: String,
    pub lease: String,
    pub fencing_token: String,
    pub meta_etag: String,
    pub state_lease: String,
    pub state_etag: String,
    pub state_fencing_token: String,
    pub intent: String,
    pub reason: String,
    pub extend: Duration,
    pub concurrency: i64,
    pub once: bool,
    pub drain: bool,
    pub limit: i64,
    pub all: bool,
}

const NAMED: &[Verb] = &[
    QueueEnqueue,
    QueueDequeue,
    QueueAck,
    QueueNack,
    QueueExtend,
    QueueWork,
    QueueStats,
    QueueWatch,
    DeadLettersList,
    DeadLettersShow,
    DeadLettersPayload,
    DeadLettersRedrive,
    DeadLettersPurge,
];
const EVERYWHERE: &[Verb] = &[
    Queue,
    QueueEnqueue,
    QueueDequeue,
    QueueAck,
    QueueNack,
    QueueExtend,
    QueueWork,
    QueueStats,
    QueueWatch,
    DeadLetters,
    DeadLettersList,
    DeadLettersShow,
    DeadLettersPayload,
    DeadLettersRedrive,
    DeadLettersPurge,
];
/// They prove that they hold the message.
const HELD: &[Verb] = &[QueueAck, QueueNack, QueueExtend];

const VISIBILITY: Flag = Flag {
    name: "visibility",
    kind: Kind::Duration(|settings, time| settings.client.queue.visibility = time),
    range: Range::NotNegative,
    help: "How long the message is ours unless it is extended, rounded up to seconds. Without it: as the server says.",
    ..COMMAND
};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "queue",
        short: Some('q'),
        kind: Kind::Text(|settings, text| settings.client.queue.name = text),
        help: "Name of the queue.",
        scope: Scope::Commands(NAMED),
        fixed_variable: Some("LOCKD_QUEUE_NAME"),
        ..COMMAND
    },
    Flag {
        name: "namespace",
        short: Some('n'),
        kind: Kind::Text(|settings, text| settings.client.namespace = text),
        default: "default",
        help: "Namespace of the queue.",
        scope: Scope::Commands(EVERYWHERE),
        fixed_variable: Some("LOCKD_QUEUE_NAMESPACE"),
        second_variable: Some("LOCKD_CLIENT_NAMESPACE"),
        ..COMMAND
    },
    Flag {
        name: "data",
        short: Some('d'),
        kind: Kind::Text(|settings, text| settings.client.queue.data = text),
        help: "Payload. Without it and without --file the payload is empty.",
        scope: Scope::Commands(&[QueueEnqueue]),
        ..COMMAND
    },
    Flag {
        name: "file",
        short: Some('f'),
        placeholder: "FILE",
        kind: Kind::Text(|settings, text| settings.client.file = text),
        help: "File to send; - is the standard input. Wins over --data.",
        scope: Scope::Commands(&[QueueEnqueue]),
        ..COMMAND
    },
    Flag {
        name: "content-type",
        kind: Kind::Text(|settings, text| settings.client.content_type = text),
        help: "Type of the payload. Without it: application/octet-stream.",
        scope: Scope::Commands(&[QueueEnqueue]),
        ..COMMAND
    },
    Flag {
        name: "delay",
        kind: Kind::Duration(|settings, time| settings.client.queue.delay = time),
        range: Range::NotNegative,
        help: "How long the message stays out of sight first, rounded up to seconds.",
        scope: Scope::Commands(&[QueueEnqueue, QueueNack]),
        ..COMMAND
    },
    Flag {
        help: "Visibility timeout to note with the message; deliveries have their own.",
        scope: Scope::Commands(&[QueueEnqueue]),
        ..VISIBILITY
    },
    Flag { scope: Scope::Commands(&[QueueDequeue, QueueWork]), ..VISIBILITY },
    Flag {
        name: "ttl",
        kind: Kind::Duration(|settings, time| settings.client.queue.time_to_live = time),
        range: Range::NotNegative,
        help: "How long the message exists; after that it is removed. Without it: until somebody is done with it.",
        scope: Scope::Commands(&[QueueEnqueue]),
        ..COMMAND
    },
    Flag {
        name: "max-attempts",
        kind: Kind::Number(|settings, number| settings.client.queue.max_attempts = number),
        range: Range::NotNegative,
        help: "After so many failures the message becomes a dead letter. Without it: 5.",
        scope: Scope::Commands(&[QueueEnqueue]),
        ..COMMAND
    },
    Flag {
        name: "attr",
        placeholder: "NAME=VALUE",
        kind: Kind::List(|settings, list| settings.client.queue.attributes = list),
        help: "Attribute that goes with the message; may be given several times.",
        scope: Scope::Commands(&[QueueEnqueue]),
        ..COMMAND
    },
    Flag {
        name: "owner",
        kind: Kind::Text(|settings, text| settings.client.owner = text),
        help: "Who takes the message, for people to read. Without it: host name and process id.",
        scope: Scope::Commands(&[QueueDequeue, QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "block",
        placeholder: "TIME",
        kind: Kind::Text(|settings, text| settings.client.block = text),
        default: "forever",
        help: "How long to wait for a message: a duration or seconds, nowait, or forever.",
        scope: Scope::Commands(&[QueueDequeue]),
        ..COMMAND
    },
    Flag {
        name: "block",
        placeholder: "TIME",
        kind: Kind::Text(|settings, text| settings.client.block = text),
        default: "nowait",
        help: "With --once and --drain: how long to wait for a message before the queue counts as empty.",
        scope: Scope::Commands(&[QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "page-size",
        kind: Kind::Number(|_, _| {}),
        default: "32",
        help: "Accepted for scripts; one message is taken, since only one is shown.",
        scope: Scope::Commands(&[QueueDequeue]),
        ..COMMAND
    },
    Flag {
        name: "start-after",
        placeholder: "CURSOR",
        kind: Kind::Text(|settings, text| settings.client.queue.start_after = text),
        help: "Sent for scripts; servers take no notice.",
        scope: Scope::Commands(&[QueueDequeue]),
        ..COMMAND
    },
    Flag {
        name: "stateful",
        kind: Kind::Switch(|settings, on| settings.client.queue.stateful = on),
        default: "false",
        help: "Take the lease on the message's state document, too.",
        scope: Scope::Commands(&[QueueDequeue, QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "txn-id",
        kind: Kind::Text(|settings, text| settings.client.txn_id = text),
        help: "Transaction to join. An exported LOCKD_CLIENT_TXN_ID is not joined by itself.",
        scope: Scope::Commands(&[QueueDequeue, QueueAck, QueueNack, QueueExtend]),
        ..COMMAND
    },
    Flag {
        name: "payload-out",
        short: Some('o'),
        placeholder: "FILE",
        kind: Kind::Text(|settings, text| settings.client.output_file = text),
        help: "File for the payload; - is the standard output, and the rest then goes to stderr. Without it: a new \
               temporary file.",
        scope: Scope::Commands(&[QueueDequeue]),
        ..COMMAND
    },
    Flag {
        name: "output",
        short: Some('o'),
        placeholder: "FILE",
        kind: Kind::Text(|settings, text| settings.client.output_file = text),
        default: "-",
        help: "File to write; - is the standard output.",
        scope: Scope::Commands(&[DeadLettersPayload]),
        ..COMMAND
    },
    Flag {
        name: "output",
        placeholder: "FORMAT",
        kind: Kind::Choice(FORMATS, |settings, word| settings.client.format = word),
        default: "text",
        help: "text prints export lines for eval, json an object.",
        scope: Scope::Commands(&[QueueDequeue]),
        ..COMMAND
    },
    Flag {
        name: "output",
        placeholder: "FORMAT",
        kind: Kind::Choice(&["text", "json", "env"], |settings, word| settings.client.format = word),
        default: "text",
        help: "text, json, or env: an export line for eval, so that later commands know the new etag.",
        scope: Scope::Commands(&[QueueExtend]),
        ..COMMAND
    },
    Flag {
        name: "output",
        placeholder: "FORMAT",
        kind: Kind::Choice(FORMATS, |settings, word| settings.client.format = word),
        default: "text",
        help: "text or json.",
        scope: Scope::Commands(&[QueueEnqueue, QueueStats, QueueWatch, DeadLettersList, DeadLettersShow]),
        ..COMMAND
    },
    Flag {
        name: "message",
        kind: Kind::Text(|settings, text| settings.client.queue.message = text),
        help: "Id of the message.",
        scope: Scope::Commands(HELD),
        fixed_variable: Some("LOCKD_QUEUE_MESSAGE_ID"),
        ..COMMAND
    },
    Flag {
        name: "lease",
        kind: Kind::Text(|settings, text| settings.client.queue.lease = text),
        help: "Id of the lease on the message.",
        scope: Scope::Commands(HELD),
        fixed_variable: Some("LOCKD_QUEUE_LEASE"),
        ..COMMAND
    },
    Flag {
        name: "meta-etag",
        placeholder: "ETAG",
        kind: Kind::Text(|settings, text| settings.client.queue.meta_etag = text),
        help: "Etag of the message, as of its delivery or the last extend.",
        scope: Scope::Commands(HELD),
        fixed_variable: Some("LOCKD_QUEUE_META_ETAG"),
        ..COMMAND
    },
    Flag {
        name: "fencing-token",
        kind: Kind::Text(|settings, text| settings.client.queue.fencing_token = text),
        help: "Fencing token of the lease.",
        scope: Scope::Commands(HELD),
        fixed_variable: Some("LOCKD_QUEUE_FENCING_TOKEN"),
        ..COMMAND
    },
    Flag {
        name: "state-lease",
        kind: Kind::Text(|settings, text| settings.client.queue.state_lease = text),
        help: "Id of the lease on the state document, after a stateful delivery.",
        scope: Scope::Commands(HELD),
        fixed_variable: Some("LOCKD_QUEUE_STATE_LEASE"),
        ..COMMAND
    },
    Flag {
        name: "state-fencing-token",
        kind: Kind::Text(|settings, text| settings.client.queue.state_fencing_token = text),
        help: "Fencing token of that lease.",
        scope: Scope::Commands(HELD),
        fixed_variable: Some("LOCKD_QUEUE_STATE_FENCING_TOKEN"),
        ..COMMAND
    },
    Flag {
        name: "state-etag",
        placeholder: "ETAG",
        kind: Kind::Text(|settings, text| settings.client.queue.state_etag = text),
        help: "Fail unless the state has this etag.",
        scope: Scope::Commands(&[QueueAck]),
        fixed_variable: Some("LOCKD_QUEUE_STATE_ETAG"),
        ..COMMAND
    },
    Flag {
        name: "intent",
        short: Some('i'),
        placeholder: "WORD",
        kind: Kind::Text(|settings, text| settings.client.queue.intent = text),
        default: "failure",
        help: "failure counts against the attempts, defer does not.",
        scope: Scope::Commands(&[QueueNack]),
        ..COMMAND
    },
    Flag {
        name: "reason",
        kind: Kind::Text(|settings, text| settings.client.queue.reason = text),
        help: "What went wrong, kept with the message.",
        scope: Scope::Commands(&[QueueNack]),
        ..COMMAND
    },
    Flag {
        name: "extend",
        kind: Kind::Duration(|settings, time| settings.client.queue.extend = time),
        range: Range::NotNegative,
        help: "How long the message is ours from now, rounded up to seconds. Without it: its visibility timeout.",
        scope: Scope::Commands(&[QueueExtend]),
        ..COMMAND
    },
    Flag {
        name: "concurrency",
        kind: Kind::Number(|settings, number| settings.client.queue.concurrency = number),
        range: Range::Positive,
        default: "1",
        help: "How many commands may run at the same time.",
        scope: Scope::Commands(&[QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "delay",
        kind: Kind::Duration(|settings, time| settings.client.queue.delay = time),
        range: Range::NotNegative,
        default: "1s",
        help: "When a message is delivered again after its command failed or deferred it, rounded up to seconds.",
        scope: Scope::Commands(&[QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "once",
        kind: Kind::Switch(|settings, on| settings.client.queue.once = on),
        default: "false",
        help: "Take one message at most, and end with the status of its command.",
        scope: Scope::Commands(&[QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "drain",
        kind: Kind::Switch(|settings, on| settings.client.queue.drain = on),
        default: "false",
        help: "End when the queue is empty.",
        scope: Scope::Commands(&[QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "kill-after",
        kind: Kind::Duration(|settings, time| settings.client.kill_after = time),
        range: Range::NotNegative,
        default: "5s",
        help: "Time between SIGTERM and SIGKILL for a command that must end.",
        scope: Scope::Commands(&[QueueWork]),
        ..COMMAND
    },
    Flag {
        name: "limit",
        kind: Kind::Number(|settings, number| settings.client.queue.limit = number),
        range: Range::Positive,
        help: "Print so many at most. Without it: all.",
        scope: Scope::Commands(&[DeadLettersList]),
        ..COMMAND
    },
    Flag {
        name: "all",
        kind: Kind::Switch(|settings, on| settings.client.queue.all = on),
        default: "false",
        help: "Everything that is dead by now, instead of single messages.",
        scope: Scope::Commands(&[DeadLettersRedrive, DeadLettersPurge]),
        ..COMMAND
    },
];
