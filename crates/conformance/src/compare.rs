//! Compares an answer with what was recorded, or with what the contract says instead (`fixed`).
//!
//! Everything recorded must be there. More may be there, except what says something by its presence.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::http::Response;
use crate::name::{Names, time_offset};
use crate::recording::{Answer, Body, Fixed};
use crate::{digest, fresh};

/// How far a Unix time may be off, in seconds, and a retry hint.
const TIME_TOLERANCE: i64 = 2;
/// How much earlier an answer may come than recorded, in milliseconds, and how much later: a busy machine is late.
const EARLY_TOLERANCE: u64 = 400;
const LATE_TOLERANCE: u64 = 900;

/// Headers that must not appear where they were not recorded.
const TELLING_HEADERS: [&str; 5] =
    ["etag", "x-key-version", "retry-after", "shutdown-imminent", "x-attachment-name"];
/// Members that must not appear where they were not recorded.
const TELLING_MEMBERS: [&str; 12] = [
    "error",
    "owner",
    "lease_id",
    "state_etag",
    "new_version",
    "current_version",
    "current_etag",
    "retry_after_seconds",
    "leader_endpoint",
    "query_hidden",
    "noop",
    "content_type",
];

/// The differences between an answer and its recording; none when it is right. `path` is the path of the request.
pub fn answer(expected: &Answer, actual: &Response, path: &str, names: &mut Names) -> Vec<String> {
    let mut comparison =
        Comparison { path, names, now: fresh::now(), fixed: expected.fixed.is_some(), found: vec![] };
    match &expected.fixed {
        Some(fixed) => comparison.with_fixed(fixed, actual),
        None => comparison.with_recorded(expected, actual),
    }
    comparison.found
}

struct Comparison<'a> {
    path: &'a str,
    names: &'a mut Names,
    now: i64,
    fixed: bool,
    found: Vec<String>,
}

impl Comparison<'_> {
    fn with_recorded(&mut self, expected: &Answer, actual: &Response) {
        self.status(expected.status, actual);
        self.headers(&expected.headers, actual);
        for name in TELLING_HEADERS {
            if !expected.headers.contains_key(name)
                && let Some(value) = actual.header(name)
            {
                self.note(format!("header {name}: not expected, got {value:?}"));
            }
        }
        self.body(&expected.body, actual);
        if let Some(got_100) = expected.got_100
            && got_100 != actual.got_continue
        {
            self.note(format!("100 Continue: expected {got_100}, got {}", actual.got_continue));
        }
        if let Some(elapsed) = expected.elapsed_ms {
            let (least, most) = (elapsed.saturating_sub(EARLY_TOLERANCE), elapsed + LATE_TOLERANCE);
            if !(Duration::from_millis(least)..=Duration::from_millis(most)).contains(&actual.elapsed) {
                self.note(format!("elapsed: expected {least} to {most} ms, got {:?}", actual.elapsed));
            }
        }
    }

    fn with_fixed(&mut self, expected: &Fixed, actual: &Response) {
        self.status(expected.status, actual);
        self.headers(&expected.headers, actual);
        if let Some(body) = &expected.body {
            self.body(body, actual);
        }
        let object = serde_json::from_slice::<Map<String, Value>>(&actual.body).unwrap_or_default();
        for name in &expected.absent {
            if actual.header(&name.to_ascii_lowercase()).is_some() {
                self.note(format!("header {name}: must be absent"));
            }
            if object.contains_key(name) {
                self.note(format!("member {name}: must be absent"));
            }
        }
        if let Some(most) = expected.max_ms
            && actual.elapsed > Duration::from_millis(most)
        {
            self.note(format!("elapsed: expected at most {most} ms, got {:?}", actual.elapsed));
        }
    }

    fn note(&mut self, difference: String) {
        self.found.push(difference);
    }

    fn status(&mut self, expected: u16, actual: &Response) {
        if expected != actual.status {
            self.note(format!("status: expected {expected}, got {}", actual.status));
        }
    }

    fn headers(&mut self, expected: &BTreeMap<String, String>, actual: &Response) {
        for (name, template) in expected {
            if name == "content-type" && actual.body.is_empty() {
                continue;
            }
            let Some(value) = actual.header(name) else {
                self.note(format!("header {name}: expected {:?}, got none", self.names.known(template)));
                continue;
            };
            let outcome = if let Some(offset) = time_offset(template) {
                self.time(offset, value.parse().ok()).map_err(|why| format!("{why}, got {value:?}"))
            } else if name == "retry-after" {
                match (template.parse::<i64>(), value.parse::<i64>()) {
                    (Ok(expected), Ok(got)) if (expected - got).abs() <= TIME_TOLERANCE => Ok(()),
                    _ => Err(format!("expected {template} ± {TIME_TOLERANCE}, got {value:?}")),
                }
            } else if name == "allow" {
                let allowed: Vec<&str> = value.split(',').map(str::trim).collect();
                match template.split(',').map(str::trim).find(|method| !allowed.contains(method)) {
                    None => Ok(()),
                    Some(method) => Err(format!("expected {method} among them, got {value:?}")),
                }
            } else {
                self.names.compare(template, value)
            };
            if let Err(why) = outcome {
                self.note(format!("header {name}: {why}"));
            }
        }
    }

    fn body(&mut self, expected: &Body, actual: &Response) {
        match expected {
            // The page of an unknown path is free.
            Body::Empty if actual.status == 404 => {}
            Body::Empty => {
                if !actual.body.is_empty() {
                    self.note(format!("body: expected none, got {:?}", shortened(&actual.body)));
                }
            }
            Body::Json(template) => match serde_json::from_slice::<Value>(&actual.body) {
                Ok(value) => self.json("", template, &value),
                Err(_) => self.note(format!("body: expected JSON, got {:?}", shortened(&actual.body))),
            },
            Body::Text(template) => {
                let outcome = match str::from_utf8(&actual.body) {
                    Ok(text) => self.names.compare(template, text),
                    Err(_) => Err(format!("expected {template:?}, got {:?}", shortened(&actual.body))),
                };
                if let Err(why) = outcome {
                    self.note(format!("body: {why}"));
                }
            }
            Body::Woven { text, objects } => {
                if let Err(why) = self.woven(text, objects, &actual.body) {
                    self.note(format!("body: {why}"));
                }
            }
            Body::Bytes(bytes) => {
                if *bytes != actual.body {
                    let (expected, got) = (shortened(bytes), shortened(&actual.body));
                    self.note(format!(
                        "body: expected {} bytes {expected:?}, got {} bytes {got:?}",
                        bytes.len(),
                        actual.body.len()
                    ));
                }
            }
            Body::Digest { sha256, bytes } => {
                let got = digest::sha256_hex(&actual.body);
                if got != *sha256 || actual.body.len() != *bytes {
                    let length = actual.body.len();
                    self.note(format!(
                        "body: expected {bytes} bytes with digest {sha256}, got {length} with {got}"
                    ));
                }
            }
        }
    }

    /// Compares text with JSON objects and long payloads in it, byte by byte but for those.
    fn woven(&mut self, text: &str, objects: &Map<String, Value>, actual: &[u8]) -> Result<(), String> {
        let mut rest = actual;
        let mut template = text;
        loop {
            let special = ["${json", "${payload "].iter().filter_map(|name| template.find(name)).min();
            let plain = self.names.render(&template[..special.unwrap_or(template.len())])?;
            match rest.strip_prefix(plain.as_bytes()) {
                Some(after) => rest = after,
                None => return Err(format!("expected {plain:?}, got {:?}", shortened(rest))),
            }
            let Some(start) = special else { break };
            let end = start + template[start..].find('}').ok_or("a name does not end")?;
            let name = &template[start + 2..end];
            template = &template[end + 1..];
            if let Some(payload) = name.strip_prefix("payload ") {
                let (length, sha256) = payload.split_once(' ').ok_or("a payload has no digest")?;
                let length = length.parse::<usize>().map_err(|_| "a payload has no length")?;
                let bytes =
                    rest.get(..length).ok_or_else(|| format!("the payload has not {length} bytes"))?;
                if digest::sha256_hex(bytes) != sha256 {
                    return Err(format!(
                        "the payload of {length} bytes is another one: {:?}",
                        shortened(bytes)
                    ));
                }
                rest = &rest[length..];
            } else {
                let line = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                let value: Value = serde_json::from_slice(&rest[..line])
                    .map_err(|why| format!("{name}: {why}: {:?}", shortened(&rest[..line])))?;
                if let Some(expected) = objects.get(name) {
                    self.json(&format!(".{name}"), expected, &value);
                }
                rest = &rest[line..];
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("expected its end, got {:?}", shortened(rest))) }
    }

    fn time(&self, offset: i64, actual: Option<i64>) -> Result<(), String> {
        let expected = self.now + offset;
        match actual {
            Some(value) if (value - expected).abs() <= TIME_TOLERANCE => Ok(()),
            Some(value) => {
                Err(format!("expected now{offset:+} ± {TIME_TOLERANCE}, which is {} s off", value - expected))
            }
            None => Err(format!("expected now{offset:+} as a number")),
        }
    }

    /// `place` is the path of members down to this value, such as `.attachments[0].id`.
    fn json(&mut self, place: &str, expected: &Value, actual: &Value) {
        let outcome = match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => return self.object(place, expected, actual),
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                    self.json(&format!("{place}[{index}]"), expected, actual);
                }
                return;
            }
            (Value::String(template), actual) if time_offset(template).is_some() => self
                .time(time_offset(template).unwrap_or_default(), actual.as_i64())
                .map_err(|why| format!("{why}, got {actual}")),
            (Value::String(template), Value::Number(_)) if template == "${n}" => Ok(()),
            (Value::String(template), Value::String(text)) => self.names.compare(template, text),
            _ if expected == actual => Ok(()),
            _ => Err(format!("expected {expected}, got {actual}")),
        };
        if let Err(why) = outcome {
            let place = if place.is_empty() { "body" } else { &format!("member {}", &place[1..]) };
            self.note(format!("{place}: {why}"));
        }
    }

    fn object(&mut self, place: &str, expected: &Map<String, Value>, actual: &Map<String, Value>) {
        // A lease that has run out may have been cleared meanwhile.
        let ran_out = self.path == "/v1/describe"
            && expected
                .get("expires_at_unix")
                .and_then(Value::as_str)
                .and_then(time_offset)
                .is_some_and(|t| t <= 0);
        let cleared = ran_out
            && ["owner", "lease_id", "expires_at_unix"].iter().all(|name| !actual.contains_key(*name));
        for (name, template) in expected {
            let here = format!("{place}.{name}");
            match (name.as_str(), actual.get(name)) {
                ("owner" | "lease_id" | "expires_at_unix", None) if cleared => {}
                ("updated_at_unix", Some(_)) if ran_out => {}
                ("retry_after_seconds", Some(value)) => match (template.as_i64(), value.as_i64()) {
                    (Some(expected), Some(got)) if (expected - got).abs() <= TIME_TOLERANCE => {}
                    _ => self.note(format!(
                        "member {}: expected {template} ± {TIME_TOLERANCE}, got {value}",
                        &here[1..]
                    )),
                },
                ("error", Some(value)) if template == "lease_expired" && value == "lease_required" => {}
                (_, Some(value)) => self.json(&here, template, value),
                (_, None) => {
                    let known =
                        template.as_str().map_or_else(|| template.to_string(), |t| self.names.known(t));
                    self.note(format!("member {}: expected {known}, got none", &here[1..]));
                }
            }
        }
        if self.fixed {
            return;
        }
        let already_exists = expected.get("error").is_some_and(|code| code == "already_exists");
        for (name, value) in actual {
            let free = match name.as_str() {
                "state_etag" => self.path == "/v1/keepalive",
                "current_version" | "current_etag" => already_exists,
                _ => false,
            };
            if TELLING_MEMBERS.contains(&name.as_str()) && !expected.contains_key(name) && !free {
                self.note(format!("member {}: not expected, got {value}", &format!("{place}.{name}")[1..]));
            }
        }
    }
}

fn shortened(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recorded(json: Value) -> Answer {
        Answer {
            status: 200,
            headers: BTreeMap::new(),
            body: Body::Json(json),
            got_100: None,
            elapsed_ms: None,
            fixed: None,
        }
    }

    fn got(json: &Value) -> Response {
        Response { status: 200, body: json.to_string().into_bytes(), ..Response::default() }
    }

    fn differences(expected: &Answer, actual: &Response, path: &str) -> usize {
        let mut names = Names::new("t-001");
        answer(expected, actual, path, &mut names).len()
    }

    #[test]
    fn more_members_are_welcome_but_telling_ones_are_not() {
        let expected = recorded(json!({"a": 1, "metadata": {}}));
        let check = |actual: Value| differences(&expected, &got(&actual), "/v1/x");
        assert_eq!(check(json!({"a": 1, "metadata": {}, "detail": "x", "more": 2})), 0);
        assert_eq!(check(json!({"a": 1, "metadata": {}, "owner": "x"})), 1);
        assert_eq!(check(json!({"a": 1, "metadata": {"query_hidden": false}})), 1);
        assert_eq!(check(json!({"a": 2, "metadata": {}})), 1);
        assert_eq!(check(json!({"metadata": {}})), 1);
        assert_eq!(check(json!({"a": 1.0, "metadata": {}})), 1);
    }

    #[test]
    fn some_telling_members_are_free_in_their_place() {
        let keepalive = recorded(json!({}));
        assert_eq!(differences(&keepalive, &got(&json!({"state_etag": "x"})), "/v1/keepalive"), 0);
        assert_eq!(differences(&keepalive, &got(&json!({"state_etag": "x"})), "/v1/acquire"), 1);
        let exists = recorded(json!({"error": "already_exists"}));
        let actual = json!({"error": "already_exists", "current_version": 1, "current_etag": "x"});
        assert_eq!(differences(&exists, &got(&actual), "/v1/acquire"), 0);
        let waiting = recorded(json!({"error": "waiting"}));
        let actual = json!({"error": "waiting", "current_version": 1});
        assert_eq!(differences(&waiting, &got(&actual), "/v1/acquire"), 1);
    }

    #[test]
    fn times_and_hints_have_tolerance() {
        let expected = recorded(json!({"expires_at_unix": "${now+30}", "retry_after_seconds": 10}));
        let check = |off: i64, hint: i64| {
            let actual = json!({"expires_at_unix": fresh::now() + 30 + off, "retry_after_seconds": hint});
            differences(&expected, &got(&actual), "/v1/x")
        };
        assert_eq!(check(1, 12), 0);
        assert_eq!(check(-1, 8), 0);
        assert_eq!(check(5, 10), 1);
        assert_eq!(check(0, 13), 1);
        let text =
            got(&json!({"expires_at_unix": (fresh::now() + 30).to_string(), "retry_after_seconds": 10}));
        assert_eq!(differences(&expected, &text, "/v1/x"), 1, "a time is a number");
    }

    #[test]
    fn liberties_around_expiry() {
        let expired = recorded(json!({"error": "lease_expired"}));
        assert_eq!(differences(&expired, &got(&json!({"error": "lease_required"})), "/v1/update"), 0);
        let required = recorded(json!({"error": "lease_required"}));
        assert_eq!(differences(&required, &got(&json!({"error": "lease_expired"})), "/v1/update"), 1);

        let shown = json!({"owner": "w", "lease_id": "l", "expires_at_unix": "${now-1}", "updated_at_unix": "${now-2}", "version": 1});
        let cleared = got(&json!({"updated_at_unix": 5, "version": 1}));
        assert_eq!(differences(&recorded(shown.clone()), &cleared, "/v1/describe"), 0);
        assert_ne!(differences(&recorded(shown.clone()), &cleared, "/v1/acquire"), 0);
        let half = got(&json!({"owner": "w", "updated_at_unix": 5, "version": 1}));
        assert_ne!(
            differences(&recorded(shown.clone()), &half, "/v1/describe"),
            0,
            "all of the lease or nothing"
        );
        let mut alive = shown;
        alive["expires_at_unix"] = json!("${now+20}");
        assert_ne!(differences(&recorded(alive), &cleared, "/v1/describe"), 0);
    }

    #[test]
    fn a_fixed_answer_replaces_the_recorded_one() {
        let mut expected = recorded(json!({"a": 1}));
        expected.elapsed_ms = Some(5000);
        expected.fixed = Some(Fixed {
            status: 200,
            headers: BTreeMap::new(),
            body: Some(Body::Json(json!({"b": {"c": 2}}))),
            absent: vec!["noop".to_owned()],
            max_ms: Some(1000),
        });
        let mut actual = got(&json!({"b": {"c": 2, "owner": "x"}, "error": "unnamed"}));
        actual.headers.push(("etag".to_owned(), b"x".to_vec()));
        assert_eq!(differences(&expected, &actual, "/v1/x"), 0);
        actual.elapsed = Duration::from_secs(2);
        assert_eq!(differences(&expected, &actual, "/v1/x"), 1);
        assert_eq!(differences(&expected, &got(&json!({"b": {"c": 2}, "noop": true})), "/v1/x"), 1);
        assert_eq!(differences(&expected, &got(&json!({"b": {"c": 3}})), "/v1/x"), 1);
    }

    #[test]
    fn woven_text_is_exact_around_its_objects() {
        let mut expected = recorded(json!({}));
        expected.body = Body::Woven {
            text: "data: ${json1}\n\nx${payload 2 fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603}!".to_owned(),
            objects: Map::from_iter([("json1".to_owned(), json!({"a": "${n}"}))]),
        };
        let check = |text: &str| {
            let actual = Response { status: 200, body: text.into(), ..Response::default() };
            differences(&expected, &actual, "/v1/x")
        };
        assert_eq!(check("data: {\"b\":1,\"a\":5}\n\nxab!"), 0);
        assert_eq!(check("data: {\"a\":\"five\"}\n\nxab!"), 1);
        assert_eq!(check("data: {\"a\":5}\n\nxac!"), 1);
        assert_eq!(check("data: {\"a\":5}\n\nxab! "), 1);
        assert_eq!(check("data: {\"a\":5}\n"), 1);
        assert_eq!(check("date: {\"a\":5}\n\nxab!"), 1);
    }

    #[test]
    fn headers() {
        let mut expected = recorded(json!({}));
        expected.headers = BTreeMap::from([
            ("allow".to_owned(), "GET, POST".to_owned()),
            ("retry-after".to_owned(), "5".to_owned()),
        ]);
        let mut actual = got(&json!({}));
        actual.headers =
            vec![("allow".to_owned(), b"GET, POST, PUT".to_vec()), ("retry-after".to_owned(), b"7".to_vec())];
        assert_eq!(differences(&expected, &actual, "/v1/x"), 0);
        actual.headers.push(("etag".to_owned(), b"x".to_vec()));
        assert_eq!(differences(&expected, &actual, "/v1/x"), 1);
        actual.headers = vec![("allow".to_owned(), b"GET".to_vec())];
        assert_eq!(differences(&expected, &actual, "/v1/x"), 2);
    }
}
