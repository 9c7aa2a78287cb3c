//! Flags of `lockd txn`.

use super::client::COMMAND;
use super::{Flag, Kind, Scope};
use crate::verb::Verb::{self, TxnCommit, TxnPrepare, TxnReplay, TxnRollback};

const WITH_PARTICIPANTS: &[Verb] = &[TxnPrepare, TxnCommit, TxnRollback];

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "txn-id",
        kind: Kind::Text(|settings, text| settings.client.txn_id = text),
        help: "Id of the transaction.",
        scope: Scope::Commands(&[TxnPrepare, TxnCommit, TxnRollback, TxnReplay]),
        fixed_variable: Some("LOCKD_CLIENT_TXN_ID"),
        ..COMMAND
    },
    Flag {
        name: "participant",
        short: Some('p'),
        placeholder: "[NAMESPACE:]KEY[@STORE]",
        kind: Kind::List(|settings, list| settings.client.participants = list),
        help: "Key that takes part, with the hash of its store if it is another one; may be given several times.",
        scope: Scope::Commands(WITH_PARTICIPANTS),
        ..COMMAND
    },
    Flag {
        name: "namespace",
        short: Some('n'),
        kind: Kind::Text(|settings, text| settings.client.namespace = text),
        default: "default",
        help: "Namespace of participants that name none.",
        scope: Scope::Commands(WITH_PARTICIPANTS),
        ..COMMAND
    },
    Flag {
        name: "expires-unix",
        placeholder: "SECONDS",
        kind: Kind::Number(|settings, number| settings.client.expires_unix = Some(number)),
        help: "When the transaction is rolled back unless it was decided, in seconds since 1970.",
        scope: Scope::Commands(&[TxnPrepare]),
        ..COMMAND
    },
];
