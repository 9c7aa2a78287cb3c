//! The walk against the automaton, and its variants against each other.

use proptest::prelude::*;

use super::*;
use crate::{automaton::State, lanes::Instructions};

/// Bytes that exercise the walk: whole documents rarely, the pieces of documents in any order often.
fn blocks() -> impl Strategy<Value = Vec<Block>> {
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
            "-12",
            "1.5e+7",
            "true",
            "false",
            "null",
            " ",
            "\n      ",
            "\\u12aB",
            "\\\\",
            "\\\"",
            "é",
            "\"b\",",
            "{\"c\":1}",
            "[]",
            "{}",
            "1,2,3,4",
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        ][..],
    );
    prop::collection::vec(piece, 0..90).prop_map(|pieces| {
        let mut bytes = pieces.concat().into_bytes();
        bytes.resize(bytes.len().next_multiple_of(64), b' ');
        bytes.as_chunks().0.to_vec()
    })
}

fn states() -> Vec<State> {
    let mut states = vec![
        State::Start,
        State::ElementOrEnd,
        State::Element,
        State::NameOrEnd,
        State::Name,
        State::Colon,
        State::MemberValue,
        State::CommaOrEnd,
        State::Done,
        State::Minus,
        State::Zero,
        State::Integer,
        State::Point,
        State::Fraction,
        State::Exponent,
        State::ExponentSign,
        State::ExponentDigits,
    ];
    for name in [false, true] {
        states.extend([State::Text { name }, State::Escape { name }]);
        states.extend([1, 2, 3, 4].map(|left| State::Hex { name, left }));
    }
    for word in [Word::True, Word::False, Word::Null] {
        states.extend((1..word.bytes().len() as u8).map(|matched| State::Literal { word, matched }));
    }
    states
}

/// Containers around the place where the blocks begin, outermost first; the state must agree with them.
fn automaton(state: State, outside: &[bool]) -> Option<Automaton> {
    let mut automaton = Automaton::new(200);
    for &object in outside {
        automaton.nesting.open(object);
    }
    automaton.state = state;
    let inside = automaton.nesting.depth() > 0;
    let object = automaton.nesting.in_object();
    let possible = match state {
        State::Start | State::Done => !inside,
        State::ElementOrEnd | State::Element => inside && !object,
        State::NameOrEnd | State::Name | State::Colon | State::MemberValue => object,
        State::CommaOrEnd => inside,
        State::Text { name } | State::Escape { name } | State::Hex { name, .. } => object || !name,
        _ => true,
    };
    possible.then_some(automaton)
}

/// The heart of it: all instructions do the same, and what they consume the automaton consumes to the same end.
fn agrees(start: &Automaton, blocks: &[Block]) -> usize {
    let mut walks = Instructions::all().map(|instructions| {
        let mut automaton = start.clone();
        let mut out = b"before".to_vec();
        let walked = instructions.walk::<crate::lanes::Room<'_>>(&mut automaton, blocks, &mut out);
        (walked, automaton.state, automaton.nesting, out)
    });
    let first = walks.next().unwrap();
    for other in walks {
        assert_eq!(first, other);
    }
    let (walked, state, nesting, out) = first;
    let mut automaton = start.clone();
    let mut expected = b"before".to_vec();
    automaton.feed(blocks[..walked].as_flattened(), 0, &mut expected).unwrap();
    assert_eq!((automaton.state, automaton.nesting), (state, nesting));
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    walked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_walk_goes_where_the_automaton_goes(
        blocks in blocks(),
        state in prop::sample::select(states()),
        outside in prop::collection::vec(any::<bool>(), 0..140),
        shallow in 0..3usize,
    ) {
        let outside = if shallow > 0 { outside.get(..2).unwrap_or(&outside) } else { &outside };
        if let Some(automaton) = automaton(state, outside) {
            agrees(&automaton, &blocks);
        }
    }
}

#[test]
fn every_state_is_carried_through_and_back() {
    for state in states() {
        for outside in [&[][..], &[false], &[true]] {
            let Some(automaton) = automaton(state, outside) else { continue };
            if let Some(carry) = Carry::from_state(state) {
                assert_eq!(carry.state(automaton.nesting.window()), state);
            }
        }
    }
}

/// Without this, a walk that understands nothing would pass all other tests, only slowly.
#[test]
fn ordinary_documents_are_walked_to_the_end() {
    let record = r#"{"a\n":"x \u00e9 \\","b": -1.5e+3, "c":[true,false,null,[],{}] ,"d":0},"#;
    for indent in ["", " ", "\n    ", "\r\n\t"] {
        let text =
            format!("[{}{indent}1{}", record.replace(',', &format!(",{indent}")).repeat(100), " ".repeat(64));
        let blocks = text.as_bytes().as_chunks::<64>().0;
        assert_eq!(agrees(&Automaton::new(9), blocks), blocks.len());
    }
}
