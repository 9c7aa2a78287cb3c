//! Random request bodies through the strict reader.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

#[path = "properties/strict_object.rs"]
mod strict_object;

use proptest::prelude::*;

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        r#""(\\u[0-9a-f]{4}|\\n|[a-z ])*""#,
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5);
        let members = prop::collection::vec(("[a-c]{0,2}", inner), 0..4);
        prop_oneof![
            list.prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec("\"[a-z]{0,3}\"|null", 0..4)
                .prop_map(|items| format!("[ {}]", items.join(","))),
            members.prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
    format!("{{{}}}", members.join(", "))
}

fn body() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[a-c]", "[a-z_]{1,12}", r"\\u00[46][1-9a-f]", any::<String>().prop_map(escaped)];
    prop::collection::vec((name, value()), 0..12).prop_map(|members| object(&members))
}

fn escaped(text: String) -> String {
    serde_json::to_string(&text).unwrap().trim_matches('"').replace(['"', '\\'], "")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn bodies_read_as_serde_json_reads_them(body in body(), before in "[ \t\r\n]{0,2}", after in "[ \t\r\n]{0,2}") {
        strict_object::holds(format!("{before}{body}{after}").as_bytes());
    }

    #[test]
    fn damaged_bodies_are_judged_as_the_compactor_judges_them(
        body in body(),
        place in any::<prop::sample::Index>(),
        byte in prop::sample::select(&b"{}[]:,\"\\ \n0-+.eEtfnu\x00\x1F\x7F\xFF"[..]),
        kind in 0..3u8,
    ) {
        let mut body = body.into_bytes();
        let at = place.index(body.len());
        match kind {
            0 => body.insert(at, byte),
            1 => body[at] = byte,
            _ => drop(body.remove(at)),
        }
        strict_object::holds(&body);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        strict_object::holds(&bytes);
        strict_object::holds(&[b"{\"a\":\"", &bytes[..], b"\"}"].concat());
        strict_object::holds(&[b"{\"", &bytes[..], b"\":1}"].concat());
    }
}

#[test]
fn every_escape_is_judged_as_the_compactor_judges_it() {
    for letter in (0..=0x7Fu8).map(char::from) {
        strict_object::holds(format!("{{\"a\":\"\\{letter}\"}}").as_bytes());
        strict_object::holds(format!("{{\"\\{letter}\":1}}").as_bytes());
        strict_object::holds(format!("{{\"a\":\"\\u00{letter}0\"}}").as_bytes());
        strict_object::holds(format!("{{\"a\":\"{letter}\"}}").as_bytes());
    }
}
