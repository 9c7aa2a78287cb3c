//! One message and the command that works on it: the message is kept while the command runs, and settled by how it ended.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};

use super::delivery::{Delivery, Message};
use super::dequeue::{temporary, variables};
use super::settle::{Handle, Intent, finish, give_back, prolong};
use crate::client::claim::{Claim, Subject};
use crate::client::transport::Api;
use crate::client::{Failure, Outcome, lease, print};

/// What a command says, by the convention of `sysexits`, when it could not even begin: try again later.
pub(super) const DEFER: u8 = 75;
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What all jobs of a worker have in common.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) api: Api,
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    /// Before a message is delivered again.
    pub(super) delay_seconds: u64,
    pub(super) kill_after: Duration,
    /// How long an extend may take.
    pub(super) patience: Duration,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The command ended with this status, and the message is settled.
    Settled(u8),
    /// Somebody else has the message, or will have it.
    Lost(u8),
    /// There is no such command; no other message will fare better.
    NoCommand(u8),
    /// Nothing ran.
    NotBegun,
}

/// Runs the command on the message. `asked` is when the message was asked for; `hurry` turns true when the command must
/// end.
pub(super) async fn run(
    shop: Arc<Workshop>,
    mut delivery: Delivery,
    asked: Instant,
    mut hurry: watch::Receiver<bool>,
) -> End {
    let stop = Notify::new();
    let keep = keep(&shop, Kept::new(&delivery.message, asked), &stop);
    tokio::pin!(keep);
    let handle = Handle::of(&delivery.message);
    let id = delivery.message.message_id.clone();
    let spooled = tokio::select! {
        spooled = spool(&mut delivery) => spooled,
        kept = &mut keep => Err(Failure::Local(kept.lost.unwrap_or_default())),
    };
    let file = match spooled {
        Ok(file) => file,
        Err(failure) => {
            print::complain(&format!("lockd: message {id} cannot be fetched: {failure}\n"));
            let _ = give_back(&shop.api, &handle, Intent::Defer, shop.delay_seconds, None).await;
            return End::NotBegun;
        }
    };
    let child = match begin(&shop, &delivery.message, &delivery.cursor, &file) {
        Ok(child) => child,
        Err(error) => {
            print::complain(&format!("run {}: {error}\n", shop.program));
            let _ = give_back(&shop.api, &handle, Intent::Defer, 0, None).await;
            return End::NoCommand(match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            });
        }
    };
    let accompanied = accompany(&shop, &id, child, keep.as_mut(), &mut hurry).await;
    let (status, lost, hurried) = match accompanied {
        Ok(ended) => ended,
        Err(error) => {
            print::complain(&format!("lockd: watch the command: {error}\n"));
            return End::Lost(1);
        }
    };
    let code = exit_code(status);
    if lost {
        return End::Lost(code);
    }
    stop.notify_one();
    let kept = keep.await;
    if let Some(reason) = &kept.lost {
        print::complain(&format!("lockd: message {id} is lost: {reason}\n"));
        return End::Lost(code);
    }
    let verdict = match code {
        0 => Verdict::Done,
        DEFER => Verdict::Again(Intent::Defer, shop.delay_seconds),
        _ if hurried => Verdict::Again(Intent::Defer, 0),
        _ => Verdict::Again(Intent::Failure, shop.delay_seconds),
    };
    match settle(&shop, &kept, verdict, &reason(&shop.program, status)).await {
        Ok(()) => End::Settled(code),
        Err(failure) => {
            print::complain(&format!("lockd: message {id} will be delivered again: {failure}\n"));
            End::Lost(code)
        }
    }
}

/// The payload in a file, which is gone when the job is.
async fn spool(delivery: &mut Delivery) -> Outcome<tempfile::NamedTempFile> {
    let mut file = temporary()?;
    while let Some(piece) = delivery.piece().await? {
        file.write_all(&piece)
            .map_err(|error| Failure::Local(format!("write {}: {error}", file.path().display())))?;
    }
    Ok(file)
}

/// Starts the command in a process group of its own: a terminal's interrupt is for the worker, and what the command has
/// started ends with it.
fn begin(
    shop: &Workshop,
    message: &Message,
    cursor: &str,
    payload: &tempfile::NamedTempFile,
) -> std::io::Result<Child> {
    let path = payload.path().display().to_string();
    let mut command = Command::new(&shop.program);
    command.args(&shop.arguments).stdin(Stdio::from(File::open(payload.path())?)).process_group(0);
    let mut environment = variables(message, cursor, &path);
    environment.extend([
        ("LOCKD_QUEUE_ATTEMPTS", message.attempts.to_string()),
        ("LOCKD_QUEUE_FAILURE_ATTEMPTS", message.failure_attempts.to_string()),
        ("LOCKD_QUEUE_MAX_ATTEMPTS", message.max_attempts.to_string()),
        (
            "LOCKD_QUEUE_ATTRIBUTES",
            message.attributes.as_ref().map_or_else(|| "{}".to_owned(), |object| object.get().to_owned()),
        ),
        ("LOCKD_QUEUE_PAYLOAD_BYTES", message.payload_bytes.to_string()),
        ("LOCKD_QUEUE_PAYLOAD_CONTENT_TYPE", message.payload_content_type.clone()),
        ("LOCKD_QUEUE_CORRELATION_ID", message.correlation_id.clone()),
        ("LOCKD_CLIENT_SERVER", shop.api.servers()),
        ("LOCKD_CLIENT_NAMESPACE", message.namespace.clone()),
        ("LOCKD_CLIENT_CORRELATION_ID", message.correlation_id.clone()),
    ]);
    environment.extend_from_slice(shop.api.trust());
    if !message.state_lease_id.is_empty() {
        // `lockd client get`, `set` and so on work on the state document.
        environment.extend([
            ("LOCKD_CLIENT_KEY", format!("q/{}/state/{}", message.queue, message.message_id)),
            ("LOCKD_CLIENT_LEASE", message.state_lease_id.clone()),
            ("LOCKD_CLIENT_FENCING_TOKEN", message.state_fencing_token.to_string()),
            ("LOCKD_CLIENT_TXN_ID", message.txn_id.clone()),
        ]);
    }
    for (name, value) in environment {
        // What the environment of the worker says of another message is wrong here.
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    command.spawn()
}

/// Waits for the command, and ends it when the message is lost or the worker is in a hurry. Tells how it ended, and whether
/// one of these happened.
async fn accompany(
    shop: &Workshop,
    id: &str,
    mut child: Child,
    mut keep: std::pin::Pin<&mut impl Future<Output = Kept>>,
    hurry: &mut watch::Receiver<bool>,
) -> std::io::Result<(ExitStatus, bool, bool)> {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let send = |signal: Signal| {
        if let Some(group) = group {
            // It may have ended by itself a moment ago.
            let _ = kill_process_group(group, signal);
        }
    };
    let (mut lost, mut hurried) = (false, false);
    let mut kill_at: Option<tokio::time::Instant> = None;
    loop {
        let killing = async {
            match kill_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => return status.map(|status| (status, lost, hurried)),
            kept = keep.as_mut(), if !lost => {
                lost = true;
                let reason = kept.lost.unwrap_or_default();
                print::complain(&format!("lockd: message {id} is lost, ending its command: {reason}\n"));
                send(Signal::TERM);
                kill_at = Some(tokio::time::Instant::now() + shop.kill_after);
            }
            told = hurry.wait_for(|hurry| *hurry), if !hurried => {
                hurried = true;
                if told.is_ok() && !lost {
                    send(Signal::TERM);
                    kill_at = Some(tokio::time::Instant::now() + shop.kill_after);
                }
            }
            () = killing => {
                send(Signal::KILL);
                kill_at = None;
            }
        }
    }
}

/// The right to the message when nobody keeps it any more.
struct Kept {
    handle: Handle,
    key: Subject,
    claim: Claim,
    /// Until when it is ours for certain.
    good_until: Instant,
    /// For how long at a time.
    time: Duration,
    /// An answer was lost, and with it perhaps the current etag of the message.
    doubtful: bool,
    /// Why the message is not ours any more.
    lost: Option<String>,
}

impl Kept {
    fn new(message: &Message, asked: Instant) -> Kept {
        let time = Duration::from_secs(message.visibility_timeout_seconds.max(1));
        // The message became ours somewhere between the question and the answer. A third of its time is risked; if the
        // wait was longer than that, the first extend follows at once.
        let begun = asked.max(Instant::now().checked_sub(time / 3).unwrap_or(asked));
        Kept {
            handle: Handle::of(message),
            key: Subject {
                namespace: message.namespace.clone(),
                key: format!("q/{}/msg/{}", message.queue, message.message_id),
            },
            claim: Claim {
                lease: message.lease_id.clone(),
                fencing_token: message.fencing_token.to_string(),
                txn_id: message.txn_id.clone(),
            },
            good_until: begun + time,
            time,
            doubtful: false,
            lost: None,
        }
    }
}

/// Keeps the message until it is lost or `stop` says that the command has ended. A request under way is always waited
/// for, because it changes what the next one has to say.
async fn keep(shop: &Workshop, mut kept: Kept, stop: &Notify) -> Kept {
    let time = kept.time;
    let mut pause = (kept.good_until - time * 2 / 3).saturating_duration_since(Instant::now());
    let patience = shop.patience.min(time / 3).max(Duration::from_millis(100));
    loop {
        let left = kept.good_until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            kept.lost = Some("no server confirmed it in time".into());
            return kept;
        }
        tokio::select! {
            () = tokio::time::sleep(pause.min(left)) => {}
            () = stop.notified() => return kept,
        }
        let sent = Instant::now();
        match extend(shop, &mut kept, time, patience).await {
            Ok(()) => {
                kept.good_until = sent + time;
                pause = time / 3;
            }
            Err(failure) if is_final(&failure) => {
                kept.lost = Some(failure.to_string());
                return kept;
            }
            Err(_) => {
                kept.doubtful = true;
                pause = (time / 20).clamp(Duration::from_millis(50), Duration::from_secs(1));
            }
        }
    }
}

async fn extend(shop: &Workshop, kept: &mut Kept, time: Duration, patience: Duration) -> Outcome<()> {
    let api = &shop.api;
    match prolong(api, &kept.handle, time.as_secs(), Some(patience)).await {
        Ok(extended) => {
            kept.handle.meta_etag = extended.meta_etag;
            kept.doubtful = false;
            Ok(())
        }
        // An extend whose answer was lost has changed the etag. The lease alone is proof enough for this one.
        Err(failure) if kept.doubtful && failure.code() == "cas_mismatch" && !kept.handle.is_stateful() => {
            lease::extend(api, &kept.key, &kept.claim, time, patience).await.map(|_| ())
        }
        Err(failure) => Err(failure),
    }
}

/// Whether it makes no sense to ask again.
pub(super) fn is_final(failure: &Failure) -> bool {
    match failure {
        Failure::Service(refusal) => (400..500).contains(&refusal.status) && refusal.status != 429,
        Failure::Unreachable { .. } | Failure::Local(_) => false,
        _ => true,
    }
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Done,
    Again(Intent, u64),
}

/// Tries as long as the message is ours for certain.
async fn settle(shop: &Workshop, kept: &Kept, verdict: Verdict, reason: &str) -> Outcome<()> {
    let Kept { handle, key, claim, good_until, .. } = kept;
    let mut doubtful = kept.doubtful;
    let mut repeated = false;
    let mut pause = Duration::from_millis(100);
    loop {
        let result = match verdict {
            Verdict::Done => finish(&shop.api, handle).await,
            Verdict::Again(intent, delay) => {
                let reason = Some(reason).filter(|_| intent == Intent::Failure);
                match give_back(&shop.api, handle, intent, delay, reason).await {
                    Err(failure) if doubtful && failure.code() == "cas_mismatch" => {
                        lease::give_back(&shop.api, key, claim, true).await
                    }
                    result => result,
                }
            }
        };
        match result {
            Ok(()) => return Ok(()),
            // It was settled by a request whose answer was lost.
            Err(failure)
                if repeated && matches!(failure.code(), "not_found" | "queue_message_lease_mismatch") =>
            {
                return Ok(());
            }
            // The command has settled it by itself.
            Err(failure) if failure.code() == "not_found" => return Ok(()),
            Err(failure) if is_final(&failure) || Instant::now() >= *good_until => return Err(failure),
            Err(_) => {
                (repeated, doubtful) = (true, true);
                tokio::time::sleep(pause.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}

fn reason(program: &str, status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("{program}: exit status {code}"),
        (None, Some(signal)) => format!("{program}: ended by signal {signal}"),
        (None, None) => format!("{program}: {status}"),
    }
}

/// As a shell would put it: 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
