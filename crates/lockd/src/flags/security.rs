//! Flags that switch protections off.

use super::{Effect, Flag, Kind, Scope, Section};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "disable-mtls",
        section: Section::Security,
        kind: Kind::Switch(|settings, on| settings.disable_mtls = on),
        default: "false",
        help: "Serve plain HTTP to anyone who can connect. Required in this version, which has no mutual TLS yet; \
               keep such a server on loopback or a unix socket.",
        scope: Scope::Everywhere,
        inverse: Some("mtls"),
        ..Flag::SERVER
    },
    Flag {
        name: "disable-storage-encryption",
        section: Section::Security,
        kind: Kind::Switch(|settings, on| settings.disable_storage_encryption = on),
        default: "false",
        help: "Store data as plain text. This version has no encryption at rest yet: without the flag a disk store \
               is plain text all the same, and a warning says so.",
        inverse: Some("storage-encryption"),
        ..Flag::SERVER
    },
    Flag {
        name: "disable-krypto-pool",
        section: Section::Security,
        kind: Kind::Switch(|_, _| {}),
        default: "false",
        help: "Do not reuse encryption buffers.",
        effect: Effect::NoneHere("there is no such buffer pool to switch off"),
        ..Flag::SERVER
    },
];
