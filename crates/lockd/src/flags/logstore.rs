//! Flags of the predecessor's disk format, which is not ours.

use super::{Effect, Flag, Kind, Range, Section};

const OTHER_FORMAT: Effect = Effect::NoneHere("the storage engine sizes and compacts its files by itself");

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "logstore-segment-size",
        section: Section::LogStore,
        kind: Kind::Size(|_, _| {}),
        default: "64MiB",
        help: "Size of a log segment.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "logstore-compaction",
        section: Section::LogStore,
        kind: Kind::Switch(|_, _| {}),
        default: "true",
        help: "Compact log segments.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "logstore-compaction-interval",
        section: Section::LogStore,
        kind: Kind::Duration(|_, _| {}),
        default: "30m",
        help: "Time between compactions.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "logstore-compaction-min-segments",
        section: Section::LogStore,
        kind: Kind::Number(|_, _| {}),
        default: "2",
        help: "Fewest segments worth a compaction.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "logstore-compaction-min-reclaim-size",
        section: Section::LogStore,
        kind: Kind::Size(|_, _| {}),
        default: "64MiB",
        help: "Least space a compaction must free.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "logstore-compaction-delete-grace",
        section: Section::LogStore,
        kind: Kind::Duration(|_, _| {}),
        default: "15m",
        help: "How long compacted segments stay.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "logstore-compaction-max-io-bytes-per-sec",
        section: Section::LogStore,
        kind: Kind::Size(|_, _| {}),
        default: "8MiB",
        range: Range::ZeroIsDefault,
        help: "Disk traffic of a compaction.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "disable-logstore-compaction-throttling",
        section: Section::LogStore,
        kind: Kind::Switch(|_, _| {}),
        default: "false",
        help: "Compact as fast as the disk allows.",
        effect: OTHER_FORMAT,
        ..Flag::SERVER
    },
    Flag {
        name: "disk-lock-file-cache-size",
        section: Section::LogStore,
        kind: Kind::Number(|_, _| {}),
        default: "2048",
        range: Range::Any,
        help: "Lock files kept open.",
        effect: Effect::NoneHere("a disk store has one lock file for all"),
        ..Flag::SERVER
    },
];
