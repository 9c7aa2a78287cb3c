//! What must hold for mutations whatever their text and the document. Shared by the property tests and the fuzz target.

#![allow(clippy::panic, reason = "a test that cannot go on should fail")]

use lockd_lql::{
    condition::Instant,
    mutation::{EditError, EditLimits, Editor, Mutations, ParseOptions},
};
use serde_json::Value;

const NOW: Instant = Instant(1_735_787_045_600_000_000);

/// The last line of the input is a document, each line before it a mutation.
pub(crate) fn holds(input: &[u8]) {
    let Some(cut) = input.iter().rposition(|&byte| byte == b'\n') else { return };
    let (head, document) = (&input[..cut], &input[cut + 1..]);
    let Ok(text) = std::str::from_utf8(head) else { return };
    let options = ParseOptions::default();
    let _ = Mutations::parse_text(text, &options);
    let items: Vec<&str> = text.lines().collect();
    let Ok(mutations) = Mutations::parse_list(&items, &options) else { return };
    let mut editor = mutations.compile(NOW).editor(EditLimits::default());
    let result = edit(&mut editor, document, usize::MAX);
    // Neither where the document is cut matters nor what the editor did before.
    for piece in [1, 7, 64] {
        assert_eq!(edit(&mut editor, document, piece), result, "in pieces of {piece}");
    }
    if let Ok(result) = &result {
        let mut again = Vec::new();
        assert_eq!(lockd_json::compact(result, &mut again), Ok(()), "{}", result.escape_ascii());
        assert_eq!(again, *result);
    }
    match (one_by_one(&items, document), &result) {
        (Ok(expected), Ok(result)) => check_same(&expected, result),
        (Err(_), Err(_)) => {}
        (expected, result) => panic!("one by one: {expected:?}, at once: {result:?}"),
    }
    check_limits(&mutations, document, &result);
}

fn edit(editor: &mut Editor, document: &[u8], piece: usize) -> Result<Vec<u8>, EditError> {
    let mut out = Vec::new();
    let pushed = document.chunks(piece).try_for_each(|chunk| editor.push(chunk, &mut out));
    let finished = editor.finish(&mut out);
    let summary = pushed.and(finished)?;
    assert_eq!((summary.bytes_read, summary.bytes_written), (document.len() as u64, out.len() as u64));
    Ok(out)
}

/// Each mutation in a pass of its own, on what the one before it has made.
fn one_by_one(items: &[&str], document: &[u8]) -> Result<Vec<u8>, EditError> {
    let mut document = document.to_vec();
    for item in items {
        if let Ok(mutations) = Mutations::parse_list(&[item], &ParseOptions::default()) {
            document =
                edit(&mut mutations.compile(NOW).editor(EditLimits::default()), &document, usize::MAX)?;
        }
    }
    Ok(document)
}

/// Members that are created one by one stand in another order, so that texts cannot be compared.
fn check_same(expected: &[u8], result: &[u8]) {
    let sorted = |text: &[u8]| {
        let (mut text, length) = (text.to_vec(), text.len());
        text.sort_unstable();
        (text, length)
    };
    assert_eq!(
        sorted(expected),
        sorted(result),
        "one by one: {}, at once: {}",
        expected.escape_ascii(),
        result.escape_ascii()
    );
    if let (Ok(expected), Ok(result)) =
        (serde_json::from_slice::<Value>(expected), serde_json::from_slice::<Value>(result))
    {
        assert_eq!(expected, result);
    }
}

fn check_limits(mutations: &Mutations, document: &[u8], result: &Result<Vec<u8>, EditError>) {
    let Ok(result) = result else { return };
    let exact = EditLimits {
        max_input: document.len() as u64,
        max_output: result.len() as u64,
        ..EditLimits::default()
    };
    let edit = |limits| edit(&mut mutations.compile(NOW).editor(limits), document, 10);
    assert_eq!(edit(exact).as_ref(), Ok(result));
    let limit = exact.max_output - 1;
    assert_eq!(edit(EditLimits { max_output: limit, ..exact }), Err(EditError::TooLarge { limit }));
    let limit = exact.max_input - 1;
    assert_eq!(edit(EditLimits { max_input: limit, ..exact }), Err(EditError::TooLarge { limit }));
}
