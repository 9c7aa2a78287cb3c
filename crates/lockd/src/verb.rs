//! The tree of commands: which word stands for what, where it hangs, and how many words may follow it.

use crate::flags::Scope;

/// What is to be done; no word at all is the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Serve,
    Dev,
    Version,
    Help,
    Client,
    Acquire,
    Keepalive,
    Release,
    Get,
    Update,
    Set,
    Mutate,
    Edit,
    Remove,
    Describe,
    Metadata,
    With,
    Attachments,
    AttachmentsPut,
    AttachmentsGet,
    AttachmentsList,
    AttachmentsDelete,
    AttachmentsDeleteAll,
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
    Namespace,
    NamespaceGet,
    NamespaceSet,
    NamespaceSetQuery,
    Txn,
    TxnPrepare,
    TxnCommit,
    TxnRollback,
    TxnReplay,
    Completion,
    CompletionBash,
    CompletionZsh,
    CompletionFish,
    CompletionPowershell,
    Man,
}

/// The words that may follow a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Only the word of a command below this one.
    Subcommand,
    Nothing,
    /// So many, no more and no less.
    Exactly(usize),
    /// Up to so many.
    AtMost(usize),
    /// So many or more.
    AtLeast(usize),
    /// A key and a command line, which is not ours to read.
    KeyAndCommand,
    /// A command line, which is not ours to read.
    Command,
}

impl Words {
    /// How many words stand before somebody else's command line; nothing if none follows.
    pub(crate) fn before_command(self) -> Option<usize> {
        match self {
            Words::KeyAndCommand => Some(1),
            Words::Command => Some(0),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) verb: Verb,
    pub(crate) parent: Verb,
    /// The word and its other spellings.
    pub(crate) names: &'static [&'static str],
    pub(crate) words: Words,
    /// What follows the path in a usage line.
    pub(crate) form: &'static str,
    /// One line for the list of commands.
    pub(crate) summary: &'static str,
}

const fn entry(
    verb: Verb,
    parent: Verb,
    names: &'static [&'static str],
    words: Words,
    form: &'static str,
    summary: &'static str,
) -> Entry {
    Entry { verb, parent, names, words, form, summary }
}

use Verb as V;

const ROOT: Entry = entry(V::Serve, V::Serve, &[""], Words::Subcommand, "--store URL [flags]", "");

/// In the order in which help lists them.
pub(crate) const ENTRIES: &[Entry] = &[
    entry(
        V::Dev,
        V::Serve,
        &["dev"],
        Words::Subcommand,
        "[flags]",
        "run a server for development that needs no configuration",
    ),
    entry(
        V::Client,
        V::Serve,
        &["client"],
        Words::Subcommand,
        "[command]",
        "work with leases and state on a running server",
    ),
    entry(
        V::Namespace,
        V::Serve,
        &["namespace", "ns"],
        Words::Subcommand,
        "[command]",
        "read and change the settings of a namespace",
    ),
    entry(
        V::Txn,
        V::Serve,
        &["txn"],
        Words::Subcommand,
        "[command]",
        "prepare, decide and replay transactions",
    ),
    entry(
        V::Version,
        V::Serve,
        &["version"],
        Words::Subcommand,
        "[--version | --semver]",
        "print the version",
    ),
    entry(
        V::Completion,
        V::Serve,
        &["completion"],
        Words::Subcommand,
        "bash | zsh | fish | powershell",
        "print the completion script of a shell",
    ),
    entry(
        V::Man,
        V::Serve,
        &["man"],
        Words::Exactly(1),
        "DIRECTORY",
        "write the manual pages into a directory",
    ),
    entry(V::Help, V::Serve, &["help"], Words::AtLeast(0), "[command]", "print the help of a command"),
    entry(
        V::Acquire,
        V::Client,
        &["acquire"],
        Words::Nothing,
        "[-k KEY] [flags]",
        "take a lease and print it for eval",
    ),
    entry(V::Keepalive, V::Client, &["keepalive"], Words::Nothing, "[flags]", "extend a lease"),
    entry(
        V::Release,
        V::Client,
        &["release"],
        Words::Nothing,
        "[flags]",
        "end a lease: publish what was staged, or discard it",
    ),
    entry(
        V::With,
        V::Client,
        &["with"],
        Words::KeyAndCommand,
        "[flags] KEY -- COMMAND [ARG...]",
        "run a command while holding a lease",
    ),
    entry(V::Get, V::Client, &["get"], Words::Nothing, "[flags]", "print the document of a key"),
    entry(
        V::Update,
        V::Client,
        &["update"],
        Words::AtMost(1),
        "[FILE | -] [flags]",
        "replace the document of a key",
    ),
    entry(
        V::Set,
        V::Client,
        &["set"],
        Words::AtLeast(1),
        "MUTATION... [flags]",
        "change fields here and write the document back",
    ),
    entry(
        V::Mutate,
        V::Client,
        &["mutate"],
        Words::AtLeast(1),
        "MUTATION... [flags]",
        "have the server change fields of the document",
    ),
    entry(
        V::Remove,
        V::Client,
        &["remove", "delete", "rm"],
        Words::Nothing,
        "[flags]",
        "remove the document of a key",
    ),
    entry(
        V::Edit,
        V::Client,
        &["edit"],
        Words::AtLeast(1),
        "MUTATION... [-f FILE]",
        "change fields of a local JSON file; needs no server",
    ),
    entry(
        V::Describe,
        V::Client,
        &["describe"],
        Words::Nothing,
        "[flags]",
        "show who holds a key, and its version",
    ),
    entry(
        V::Metadata,
        V::Client,
        &["metadata"],
        Words::Nothing,
        "--query-hidden=BOOL [flags]",
        "change what goes with the document",
    ),
    entry(
        V::Attachments,
        V::Client,
        &["attachments"],
        Words::Subcommand,
        "[command]",
        "store and fetch files that belong to a key",
    ),
    entry(
        V::AttachmentsPut,
        V::Attachments,
        &["put"],
        Words::Nothing,
        "--name NAME -f FILE [flags]",
        "upload a file",
    ),
    entry(
        V::AttachmentsGet,
        V::Attachments,
        &["get"],
        Words::Nothing,
        "--name NAME [flags]",
        "download a file",
    ),
    entry(V::AttachmentsList, V::Attachments, &["list"], Words::Nothing, "[flags]", "list the files"),
    entry(
        V::AttachmentsDelete,
        V::Attachments,
        &["delete"],
        Words::Nothing,
        "--name NAME [flags]",
        "delete a file",
    ),
    entry(
        V::AttachmentsDeleteAll,
        V::Attachments,
        &["delete-all"],
        Words::Nothing,
        "[flags]",
        "delete all files",
    ),
    entry(
        V::Queue,
        V::Client,
        &["queue", "q"],
        Words::Subcommand,
        "[command]",
        "send and receive messages, run a command for each, look after dead letters",
    ),
    entry(V::QueueEnqueue, V::Queue, &["enqueue"], Words::Nothing, "-q QUEUE [flags]", "send a message"),
    entry(
        V::QueueDequeue,
        V::Queue,
        &["dequeue"],
        Words::Nothing,
        "-q QUEUE [flags]",
        "take a message and print it for eval",
    ),
    entry(V::QueueAck, V::Queue, &["ack"], Words::Nothing, "[flags]", "remove a message that is done"),
    entry(
        V::QueueNack,
        V::Queue,
        &["nack"],
        Words::Nothing,
        "[flags]",
        "give a message back to be delivered again",
    ),
    entry(V::QueueExtend, V::Queue, &["extend"], Words::Nothing, "[flags]", "keep a message for longer"),
    entry(
        V::QueueWork,
        V::Queue,
        &["work"],
        Words::Command,
        "-q QUEUE [flags] -- COMMAND [ARG...]",
        "run a command for every message",
    ),
    entry(
        V::QueueStats,
        V::Queue,
        &["stats"],
        Words::Nothing,
        "-q QUEUE [flags]",
        "show whether a message is available, and who waits",
    ),
    entry(
        V::QueueWatch,
        V::Queue,
        &["watch"],
        Words::Nothing,
        "-q QUEUE [flags]",
        "print a line whenever the head of a queue changes",
    ),
    entry(
        V::DeadLetters,
        V::Queue,
        &["dead-letters", "dlq"],
        Words::Subcommand,
        "[command]",
        "look after messages that were given up",
    ),
    entry(
        V::DeadLettersList,
        V::DeadLetters,
        &["list"],
        Words::Nothing,
        "-q QUEUE [flags]",
        "list them, oldest death first",
    ),
    entry(
        V::DeadLettersShow,
        V::DeadLetters,
        &["show"],
        Words::Exactly(1),
        "-q QUEUE MESSAGE-ID [flags]",
        "show all there is to know about one",
    ),
    entry(
        V::DeadLettersPayload,
        V::DeadLetters,
        &["payload"],
        Words::Exactly(1),
        "-q QUEUE MESSAGE-ID [flags]",
        "print the payload of one, or write it to a file",
    ),
    entry(
        V::DeadLettersRedrive,
        V::DeadLetters,
        &["redrive"],
        Words::AtLeast(0),
        "-q QUEUE MESSAGE-ID... | --all",
        "put them back into the queue",
    ),
    entry(
        V::DeadLettersPurge,
        V::DeadLetters,
        &["purge"],
        Words::AtLeast(0),
        "-q QUEUE MESSAGE-ID... | --all",
        "remove them for good",
    ),
    entry(
        V::TxnPrepare,
        V::Txn,
        &["prepare"],
        Words::Nothing,
        "[-p PARTICIPANT...] [flags]",
        "record a transaction that is not decided yet",
    ),
    entry(
        V::TxnCommit,
        V::Txn,
        &["commit"],
        Words::Nothing,
        "[-p PARTICIPANT...] [flags]",
        "decide to publish what was staged",
    ),
    entry(
        V::TxnRollback,
        V::Txn,
        &["rollback"],
        Words::Nothing,
        "[-p PARTICIPANT...] [flags]",
        "decide to discard what was staged",
    ),
    entry(V::TxnReplay, V::Txn, &["replay"], Words::Nothing, "[flags]", "apply a decision again"),
    entry(V::NamespaceGet, V::Namespace, &["get"], Words::Nothing, "[flags]", "print the settings"),
    entry(V::NamespaceSet, V::Namespace, &["set"], Words::Subcommand, "[command]", "change settings"),
    entry(
        V::NamespaceSetQuery,
        V::NamespaceSet,
        &["query"],
        Words::Nothing,
        "[flags]",
        "choose the engines for queries",
    ),
    entry(V::CompletionBash, V::Completion, &["bash"], Words::Nothing, "", "for bash"),
    entry(V::CompletionZsh, V::Completion, &["zsh"], Words::Nothing, "", "for zsh"),
    entry(V::CompletionFish, V::Completion, &["fish"], Words::Nothing, "", "for fish"),
    entry(V::CompletionPowershell, V::Completion, &["powershell"], Words::Nothing, "", "for PowerShell"),
];

impl Verb {
    pub(crate) fn entry(self) -> &'static Entry {
        ENTRIES.iter().find(|entry| entry.verb == self).unwrap_or(&ROOT)
    }

    /// The command that a word stands for after this one.
    pub(crate) fn below(self, word: &str) -> Option<Verb> {
        // Scripts know this one in two places; help lists it in one.
        if (self, word) == (Verb::Client, "txn") {
            return Some(Verb::Txn);
        }
        self.subcommands().find(|entry| entry.names.contains(&word)).map(|entry| entry.verb)
    }

    pub(crate) fn subcommands(self) -> impl Iterator<Item = &'static Entry> {
        ENTRIES.iter().filter(move |entry| entry.parent == self)
    }

    /// `lockd client get`, as errors name it.
    pub(crate) fn path(self) -> String {
        match self {
            Verb::Serve => "lockd".to_owned(),
            verb => format!("{} {}", verb.entry().parent.path(), verb.entry().names[0]),
        }
    }

    /// Whether it talks to a server that runs elsewhere, or belongs to those that do.
    pub(crate) fn is_client(self) -> bool {
        let top = match self.entry().parent {
            Verb::Serve => self,
            parent => return parent.is_client(),
        };
        matches!(top, Verb::Client | Verb::Namespace | Verb::Txn)
    }

    /// Whether it only holds other commands together.
    pub(crate) fn is_group(self) -> bool {
        matches!(
            self,
            Verb::Client
                | Verb::Attachments
                | Verb::Queue
                | Verb::DeadLetters
                | Verb::Namespace
                | Verb::NamespaceSet
                | Verb::Txn
                | Verb::Completion
        )
    }

    /// Whether scripts expect the text of an error alone, without the usage.
    pub(crate) fn is_terse(self) -> bool {
        self.entry().parent == Verb::Client && !self.is_group()
    }

    pub(crate) fn knows(self, scope: Scope) -> bool {
        match scope {
            Scope::Process => true,
            Scope::Everywhere => !self.is_client(),
            Scope::Server => matches!(self, Verb::Serve | Verb::Dev),
            Scope::Dev => self == Verb::Dev,
            Scope::Version => self == Verb::Version,
            Scope::Connection => self.is_client(),
            Scope::Commands(verbs) => verbs.contains(&self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_path() {
        for entry in ENTRIES {
            let path = entry.verb.path();
            let found = path.split(' ').skip(1).try_fold(Verb::Serve, |verb, word| verb.below(word));
            assert_eq!(found, Some(entry.verb), "{path}");
        }
        assert_eq!(Verb::Client.below("rm"), Some(Verb::Remove));
        assert_eq!(Verb::Client.below("q"), Some(Verb::Queue));
        assert_eq!(Verb::Client.below("txn"), Some(Verb::Txn));
        assert_eq!(Verb::Client.below("version"), None);
    }
}
