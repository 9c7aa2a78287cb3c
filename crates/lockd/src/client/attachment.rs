//! Files that belong to a key.

use serde_json::Value;

use super::claim::claimed;
use super::input::{self, Target};
use super::print;
use super::progress::Progress;
use super::transport::{Api, Call, Payload};
use super::{Failure, Invocation, Outcome};

/// A call about attachments; `method` says what is done.
fn call(method: &'static str, path: &'static str) -> Call {
    Call { method, ..Call::post(path) }
}

/// Adds `--name` and `--id`.
fn selected(mut call: Call, invocation: &Invocation) -> Outcome<Call> {
    let settings = &invocation.settings;
    if settings.name.is_empty() && settings.id.is_empty() {
        return Err(Failure::Usage("--name or --id required".into()));
    }
    for (parameter, text) in [("name", &settings.name), ("id", &settings.id)] {
        if !text.is_empty() {
            call.query.push((parameter, text.clone()));
        }
    }
    Ok(call)
}

pub(super) async fn put(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let (subject, claim) = claimed(invocation)?;
    if settings.name.is_empty() {
        return Err(Failure::Usage("--name required".into()));
    }
    if settings.file.is_empty() {
        return Err(Failure::Usage("--file required".into()));
    }
    let api = Api::new(invocation)?;
    let mut call = call("POST", "/v1/attachments").about(&subject, claim.as_ref());
    call.query.push(("name", settings.name.clone()));
    call.query.push(("content_type", settings.content_type.clone()));
    if let Some(limit) = settings.max_bytes {
        call.query.push(("max_bytes", limit.to_string()));
    }
    if settings.prevent_overwrite {
        call.query.push(("prevent_overwrite", "1".into()));
    }
    let (source, length) = input::open(&settings.file)?;
    let mut progress = Progress::new(&settings.name, length);
    let passing: input::Treatment = Box::new(move |piece, out| {
        if let Some(piece) = piece {
            out.extend_from_slice(piece);
            progress.advance(piece.len());
        }
        Ok(())
    });
    call.payload = Payload::Stream(input::stream(source, passing));
    let value = api.send(call).await?.value().await?;
    let text = print::result(&[
        ("Attachment", info(&value["attachment"])),
        ("Noop", value["noop"].as_bool().unwrap_or_default().to_string()),
        ("Version", number(&value["version"])),
    ]);
    print::out(text.as_bytes())
}

pub(super) async fn get(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let (subject, claim) = claimed(invocation)?;
    let call = selected(call("GET", "/v1/attachment").about(&subject, claim.as_ref()), invocation)?;
    let api = Api::new(invocation)?;
    let mut answer = api.send(call).await?;
    let mut target = Target::open(&settings.output_file)?;
    let label = if settings.name.is_empty() { &settings.id } else { &settings.name };
    let mut progress = Progress::new(label, answer.content_length());
    while let Some(piece) = answer.piece().await? {
        target.write(&piece)?;
        progress.advance(piece.len());
    }
    target.finish()
}

pub(super) async fn list(invocation: &Invocation) -> Outcome<()> {
    let (subject, claim) = claimed(invocation)?;
    let call = call("GET", "/v1/attachments").about(&subject, claim.as_ref());
    let value = Api::new(invocation)?.send(call).await?.value().await?;
    let attachments = value["attachments"].as_array().cloned().unwrap_or_default();
    let text = match invocation.settings.format {
        "text" => attachments
            .iter()
            .map(|one| format!("{}\t{}\t{}\n", text(&one["name"]), number(&one["size"]), text(&one["id"])))
            .collect(),
        "json-v2" => print::result(&[
            ("namespace", value["namespace"].to_string()),
            ("key", value["key"].to_string()),
            ("attachments", Value::from(attachments).to_string()),
        ]),
        _ => {
            let infos: Vec<_> = attachments.iter().map(info).collect();
            print::result(&[
                ("Namespace", value["namespace"].to_string()),
                ("Key", value["key"].to_string()),
                ("Attachments", format!("[{}]", infos.join(","))),
            ])
        }
    };
    print::out(text.as_bytes())
}

pub(super) async fn delete(invocation: &Invocation) -> Outcome<()> {
    let (subject, claim) = claimed(invocation)?;
    let call = selected(call("DELETE", "/v1/attachment").about(&subject, claim.as_ref()), invocation)?;
    deleted(&Api::new(invocation)?.send(call).await?.value().await?)
}

pub(super) async fn delete_all(invocation: &Invocation) -> Outcome<()> {
    let (subject, claim) = claimed(invocation)?;
    let call = call("DELETE", "/v1/attachments").about(&subject, claim.as_ref());
    deleted(&Api::new(invocation)?.send(call).await?.value().await?)
}

fn deleted(value: &Value) -> Outcome<()> {
    let text =
        print::result(&[("Deleted", value["deleted"].to_string()), ("Version", number(&value["version"]))]);
    print::out(text.as_bytes())
}

/// The names that scripts know, which are not those of the API.
fn info(value: &Value) -> String {
    print::object(&[
        ("ID", print::string(text(&value["id"]))),
        ("Name", print::string(text(&value["name"]))),
        ("Size", number(&value["size"])),
        ("PlaintextSHA256", print::string(text(&value["plaintext_sha256"]))),
        ("ContentType", print::string(text(&value["content_type"]))),
        ("CreatedAtUnix", number(&value["created_at_unix"])),
        ("UpdatedAtUnix", number(&value["updated_at_unix"])),
    ])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> String {
    value.as_u64().unwrap_or_default().to_string()
}
