//! Random documents, random whitespace, random damage and random bytes through the compactor.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

#[path = "properties/compact.rs"]
mod compact;

use std::time::{Duration, Instant};

use lockd_json::{Invalid, compact as run};
use proptest::prelude::*;

/// The tokens of a random document, each a piece that may be surrounded by whitespace.
fn tokens() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let number = r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        2 => Just(b"true".to_vec()),
        2 => Just(b"false".to_vec()),
        2 => Just(b"null".to_vec()),
        6 => number,
        6 => string(),
    ]
    .prop_map(|token| vec![token]);
    leaf.prop_recursive(7, 120, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| enclose(b"[", items, b"]")),
            prop::collection::vec((string(), inner), 0..6).prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| {
                    let mut member = vec![name, b":".to_vec()];
                    member.extend(value);
                    member
                });
                enclose(b"{", members.collect(), b"}")
            }),
        ]
    })
}

fn enclose(open: &[u8], items: Vec<Vec<Vec<u8>>>, close: &[u8]) -> Vec<Vec<u8>> {
    let mut tokens = vec![open.to_vec()];
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            tokens.push(b",".to_vec());
        }
        tokens.extend(item);
    }
    tokens.push(close.to_vec());
    tokens
}

/// A string, with what is difficult in strings overrepresented.
fn string() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,12}".prop_map(String::into_bytes),
        1 => r#"\\["\\/bfnrt]"#.prop_map(String::into_bytes),
        1 => r"(\\\\){1,40}".prop_map(String::into_bytes),
        1 => r"\\u[0-9a-fA-F]{4}".prop_map(String::into_bytes),
        1 => "[ {}\\[\\]:,\t]{0,6}".prop_map(|text| text.replace('\t', "0").into_bytes()),
        1 => "[äö€😀]{0,3}".prop_map(String::into_bytes),
        1 => prop::collection::vec(0x80u8.., 0..3),
        1 => (20usize..200).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| [b"\"", &pieces.concat()[..], b"\""].concat())
}

fn whitespace() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => Just(vec![]),
        3 => Just(b" ".to_vec()),
        2 => (1usize..20).prop_map(|width| [b"\n", &vec![b' '; width][..]].concat()),
        1 => "[ \t\r\n]{0,5}".prop_map(String::into_bytes),
        1 => (60usize..140).prop_map(|width| vec![b' '; width]),
    ]
}

/// A document with whitespace and without.
fn document() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (tokens(), prop::collection::vec(whitespace(), 1..40)).prop_map(|(tokens, gaps)| {
        let mut spaced = gaps[0].clone();
        for (token, gap) in tokens.iter().zip(gaps.iter().cycle()) {
            spaced.extend_from_slice(token);
            spaced.extend_from_slice(gap);
        }
        (spaced, tokens.concat())
    })
}

/// Bytes that often are nearly JSON.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(
        &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\"a\"",
            "\"a\":",
            "0",
            "1",
            "12",
            "-",
            "+",
            ".",
            "e",
            "E5",
            "1.5",
            "true",
            "false",
            "null",
            "nul",
            "tru",
            " ",
            "\n",
            "\t",
            "\u{1}",
            "\\u12aB",
            "\\\\",
            "\\\"",
            "é",
            "x",
            "                    ",
            "1,",
            "\"b\",",
            "{\"c\":",
            "[]",
            "{}",
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        ][..],
    );
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn documents_lose_only_their_whitespace((spaced, expected) in document()) {
        let mut out = Vec::new();
        run(&spaced, &mut out).unwrap();
        prop_assert_eq!(compact::show(&out), compact::show(&expected));
        compact::holds(&spaced);
    }

    #[test]
    fn damaged_documents_are_judged_right(
        (mut bytes, _) in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4),
    ) {
        const LIKELY: &[u8] = b"{}[]:,\"\\ \n0-+.eEtfnu\x00\x1F\x7F\xFF";
        for (place, byte, kind) in damage {
            let at = place.index(bytes.len() + 1);
            let likely = LIKELY[usize::from(byte) % LIKELY.len()];
            match kind {
                0 => bytes.insert(at, likely),
                1 if at < bytes.len() => bytes[at] = likely,
                2 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at / 2),
            }
        }
        compact::holds(&bytes);
    }

    #[test]
    fn near_documents_are_judged_right(bytes in soup()) {
        compact::holds(&bytes);
        // Inside an array the fast path has a chance to see it, and behind a string it sees it at any place.
        compact::holds(&[b"[", &bytes[..], b"]"].concat());
        compact::holds(&[b"{\"a\":", &bytes[..], b"}"].concat());
        compact::holds(&[b"[\"", &vec![b'x'; bytes.len() % 70][..], b"\",", &bytes[..], b"]"].concat());
    }

    #[test]
    fn random_bytes_are_judged_right(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        compact::holds(&bytes);
        compact::holds(&[b"[\"", &bytes[..], b"\"]"].concat());
    }
}

/// Every document of up to five tokens from a small set, at every place in a block.
#[test]
fn all_short_token_sequences_are_judged_right() {
    const TOKENS: [&str; 9] = ["{", "}", "[", "]", ",", ":", "\"a\"", "1", "true"];
    let mut sequences = vec![String::new()];
    for _ in 0..5 {
        let longer = sequences.iter().flat_map(|start| TOKENS.map(|token| format!("{start}{token}")));
        sequences = longer.collect();
        for (index, sequence) in sequences.iter().enumerate() {
            let valid = compact::reference(sequence.as_bytes()).is_some();
            let in_array = format!("[{}{sequence}]", " ".repeat(index % 70));
            let in_object = format!("{{\"n\":{}{sequence}}}", " ".repeat(index % 67));
            let member = format!("{{{}{sequence}}}", " ".repeat(index % 67));
            assert_eq!(run(sequence.as_bytes(), &mut Vec::new()).is_ok(), valid, "{sequence}");
            for document in [in_array, in_object, member] {
                let valid = compact::reference(document.as_bytes());
                let mut out = Vec::new();
                let result = run(document.as_bytes(), &mut out).map(|()| out);
                assert_eq!(result.clone().ok(), valid, "{document}: {result:?}");
            }
        }
    }
}

/// Every short string over the letters of numbers, at every place in a block.
#[test]
fn all_short_numbers_are_judged_right() {
    const LETTERS: [char; 6] = ['0', '1', '-', '+', '.', 'e'];
    let mut numbers = vec![String::new()];
    for _ in 0..6 {
        numbers = numbers.iter().flat_map(|start| LETTERS.map(|letter| format!("{start}{letter}"))).collect();
        for (index, number) in numbers.iter().enumerate() {
            let valid = compact::reference(number.as_bytes()).is_some();
            assert_eq!(run(number.as_bytes(), &mut Vec::new()).is_ok(), valid, "{number}");
            for place in [index % 64, 64 - number.len() - 1, 64 - number.len(), 64 - number.len() + index % 8]
            {
                let document = format!("[{}{number} ]", " ".repeat(place.saturating_sub(1)));
                assert_eq!(run(document.as_bytes(), &mut Vec::new()).is_ok(), valid, "{document}");
            }
        }
    }
}

/// Every kind of escape, whole and damaged, at every place in a block.
#[test]
fn escapes_are_judged_right_at_every_place() {
    for place in 0..130 {
        let fill = "x".repeat(place);
        for letter in (0..=0x7Fu8).map(char::from) {
            compact::holds(format!("[\"{fill}\\{letter}\"]").as_bytes());
            compact::holds(format!("[\"{fill}\\u1{letter}2B\"]").as_bytes());
        }
        for damaged in 0..4 {
            for letter in ["g", "\"", "\\", " "] {
                let mut digits = "0aF9".to_owned();
                digits.replace_range(damaged..=damaged, letter);
                compact::holds(format!("[\"{fill}\\u{digits}\", 1]").as_bytes());
                compact::holds(format!("{{\"{fill}\\u{digits}\" : 1}}").as_bytes());
            }
        }
        for backslashes in 1..=130 {
            let document = format!("[\"{fill}{}\" , \"\"]", "\\".repeat(backslashes));
            let valid = compact::reference(document.as_bytes()).is_some();
            assert_eq!(valid, backslashes % 2 == 0);
            assert_eq!(run(document.as_bytes(), &mut Vec::new()).is_ok(), valid, "{document}");
        }
    }
}

/// Literals, whole and damaged, at every place in a block.
#[test]
fn literals_are_judged_right_at_every_place() {
    for place in 0..130 {
        let fill = " ".repeat(place);
        for literal in ["true", "false", "null"] {
            for length in 1..=literal.len() {
                for behind in ["", " ", ",1", "1", "x", "\"\"", "e", literal] {
                    compact::holds(format!("[{fill}{}{behind}]", &literal[..length]).as_bytes());
                    compact::holds(format!("[{fill}1{}{behind}]", &literal[..length]).as_bytes());
                }
            }
        }
    }
}

#[test]
fn a_million_brackets_are_judged_fast() {
    let started = Instant::now();
    for bomb in ["[", "{\"a\":", "[[]", "{\"a\":[", "{", "[1,"] {
        let bytes = bomb.repeat(1_000_000);
        let invalid = run(bytes.as_bytes(), &mut Vec::new()).unwrap_err();
        assert!(matches!(invalid, Invalid::TooDeep { .. } | Invalid::Syntax { .. }), "{invalid}");
    }
    // Generous: it is the difference between linear and quadratic that counts.
    assert!(started.elapsed() < Duration::from_secs(20));
}
