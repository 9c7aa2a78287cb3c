//! Flags of queues and transactions.

use super::{Effect, Flag, Kind, Range, Section};

const WAKE_UPS: Effect = Effect::NoneHere("consumers are woken directly; nothing is polled");

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "queue-max-consumers",
        section: Section::Queue,
        kind: Kind::Number(|settings, number| settings.queue_max_consumers = number),
        default: "0",
        range: Range::ZeroIsDefault,
        help: "Most requests that fetch messages at a time, all queues together. 0 means 64 for every core, at least \
               128, at most 4096.",
        ..Flag::SERVER
    },
    Flag {
        name: "tc-decision-retention",
        section: Section::Queue,
        kind: Kind::Duration(|settings, duration| settings.tc_decision_retention = duration),
        default: "24h",
        range: Range::PositiveOrDefault,
        help: "How long the outcome of a transaction is remembered for those who ask again.",
        ..Flag::SERVER
    },
    Flag {
        name: "queue-poll-interval",
        section: Section::Queue,
        kind: Kind::Duration(|_, _| {}),
        default: "3s",
        range: Range::PositiveOrDefault,
        help: "Time between looks at a queue.",
        effect: WAKE_UPS,
        ..Flag::SERVER
    },
    Flag {
        name: "queue-poll-jitter",
        section: Section::Queue,
        kind: Kind::Duration(|_, _| {}),
        default: "500ms",
        help: "Random time added to that.",
        effect: WAKE_UPS,
        ..Flag::SERVER
    },
    Flag {
        name: "queue-resilient-poll-interval",
        section: Section::Queue,
        kind: Kind::Duration(|_, _| {}),
        default: "5m",
        range: Range::PositiveOrDefault,
        help: "Time between looks beside a watch.",
        effect: WAKE_UPS,
        ..Flag::SERVER
    },
    Flag {
        name: "queue-list-page-size",
        section: Section::Queue,
        kind: Kind::Number(|_, _| {}),
        default: "128",
        range: Range::ZeroIsDefault,
        help: "Messages in one look.",
        effect: WAKE_UPS,
        ..Flag::SERVER
    },
];
