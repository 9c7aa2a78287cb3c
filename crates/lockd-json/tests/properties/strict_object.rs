//! What must hold for the reader of request bodies whatever it is given. Shared by the property tests and the fuzz
//! target.

use lockd_json::{Object, compact};
use serde_json::Value;

/// Checks one body: it is accepted if and only if the compactor accepts it and it is an object or `null`; what the
/// takers return is what serde_json reads, where serde_json can read it at all.
pub(crate) fn holds(body: &[u8]) {
    let mut compacted = Vec::new();
    let valid = compact(body, &mut compacted).is_ok();
    let object = Object::parse(body);
    let is_object = compacted.first() == Some(&b'{') || compacted == b"null";
    // Nesting that only the compactor allows needs more bytes than this.
    if body.len() < 20_000 {
        assert_eq!(object.is_ok(), valid && is_object, "{object:?} for {}", body.escape_ascii());
    }
    let Ok(mut object) = object else { return };
    assert!(Object::parse_first(body).is_ok());

    let mut names = Vec::new();
    while let Some((name, json)) = object.next_member() {
        assert!(compact(json, &mut Vec::new()).is_ok(), "{}", json.escape_ascii());
        names.push(name.into_owned());
    }
    assert!(object.finish().is_ok());

    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    let no_members = serde_json::Map::new();
    let expected = value.as_object().unwrap_or(&no_members);
    for name in expected.keys() {
        assert!(names.contains(name), "{name:?} is missing");
    }
    for name in &names {
        let mut object = Object::parse(body).unwrap();
        let raw = object.raw(name).unwrap();
        let last = serde_json::from_slice::<Value>(raw).unwrap();
        assert_eq!(Some(&last), expected.get(name));
        let once = names.iter().filter(|other| *other == name).count() == 1;
        match &last {
            Value::Null => {
                if once {
                    assert_eq!(object.string(name).unwrap(), None);
                    assert_eq!(object.integer(name).unwrap(), None);
                }
            }
            Value::String(text) => {
                assert!(object.integer(name).is_err() && object.boolean(name).is_err());
                if once {
                    assert_eq!(object.string(name).unwrap().as_deref(), Some(&text[..]));
                }
            }
            Value::Bool(flag) => {
                assert!(object.string(name).is_err() && object.strings(name).is_err());
                if once {
                    assert_eq!(object.boolean(name).unwrap(), Some(*flag));
                }
            }
            Value::Number(number) => {
                assert!(object.boolean(name).is_err() && object.object(name).is_err());
                if once {
                    let zero = (raw == b"-0").then_some(0);
                    assert_eq!(object.integer(name).ok().flatten(), number.as_i64().or(zero));
                }
            }
            Value::Array(items) => {
                assert!(object.object(name).is_err() && object.string(name).is_err());
                let texts: Option<Vec<&str>> = items.iter().map(text_or_null).collect();
                if once {
                    let read = object.strings(name).ok().flatten();
                    assert_eq!(read.as_ref().map(|list| list.iter().map(String::as_str).collect()), texts);
                }
            }
            Value::Object(members) => {
                assert!(object.objects(name).is_err() && object.string(name).is_err());
                if once {
                    let mut inner = object.object(name).unwrap().unwrap();
                    for name in members.keys() {
                        assert!(inner.raw(name).is_some());
                    }
                    inner.finish().unwrap();
                }
            }
        }
    }
}

fn text_or_null(value: &Value) -> Option<&str> {
    if value.is_null() { Some("") } else { value.as_str() }
}
