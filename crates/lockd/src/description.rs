//! What the commands say about themselves in `--help` and in the manual.

use crate::verb::Verb;

/// A sentence or two.
pub(crate) fn about(verb: Verb) -> &'static str {
    match verb {
        Verb::Client => "Interact with a running lockd server",
        Verb::Acquire => {
            "Takes the lease on a key and prints what later commands need. Nothing keeps the lease alive\n\
             but `lockd client keepalive`; `lockd client with` does all of that by itself."
        }
        Verb::Keepalive => "Extends a lease: it lasts --ttl from now.",
        Verb::Release => "Ends a lease. What was staged under it is published, or discarded with --rollback.",
        Verb::With => {
            "Runs a command while holding the lease on KEY, extends the lease as long as the command runs,\n\
             and releases it. When the command fails, what it staged is discarded. The command finds the\n\
             lease in LOCKD_CLIENT_*, so that lockd client get, update and so on work inside it. The exit\n\
             status is the command's; 1 if it succeeded but the lease was lost."
        }
        Verb::Get => {
            "Prints the document of a key: with a lease the staged one, with --public the published one.\n\
             A summary goes to stderr. Without a document it prints null."
        }
        Verb::Update => {
            "Stages a new document, read from FILE or the standard input. It is published by release."
        }
        Verb::Set => {
            "Reads the document, applies the mutations, and writes it back if it has not changed in between.\n\
             Values may come from files: textfile:/p=PATH, base64file:/p=PATH, file:/p=PATH."
        }
        Verb::Mutate => "Has the server apply the mutations to the document, in one step.",
        Verb::Edit => {
            "Applies mutations to a JSON object from a file or the standard input. Needs no server."
        }
        Verb::Remove => "Stages the removal of the document. It takes effect with release.",
        Verb::Describe => {
            "Shows who holds a key, until when, and the version of its document. Needs no lease."
        }
        Verb::Metadata => "Stages a change of what goes with the document.",
        Verb::Attachments => "Files that belong to a key: published, discarded and protected with its lease.",
        Verb::AttachmentsPut => "Uploads a file, or the standard input with -f -.",
        Verb::AttachmentsGet => {
            "Downloads an attachment. A file appears under its name only when it is complete."
        }
        Verb::AttachmentsList => "Lists the attachments of a key.",
        Verb::AttachmentsDelete => "Deletes an attachment.",
        Verb::AttachmentsDeleteAll => "Deletes all attachments of a key.",
        Verb::Queue => {
            "Messages that are delivered until somebody says that they are done. `work` does all of taking,\n\
             keeping and settling by itself; dequeue, extend, ack and nack are its steps, for scripts."
        }
        Verb::QueueEnqueue => "Sends a message: --data, a file, or the standard input with -f -.",
        Verb::QueueDequeue => {
            "Takes a message, writes its payload to a file and prints what ack, nack and extend need. Without\n\
             one of those the message is delivered again when its time is over. If no message comes, that is\n\
             said on stderr, and the status is 0."
        }
        Verb::QueueAck => "Removes a message that is done.",
        Verb::QueueNack => {
            "Gives a message back, to be delivered again after --delay. A failure counts: after --max-attempts\n\
             of them the message becomes a dead letter."
        }
        Verb::QueueExtend => {
            "Keeps a message for longer. Its etag changes: with --output env, eval hands the new one to the\n\
             commands that follow."
        }
        Verb::QueueWork => {
            "Runs a command for every message, with the payload on its standard input and the rest in\n\
             LOCKD_QUEUE_*. The message is extended while the command runs. Status 0 removes the message, 75\n\
             gives it back uncounted, any other status gives it back as a failure. If the message is lost, the\n\
             command is ended. SIGTERM lets running commands finish; a second one ends them. Without a server\n\
             it tries again."
        }
        Verb::QueueStats => "Shows whether a message is available, which one is next, and who waits for it.",
        Verb::QueueWatch => {
            "Prints a line for the state of a queue and for every change of it: whether a message is available,\n\
             and which one is next. Takes nothing, and goes on until it is interrupted."
        }
        Verb::DeadLetters => "Messages that failed too often. They stay until they are put back or purged.",
        Verb::DeadLettersList => {
            "Lists dead letters: id, time of death, failures of how many allowed, size, last error. --output json\n\
             prints one object a line with all there is."
        }
        Verb::DeadLettersShow => {
            "Shows a dead letter: attributes, counters, last error, and the payload if it is text up to 64 KiB."
        }
        Verb::DeadLettersPayload => "Prints the payload of a dead letter as it was sent.",
        Verb::DeadLettersRedrive => "Puts dead letters back into the queue, with all attempts before them.",
        Verb::DeadLettersPurge => "Removes dead letters for good.",
        Verb::Txn => {
            "Transactions by their id. Leases that were acquired with the same --txn-id are decided together,\n\
             as are the keys named with --participant."
        }
        Verb::TxnPrepare => "Records a transaction with its participants; it is decided later, or expires.",
        Verb::TxnCommit => "Decides that what was staged is published. The first decision holds.",
        Verb::TxnRollback => "Decides that what was staged is discarded. The first decision holds.",
        Verb::TxnReplay => "Applies the decision on a transaction again, and prints it.",
        Verb::Namespace => "Settings of a namespace.",
        Verb::NamespaceGet => "Prints the settings of a namespace.",
        Verb::NamespaceSet => "Changes settings of a namespace.",
        Verb::NamespaceSetQuery => "Chooses the engines that answer queries.",
        Verb::Serve => {
            "lockd coordinates processes: exclusive leases with fencing, and JSON state that goes with them."
        }
        Verb::Dev => {
            "Runs a server for development: plain HTTP on the loopback interface, data in the user's data\n\
             directory, nothing to configure. It ignores LOCKD_* variables (but for LOCKD_LOG_*) and the default\n\
             configuration file, so that it never meets the data of a real server."
        }
        Verb::Version => "Prints the name and the version.",
        Verb::Help => "Prints the help of a command, or of lockd itself.",
        Verb::Completion => "Prints a script that teaches a shell to complete the words of lockd.",
        Verb::CompletionBash => "Prints the completion script for bash. It needs nothing but bash itself.",
        Verb::CompletionZsh => "Prints the completion script for zsh.",
        Verb::CompletionFish => "Prints the completion script for fish.",
        Verb::CompletionPowershell => "Prints the completion script for PowerShell.",
        Verb::Man => "Writes the manual, one page a command, into a directory, which is made if need be.",
    }
}

/// Lines that people can copy.
pub(crate) fn examples(verb: Verb) -> &'static str {
    match verb {
        Verb::Client | Verb::Acquire => {
            "  eval \"$(lockd client acquire -k orders --ttl 30s)\"\n  lockd client set /counter++\n  lockd client release"
        }
        Verb::With => {
            "  lockd client with nightly-backup --block nowait -- ./backup.sh\n  \
             lockd client with config -- lockd client set /replicas=3"
        }
        Verb::Get => "  lockd client get -o state.json\n  lockd client get --public -k orders | jq .counter",
        Verb::Update => "  lockd client update state.yaml\n  jq '.n += 1' state.json | lockd client update",
        Verb::Set => "  lockd client set /status=done /tries++ rm:/error textfile:/log=./run.log",
        Verb::Mutate => "  lockd client mutate /status=done /tries++ rm:/error",
        Verb::Edit => "  lockd client edit -f state.json /counter++",
        Verb::AttachmentsPut => "  pg_dump shop | lockd client attachments put --name shop.sql -f -",
        Verb::Queue | Verb::QueueWork => {
            "  lockd client queue enqueue -q mail -d '{\"to\": \"ann\"}'\n  \
             lockd client queue work -q mail --concurrency 4 -- ./send-mail.sh\n  \
             lockd client queue work -q mail --drain -- sh -c 'jq -r .to'"
        }
        Verb::QueueEnqueue => {
            "  lockd client queue enqueue -q mail -d hello --attr lang=en --delay 10m\n  \
             tar c photos | lockd client queue enqueue -q archive -f -"
        }
        Verb::QueueDequeue => {
            "  eval \"$(lockd client queue dequeue -q mail --block 10s)\"\n  \
             ./send-mail.sh <\"$LOCKD_QUEUE_PAYLOAD_PATH\" && lockd client queue ack"
        }
        Verb::QueueNack => "  lockd client queue nack --delay 1m --reason 'the mail server is away'",
        Verb::QueueExtend => "  eval \"$(lockd client queue extend --extend 5m --output env)\"",
        Verb::DeadLetters => {
            "  lockd client queue dead-letters list -q mail\n  \
             lockd client queue dead-letters redrive -q mail --all"
        }
        Verb::Txn | Verb::TxnCommit => {
            "  eval \"$(lockd client acquire -k a)\"; T=$LOCKD_CLIENT_TXN_ID\n  \
             eval \"$(lockd client acquire -k b --txn-id $T)\"\n  lockd txn commit --txn-id $T -p a -p b"
        }
        Verb::NamespaceSetQuery => "  lockd namespace set query -n shop --preferred scan",
        Verb::Serve => {
            "  lockd dev\n  lockd --store disk:///var/lib/lockd --listen 127.0.0.1:9341 --disable-mtls \\\n        \
             --disable-storage-encryption"
        }
        Verb::Dev => "  lockd dev\n  lockd dev --listen 127.0.0.1:0 --store mem://",
        Verb::Completion | Verb::CompletionBash => {
            "  source <(lockd completion bash)\n  \
             lockd completion bash >~/.local/share/bash-completion/completions/lockd"
        }
        Verb::CompletionZsh => {
            "  source <(lockd completion zsh)\n  lockd completion zsh >\"${fpath[1]}/_lockd\""
        }
        Verb::CompletionFish => "  lockd completion fish >~/.config/fish/completions/lockd.fish",
        Verb::CompletionPowershell => "  lockd completion powershell | Out-String | Invoke-Expression",
        Verb::Man => "  lockd man ~/.local/share/man/man1 && man lockd-client-with",
        _ => "",
    }
}
