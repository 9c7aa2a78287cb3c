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
