//! Reads recorded exchanges: one scenario a line, each a list of steps.
//!
//! The reader is strict. A member it does not know, or a step that is not one of the known kinds, is an error: a
//! replayer that skips what it does not understand would report success for something it never compared.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::digest;

/// An independent story: its steps run in order against one server.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    pub notes: String,
    pub tags: Vec<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub enum Step {
    /// Send a request and compare the answer.
    Exchange {
        request: Exchange,
        answer: Answer,
    },
    /// Send a request in the background.
    Start {
        label: String,
        request: Exchange,
    },
    /// Wait for the answer of a started request and compare it.
    Join {
        label: String,
        answer: Answer,
    },
    /// Close the connection of a started request.
    Abandon {
        label: String,
    },
    /// Send the same request several times at once and count the outcomes.
    Race {
        request: Exchange,
        times: usize,
        outcomes: BTreeMap<String, usize>,
    },
    Sleep {
        seconds: f64,
    },
    /// Send a request whose answer stays open.
    Open {
        label: String,
        request: Exchange,
    },
    /// Wait for further deliveries or events of an open answer; the first time with its status and headers.
    Take {
        label: String,
        units: usize,
        answer: Answer,
        with_head: bool,
    },
    /// How many deliveries or events come within this time, and whether the answer is `open` after it.
    Quiet {
        label: String,
        seconds: f64,
        new_units: usize,
        end: String,
    },
    /// Wait until the server ends an open answer: the bytes after the last unit, and whether that was `clean` or `cut`.
    Finish {
        label: String,
        text: String,
        end: String,
    },
    /// Close an open answer.
    Close {
        label: String,
    },
    /// A statement about earlier answers, and what it must be.
    Check {
        statement: String,
        expected: Value,
    },
}

impl Scenario {
    /// Whether the scenario says what the contract wants. One that touches a defect and does not say what is right
    /// instead only shows what the defect was.
    pub fn is_binding(&self) -> bool {
        let fixed = |step: &Step| match step {
            Step::Exchange { answer, .. } | Step::Join { answer, .. } | Step::Take { answer, .. } => {
                answer.fixed.is_some()
            }
            _ => false,
        };
        self.tags.is_empty() || self.steps.iter().any(fixed)
    }
}

/// A request as recorded; names in its strings are not filled in yet.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub query: Option<Query>,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<Part>>,
    pub chunked: bool,
    pub expect_100: bool,
}

#[derive(Debug, Clone)]
pub enum Query {
    Pairs(Vec<(String, String)>),
    Raw(String),
}

#[derive(Debug, Clone)]
pub enum Part {
    Text(String),
    Bytes(Vec<u8>),
    Repeat { text: String, count: usize },
}

/// What the answer must be.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Body,
    pub got_100: Option<bool>,
    pub elapsed_ms: Option<u64>,
    /// Replaces everything above where the contract differs from what was recorded.
    pub fixed: Option<Fixed>,
}

#[derive(Debug, Clone)]
pub struct Fixed {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Option<Body>,
    pub absent: Vec<String>,
    pub max_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Empty,
    Json(Value),
    Text(String),
    /// Text with JSON objects in it, which stand in the text as `${json1}` and so on. One that is not listed may be any.
    Woven {
        text: String,
        objects: Map<String, Value>,
    },
    Bytes(Vec<u8>),
    Digest {
        sha256: String,
        bytes: usize,
    },
}

/// Parses a whole file. An error names the line and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Scenario>, String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| scenario(line).map_err(|why| format!("line {}: {why}", number + 1)))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    notes: String,
    tags: Vec<String>,
    steps: Vec<RawStep>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStep {
    method: Option<String>,
    path: Option<String>,
    query: Option<Vec<(String, String)>>,
    raw_query: Option<String>,
    headers: Option<Vec<(String, String)>>,
    body: Option<RawBody>,
    #[serde(default)]
    chunked: bool,
    #[serde(default)]
    expect_100: bool,
    got_100: Option<bool>,
    status: Option<u16>,
    resp_headers: Option<BTreeMap<String, String>>,
    resp_json: Option<Value>,
    resp_text: Option<String>,
    resp_b64: Option<String>,
    resp_sha256: Option<String>,
    resp_bytes: Option<usize>,
    elapsed_ms: Option<u64>,
    start: Option<String>,
    join: Option<String>,
    abandon: Option<String>,
    sleep: Option<f64>,
    race: Option<usize>,
    outcomes: Option<BTreeMap<String, usize>>,
    open: Option<String>,
    take: Option<String>,
    units: Option<usize>,
    quiet: Option<String>,
    seconds: Option<f64>,
    finish: Option<String>,
    close: Option<String>,
    check: Option<String>,
    #[serde(rename = "note")]
    _note: Option<String>,
    fixed: Option<RawFixed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFixed {
    status: Option<u16>,
    #[serde(default)]
    resp_headers: BTreeMap<String, String>,
    resp_json: Option<Value>,
    resp_text: Option<String>,
    #[serde(default)]
    absent: Vec<String>,
    max_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawBody {
    Text(String),
    Parts(RawParts),
    Bytes(RawBytes),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParts {
    parts: Vec<RawPart>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBytes {
    b64: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPart {
    Text(String),
    Bytes(RawBytes),
    Repeat(RawRepeat),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRepeat {
    repeat: String,
    count: usize,
}

fn scenario(line: &str) -> Result<Scenario, String> {
    let raw: RawScenario = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let name = &raw.name;
    let steps = raw
        .steps
        .into_iter()
        .enumerate()
        .map(|(number, raw)| step(raw).map_err(|why| format!("scenario {name}, step {number}: {why}")))
        .collect::<Result<_, _>>()?;
    Ok(Scenario { name: raw.name, notes: raw.notes, tags: raw.tags, steps })
}

fn step(mut raw: RawStep) -> Result<Step, String> {
    let request = request(&mut raw)?;
    if let Some(step) = stream_step(&mut raw, request.as_ref())? {
        return Ok(step);
    }
    if raw.units.is_some() || raw.seconds.is_some() {
        return Err("units and seconds belong to streams".to_owned());
    }
    let kinds = (raw.start.take(), raw.join.take(), raw.abandon.take(), raw.sleep.take(), raw.race.take());
    let outcomes = raw.outcomes.take();
    match (kinds, request, outcomes) {
        ((None, None, None, None, None), Some(request), None) => {
            Ok(Step::Exchange { request, answer: answer(raw)? })
        }
        ((Some(label), None, None, None, None), Some(request), None) => {
            no_answer(&raw)?;
            Ok(Step::Start { label, request })
        }
        ((None, Some(label), None, None, None), None, None) => Ok(Step::Join { label, answer: answer(raw)? }),
        ((None, None, Some(label), None, None), None, None) => {
            no_answer(&raw)?;
            Ok(Step::Abandon { label })
        }
        ((None, None, None, Some(seconds), None), None, None) => {
            no_answer(&raw)?;
            Ok(Step::Sleep { seconds })
        }
        ((None, None, None, None, Some(times)), Some(request), Some(outcomes)) => {
            no_answer(&raw)?;
            Ok(Step::Race { request, times, outcomes })
        }
        _ => Err("its members do not make one of the known kinds of step".to_owned()),
    }
}

/// The steps about answers that stay open, and statements.
fn stream_step(raw: &mut RawStep, request: Option<&Exchange>) -> Result<Option<Step>, String> {
    let labels = [&raw.open, &raw.take, &raw.quiet, &raw.finish, &raw.close, &raw.check];
    let others = raw.start.is_some()
        || raw.join.is_some()
        || raw.abandon.is_some()
        || raw.sleep.is_some()
        || raw.race.is_some()
        || raw.outcomes.is_some();
    match labels.into_iter().flatten().count() {
        0 => return Ok(None),
        1 if !others && request.is_some() == raw.open.is_some() => {}
        _ => return Err("its members do not make one of the known kinds of step".to_owned()),
    }
    if raw.units.is_some() != raw.take.is_some() || raw.seconds.is_some() != raw.quiet.is_some() {
        return Err("units belong to take, seconds to quiet".to_owned());
    }
    let mut raw = std::mem::take(raw);
    let object = |json: Option<Value>| match json {
        Some(Value::Object(object)) => Ok(object),
        _ => Err("resp_json is not an object".to_owned()),
    };
    let end = |object: &Map<String, Value>, members: usize| match object.get("end").and_then(Value::as_str) {
        Some(end) if object.len() == members => Ok(end.to_owned()),
        _ => Err(format!("resp_json has other members than expected: {object:?}")),
    };
    let step = if let (Some(label), Some(request)) = (raw.open.take(), request) {
        no_answer(&raw)?;
        Step::Open { label, request: request.clone() }
    } else if let (Some(label), Some(units)) = (raw.take.take(), raw.units.take()) {
        let with_head = raw.status.is_some();
        if !with_head {
            // The answer has shown them before.
            (raw.status, raw.resp_headers) = (Some(200), Some(BTreeMap::new()));
        }
        Step::Take { label, units, answer: answer(raw)?, with_head }
    } else if let (Some(label), Some(seconds)) = (raw.quiet.take(), raw.seconds.take()) {
        let object = object(raw.resp_json.take())?;
        no_answer(&raw)?;
        let new_units = object.get("new_units").and_then(Value::as_u64).ok_or("quiet has no new_units")?;
        Step::Quiet { label, seconds, new_units: new_units as usize, end: end(&object, 2)? }
    } else if let Some(label) = raw.finish.take() {
        let (object, text) = (object(raw.resp_json.take())?, raw.resp_text.take());
        no_answer(&raw)?;
        Step::Finish { label, text: text.unwrap_or_default(), end: end(&object, 1)? }
    } else if let Some(label) = raw.close.take() {
        no_answer(&raw)?;
        Step::Close { label }
    } else if let Some(statement) = raw.check.take() {
        let recorded = raw.resp_json.take();
        let fixed = raw.fixed.take();
        no_answer(&raw)?;
        let expected = match fixed {
            Some(fixed) => fixed.resp_json,
            None => recorded,
        };
        Step::Check { statement, expected: expected.ok_or("the check has no resp_json")? }
    } else {
        return Err("its members do not make one of the known kinds of step".to_owned());
    };
    Ok(Some(step))
}

fn request(raw: &mut RawStep) -> Result<Option<Exchange>, String> {
    let (Some(method), Some(path)) = (raw.method.take(), raw.path.take()) else {
        return if raw.query.is_some()
            || raw.raw_query.is_some()
            || raw.headers.is_some()
            || raw.body.is_some()
        {
            Err("a request needs method and path".to_owned())
        } else {
            Ok(None)
        };
    };
    let query = match (raw.query.take(), raw.raw_query.take()) {
        (None, None) => None,
        (Some(pairs), None) => Some(Query::Pairs(pairs)),
        (None, Some(raw)) => Some(Query::Raw(raw)),
        (Some(_), Some(_)) => return Err("both query and raw_query".to_owned()),
    };
    let body = raw.body.take().map(parts).transpose()?;
    let headers = raw.headers.take().unwrap_or_default();
    let (chunked, expect_100) = (raw.chunked, raw.expect_100);
    Ok(Some(Exchange { method, path, query, headers, body, chunked, expect_100 }))
}

fn parts(raw: RawBody) -> Result<Vec<Part>, String> {
    let bytes = |raw: RawBytes| {
        digest::base64(&raw.b64).map(Part::Bytes).ok_or_else(|| format!("{:?} is not base64", raw.b64))
    };
    match raw {
        RawBody::Text(text) => Ok(vec![Part::Text(text)]),
        RawBody::Bytes(raw) => Ok(vec![bytes(raw)?]),
        RawBody::Parts(raw) => raw
            .parts
            .into_iter()
            .map(|part| match part {
                RawPart::Text(text) => Ok(Part::Text(text)),
                RawPart::Bytes(raw) => bytes(raw),
                RawPart::Repeat(RawRepeat { repeat, count }) => Ok(Part::Repeat { text: repeat, count }),
            })
            .collect(),
    }
}

fn no_answer(raw: &RawStep) -> Result<(), String> {
    let none = raw.status.is_none()
        && raw.resp_headers.is_none()
        && raw.resp_json.is_none()
        && raw.resp_text.is_none()
        && raw.resp_b64.is_none()
        && raw.resp_sha256.is_none()
        && raw.resp_bytes.is_none()
        && raw.got_100.is_none()
        && raw.elapsed_ms.is_none()
        && raw.fixed.is_none();
    if none { Ok(()) } else { Err("this kind of step has no answer".to_owned()) }
}

fn answer(raw: RawStep) -> Result<Answer, String> {
    let status = raw.status.ok_or("the answer has no status")?;
    let headers = raw.resp_headers.ok_or("the answer has no resp_headers")?;
    let body = match (raw.resp_json, raw.resp_text, raw.resp_b64, raw.resp_sha256, raw.resp_bytes) {
        (None, None, None, None, None) => Body::Empty,
        (Some(json), None, None, None, None) => Body::Json(json),
        (None, Some(text), None, None, None) => Body::Text(text),
        (Some(Value::Object(objects)), Some(text), None, None, None) => Body::Woven { text, objects },
        (None, None, Some(text), None, None) => {
            Body::Bytes(digest::base64(&text).ok_or_else(|| format!("{text:?} is not base64"))?)
        }
        (None, None, None, Some(sha256), Some(bytes)) => Body::Digest { sha256, bytes },
        _ => return Err("the answer has more than one body".to_owned()),
    };
    let fixed = raw.fixed.map(fixed).transpose()?;
    Ok(Answer { status, headers, body, got_100: raw.got_100, elapsed_ms: raw.elapsed_ms, fixed })
}

fn fixed(raw: RawFixed) -> Result<Fixed, String> {
    let body = match (raw.resp_json, raw.resp_text) {
        (None, None) => None,
        (Some(json), None) => Some(Body::Json(json)),
        (None, Some(text)) if text.contains("${json") => Some(Body::Woven { text, objects: Map::new() }),
        (None, Some(text)) => Some(Body::Text(text)),
        (Some(Value::Object(objects)), Some(text)) => Some(Body::Woven { text, objects }),
        (Some(_), Some(_)) => return Err("the fixed answer has more than one body".to_owned()),
    };
    let status = raw.status.ok_or("the fixed answer has no status")?;
    Ok(Fixed { status, headers: raw.resp_headers, body, absent: raw.absent, max_ms: raw.max_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(step: &str) -> String {
        let line = format!(r#"{{"name":"n","notes":"","tags":[],"steps":[{step}]}}"#);
        parse(&line).expect_err("the step is not valid")
    }

    #[test]
    fn unknown_members_and_mixed_steps_are_errors() {
        assert!(
            wrong(r#"{"method":"GET","path":"/","status":200,"resp_headers":{},"surprise":1}"#)
                .contains("surprise")
        );
        wrong(r#"{"check":"x"}"#);
        wrong(r#"{"check":"x","resp_json":{},"sleep":1}"#);
        wrong(r#"{"open":"x"}"#);
        wrong(r#"{"take":"x","resp_text":""}"#);
        wrong(r#"{"close":"x","units":1}"#);
        wrong(r#"{"quiet":"x","seconds":1,"resp_json":{"end":"open"}}"#);
        wrong(r#"{"sleep":1,"status":200}"#);
        wrong(r#"{"sleep":1,"abandon":"x"}"#);
        wrong(r#"{"start":"a","method":"GET","path":"/","status":200,"resp_headers":{}}"#);
        wrong(r#"{"method":"GET","path":"/"}"#);
        wrong(r#"{"method":"GET","path":"/","status":200,"resp_headers":{},"resp_text":"","resp_json":[]}"#);
        wrong(r#"{"method":"GET","path":"/","body":{"b64":"?"},"status":200,"resp_headers":{}}"#);
        wrong(
            r#"{"method":"GET","path":"/","status":200,"resp_headers":{},"fixed":{"status":200,"more":1}}"#,
        );
    }
}
