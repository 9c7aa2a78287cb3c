//! Flags of periodic work in the predecessor, which this design does at the moment it is due.

use super::{Effect, Flag, Kind, Range, Section};

const TIMERS: Effect = Effect::NoneHere("expiry is a timer of its own for every lease, not a periodic sweep");
const AT_ONCE: Effect = Effect::NoneHere("a decision is applied in the same write that records it");
const WAKE_UPS: Effect = Effect::NoneHere("waiters are woken directly, with every store");

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "sweeper-interval",
        section: Section::Background,
        kind: Kind::Duration(|_, _| {}),
        default: "5m",
        range: Range::PositiveOrDefault,
        help: "Time between sweeps for expired records.",
        effect: TIMERS,
        ..Flag::SERVER
    },
    Flag {
        name: "idle-sweep-grace",
        section: Section::Background,
        kind: Kind::Duration(|_, _| {}),
        default: "5m",
        help: "Idle time before maintenance starts.",
        effect: TIMERS,
        ..Flag::SERVER
    },
    Flag {
        name: "idle-sweep-op-delay",
        section: Section::Background,
        kind: Kind::Duration(|_, _| {}),
        default: "100ms",
        help: "Pause between two operations of a sweep.",
        effect: TIMERS,
        ..Flag::SERVER
    },
    Flag {
        name: "idle-sweep-max-ops",
        section: Section::Background,
        kind: Kind::Number(|_, _| {}),
        default: "1000",
        help: "Most operations of one sweep.",
        effect: TIMERS,
        ..Flag::SERVER
    },
    Flag {
        name: "idle-sweep-max-runtime",
        section: Section::Background,
        kind: Kind::Duration(|_, _| {}),
        default: "30s",
        help: "Longest run of one sweep.",
        effect: TIMERS,
        ..Flag::SERVER
    },
    Flag {
        name: "txn-replay-interval",
        section: Section::Background,
        kind: Kind::Duration(|_, _| {}),
        default: "5s",
        help: "Least time between two replays of decided transactions.",
        effect: AT_ONCE,
        ..Flag::SERVER
    },
    Flag {
        name: "disable-mem-queue-watch",
        section: Section::Background,
        kind: Kind::Switch(|_, _| {}),
        default: "false",
        help: "Poll queues of a memory store instead of watching them.",
        effect: WAKE_UPS,
        ..Flag::SERVER
    },
    Flag {
        name: "disk-queue-watch",
        section: Section::Background,
        kind: Kind::Switch(|_, _| {}),
        default: "true",
        help: "Watch queues of a disk store with file-system events.",
        effect: WAKE_UPS,
        ..Flag::SERVER
    },
];
