//! `lockd namespace`: the settings of a namespace.

use serde_json::json;

use super::claim::namespace;
use super::print;
use super::transport::{Answer, Api, Call};
use super::{Failure, Invocation, Outcome};

pub(super) async fn get(invocation: &Invocation) -> Outcome<()> {
    let is_text = is_text(invocation)?;
    let mut call = Call::post("/v1/namespace");
    call.method = "GET";
    call.query.push(("namespace", namespace(&invocation.settings)?));
    shown(is_text, Api::new(invocation)?.send(call).await?).await
}

pub(super) async fn set_query(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let is_text = is_text(invocation)?;
    if settings.preferred.is_empty() && settings.fallback.is_empty() {
        return Err(Failure::Usage("at least one of --preferred or --fallback must be provided".into()));
    }
    for (flag, text, known) in [
        ("preferred", &settings.preferred, ["index", "scan"]),
        ("fallback", &settings.fallback, ["scan", "none"]),
    ] {
        if !text.is_empty() && !known.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            let [first, second] = known;
            return Err(Failure::Usage(format!("unknown --{flag} {text:?} (expected {first} or {second})")));
        }
    }
    let mut call = Call::post("/v1/namespace").json(&json!({
        "query": { "preferred_engine": settings.preferred, "fallback_engine": settings.fallback },
    }));
    call.query.push(("namespace", namespace(settings)?));
    if !settings.if_match.is_empty() {
        call.headers.push(("if-match", settings.if_match.clone()));
    }
    shown(is_text, Api::new(invocation)?.send(call).await?).await
}

fn is_text(invocation: &Invocation) -> Outcome<bool> {
    match invocation.settings.output_file.to_lowercase().as_str() {
        "json" => Ok(false),
        "text" => Ok(true),
        other => Err(Failure::Usage(format!("unsupported output format {other:?} (expected json or text)"))),
    }
}

async fn shown(is_text: bool, mut answer: Answer) -> Outcome<()> {
    let value = answer.value().await?;
    let etag = answer.header("etag").trim_matches('"').to_owned();
    let namespace = value["namespace"].as_str().unwrap_or_default();
    let preferred = value["query"]["preferred_engine"].as_str().unwrap_or_default();
    let fallback = value["query"]["fallback_engine"].as_str().unwrap_or_default();
    if is_text {
        let etag = if etag.is_empty() { String::new() } else { format!("ETag: {etag}\n") };
        let text = format!(
            "Namespace: {namespace}\nPreferred query engine: {preferred}\nFallback query engine: {fallback}\n{etag}"
        );
        return print::out(text.as_bytes());
    }
    let engines = print::object(&[
        ("preferred_engine", print::string(preferred)),
        ("fallback_engine", print::string(fallback)),
    ]);
    let mut members = vec![("namespace", print::string(namespace)), ("query", engines)];
    if !etag.is_empty() {
        members.push(("etag", print::string(etag)));
    }
    print::out(print::result(&members).as_bytes())
}
