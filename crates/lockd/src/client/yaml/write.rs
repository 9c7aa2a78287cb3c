//! From JSON text to YAML that readers of YAML 1.1 and 1.2 understand alike.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::print::{Members, members};
use super::scalar::{Plain, resolve};

/// Deeper levels are written as JSON, which is YAML, too.
const MAX_INDENTED: usize = 100;
/// Readers need not look further for the colon after a name.
const NAME_MAX: usize = 1000;
/// Numbers of more digits do not fit a double.
const EXACT_DIGITS: usize = 15;

/// A JSON document as YAML, members sorted.
pub(in super::super) fn from_json(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len() * 2);
    match text.trim() {
        "" => out.push_str("null\n"),
        text => {
            let value: &RawValue =
                serde_json::from_str(text).map_err(|error| format!("parse json: {error}"))?;
            value_at(value.get(), Place::Top, 0, &mut out);
        }
    }
    Ok(out)
}

/// What stands before a value on its line.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    /// A name and a colon.
    AfterName,
    /// A dash and a blank.
    AfterDash,
}

fn value_at(text: &str, place: Place, depth: usize, out: &mut String) {
    let text = text.trim();
    let blank = |out: &mut String| {
        if place == Place::AfterName {
            out.push(' ');
        }
    };
    if depth > MAX_INDENTED {
        blank(out);
        out.push_str(text);
        out.push('\n');
        return;
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let members = members(text, Members::Sorted).unwrap_or_default();
            if members.is_empty() {
                blank(out);
                out.push_str("{}\n");
                return;
            }
            let mut first = true;
            if place == Place::AfterName {
                out.push('\n');
                first = false;
            }
            for (name, value) in &members {
                if !std::mem::take(&mut first) {
                    indent(depth, out);
                }
                let name = inline(name);
                if name.len() > NAME_MAX {
                    out.push_str(&format!("? {name}\n"));
                    indent(depth, out);
                    out.push(':');
                } else {
                    out.push_str(&name);
                    out.push(':');
                }
                // A list may stand as far left as the name it belongs to.
                let is_list = value.get().trim_start().starts_with('[');
                value_at(value.get(), Place::AfterName, depth + usize::from(!is_list), out);
            }
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            if items.is_empty() {
                blank(out);
                out.push_str("[]\n");
                return;
            }
            let mut first = true;
            if place == Place::AfterName {
                out.push('\n');
                first = false;
            }
            for item in items {
                if !std::mem::take(&mut first) {
                    indent(depth, out);
                }
                out.push_str("- ");
                value_at(item.get(), Place::AfterDash, depth + 1, out);
            }
        }
        Some(b'"') => {
            blank(out);
            match serde_json::from_str::<Cow<'_, str>>(text) {
                Ok(string) if is_block(&string) => block(&string, depth.max(1), out),
                Ok(string) => {
                    out.push_str(&inline(&string));
                    out.push('\n');
                }
                Err(_) => {
                    out.push_str(text);
                    out.push('\n');
                }
            }
        }
        _ => {
            blank(out);
            out.push_str(&number(text));
            out.push('\n');
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Integers as they are. Fractions and exponents in the shortest form of the same double, with the point and the sign that
/// YAML 1.1 wants, unless they have more digits than a double.
fn number(text: &str) -> String {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if !text.contains(['.', 'e', 'E']) || digits > EXACT_DIGITS {
        return text.to_owned();
    }
    let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) else {
        return text.to_owned();
    };
    let Some(shown) = serde_json::Number::from_f64(value).map(|number| number.to_string()) else {
        return text.to_owned();
    };
    match shown.split_once('e') {
        None => shown,
        Some((mantissa, power)) => {
            let point = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if power.starts_with(['-', '+']) { "" } else { "+" };
            format!("{mantissa}{point}e{sign}{power}")
        }
    }
}

/// Text that reads well as a block of lines.
fn is_block(text: &str) -> bool {
    let printable = |letter: char| letter == '\n' || !letter.is_control() && !is_special(letter);
    text.trim_end_matches('\n').contains('\n')
        && text.chars().all(printable)
        && !text.starts_with([' ', '\n'])
        && text.lines().all(|line| !line.ends_with(' '))
}

fn block(text: &str, depth: usize, out: &mut String) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            indent(depth, out);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// Text on one line: as it is if nobody could take it for anything else, in double quotes otherwise.
fn inline(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    for letter in serde_json::Value::from(text).to_string().chars() {
        if letter.is_control() || is_special(letter) {
            out.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            out.push(letter);
        }
    }
    out
}

/// Letters that some readers take for the end of a line or for nothing.
fn is_special(letter: char) -> bool {
    matches!(letter, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn is_plain(text: &str) -> bool {
    let begins = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '/' | '.' | '$' | '(');
    let goes_on =
        |letter: char| begins(letter) || matches!(letter, '-' | '+' | '=' | '@' | ' ' | '%' | ')' | ';');
    let Some(first) = text.chars().next() else { return false };
    begins(first)
        && text.chars().all(goes_on)
        && !text.ends_with(' ')
        && !text.starts_with("...")
        && resolve(text) == Plain::Text
        // Dates and the like are something of their own for other readers.
        && !(first.is_ascii_digit() && text.bytes().all(|byte| byte.is_ascii_digit() || b"-_.+TtZz ".contains(&byte)))
        && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::super::to_json;
    use super::*;

    #[test]
    fn json_becomes_yaml() {
        let json = br#"{"tags":["a",{"x":1,"y":[2,[3]]},[]],"count":1.50,"n":12345678901234567890123,"e":{},"m":{"k":null}}"#;
        let yaml = "count: 1.5\ne: {}\nm:\n  k: null\n\"n\": 12345678901234567890123\n\
            tags:\n- a\n- x: 1\n  \"y\":\n  - 2\n  - - 3\n- []\n";
        assert_eq!(from_json(json).unwrap(), yaml);
        assert_eq!(from_json(b"").unwrap(), "null\n");
        assert_eq!(from_json(b" 7 ").unwrap(), "7\n");
        assert_eq!(from_json(b"{\"a\":1e30}").unwrap(), "a: 1.0e+30\n");
        assert!(from_json(b"{").unwrap_err().starts_with("parse json: "));
    }

    #[test]
    fn text_that_would_be_read_as_something_else_is_quoted() {
        for text in [
            "yes",
            "N",
            "on",
            "null",
            "~",
            "",
            "0777",
            "1e3",
            "12:30:45",
            "2001-12-14",
            "<<",
            "=",
            "- a",
            "a: b",
            "a #b",
            " a",
            "a ",
            ".inf",
            "@x",
            "`x",
            "!x",
            "&x",
            "*x",
            "%x",
            "a,b",
            "[a",
            "{a",
            "'a",
            "\"a",
            "?",
            "a:",
            "\u{85}",
            "\t",
            "...",
            "---",
            "08",
        ] {
            let yaml = inline(text);
            assert!(yaml.starts_with('"'), "{yaml}");
        }
        for text in ["a", "a b", "v1.2.3", "/usr/bin", "x-y_z", "é", "a@b.c", "50 %"] {
            assert_eq!(inline(text), text);
        }
        assert_eq!(
            from_json(br#"{"s":"a\nb\n","t":"a\n\n  b","u":"x\n\n"}"#).unwrap(),
            "s: |\n  a\n  b\nt: |-\n  a\n\n    b\nu: \"x\\n\\n\"\n"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let deep = format!("{}{{\"a\":[1,\"x\"]}}{}", "[".repeat(150), "]".repeat(150));
        for json in [
            r#"{"a":"yes","b":true,"c":[["x",["y"]],[{"k":[{"z":""}]}]],"n":"1\n2\n\n"}"#,
            r#"["a\n b\nc","\u0000\u0085\ufeff\ud83d\ude00","tail \nx","\n","- a\n- b\n",""]"#,
            r#"{"y":1,"n":2,"0777":3,"a b":{"<<":4},"":5,"a: b":6}"#,
            r#"{"a":-12345678901234567890123456789,"b":0.1,"c":-0.0,"d":1.7976931348623157e308,"e":12345678901234567.5}"#,
            "\"a\\nb\"",
            "[]",
            &deep,
        ] {
            let yaml = from_json(json.as_bytes()).unwrap();
            let back = String::from_utf8(to_json(&yaml).unwrap()).unwrap();
            let sorted = |text: &str| super::super::super::print::document(text.as_bytes());
            assert_eq!(sorted(&back), sorted(json), "{yaml}");
        }
        let long = format!("{{\"{}\":{{\"x\":1}}}}", "k ".repeat(2000));
        assert_eq!(String::from_utf8(to_json(&from_json(long.as_bytes()).unwrap()).unwrap()).unwrap(), long);
    }
}
