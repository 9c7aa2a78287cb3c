//! Messages that were given up: looking at them, putting them back, removing them.

use serde_json::{Value, json};

use super::observe::plain;
use super::{QueueName, named};
use crate::client::input::Target;
use crate::client::transport::{Api, Call};
use crate::client::{Failure, Invocation, Outcome, print};

const PAGE: i64 = 100;
/// A longer payload is not for the eyes.
const SHOWN_MAX: u64 = 64 << 10;

/// Goes through the dead letters, oldest first, until `each` has seen enough.
async fn walk(
    api: &Api,
    queue: &QueueName,
    page: i64,
    mut each: impl FnMut(Value) -> Outcome<bool>,
) -> Outcome<()> {
    let mut cursor = String::new();
    loop {
        let mut call = get("/v1/queue/dead-letters", queue);
        call.query.push(("limit", page.to_string()));
        if !cursor.is_empty() {
            call.query.push(("cursor", cursor));
        }
        let mut value = api.send(call).await?.value().await?;
        if let Some(letters) = value["dead_letters"].as_array_mut() {
            for letter in std::mem::take(letters) {
                if !each(letter)? {
                    return Ok(());
                }
            }
        }
        match value["next_cursor"].as_str() {
            Some(next) if !next.is_empty() => cursor = next.to_owned(),
            _ => return Ok(()),
        }
    }
}

fn get(path: &'static str, queue: &QueueName) -> Call {
    let mut call = Call { method: "GET", ..Call::post(path) };
    call.query = vec![("queue", queue.name.clone()), ("namespace", queue.namespace.clone())];
    call
}

/// One line a message, or with `--output json` one object a line, as they come.
pub(in crate::client) async fn list(invocation: &Invocation) -> Outcome<()> {
    let queue = named(invocation)?;
    let api = Api::new(invocation)?;
    let limit = match invocation.settings.queue.limit {
        0 => i64::MAX,
        limit => limit,
    };
    let json = invocation.settings.format == "json";
    let mut count = 0;
    walk(&api, &queue, limit.min(PAGE), |letter| {
        count += 1;
        let text = match json {
            true => format!("{letter}\n"),
            false => {
                let error = match &letter["last_error"] {
                    Value::Null => String::new(),
                    // What this command line and its workers write.
                    error => error["detail"].as_str().map_or_else(|| plain(error), str::to_owned),
                };
                format!(
                    "{}\t{}\t{}/{}\t{}\t{}\n",
                    plain(&letter["message_id"]),
                    time(&letter["dead_since_unix"]),
                    number(&letter["failure_attempts"]),
                    number(&letter["max_attempts"]),
                    number(&letter["payload_bytes"]),
                    error.replace(['\n', '\t', '\r'], " ")
                )
            }
        };
        print::out(text.as_bytes())?;
        Ok(count < limit)
    })
    .await?;
    if count == 0 {
        print::complain("no dead letters\n");
    }
    Ok(())
}

/// The one that the command line names.
fn chosen(invocation: &Invocation) -> &str {
    invocation.words.first().map(|id| id.trim()).unwrap_or_default()
}

pub(in crate::client) async fn show(invocation: &Invocation) -> Outcome<()> {
    let queue = named(invocation)?;
    let api = Api::new(invocation)?;
    let id = chosen(invocation);
    let mut found = None;
    walk(&api, &queue, PAGE, |letter| {
        if letter["message_id"] == id {
            found = Some(letter);
        }
        Ok(found.is_none())
    })
    .await?;
    let Some(letter) = found else {
        return Err(Failure::Local(format!(
            "lockd: not_found (queue {} has no dead letter {id:?})",
            queue.name
        )));
    };
    let length = letter["payload_bytes"].as_u64().unwrap_or_default();
    let payload = match length <= SHOWN_MAX {
        false => None,
        true => String::from_utf8(download(&api, &queue, id).await?.bytes().await?).ok(),
    };
    if invocation.settings.format == "json" {
        let mut letter = letter;
        if let Some(payload) = payload {
            letter["payload"] = payload.into();
        }
        return print::out(print::document(letter.to_string().as_bytes()).as_bytes());
    }
    let mut text = String::new();
    for name in ["message_id", "reason"] {
        text.push_str(&format!("{name}: {}\n", plain(&letter[name])));
    }
    for (name, member) in [("dead_since", "dead_since_unix"), ("enqueued_at", "enqueued_at_unix")] {
        text.push_str(&format!("{name}: {}\n", time(&letter[member])));
    }
    for name in [
        "attempts",
        "failure_attempts",
        "max_attempts",
        "last_error",
        "attributes",
        "payload_content_type",
        "payload_bytes",
        "correlation_id",
    ] {
        if !letter[name].is_null() {
            text.push_str(&format!("{name}: {}\n", plain(&letter[name])));
        }
    }
    match payload {
        Some(payload) if payload.is_empty() => {}
        Some(payload) => {
            let end = if payload.ends_with('\n') { "" } else { "\n" };
            text.push_str(&format!("\n{payload}{end}"));
        }
        None => text.push_str(&format!(
            "\nThe payload is not shown here: lockd client queue dead-letters payload -q {} {id} -o FILE\n",
            queue.name
        )),
    }
    print::out(text.as_bytes())
}

async fn download(api: &Api, queue: &QueueName, id: &str) -> Outcome<crate::client::transport::Answer> {
    let mut call = get("/v1/queue/dead-letters/payload", queue);
    call.query.push(("message_id", id.to_owned()));
    api.send(call).await
}

pub(in crate::client) async fn payload(invocation: &Invocation) -> Outcome<()> {
    let queue = named(invocation)?;
    let api = Api::new(invocation)?;
    let mut answer = download(&api, &queue, chosen(invocation)).await?;
    let mut target = Target::open(&invocation.settings.output_file)?;
    let mut progress = crate::client::progress::Progress::new(chosen(invocation), answer.content_length());
    while let Some(piece) = answer.piece().await? {
        target.write(&piece)?;
        progress.advance(piece.len());
    }
    drop(progress);
    target.finish()
}

pub(in crate::client) async fn redrive(invocation: &Invocation) -> Outcome<()> {
    dispose(invocation, "/v1/queue/dead-letters/redrive", "redriven").await
}

pub(in crate::client) async fn purge(invocation: &Invocation) -> Outcome<()> {
    dispose(invocation, "/v1/queue/dead-letters/purge", "purged").await
}

async fn dispose(invocation: &Invocation, path: &'static str, done: &str) -> Outcome<()> {
    let queue = named(invocation)?;
    let all = invocation.settings.queue.all;
    if all != invocation.words.is_empty() {
        return Err(Failure::Usage(match all {
            true => "give either message ids or --all".into(),
            false => "message ids required, or --all for everything that is dead by now".into(),
        }));
    }
    let api = Api::new(invocation)?;
    let about = json!({ "namespace": queue.namespace, "queue": queue.name });
    let mut count = 0;
    if all {
        let mut body = about.clone();
        body["all"] = true.into();
        let mut call = Call::post(path).json(&body);
        // There is no telling how many there are.
        call.patience = Some(api.timeout.max(std::time::Duration::from_secs(600)));
        count = api.send(call).await?.value().await?[done].as_u64().unwrap_or_default();
    }
    for id in &invocation.words {
        let mut body = about.clone();
        body["message_id"] = id.trim().into();
        match api.send(Call::post(path).json(&body)).await {
            Ok(mut answer) => count += answer.value().await?[done].as_u64().unwrap_or_default(),
            Err(failure) => {
                if count > 0 {
                    print::complain(&format!("{done} {count} before {id}\n"));
                }
                return Err(failure);
            }
        }
    }
    print::out(format!("{done}={count}\n").as_bytes())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn time(value: &Value) -> String {
    let seconds = value.as_i64().unwrap_or_default();
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
