//! Outlines by the walk against outlines by the automaton, and both against what a reader would mark by hand.

use proptest::prelude::*;

use super::*;

/// The outline as a line under the text: one letter for every marked byte.
fn drawn(text: &str) -> Result<String, String> {
    let mut outliner = Outliner::new(100);
    let mut marks = Vec::new();
    let (blocks, tail) = text.as_bytes().as_chunks();
    outliner.outline(blocks, &mut marks).map_err(|invalid| invalid.to_string())?;
    outliner.finish(tail, &mut marks).map_err(|invalid| invalid.to_string())?;
    let mut line = String::new();
    for at in 0..text.len() {
        let has = |set: fn(&Marks) -> u64| set(&marks[at / 64]) >> (at % 64) & 1 == 1;
        line.push(match () {
            () if !has(|marks| marks.kept) => '_',
            () if has(|marks| marks.backslashes) => 'b',
            () if has(|marks| marks.text_ends) => 'e',
            () if has(|marks| marks.open) && has(|marks| marks.starts) => 'o',
            () if has(|marks| marks.close) && has(|marks| marks.starts) => 'c',
            () if has(|marks| marks.starts) => 's',
            () => '.',
        });
    }
    Ok(line)
}

#[test]
fn what_stands_where() {
    for (text, expected) in [
        (r#"{"a":1, "b\"":[-2.5e3,true ]}"#, "os.e.s._s.b.e.os......s..._cc"),
        (r#"{}[] "x" 12 null"x"{}"#, "ococ_s.e_s._s...s.eoc"),
        (r#"["\\","{"]"#, "osbbe.s.ec"),
        ("", ""),
        ("  \n", "___"),
    ] {
        assert_eq!(drawn(text).unwrap(), expected, "{text}");
        // The same in the fast path, which handles no document that is a scalar.
        let long = format!("[{}\"{}\"]\n", "1,".repeat(40), "x".repeat(100)).repeat(3);
        let both = format!("{long}{text}");
        assert_eq!(&drawn(&both).unwrap()[long.len()..], expected, "{text}");
    }
}

#[test]
fn a_stream_says_where_it_is_wrong() {
    for (text, expected) in [
        ("{}1-2", "byte 3: expected whitespace between the number and what follows it, found '-'"),
        ("{} ]", "byte 3: expected a JSON value, found ']'"),
        ("{} {", "byte 4: expected a member name in double quotes or '}', found the end of the input"),
        ("1, 2", "byte 1: expected whitespace between the number and what follows it, found ','"),
        ("[tru", "byte 4: expected 'true', found the end of the input"),
    ] {
        assert_eq!(drawn(text).unwrap_err(), expected, "{text}");
    }
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(
        &[
            "{\"c\":1}",
            "[]",
            "{}",
            "[",
            "]",
            "{\"k\":",
            "}",
            "\"a\"",
            ",",
            "1",
            "-0.5e1",
            "true",
            "null",
            "\n",
            "   ",
            "\"\\u12aB\\\"{\"",
            "\"\\\\\"",
            "[[1,2,{\"x\":[]}],null]",
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        ][..],
    );
    prop::collection::vec(piece, 0..60).prop_map(|pieces| {
        let mut bytes = pieces.concat().into_bytes();
        bytes.resize(bytes.len().next_multiple_of(64), b' ');
        bytes
    })
}

/// How far the automaton alone comes, and what it marks.
fn slow(bytes: &[u8]) -> (Vec<Marks>, Option<Invalid>, u64) {
    let mut automaton = Automaton::for_stream(70);
    let mut marks = Vec::new();
    for (index, block) in bytes.chunks(64).enumerate() {
        match automaton.outline(block, index as u64 * 64) {
            Ok(found) => marks.push(found),
            Err(invalid) => return (marks, Some(invalid), index as u64 * 64),
        }
    }
    let end = automaton.finish(bytes.len() as u64);
    (marks, end.err(), bytes.len() as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn the_walk_marks_what_the_automaton_marks(bytes in pieces()) {
        let expected = slow(&bytes);
        for instructions in Instructions::all() {
            let mut outliner = Outliner::with_instructions(70, instructions);
            let mut marks = Vec::new();
            let result = outliner.outline(bytes.as_chunks().0, &mut marks);
            let failure = result.and_then(|()| outliner.finish(&[], &mut marks)).err();
            prop_assert_eq!(&(marks, failure, outliner.judged()), &expected);
            outliner.reset();
            prop_assert_eq!(outliner.finish(&[], &mut Vec::new()), Ok(()));
        }
    }
}

/// Without this, a walk that understands nothing would pass all other tests, only slowly.
#[test]
fn ordinary_streams_are_walked_to_the_end() {
    let record = "{\"a\\n\":\"x \\u00e9 \\\\\", \"c\":[true,null,[],{}] ,\"d\":0}\n";
    let text = record.repeat(64);
    for instructions in Instructions::all() {
        let (mut automaton, mut marks) = (Automaton::for_stream(9), Vec::new());
        let blocks = text.as_bytes().as_chunks().0;
        assert_eq!(instructions.walk::<Outline<'_>>(&mut automaton, blocks, &mut marks), blocks.len());
    }
}
