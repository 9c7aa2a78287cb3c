//! Flags of the commands that talk to a running server.

use super::{Flag, Kind, Range, Scope, Section};
use crate::verb::Verb::{
    self, Acquire, AttachmentsDelete, AttachmentsDeleteAll, AttachmentsGet, AttachmentsList, AttachmentsPut,
    Describe, Edit, Get, Keepalive, Metadata, Mutate, NamespaceGet, NamespaceSetQuery, Release, Remove, Set,
    Update, With,
};

/// They name a key, and take the one of an earlier `acquire`.
const KEYED: &[Verb] = &[
    Keepalive,
    Release,
    Get,
    Update,
    Set,
    Mutate,
    Remove,
    Describe,
    Metadata,
    AttachmentsPut,
    AttachmentsGet,
    AttachmentsList,
    AttachmentsDelete,
    AttachmentsDeleteAll,
];
/// They prove that they hold the lease.
const LEASED: &[Verb] = &[
    Keepalive,
    Release,
    Get,
    Update,
    Set,
    Mutate,
    Remove,
    Metadata,
    AttachmentsPut,
    AttachmentsGet,
    AttachmentsList,
    AttachmentsDelete,
    AttachmentsDeleteAll,
];
/// They name the transaction, too.
const IN_TXN: &[Verb] = &[
    Keepalive,
    Release,
    Update,
    Set,
    Mutate,
    Remove,
    Metadata,
    AttachmentsPut,
    AttachmentsGet,
    AttachmentsList,
    AttachmentsDelete,
    AttachmentsDeleteAll,
];
const IN_NAMESPACE: &[Verb] = &[
    Acquire,
    Keepalive,
    Release,
    With,
    Get,
    Update,
    Set,
    Mutate,
    Remove,
    Describe,
    Metadata,
    AttachmentsPut,
    AttachmentsGet,
    AttachmentsList,
    AttachmentsDelete,
    AttachmentsDeleteAll,
    NamespaceGet,
    NamespaceSetQuery,
];
const JSON_FIRST: &[Verb] = &[Keepalive, Release, Update, Set, Mutate, Remove, Describe, Metadata];
pub(super) const FORMATS: &[&str] = &["json", "text"];

pub(super) const COMMAND: Flag = Flag { section: Section::Command, range: Range::Any, ..Flag::SERVER };
const CONNECTION: Flag = Flag {
    section: Section::Connection,
    scope: Scope::Connection,
    range: Range::PositiveOrDefault,
    ..Flag::SERVER
};

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "key",
        short: Some('k'),
        kind: Kind::Text(|settings, text| settings.client.key = text),
        help: "Key to take; without one the server makes one up.",
        scope: Scope::Commands(&[Acquire]),
        ..COMMAND
    },
    Flag {
        name: "key",
        short: Some('k'),
        kind: Kind::Text(|settings, text| settings.client.key = text),
        help: "Key.",
        scope: Scope::Commands(KEYED),
        fixed_variable: Some("LOCKD_CLIENT_KEY"),
        ..COMMAND
    },
    Flag {
        name: "lease",
        kind: Kind::Text(|settings, text| settings.client.lease = text),
        help: "Id of the lease.",
        scope: Scope::Commands(LEASED),
        fixed_variable: Some("LOCKD_CLIENT_LEASE"),
        ..COMMAND
    },
    Flag {
        name: "fencing-token",
        kind: Kind::Text(|settings, text| settings.client.fencing_token = text),
        help: "Fencing token of the lease.",
        scope: Scope::Commands(LEASED),
        fixed_variable: Some("LOCKD_CLIENT_FENCING_TOKEN"),
        ..COMMAND
    },
    Flag {
        name: "txn-id",
        kind: Kind::Text(|settings, text| settings.client.txn_id = text),
        help: "Transaction to join, as printed by an earlier acquire. An exported LOCKD_CLIENT_TXN_ID is not joined \
               by itself.",
        scope: Scope::Commands(&[Acquire, With]),
        ..COMMAND
    },
    Flag {
        name: "txn-id",
        kind: Kind::Text(|settings, text| settings.client.txn_id = text),
        help: "Transaction of the lease.",
        scope: Scope::Commands(IN_TXN),
        fixed_variable: Some("LOCKD_CLIENT_TXN_ID"),
        ..COMMAND
    },
    Flag {
        name: "namespace",
        short: Some('n'),
        kind: Kind::Text(|settings, text| settings.client.namespace = text),
        default: "default",
        help: "Namespace of the key.",
        scope: Scope::Commands(IN_NAMESPACE),
        fixed_variable: Some("LOCKD_CLIENT_NAMESPACE"),
        ..COMMAND
    },
    Flag {
        name: "ttl",
        kind: Kind::Duration(|settings, time| settings.client.ttl = time),
        range: Range::Positive,
        default: "30s",
        help: "How long the lease lasts unless it is extended, rounded up to seconds.",
        scope: Scope::Commands(&[Acquire, Keepalive, With]),
        ..COMMAND
    },
    Flag {
        name: "block",
        placeholder: "TIME",
        kind: Kind::Text(|settings, text| settings.client.block = text),
        default: "10s",
        help: "How long to wait for a key that somebody holds: a duration or seconds, nowait, or forever.",
        scope: Scope::Commands(&[Acquire]),
        ..COMMAND
    },
    Flag {
        name: "block",
        placeholder: "TIME",
        kind: Kind::Text(|settings, text| settings.client.block = text),
        default: "forever",
        help: "How long to wait for a key that somebody holds: a duration or seconds, nowait, or forever.",
        scope: Scope::Commands(&[With]),
        ..COMMAND
    },
    Flag {
        name: "owner",
        kind: Kind::Text(|settings, text| settings.client.owner = text),
        help: "Who takes the lease, for people to read. Without it: host name and process id.",
        scope: Scope::Commands(&[Acquire, With]),
        ..COMMAND
    },
    Flag {
        name: "retries",
        placeholder: "N",
        kind: Kind::Text(|settings, text| settings.client.retries = text),
        default: "5",
        help: "How often to try again when no server can be reached. none switches it off, 0 means 5, a negative \
               number has no limit.",
        scope: Scope::Commands(&[Acquire, With]),
        ..COMMAND
    },
    Flag {
        name: "if-not-exists",
        kind: Kind::Switch(|settings, on| settings.client.if_not_exists = on),
        default: "false",
        help: "Fail if the key was ever used before.",
        scope: Scope::Commands(&[Acquire]),
        ..COMMAND
    },
    Flag {
        name: "rollback",
        kind: Kind::Switch(|settings, on| settings.client.rollback = on),
        default: "false",
        help: "Discard what was staged instead of publishing it.",
        scope: Scope::Commands(&[Release]),
        ..COMMAND
    },
    Flag {
        name: "on-lost",
        kind: Kind::Choice(&["kill", "warn"], |settings, word| settings.client.on_lost = word),
        default: "kill",
        help: "What to do when the lease is lost while the command runs: kill ends the command (SIGTERM, then \
               SIGKILL), warn only says so.",
        scope: Scope::Commands(&[With]),
        ..COMMAND
    },
    Flag {
        name: "kill-after",
        kind: Kind::Duration(|settings, time| settings.client.kill_after = time),
        range: Range::NotNegative,
        default: "5s",
        help: "Time between SIGTERM and SIGKILL for a command whose lease is lost.",
        scope: Scope::Commands(&[With]),
        ..COMMAND
    },
    Flag {
        name: "public",
        kind: Kind::Switch(|settings, on| settings.client.public = on),
        default: "false",
        help: "Read what is published; needs no lease.",
        scope: Scope::Commands(&[Get, AttachmentsGet, AttachmentsList]),
        ..COMMAND
    },
    Flag {
        name: "output",
        short: Some('o'),
        placeholder: "FILE",
        kind: Kind::Text(|settings, text| settings.client.output_file = text),
        default: "-",
        help: "File to write; - is the standard output.",
        scope: Scope::Commands(&[Get, AttachmentsGet]),
        ..COMMAND
    },
    Flag {
        name: "output",
        placeholder: "FORMAT",
        kind: Kind::Choice(FORMATS, |settings, word| settings.client.format = word),
        default: "text",
        help: "text prints export lines for eval, json an object.",
        scope: Scope::Commands(&[Acquire]),
        ..COMMAND
    },
    Flag {
        name: "output",
        placeholder: "FORMAT",
        kind: Kind::Choice(FORMATS, |settings, word| settings.client.format = word),
        default: "json",
        help: "json or text.",
        scope: Scope::Commands(JSON_FIRST),
        ..COMMAND
    },
    Flag {
        name: "output",
        placeholder: "FORMAT",
        kind: Kind::Choice(&["json", "json-v2", "text"], |settings, word| settings.client.format = word),
        default: "json",
        help: "json, json-v2 (members in snake_case, as in the API) or text.",
        scope: Scope::Commands(&[AttachmentsList]),
        ..COMMAND
    },
    Flag {
        name: "output",
        short: Some('o'),
        placeholder: "FORMAT",
        kind: Kind::Text(|settings, text| settings.client.output_file = text),
        default: "json",
        help: "json or text.",
        scope: Scope::Commands(&[NamespaceGet, NamespaceSetQuery]),
        ..COMMAND
    },
    Flag {
        name: "type",
        kind: Kind::Choice(&["auto", "raw", "json", "yaml"], |settings, word| {
            settings.client.document_type = word
        }),
        default: "auto",
        help: "Form of the document: raw (as stored), json, yaml, or auto: yaml for files that end in .yaml or \
               .yml, else json.",
        scope: Scope::Commands(&[Get, Update]),
        ..COMMAND
    },
    Flag {
        name: "type",
        kind: Kind::Text(|settings, text| settings.client.edit_type = text),
        default: "json",
        help: "Form of the document; json is the only one.",
        scope: Scope::Commands(&[Edit]),
        ..COMMAND
    },
    Flag {
        name: "show-meta",
        kind: Kind::Switch(|settings, on| settings.client.show_meta = on),
        default: "false",
        help: "Print version and etag as lines on stderr, too.",
        scope: Scope::Commands(&[Get]),
        ..COMMAND
    },
    Flag {
        name: "exit-code",
        kind: Kind::Switch(|settings, on| settings.client.exit_code = on),
        default: "false",
        help: "End with status 1 if there is no document; null is printed all the same.",
        scope: Scope::Commands(&[Get]),
        ..COMMAND
    },
    Flag {
        name: "if-version",
        placeholder: "N",
        kind: Kind::Text(|settings, text| settings.client.if_version = Some(text)),
        help: "Fail unless the document has this version.",
        scope: Scope::Commands(&[Update, Set, Mutate, Remove, Metadata]),
        ..COMMAND
    },
    Flag {
        name: "if-etag",
        placeholder: "ETAG",
        kind: Kind::Text(|settings, text| settings.client.if_etag = text),
        help: "Fail unless the document has this etag.",
        scope: Scope::Commands(&[Update, Set, Mutate, Remove]),
        ..COMMAND
    },
    Flag {
        name: "no-cas",
        kind: Kind::Switch(|settings, on| settings.client.no_cas = on),
        default: "false",
        help: "Write back even if the document changed in between; only the lease is checked.",
        scope: Scope::Commands(&[Set]),
        ..COMMAND
    },
    Flag {
        name: "local",
        short: Some('l'),
        kind: Kind::Switch(|settings, on| settings.client.local = on),
        default: "false",
        help: "Change the document here and write it back, as set does. Needed for values from files.",
        scope: Scope::Commands(&[Mutate]),
        ..COMMAND
    },
    Flag {
        name: "query-hidden",
        kind: Kind::Switch(|settings, on| settings.client.query_hidden = Some(on)),
        help: "Hide the key from queries, or show it again with --query-hidden=false.",
        scope: Scope::Commands(&[Metadata]),
        ..COMMAND
    },
    Flag {
        name: "file",
        short: Some('f'),
        placeholder: "FILE",
        kind: Kind::Text(|settings, text| settings.client.file = text),
        help: "File to change in place. Without it: from the standard input to the standard output.",
        scope: Scope::Commands(&[Edit]),
        ..COMMAND
    },
    Flag {
        name: "file",
        short: Some('f'),
        placeholder: "FILE",
        kind: Kind::Text(|settings, text| settings.client.file = text),
        help: "File to upload; - is the standard input.",
        scope: Scope::Commands(&[AttachmentsPut]),
        ..COMMAND
    },
    Flag {
        name: "name",
        kind: Kind::Text(|settings, text| settings.client.name = text),
        help: "Name of the attachment.",
        scope: Scope::Commands(&[AttachmentsPut, AttachmentsGet, AttachmentsDelete]),
        ..COMMAND
    },
    Flag {
        name: "id",
        kind: Kind::Text(|settings, text| settings.client.id = text),
        help: "Id of the attachment, instead of its name.",
        scope: Scope::Commands(&[AttachmentsGet, AttachmentsDelete]),
        ..COMMAND
    },
    Flag {
        name: "content-type",
        kind: Kind::Text(|settings, text| settings.client.content_type = text),
        default: "application/octet-stream",
        help: "Kept with the attachment and sent with its downloads.",
        scope: Scope::Commands(&[AttachmentsPut]),
        ..COMMAND
    },
    Flag {
        name: "max-bytes",
        kind: Kind::Number(|settings, number| settings.client.max_bytes = Some(number)),
        help: "Refuse a larger file; 0 sets no limit.",
        scope: Scope::Commands(&[AttachmentsPut]),
        ..COMMAND
    },
    Flag {
        name: "prevent-overwrite",
        kind: Kind::Switch(|settings, on| settings.client.prevent_overwrite = on),
        default: "false",
        help: "Leave an attachment of the same name as it is.",
        scope: Scope::Commands(&[AttachmentsPut]),
        ..COMMAND
    },
    Flag {
        name: "preferred",
        placeholder: "ENGINE",
        kind: Kind::Text(|settings, text| settings.client.preferred = text),
        help: "Engine for queries: index or scan.",
        scope: Scope::Commands(&[NamespaceSetQuery]),
        ..COMMAND
    },
    Flag {
        name: "fallback",
        placeholder: "ENGINE",
        kind: Kind::Text(|settings, text| settings.client.fallback = text),
        help: "Engine for queries that the preferred one cannot answer: scan or none.",
        scope: Scope::Commands(&[NamespaceSetQuery]),
        ..COMMAND
    },
    Flag {
        name: "if-match",
        placeholder: "ETAG",
        kind: Kind::Text(|settings, text| settings.client.if_match = text),
        help: "Fail unless the settings have this etag.",
        scope: Scope::Commands(&[NamespaceSetQuery]),
        ..COMMAND
    },
    Flag {
        name: "server",
        short: Some('s'),
        placeholder: "URL",
        kind: Kind::Text(|settings, text| settings.client.server = text),
        help: "Server, or several separated by commas: https://HOST:PORT, http://HOST:PORT or unix:///PATH. Without it: port \
               9341 of this machine. Without a scheme: https, or http with --disable-mtls.",
        fixed_variable: Some("LOCKD_CLIENT_SERVER"),
        fixed_key: Some("client.server"),
        ..CONNECTION
    },
    Flag {
        name: "bundle",
        short: Some('b'),
        kind: Kind::Path(|settings, path| settings.client.bundle = Some(path)),
        help: "Client bundle: whom to trust, and who you are. Without it: the only client*.pem in LOCKD_CONFIG_DIR or \
               ~/.lockd; lockd txn prefers a tc-client*.pem.",
        fixed_variable: Some("LOCKD_CLIENT_BUNDLE"),
        fixed_key: Some("client.bundle"),
        ..CONNECTION
    },
    Flag {
        name: "disable-mtls",
        kind: Kind::Switch(|settings, on| settings.client.disable_mtls = on),
        default: "false",
        help: "Use no client bundle: talk plain HTTP to a server that does so, or to https:// servers that the system trusts.",
        fixed_variable: Some("LOCKD_CLIENT_DISABLE_MTLS"),
        fixed_key: Some("client.disable_mtls"),
        ..CONNECTION
    },
    Flag {
        name: "timeout",
        kind: Kind::Duration(|settings, time| settings.client.timeout = time),
        default: "15s",
        help: "How long to wait for an answer; not counting the wait for a lease. With several servers and no other \
               value: 3s for each.",
        fixed_variable: Some("LOCKD_CLIENT_TIMEOUT"),
        fixed_key: Some("client.timeout"),
        ..CONNECTION
    },
    Flag {
        name: "close-timeout",
        kind: Kind::Duration(|settings, time| settings.client.close_timeout = time),
        default: "5s",
        help: "How long to wait when a lease is given back at the end.",
        fixed_variable: Some("LOCKD_CLIENT_CLOSE_TIMEOUT"),
        fixed_key: Some("client.close_timeout"),
        ..CONNECTION
    },
    Flag {
        name: "keepalive-timeout",
        kind: Kind::Duration(|settings, time| settings.client.keepalive_timeout = time),
        default: "5s",
        help: "How long to wait for the answer to a keepalive; at most --close-timeout.",
        fixed_variable: Some("LOCKD_CLIENT_KEEPALIVE_TIMEOUT"),
        fixed_key: Some("client.keepalive_timeout"),
        ..CONNECTION
    },
    Flag {
        name: "drain-aware-shutdown",
        kind: Kind::Switch(|_, _| {}),
        default: "true",
        help: "Accepted for scripts; these commands end before a drain matters.",
        fixed_variable: Some("LOCKD_CLIENT_DRAIN_AWARE"),
        fixed_key: Some("client.drain_aware_shutdown"),
        ..CONNECTION
    },
    Flag {
        name: "log-level",
        placeholder: "LEVEL",
        kind: Kind::Text(|settings, text| settings.client.log_level = text),
        help: "Log every request: trace, debug, info, warn, error or none. Without it nothing is logged.",
        fixed_variable: Some("LOCKD_CLIENT_LOG_LEVEL"),
        fixed_key: Some("client.log_level"),
        ..CONNECTION
    },
    Flag {
        name: "log-output",
        placeholder: "FILE",
        kind: Kind::Text(|settings, text| settings.client.log_output = text),
        help: "Where the log goes: stderr, stdout (or -), or a file.",
        fixed_variable: Some("LOCKD_CLIENT_LOG_OUTPUT"),
        fixed_key: Some("client.log_output"),
        ..CONNECTION
    },
    Flag {
        name: "verbose",
        short: Some('v'),
        kind: Kind::Switch(|settings, on| settings.client.verbose = on),
        default: "false",
        help: "The same as --log-level trace.",
        ..CONNECTION
    },
];
