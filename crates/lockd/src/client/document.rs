//! Reading and writing the document of a key.

use lockd_json::{Compactor, Limits};
use lockd_lql::condition::Instant;
use lockd_lql::mutation::{EditLimits, Editor, FileAccess, LocalFiles, Mutations, ParseOptions};
use lockd_wire::header;
use serde_json::{Value, json};

use super::claim::claimed;
use super::input::{self, Target};
use super::print;
use super::transport::{Answer, Api, Call, Payload};
use super::{Failure, Invocation, Outcome, yaml};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Json,
    Yaml,
}

/// `--type`, where `auto` looks at the name of the file.
fn form(invocation: &Invocation, path: &str) -> Form {
    let lower = path.to_lowercase();
    match invocation.settings.document_type {
        "raw" => Form::Raw,
        "yaml" => Form::Yaml,
        "auto" if lower.ends_with(".yaml") || lower.ends_with(".yml") => Form::Yaml,
        _ => Form::Json,
    }
}

pub(super) async fn get(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let (subject, claim) = claimed(invocation)?;
    let api = Api::new(invocation)?;
    let mut answer = api.send(Call::post("/v1/get").about(&subject, claim.as_ref())).await?;
    let bytes = answer.bytes().await?;
    let (version, etag) = match answer.status {
        200 => (
            answer.header(header::KEY_VERSION).to_owned(),
            answer.header("etag").trim_matches('"').to_owned(),
        ),
        _ => Default::default(),
    };
    let shown = match form(invocation, &settings.output_file) {
        Form::Raw if bytes.trim_ascii().is_empty() => b"null\n".to_vec(),
        Form::Raw => [bytes.trim_ascii(), b"\n"].concat(),
        Form::Json => print::document(&bytes).into_bytes(),
        Form::Yaml => yaml::from_json(&bytes).map_err(Failure::Local)?.into_bytes(),
    };
    let mut target = Target::open(&settings.output_file)?;
    target.write(&shown)?;
    target.finish()?;
    let mut summary = vec![("bytes", bytes.len().to_string())];
    if !etag.is_empty() {
        summary.push(("etag", print::string(&etag)));
    }
    summary.push(("version", print::string(&version)));
    print::complain(&print::result(&summary));
    if settings.show_meta {
        print::complain(&format!("version: {version}\netag: {etag}\n"));
    }
    if settings.exit_code && bytes.trim_ascii().is_empty() {
        return Err(Failure::Absent);
    }
    Ok(())
}

pub(super) async fn update(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let (subject, claim) = claimed(invocation)?;
    let call = Call::post("/v1/update").about(&subject, claim.as_ref()).on_condition(settings)?;
    let api = Api::new(invocation)?;
    let path = invocation.words.first().map_or("-", String::as_str);
    let (mut source, _) = input::open(path)?;
    let payload = match form(invocation, path) {
        Form::Json => Payload::Stream(input::stream(source, compacting())),
        Form::Raw => Payload::Stream(input::stream(source, trimming())),
        Form::Yaml => {
            // Beside the runtime's threads, or nothing else would be heeded meanwhile, an interrupt for example.
            let read = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                source.read_to_string(&mut text).map(|_| text)
            });
            let text = read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            let text = text.map_err(|error| Failure::Local(format!("read {path}: {error}")))?;
            Payload::Bytes(yaml::to_json(&text).map_err(Failure::Local)?.into())
        }
    };
    let answer = api.send(Call { payload, ..call }).await?;
    written(invocation, answer).await
}

/// Validates the document on its way, so that a mistake is reported where it was made.
fn compacting() -> input::Treatment {
    let mut compactor = Some(Compactor::new(Limits::default()));
    let mut empty = true;
    Box::new(move |piece, out| {
        let Some(running) = &mut compactor else { return Ok(()) };
        match piece {
            Some(piece) => {
                empty &= piece.trim_ascii().is_empty();
                running.push(piece, out).map_err(|error| format!("parse json: {error}"))
            }
            None if empty => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            None => match compactor.take() {
                Some(compactor) => {
                    compactor.finish(out).map(|_| ()).map_err(|error| format!("parse json: {error}"))
                }
                None => Ok(()),
            },
        }
    })
}

/// Passes everything but the white space around the document, and nothing as `null`.
fn trimming() -> input::Treatment {
    let mut begun = false;
    let mut held = Vec::new();
    Box::new(move |piece, out| {
        let Some(piece) = piece else {
            if !begun {
                out.extend_from_slice(b"null");
            }
            return Ok(());
        };
        let piece = if begun { piece } else { piece.trim_ascii_start() };
        let kept = piece.trim_ascii_end().len();
        if kept > 0 {
            begun = true;
            out.append(&mut held);
            out.extend_from_slice(&piece[..kept]);
        }
        if begun {
            held.extend_from_slice(&piece[kept..]);
        }
        Ok(())
    })
}

pub(super) async fn remove(invocation: &Invocation) -> Outcome<()> {
    let (subject, claim) = claimed(invocation)?;
    let call = Call::post("/v1/remove").about(&subject, claim.as_ref()).on_condition(&invocation.settings)?;
    let value = Api::new(invocation)?.send(call).await?.value().await?;
    let removed = value["removed"].as_bool().unwrap_or_default();
    let version = value["new_version"].as_u64().unwrap_or_default();
    let text = match invocation.settings.format {
        "text" => format!("removed: {removed}\nversion: {version}\n"),
        _ => print::result(&[("removed", removed.to_string()), ("version", version.to_string())]),
    };
    print::out(text.as_bytes())
}

pub(super) async fn metadata(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let Some(hidden) = settings.query_hidden else {
        return Err(Failure::Usage("nothing to change: give --query-hidden or --query-hidden=false".into()));
    };
    let (subject, claim) = claimed(invocation)?;
    let call = Call::post("/v1/metadata")
        .about(&subject, claim.as_ref())
        .on_condition(settings)?
        .json(&json!({ "query_hidden": hidden }));
    let body = Api::new(invocation)?.send(call).await?.bytes().await?;
    let text = match settings.format {
        "text" => {
            let value: Value = serde_json::from_slice(&body).unwrap_or_default();
            format!("version: {}\nquery_hidden: {hidden}\n", value["version"])
        }
        _ => print::document(&body),
    };
    print::out(text.as_bytes())
}

/// Has the server apply the expressions.
pub(super) async fn mutate(invocation: &Invocation) -> Outcome<()> {
    let (subject, claim) = claimed(invocation)?;
    let expressions: Vec<_> =
        invocation.words.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    if expressions.is_empty() {
        return Err(Failure::Usage("no valid field mutations parsed".into()));
    }
    Mutations::parse_list(&expressions, &ParseOptions::default())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let call = Call::post("/v1/mutate")
        .about(&subject, claim.as_ref())
        .on_condition(&invocation.settings)?
        .json(&json!({ "mutations": expressions }));
    let answer = Api::new(invocation)?.send(call).await?;
    written(invocation, answer).await
}

/// Applies the expressions here, while the document passes through from and to the server.
pub(super) async fn set(invocation: &Invocation, compare: bool) -> Outcome<()> {
    let (subject, claim) = claimed(invocation)?;
    let mut editor = editor(invocation, || match invocation.settings.local {
        true => "at least one mutation expression is required".to_owned(),
        false => "lockd: mutations required".to_owned(),
    })?;
    let api = Api::new(invocation)?;
    let mut call = Call::post("/v1/update").about(&subject, claim.as_ref());
    let mut answer = api.send(Call::post("/v1/get").about(&subject, claim.as_ref())).await?;
    if compare {
        call = conditional(call, invocation, &answer)?;
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    call.payload = Payload::Stream(receiver);
    let pump = async move {
        let result = async {
            let mut empty = true;
            while let Some(piece) = answer.piece().await.map_err(|failure| failure.to_string())? {
                empty &= piece.trim_ascii().is_empty();
                let mut out = Vec::new();
                editor.push(&piece, &mut out).map_err(|error| error.to_string())?;
                if !out.is_empty() && sender.send(Ok(out.into())).await.is_err() {
                    return Ok(());
                }
            }
            let mut out = Vec::new();
            if empty {
                editor.push(b"{}", &mut out).map_err(|error| error.to_string())?;
            }
            editor.finish(&mut out).map_err(|error| error.to_string())?;
            let _ = sender.send(Ok(out.into())).await;
            Ok::<(), String>(())
        }
        .await;
        if let Err(reason) = result {
            let _ = sender.send(Err(std::io::Error::other(reason))).await;
        }
    };
    let (answer, ()) = tokio::join!(api.send(call), pump);
    written(invocation, answer?).await
}

/// What was read must still be there, unless flags name another condition.
fn conditional(call: Call, invocation: &Invocation, read: &Answer) -> Outcome<Call> {
    let settings = &invocation.settings;
    if settings.if_version.is_some() || !settings.if_etag.is_empty() {
        return call.on_condition(settings);
    }
    let mut call = call;
    match read.status {
        200 => {
            call.headers.push((header::IF_VERSION, read.header(header::KEY_VERSION).to_owned()));
            call.headers.push((header::IF_STATE_ETAG, read.header("etag").trim_matches('"').to_owned()));
        }
        // There was nothing, and the answer names no version. The quoted empty etag is that of no document.
        _ => call.headers.push((header::IF_STATE_ETAG, "\"\"".to_owned())),
    }
    Ok(call)
}

/// An editor for the expressions of the command line, which may refer to files.
pub(super) fn editor(invocation: &Invocation, none: impl FnOnce() -> String) -> Outcome<Editor> {
    let expressions: Vec<_> =
        invocation.words.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    if expressions.is_empty() {
        return Err(Failure::Usage(none()));
    }
    let files = FileAccess::Enabled { base_dir: std::env::current_dir().ok(), home: invocation.home.clone() };
    let mutations = Mutations::parse_list(&expressions, &ParseOptions { files })
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let now = jiff::Timestamp::now().as_nanosecond();
    let program = mutations.compile(Instant(now));
    Ok(program.editor_with_files(EditLimits::default(), Box::new(LocalFiles)))
}

/// The summary of a write.
async fn written(invocation: &Invocation, mut answer: Answer) -> Outcome<()> {
    let value = answer.value().await?;
    let version = value["new_version"].as_u64().unwrap_or_default();
    let bytes = value["bytes"].as_u64().unwrap_or_default();
    let etag = value["new_state_etag"].as_str().unwrap_or_default();
    if invocation.settings.format == "text" {
        let etag = if etag.is_empty() { String::new() } else { format!("etag: {etag}\n") };
        return print::out(format!("version: {version}\nbytes: {bytes}\n{etag}").as_bytes());
    }
    let mut members = vec![("bytes", bytes.to_string())];
    if !etag.is_empty() {
        members.push(("etag", print::string(etag)));
    }
    members.push(("version", version.to_string()));
    print::out(print::result(&members).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treated(mut treat: input::Treatment, pieces: &[&str]) -> Result<String, String> {
        let mut out = Vec::new();
        for piece in pieces {
            treat(Some(piece.as_bytes()), &mut out)?;
        }
        treat(None, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn json_is_compacted_wherever_it_is_cut() {
        assert_eq!(treated(compacting(), &["{\"a\" ", ": 1.50 }\n"]).unwrap(), r#"{"a":1.50}"#);
        assert_eq!(treated(compacting(), &[" \n"]).unwrap(), "null");
        assert_eq!(treated(compacting(), &[]).unwrap(), "null");
        assert!(treated(compacting(), &["{"]).unwrap_err().starts_with("parse json: "));
        assert!(treated(compacting(), &["{} {}"]).is_err());
    }

    #[test]
    fn raw_input_is_only_trimmed() {
        assert_eq!(treated(trimming(), &["  ", " {\"a\" ", " : 1}", " \n", " "]).unwrap(), "{\"a\"  : 1}");
        assert_eq!(treated(trimming(), &["\n"]).unwrap(), "null");
    }
}
