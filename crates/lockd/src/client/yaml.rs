//! YAML in and out. Only the first document of a stream counts.

use serde::Deserialize;
use serde_norway::Value;

/// The first document as JSON text.
pub(super) fn to_json(text: &str) -> Result<Vec<u8>, String> {
    let Some(first) = serde_norway::Deserializer::from_str(text).next() else { return Ok(b"null".to_vec()) };
    let value = Value::deserialize(first).map_err(|error| format!("parse yaml: {error}"))?;
    let json = json(value)?;
    Ok(json.to_string().into_bytes())
}

fn json(value: Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(on) => on.into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, number) => number
                .and_then(serde_json::Number::from_f64)
                .map(serde_json::Value::Number)
                .ok_or_else(|| "parse yaml: .inf and .nan have no form in JSON".to_owned())?,
        },
        Value::String(text) => text.into(),
        Value::Sequence(items) => items.into_iter().map(json).collect::<Result<_, _>>()?,
        Value::Mapping(members) => {
            let pairs = members.into_iter().map(|(name, value)| Ok((key(name)?, json(value)?)));
            serde_json::Value::Object(pairs.collect::<Result<_, String>>()?)
        }
        Value::Tagged(tagged) => json(tagged.value)?,
    })
}

fn key(value: Value) -> Result<String, String> {
    match json(value)? {
        serde_json::Value::String(text) => Ok(text),
        value @ (serde_json::Value::Array(_) | serde_json::Value::Object(_)) => {
            Err(format!("parse yaml: {value} cannot be the name of a member in JSON"))
        }
        scalar => Ok(scalar.to_string()),
    }
}

/// A JSON document as YAML.
pub(super) fn from_json(bytes: &[u8]) -> Result<String, String> {
    if bytes.trim_ascii().is_empty() {
        return Ok("null\n".into());
    }
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| format!("parse json: {error}"))?;
    serde_norway::to_string(&value).map_err(|error| format!("write yaml: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_document_becomes_json_and_back() {
        let json = to_json("count: 2\ntags: [a, b]\nn: 18446744073709551615\n---\nother: 1\n").unwrap();
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            r#"{"count":2,"n":18446744073709551615,"tags":["a","b"]}"#
        );
        assert_eq!(from_json(&json).unwrap(), "count: 2\nn: 18446744073709551615\ntags:\n- a\n- b\n");
        assert_eq!(from_json(b"{\"count\":1.50}").unwrap(), "count: 1.5\n");
        assert_eq!(to_json("").unwrap(), b"null");
        assert!(to_json("a: [").is_err());
        assert!(to_json("a: .inf").is_err());
    }
}
