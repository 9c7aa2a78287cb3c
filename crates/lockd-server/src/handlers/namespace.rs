//! `/v1/namespace`: read (GET) or write (POST, PUT) the settings of a namespace.

use http::Method;
use hyper::body::Incoming;
use lockd_core::op::ConfigureNamespace;
use lockd_core::records::namespace::{FallbackEngine, PreferredEngine, QueryEngines};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, Namespace, Uid};

use crate::answer::{self, Answer, Failure, Outcome, WithHeaders};
use crate::body::{self, NAMESPACE_BODY_MAX};
use crate::call::{Call, unquoted};
use crate::gate::Permission;

pub(crate) async fn namespace(call: &Call<'_>, body: Incoming) -> Outcome {
    match call.head.method {
        Method::GET => read(call).await,
        Method::POST | Method::PUT => write(call, body).await,
        _ => Err(Failure {
            allow: Some("GET, POST, PUT"),
            ..Failure::new(ErrorCode::MethodNotAllowed, "namespace settings are read, posted or put")
        }),
    }
}

async fn read(call: &Call<'_>) -> Outcome {
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::ReadWrite)?;
    let stored = call.node().namespace(&namespace)?;
    let engines = stored.as_ref().map_or(call.app.settings.default_engines, |stored| stored.engines);
    Ok(shown(&namespace, engines, stored.map(|stored| stored.etag)))
}

async fn write(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let in_query = call.namespace()?;
    let body = body::read(&mut body, NAMESPACE_BODY_MAX).await?;
    let (in_body, query) = body::members(ErrorCode::InvalidBody, &body, |object| {
        let namespace = object.string("namespace")?.unwrap_or_default();
        let Some(mut query) = object.object("query")? else { return Ok((namespace, None)) };
        let preferred = query.string("preferred_engine")?.unwrap_or_default();
        let fallback = query.string("fallback_engine")?.unwrap_or_default();
        query.finish()?;
        Ok((namespace, Some((preferred, fallback))))
    })?;
    let namespace = match in_body.trim() {
        "" => in_query,
        text => call.namespace_among(&[text])?,
    };
    call.authorise(&namespace, Permission::ReadWrite)?;
    let Some((preferred, fallback)) = query else {
        return Err(Failure::new(ErrorCode::InvalidNamespaceRequest, "member \"query\" required"));
    };
    let op = ConfigureNamespace {
        namespace: namespace.clone(),
        preferred: engine(&preferred, "preferred_engine", &PREFERRED)?,
        fallback: engine(&fallback, "fallback_engine", &FALLBACK)?,
        if_match: call.header("if-match").map(|text| unquoted(&text).to_owned()),
        etag: call.node().mint_uid(),
        defaults: call.app.settings.default_engines,
    };
    let record = call.node().configure_namespace(op).await?;
    Ok(shown(&namespace, record.engines, Some(record.etag)))
}

const PREFERRED: [(&str, PreferredEngine); 2] =
    [("index", PreferredEngine::Index), ("scan", PreferredEngine::Scan)];
const FALLBACK: [(&str, FallbackEngine); 2] =
    [("none", FallbackEngine::Nothing), ("scan", FallbackEngine::Scan)];

/// Reads an engine in any case; blank keeps what is set.
fn engine<T: Copy>(text: &str, member: &str, known: &[(&str, T); 2]) -> Result<Option<T>, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match known.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
        Some(&(_, engine)) => Ok(Some(engine)),
        None => {
            let [(first, _), (second, _)] = known;
            let detail = format!("{member} {text:?} is neither {first:?} nor {second:?}");
            Err(Failure::new(ErrorCode::InvalidNamespaceRequest, detail))
        }
    }
}

fn shown(namespace: &Namespace, engines: QueryEngines, etag: Option<Uid>) -> Answer {
    let name = |found: bool, [first, second]: [&'static str; 2]| if found { second } else { first };
    let preferred = name(engines.preferred == PreferredEngine::Scan, ["index", "scan"]);
    let fallback = name(engines.fallback == FallbackEngine::Scan, ["none", "scan"]);
    let mut body = Vec::with_capacity(128);
    ObjectWriter::new(&mut body)
        .string("namespace", namespace.as_str())
        .object("query", |query| {
            query.string("preferred_engine", preferred).string("fallback_engine", fallback)
        })
        .end_line();
    let answer = answer::json(body);
    match etag {
        Some(etag) => answer.with_text("etag", &etag.to_string()),
        None => answer,
    }
}
