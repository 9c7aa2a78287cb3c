//! `lockd client`, `lockd namespace` and `lockd txn`: the commands that talk to a running server.
//!
//! [`run`] carries out one [`Invocation`]. [`transport`] speaks HTTP, with the [`bundle`] of the user where it goes over TLS, [`claim`] collects who is asking for what, [`print`]
//! and [`export`] are the forms of output that scripts rely on; the other modules are the commands, one noun each.

mod attachment;
mod bundle;
mod claim;
mod document;
mod edit;
mod endpoint;
mod export;
mod failure;
mod input;
mod lease;
mod namespace;
mod print;
mod progress;
mod queue;
mod request_log;
mod transport;
mod txn;
mod with;
mod yaml;

use std::path::PathBuf;

use crate::flags::ClientSettings;
use crate::verb::Verb;
use failure::{Failure, Outcome};

/// One client command as it was typed, with everything that counts from outside.
#[derive(Debug)]
pub struct Invocation {
    pub verb: Verb,
    pub settings: ClientSettings,
    /// The words after the command.
    pub words: Vec<String>,
    /// Whether somebody chose `--timeout`.
    pub timeout_given: bool,
    /// Where the user's configuration and bundles are.
    pub directory: Option<PathBuf>,
    pub home: Option<PathBuf>,
    /// `LOCKD_CLIENT_CORRELATION_ID`.
    pub correlation_id: Option<String>,
}

/// Carries it out and returns the exit status.
pub fn run(invocation: &Invocation) -> u8 {
    match outcome(invocation) {
        Ok(status) => status,
        Err(Failure::Absent | Failure::Interrupted | Failure::NobodyReads) => 1,
        Err(failure) => {
            let usage = match (&failure, invocation.verb.is_terse()) {
                (Failure::Usage(_), false) => crate::help::usage(invocation.verb),
                _ => String::new(),
            };
            print::complain(&format!("{usage}{failure}\n"));
            if std::io::IsTerminal::is_terminal(&std::io::stderr())
                && let Some(trace) = failure.trace()
            {
                print::complain(&format!("{trace}\n"));
            }
            1
        }
    }
}

fn outcome(invocation: &Invocation) -> Outcome<u8> {
    // Needs neither a server nor anything that runs beside it.
    match invocation.verb {
        Verb::Edit => return edit::edit(invocation).map(|()| 0),
        Verb::TxnNew => return txn::new().map(|()| 0),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Local(format!("start a worker thread: {error}")))?;
    let result = runtime.block_on(async {
        // Those two take signals for themselves, because of the commands they run.
        match invocation.verb {
            Verb::With => return with::with(invocation).await,
            Verb::QueueWork => return queue::work(invocation).await,
            _ => {}
        }
        tokio::select! {
            result = dispatch(invocation) => result.map(|()| 0),
            _ = interrupted() => Err(Failure::Interrupted),
        }
    });
    // A thread may still wait for the standard input.
    runtime.shutdown_background();
    result
}

async fn dispatch(invocation: &Invocation) -> Outcome<()> {
    match invocation.verb {
        Verb::Acquire => lease::acquire(invocation).await,
        Verb::Keepalive => lease::keepalive(invocation).await,
        Verb::Release => lease::release(invocation).await,
        Verb::Get => document::get(invocation).await,
        Verb::Update => document::update(invocation).await,
        Verb::Set => document::set(invocation, !invocation.settings.no_cas).await,
        Verb::Mutate if invocation.settings.local => document::set(invocation, true).await,
        Verb::Mutate => document::mutate(invocation).await,
        Verb::Remove => document::remove(invocation).await,
        Verb::Describe => lease::describe(invocation).await,
        Verb::Metadata => document::metadata(invocation).await,
        Verb::AttachmentsPut => attachment::put(invocation).await,
        Verb::AttachmentsGet => attachment::get(invocation).await,
        Verb::AttachmentsList => attachment::list(invocation).await,
        Verb::AttachmentsDelete => attachment::delete(invocation).await,
        Verb::AttachmentsDeleteAll => attachment::delete_all(invocation).await,
        Verb::NamespaceGet => namespace::get(invocation).await,
        Verb::NamespaceSetQuery => namespace::set_query(invocation).await,
        Verb::QueueEnqueue => queue::enqueue(invocation).await,
        Verb::QueueDequeue => queue::dequeue(invocation).await,
        Verb::QueueAck => queue::ack(invocation).await,
        Verb::QueueNack => queue::nack(invocation).await,
        Verb::QueueExtend => queue::extend(invocation).await,
        Verb::QueueStats => queue::stats(invocation).await,
        Verb::QueueWatch => queue::watch(invocation).await,
        Verb::DeadLettersList => queue::dead_letters::list(invocation).await,
        Verb::DeadLettersShow => queue::dead_letters::show(invocation).await,
        Verb::DeadLettersPayload => queue::dead_letters::payload(invocation).await,
        Verb::DeadLettersRedrive => queue::dead_letters::redrive(invocation).await,
        Verb::DeadLettersPurge => queue::dead_letters::purge(invocation).await,
        Verb::TxnPrepare | Verb::TxnCommit | Verb::TxnRollback => txn::decide(invocation).await,
        Verb::TxnReplay => txn::replay(invocation).await,
        verb => Err(Failure::Local(format!("{} is not a client command", verb.path()))),
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
}
