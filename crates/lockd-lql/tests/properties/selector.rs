//! What must hold for selectors whatever text they are read from. Shared by the property tests and the fuzz target.

use lockd_lql::{
    condition::Instant,
    selector::{Join, Selector},
};

/// Reads one input in all forms that selectors have, and checks each selector that comes out.
pub(crate) fn holds(input: &[u8]) {
    if let Ok(selector) = Selector::from_json(input) {
        check(&selector);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    for join in [Join::And, Join::Or] {
        match Selector::parse_joined(text, join) {
            Ok(selector) => {
                check(&selector);
                if join == Join::And {
                    let printed = selector.to_text().unwrap_or_else(|| panic!("no text for {text:?}"));
                    let reread = Selector::parse(&printed);
                    assert_eq!(reread.as_ref(), Ok(&selector), "{text:?} printed as {printed:?}");
                }
            }
            Err(error) => {
                assert!(!error.explain(text).is_empty());
                assert!(error.offset.is_none_or(|offset| offset <= text.len()));
            }
        }
    }
    // A parameter a line, as a form would send it.
    let parameters = text.lines().map(|line| line.split_once("&=").unwrap_or((line, "")));
    match Selector::from_url_parameters(parameters) {
        Ok(Some(selector)) => check(&selector),
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(selector: &Selector) {
    let json = selector.to_json();
    assert_eq!(Selector::from_json(json.as_bytes()).as_ref(), Ok(selector), "{json}");
    if let Ok(condition) = selector.compile(Instant(0)) {
        assert_eq!(selector.clone().simplified().compile(Instant(0)).as_ref(), Ok(&condition), "{json}");
        let _ = condition.index_needs();
        if let Some(text) = selector.to_text() {
            let reread =
                Selector::parse(&text).unwrap_or_else(|error| panic!("{json}: {}", error.explain(&text)));
            // Clauses may have another order, but there are as many.
            let again = reread.compile(Instant(0)).map(|condition| condition.clauses.len());
            assert_eq!(again, Ok(condition.clauses.len()), "{json} printed as {text:?}");
        }
    }
}
