//! Flags of the store, of leases and of limits on requests.

use super::{Effect, Flag, Kind, Range, Section};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "store",
        section: Section::Storage,
        placeholder: "URL",
        kind: Kind::Text(|settings, text| settings.store = text),
        help: "Where everything is kept: disk:///var/lib/lockd for a directory, mem:// for memory only. Required.",
        ..Flag::SERVER
    },
    Flag {
        name: "disk-durability",
        section: Section::Storage,
        kind: Kind::Choice(&["fsync", "os"], |settings, word| settings.disk_durability = word),
        default: "fsync",
        help: "When a disk store counts a change as kept: fsync (on disk before the answer, always) or os (handed \
               to the operating system: a power failure can lose the last second).",
        ..Flag::SERVER
    },
    Flag {
        name: "logstore-commit-max-ops",
        section: Section::Storage,
        kind: Kind::Number(|settings, number| settings.commit_max_ops = number),
        default: "4096",
        range: Range::ZeroIsDefault,
        help: "Most changes that share one sync of a disk store. 0 means the default.",
        ..Flag::SERVER
    },
    Flag {
        name: "state-cache-bytes",
        section: Section::Storage,
        kind: Kind::Size(|_, _| {}),
        default: "64MiB",
        help: "Memory for documents read from disk.",
        effect: Effect::NoneHere("the cache of a disk store has a fixed size of 64 MiB"),
        ..Flag::SERVER
    },
    Flag {
        name: "default-namespace",
        short: Some('n'),
        section: Section::Limits,
        placeholder: "NAME",
        kind: Kind::Text(|settings, text| settings.default_namespace = text),
        default: "default",
        help: "Namespace of requests that name none.",
        ..Flag::SERVER
    },
    Flag {
        name: "json-max",
        section: Section::Limits,
        kind: Kind::Size(|settings, bytes| settings.json_max = bytes),
        default: "100MiB",
        range: Range::ZeroIsDefault,
        help: "Largest JSON body and document. 0 means the default.",
        ..Flag::SERVER
    },
    Flag {
        name: "default-ttl",
        section: Section::Limits,
        kind: Kind::Duration(|settings, time| settings.default_ttl = time),
        default: "30s",
        range: Range::ZeroIsDefault,
        help: "Life of a lease whose request names none. 0 means the default.",
        ..Flag::SERVER
    },
    Flag {
        name: "max-ttl",
        section: Section::Limits,
        kind: Kind::Duration(|settings, time| settings.max_ttl = time),
        default: "30m",
        range: Range::ZeroIsDefault,
        help: "Longest life a request may ask for; longer ones are cut to it. 0 means the default.",
        ..Flag::SERVER
    },
    Flag {
        name: "acquire-block",
        section: Section::Limits,
        kind: Kind::Duration(|settings, time| settings.acquire_block = time),
        default: "60s",
        range: Range::ZeroIsDefault,
        help: "How long an acquire that asks for less than -1 seconds waits in line; others wait for as long as they ask. 0 means the default.",
        ..Flag::SERVER
    },
    Flag {
        name: "json-util",
        section: Section::Limits,
        kind: Kind::Choice(&["lockd", "jsonv2", "stdlib"], |_, _| {}),
        default: "lockd",
        help: "Engine that compacts JSON: lockd, jsonv2 or stdlib.",
        effect: Effect::NoneHere("all names mean the one engine there is"),
        ..Flag::SERVER
    },
    Flag {
        name: "payload-spool-mem",
        section: Section::Limits,
        kind: Kind::Size(|_, _| {}),
        default: "4MiB",
        help: "Size above which a JSON body is put aside on disk.",
        effect: Effect::NoneHere("bodies are compacted while they arrive and never put aside as a whole"),
        ..Flag::SERVER
    },
];
