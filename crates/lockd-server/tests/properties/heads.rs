//! What must hold for the head of a request whatever a client puts there. Shared by the property tests and the fuzz target.

use http::request::Parts;
use lockd_server::judged::{Head, query_pairs};

/// Checks one input: a query string, and the values of headers, on lines of their own.
pub(crate) fn holds(head: &Head, input: &[u8]) {
    let mut lines = input.split(|&byte| byte == b'\n');
    let raw = lines.next().unwrap_or_default();
    if let Ok(raw) = std::str::from_utf8(raw) {
        assert_eq!(query_pairs(raw), reference(raw), "{raw:?}");
    }

    let mut request = http::Request::builder();
    if let Ok(uri) = http::Uri::try_from([b"/v1/get?", raw].concat()) {
        request = request.uri(uri);
    }
    for (name, value) in Head::names().iter().zip(lines) {
        request = request.header(*name, value);
    }
    // A value that cannot be a header's never comes this far: the parser of requests has refused it.
    if let Ok(request) = request.body(()) {
        let (parts, ()) = request.into_parts();
        check(head, &parts);
    }
}

/// Every taker gives an answer; what it refuses it names, in a text that a client can read.
fn check(head: &Head, parts: &Parts) {
    for refusal in head.refusals(parts) {
        let (code, detail) = refusal;
        assert!(!code.is_empty() && !detail.is_empty());
        assert!(!detail.chars().any(char::is_control), "{code}: {detail:?}");
    }
}

/// The pairs of a query string by an independent decoder. It is laxer about what does not decode, so that is dropped first.
fn reference(raw: &str) -> Vec<(String, String)> {
    let sound = |pair: &&str| {
        let mut pieces = pair.split('%').skip(1);
        !pair.contains(';')
            && pieces
                .all(|piece| piece.len() >= 2 && piece.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
    };
    raw.split('&')
        .filter(sound)
        .flat_map(|pair| form_urlencoded::parse(pair.as_bytes()))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}
