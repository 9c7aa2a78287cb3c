//! Taking a message: its payload goes to a file, what later commands need to the standard output.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::delivery::{Delivery, Message, Wish, take};
use super::named;
use super::settle::{Handle, Intent, give_back};
use crate::client::input::Target;
use crate::client::lease::{Block, default_owner, whole_seconds};
use crate::client::transport::Api;
use crate::client::{Failure, Invocation, Outcome, export, print};

/// A request that waits longer could not be told from a broken connection.
const ROUND: i64 = 60;

pub(super) fn wish(invocation: &Invocation) -> Outcome<Wish> {
    let settings = &invocation.settings;
    Ok(Wish {
        queue: named(invocation)?,
        owner: if settings.owner.is_empty() { default_owner() } else { settings.owner.clone() },
        visibility_seconds: whole_seconds(settings.queue.visibility),
        start_after: settings.queue.start_after.clone(),
        stateful: settings.queue.stateful,
        txn_id: settings.txn_id.clone(),
    })
}

pub(super) fn block(invocation: &Invocation) -> Outcome<Block> {
    Block::parse(&invocation.settings.block).map_err(|reason| Failure::Usage(format!("--block: {reason}")))
}

/// Asks until a message comes or the time is over.
pub(super) async fn wait_for(api: &Api, wish: &Wish, block: Block) -> Outcome<Option<Delivery>> {
    let begun = Instant::now();
    loop {
        let (wait, is_last) = match block {
            Block::No => (-1, true),
            Block::Forever => (ROUND, false),
            Block::For(seconds) => {
                let left = Duration::from_secs(seconds).saturating_sub(begun.elapsed());
                let round = whole_seconds(left).cast_signed().clamp(1, ROUND);
                (round, whole_seconds(left).cast_signed() <= ROUND)
            }
        };
        let taken = take(api, wish, wait).await?;
        if taken.is_some() || is_last {
            return Ok(taken);
        }
    }
}

pub(in crate::client) async fn dequeue(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let wish = wish(invocation)?;
    let block = block(invocation)?;
    let api = Api::new(invocation)?;
    // A place that cannot be written to is noticed before a message is taken.
    let mut target = PayloadFile::open(&settings.output_file)?;
    let Some(mut delivery) = wait_for(&api, &wish, block).await? else {
        print::complain("no messages available (try again later)\n");
        return Ok(());
    };
    let shown = async {
        while let Some(piece) = delivery.piece().await? {
            target.write(&piece)?;
        }
        let path = target.finish()?;
        let text = match settings.format {
            "json" => object(&delivery, &path),
            _ => exports(&delivery, &path),
        };
        if settings.output_file == "-" {
            print::complain(&text);
            return Ok(());
        }
        if settings.output_file.is_empty() {
            print::complain(&format!("payload written to {path}\n"));
        }
        print::out(text.as_bytes()).inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
        })
    };
    let result = shown.await;
    if result.is_err() {
        // Nobody has it; it must not stay out of sight.
        let handle = Handle::of(&delivery.message);
        let _ = give_back(&api, &handle, Intent::Defer, 0, None).await;
    }
    result
}

/// Where a payload goes.
enum PayloadFile {
    Chosen(Target, String),
    /// Is gone when it is not kept.
    Temporary(tempfile::NamedTempFile),
}

impl PayloadFile {
    fn open(path: &str) -> Outcome<Self> {
        if path.is_empty() {
            return temporary().map(PayloadFile::Temporary);
        }
        Ok(PayloadFile::Chosen(Target::open(path)?, path.to_owned()))
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self {
            PayloadFile::Chosen(target, _) => target.write(bytes),
            PayloadFile::Temporary(file) => file
                .write_all(bytes)
                .map_err(|error| Failure::Local(format!("write {}: {error}", file.path().display()))),
        }
    }

    fn finish(self) -> Outcome<String> {
        match self {
            PayloadFile::Chosen(target, path) => target.finish().map(|()| path),
            PayloadFile::Temporary(file) => {
                let (_, path): (File, PathBuf) =
                    file.keep().map_err(|error| Failure::Local(format!("keep the payload: {error}")))?;
                Ok(path.display().to_string())
            }
        }
    }
}

/// A new file for a payload, in the directory for temporary files, for its owner only.
pub(super) fn temporary() -> Outcome<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix("lockd-queue-").suffix(".bin").tempfile().map_err(|error| {
        Failure::Local(format!("create a file in {}: {error}", std::env::temp_dir().display()))
    })
}

/// The variables that hand a message over to later commands, in the order in which they have always been printed.
pub(super) fn variables(message: &Message, cursor: &str, path: &str) -> Vec<(&'static str, String)> {
    let state_token = match message.state_lease_id.as_str() {
        "" => String::new(),
        _ => message.state_fencing_token.to_string(),
    };
    vec![
        ("LOCKD_QUEUE_NAMESPACE", message.namespace.clone()),
        ("LOCKD_QUEUE_NAME", message.queue.clone()),
        ("LOCKD_QUEUE_MESSAGE_ID", message.message_id.clone()),
        ("LOCKD_QUEUE_LEASE", message.lease_id.clone()),
        ("LOCKD_QUEUE_FENCING_TOKEN", message.fencing_token.to_string()),
        ("LOCKD_QUEUE_META_ETAG", message.meta_etag.clone()),
        ("LOCKD_QUEUE_PAYLOAD_PATH", if path == "-" { String::new() } else { path.to_owned() }),
        ("LOCKD_QUEUE_CURSOR", cursor.to_owned()),
        ("LOCKD_QUEUE_STATE_LEASE", message.state_lease_id.clone()),
        ("LOCKD_QUEUE_STATE_FENCING_TOKEN", state_token),
        // The etag of the state has never been handed over; an ack does not need it.
        ("LOCKD_QUEUE_STATE_ETAG", String::new()),
    ]
}

fn exports(delivery: &Delivery, path: &str) -> String {
    variables(&delivery.message, &delivery.cursor, path)
        .iter()
        .map(|(name, value)| match value.is_empty() {
            false => export::line(name, value),
            // What an earlier delivery left in the shell does not belong to this message.
            true if std::env::var_os(name).is_some() => format!("unset {name}\n"),
            true => String::new(),
        })
        .collect()
}

fn object(delivery: &Delivery, path: &str) -> String {
    let message = &delivery.message;
    let mut members = vec![
        ("attempts", message.attempts.to_string()),
        ("cursor", print::string(&delivery.cursor)),
        ("failure_attempts", message.failure_attempts.to_string()),
        ("fencing_token", message.fencing_token.to_string()),
        ("lease_expires_at_unix", message.lease_expires_at_unix.to_string()),
        ("lease_id", print::string(&message.lease_id)),
        ("max_attempts", message.max_attempts.to_string()),
        ("message_id", print::string(&message.message_id)),
        ("meta_etag", print::string(&message.meta_etag)),
        ("namespace", print::string(&message.namespace)),
        ("not_visible_until_unix", message.not_visible_until_unix.to_string()),
        ("payload_bytes", message.payload_bytes.to_string()),
        ("payload_content_type", print::string(&message.payload_content_type)),
        ("payload_path", print::string(path)),
        ("queue", print::string(&message.queue)),
    ];
    if !message.state_lease_id.is_empty() {
        members.extend([
            ("state_etag", print::string(&message.state_etag)),
            ("state_fencing_token", message.state_fencing_token.to_string()),
            ("state_lease_expires_at_unix", message.state_lease_expires_at_unix.to_string()),
            ("state_lease_id", print::string(&message.state_lease_id)),
        ]);
    }
    members.push(("visibility_timeout_secs", message.visibility_timeout_seconds.to_string()));
    print::result(&members)
}
