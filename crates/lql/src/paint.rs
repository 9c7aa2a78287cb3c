//! Writes compact JSON for people: on many lines, in colours, or both.

/// How documents look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) pretty: bool,
    pub(crate) color: bool,
}

const RESET: &[u8] = b"\x1b[0m";
const NAME: &[u8] = b"\x1b[34m";
const TEXT: &[u8] = b"\x1b[32m";
const NUMBER: &[u8] = b"\x1b[36m";
const WORD: &[u8] = b"\x1b[35m";
const NULL: &[u8] = b"\x1b[90m";

/// Appends a document that is valid and has no whitespace between its tokens.
pub(crate) fn paint(json: &[u8], look: Look, out: &mut Vec<u8>) {
    let mut objects: Vec<bool> = Vec::new();
    let mut name_follows = false;
    let mut rest = json;
    while let Some(&byte) = rest.first() {
        let (token, after) = rest.split_at(token_length(rest).min(rest.len()));
        rest = after;
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                objects.push(byte == b'{');
                name_follows = byte == b'{';
                let empty = matches!(rest.first(), Some(b'}' | b']'));
                if look.pretty && !empty {
                    new_line(objects.len(), out);
                }
            }
            b'}' | b']' => {
                objects.pop();
                name_follows = false;
                let empty = matches!(out.last(), Some(b'{' | b'['));
                if look.pretty && !empty {
                    new_line(objects.len(), out);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                name_follows = objects.last() == Some(&true);
                if look.pretty {
                    new_line(objects.len(), out);
                }
            }
            b':' => {
                out.push(byte);
                name_follows = false;
                if look.pretty {
                    out.push(b' ');
                }
            }
            _ if look.color => {
                out.extend_from_slice(match byte {
                    b'"' if name_follows => NAME,
                    b'"' => TEXT,
                    b't' | b'f' => WORD,
                    b'n' => NULL,
                    _ => NUMBER,
                });
                out.extend_from_slice(token);
                out.extend_from_slice(RESET);
            }
            _ => out.extend_from_slice(token),
        }
    }
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

fn token_length(rest: &[u8]) -> usize {
    match rest.first() {
        Some(b'"') => {
            let mut escaped = false;
            let end = rest.iter().skip(1).position(|&byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        _ => rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn painted(json: &str, pretty: bool, color: bool) -> String {
        let mut out = Vec::new();
        paint(json.as_bytes(), Look { pretty, color }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn colours_follow_the_kind() {
        assert_eq!(
            painted(r#"{"a":["x\\\"",1,true,null]}"#, false, true).replace('\x1b', "^"),
            r#"{^[34m"a"^[0m:[^[32m"x\\\""^[0m,^[36m1^[0m,^[35mtrue^[0m,^[90mnull^[0m]}"#
        );
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            "[a\"\\\\{}\\[\\],: é]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-c\"\\\\]{0,3}", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_serde_makes_pretty(value in value()) {
            let json = value.to_string();
            prop_assert_eq!(painted(&json, true, false), serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(painted(&json, false, false), json);
        }
    }
}
