//! What must hold for the compactor whatever it is given. Shared by the property tests and the fuzz target.

use lockd_json::{Compactor, Limits, compact};
use serde::de::IgnoredAny;

/// Checks one input: it is accepted if and only if two independent parsers accept it, the result is the input without
/// whitespace between tokens, and neither depends on how the input is cut.
pub(crate) fn holds(input: &[u8]) {
    let expected = reference(input);
    let judged_by_serde = serde_json::from_slice::<IgnoredAny>(input);
    assert_eq!(expected.is_some(), judged_by_serde.is_ok(), "the two references disagree: {}", show(input));

    let mut whole = Vec::new();
    let result = compact(input, &mut whole);
    assert_eq!(result.is_ok(), expected.is_some(), "{result:?} for {}", show(input));
    if let Some(expected) = expected {
        assert_eq!(show(&whole), show(&expected));
        let mut again = Vec::new();
        assert_eq!(compact(&whole, &mut again), Ok(()));
        assert_eq!(show(&again), show(&whole), "compacting twice");
    }

    // Sizes of pieces that depend on the input only, so that a failure can be repeated.
    let mut seed = input.iter().fold(1u64, |seed, &byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    for largest in [1, 5, 64, 150] {
        let mut compactor = Compactor::new(Limits::default());
        // What is in the buffer before is none of the compactor's business.
        let mut out = b"before".to_vec();
        let mut rest = input;
        let mut outcome = Ok(());
        while !rest.is_empty() && outcome.is_ok() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (piece, behind) = rest.split_at(rest.len().min((seed >> 33) as usize % (largest + 1)));
            outcome = compactor.push(piece, &mut out);
            rest = behind;
        }
        let outcome = outcome.and_then(|()| compactor.finish(&mut out));
        assert_eq!(outcome.clone().map(|_| ()), result, "pieces of {largest}: {}", show(input));
        if let Ok(submitted) = outcome {
            assert_eq!(submitted, input.len() as u64);
            assert_eq!(show(&out), format!("before{}", show(&whole)), "pieces of {largest}");
        }
    }
}

/// Readable and lossless.
pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The input without whitespace between tokens, or none if it is no JSON document: the grammar, written down
/// in the plainest way. A list of what must still come takes the place of recursion.
pub(crate) fn reference(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut pending = vec![Part::Value];
    let mut rest = skip(input);
    while let Some(part) = pending.pop() {
        let first = *rest.first()?;
        let length = match (part, first) {
            (Part::Value, b'{') => {
                pending.push(Part::FirstMember);
                1
            }
            (Part::Value, b'[') => {
                pending.push(Part::FirstElement);
                1
            }
            (Part::Value, b'"') => string(rest)?,
            (Part::Value, b't') => literal(rest, b"true")?,
            (Part::Value, b'f') => literal(rest, b"false")?,
            (Part::Value, b'n') => literal(rest, b"null")?,
            (Part::Value, _) => number(rest)?,
            (Part::FirstMember | Part::MoreMembers, b'}') => 1,
            (Part::FirstElement | Part::MoreElements, b']') => 1,
            (Part::FirstMember, _) => {
                pending.extend([Part::MoreMembers, Part::Value, Part::Colon, Part::Name]);
                0
            }
            (Part::FirstElement, _) => {
                pending.extend([Part::MoreElements, Part::Value]);
                0
            }
            (Part::MoreMembers, b',') => {
                pending.extend([Part::MoreMembers, Part::Value, Part::Colon, Part::Name]);
                1
            }
            (Part::MoreElements, b',') => {
                pending.extend([Part::MoreElements, Part::Value]);
                1
            }
            (Part::Name, b'"') => string(rest)?,
            (Part::Colon, b':') => 1,
            _ => return None,
        };
        let (token, behind) = rest.split_at(length);
        out.extend_from_slice(token);
        rest = skip(behind);
    }
    rest.is_empty().then_some(out)
}

#[derive(Clone, Copy)]
enum Part {
    Value,
    Name,
    Colon,
    FirstMember,
    MoreMembers,
    FirstElement,
    MoreElements,
}

fn skip(input: &[u8]) -> &[u8] {
    let white = input.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    &input[white..]
}

fn literal(input: &[u8], word: &[u8]) -> Option<usize> {
    input.starts_with(word).then_some(word.len())
}

fn string(input: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match input.get(at)? {
            b'"' => return Some(at + 1),
            0..=0x1F => return None,
            b'\\' => match input.get(at + 1)? {
                b'u' => {
                    let digits = input.get(at + 2..at + 6)?;
                    if !digits.iter().all(|digit| b"0123456789abcdefABCDEF".contains(digit)) {
                        return None;
                    }
                    at += 6;
                }
                letter if b"\"\\/bfnrt".contains(letter) => at += 2,
                _ => return None,
            },
            _ => at += 1,
        }
    }
}

fn number(input: &[u8]) -> Option<usize> {
    let digits = |at: usize| input[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let some_digits = |at: usize| Some(digits(at)).filter(|&count| count > 0).map(|count| at + count);
    let mut at = usize::from(input.first() == Some(&b'-'));
    at = if input.get(at) == Some(&b'0') { at + 1 } else { some_digits(at)? };
    if input.get(at) == Some(&b'.') {
        at = some_digits(at + 1)?;
    }
    if matches!(input.get(at), Some(b'e' | b'E')) {
        let signed = matches!(input.get(at + 1), Some(b'+' | b'-'));
        at = some_digits(at + 1 + usize::from(signed))?;
    }
    Some(at)
}
