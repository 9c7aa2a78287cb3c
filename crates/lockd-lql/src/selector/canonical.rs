//! The canonical JSON form: members in a fixed order, empty ones left out. Equal selectors have equal texts.

use lockd_json::{push_bool, push_string};

use super::{Bound, Date, Range, Selector, Term, Within};

impl Selector {
    /// Writes the canonical JSON form; the empty selector is `{}`.
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        push_selector(&mut out, self);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Writes the members of one object.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Members<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Members { out, empty: true }
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        push_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            push_string(self.name(name), text);
        }
    }

    fn texts(&mut self, name: &str, texts: &[String]) {
        if !texts.is_empty() {
            push_list(self.name(name), texts, |out, text| push_string(out, text));
        }
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

fn push_list<T>(out: &mut Vec<u8>, items: &[T], mut push: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

fn push_selector(out: &mut Vec<u8>, selector: &Selector) {
    let mut members = Members::open(out);
    for (name, list) in [("and", &selector.and), ("or", &selector.or)] {
        if !list.is_empty() {
            push_list(members.name(name), list, push_selector);
        }
    }
    if let Some(inner) = &selector.not {
        push_selector(members.name("not"), inner);
    }
    push_clauses(&mut members, selector);
    members.close();
}

/// Writes the clauses of one node. This is apart from the recursion to keep its frames small.
fn push_clauses(members: &mut Members<'_>, selector: &Selector) {
    for (name, term) in selector.terms() {
        push_term(members.name(name), term);
    }
    if let Some(range) = &selector.range {
        push_range(members.name("range"), range);
    }
    if let Some(date) = &selector.date {
        push_date(members.name("date"), date);
    }
    if let Some(within) = &selector.within {
        push_within(members.name("in"), within);
    }
    members.text("exists", selector.exists.as_deref());
}

fn push_term(out: &mut Vec<u8>, term: &Term) {
    let mut members = Members::open(out);
    members.text("field", Some(&term.field));
    members.text("value", term.value.as_deref());
    members.texts("any", &term.any);
    if term.ignore_case {
        push_bool(members.name("ignoreCase"), true);
    }
    members.close();
}

fn push_range(out: &mut Vec<u8>, range: &Range) {
    let mut members = Members::open(out);
    members.text("field", Some(&range.field));
    for (name, bound) in range.bounds() {
        match bound {
            Bound::Number(number) => push_number(members.name(name), *number),
            Bound::Time(text) => push_string(members.name(name), text),
        }
    }
    members.close();
}

fn push_date(out: &mut Vec<u8>, date: &Date) {
    let mut members = Members::open(out);
    members.text("field", Some(&date.field));
    for (name, text) in date.comparators() {
        members.text(name, Some(text));
    }
    members.close();
}

fn push_within(out: &mut Vec<u8>, within: &Within) {
    let mut members = Members::open(out);
    members.text("field", Some(&within.field));
    members.texts("any", &within.any);
    members.close();
}

/// Writes a number with the fewest digits that read back as the same; very large and very small ones with an exponent.
fn push_number(out: &mut Vec<u8>, number: f64) {
    let magnitude = number.abs();
    let text = if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        number.to_string()
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_one_order() {
        let source = r#" {"Exists":"/e","in":{"any":["x"," y "],"field":"/i"},"date":{"since":"now","lt":"2025-01-01","field":"/d"},
            "range":{"lt":2.50,"gte":1e21,"field":"/r"},"iprefix":{"field":"/p","value":null},"prefix":{"ignoreCase":"T","field":"/p"},
            "icontains":{"field":"/c","any":"a|b"},"contains":{"any":[1,true,null," ","x"],"field":"/c"},"eq":{"value":1.0,"FIELD":"/q"},
            "not":{"eq":{"field":"/é\u0001\"","value":false,"ignorecase":false}},"or":[{"exists":"/1"}],"and":[{"exists":"/2"}],"other":[{}]}"#;
        let selector = Selector::from_json(source.as_bytes()).unwrap();
        assert_eq!(
            selector.to_json(),
            concat!(
                r#"{"and":[{"exists":"/2"}],"or":[{"exists":"/1"}],"not":{"eq":{"field":"/é\u0001\"","value":"false"}},"#,
                r#""eq":{"field":"/q","value":"1"},"contains":{"field":"/c","any":["1","true","x"]},"icontains":{"field":"/c","any":["a","b"]},"#,
                r#""prefix":{"field":"/p","ignoreCase":true},"iprefix":{"field":"/p","value":""},"range":{"field":"/r","gte":1e+21,"lt":2.5},"#,
                r#""date":{"field":"/d","lt":"2025-01-01","since":"now"},"in":{"field":"/i","any":["x"," y "]},"exists":"/e"}"#
            )
        );
        assert_eq!(Selector::from_json(selector.to_json().as_bytes()).unwrap(), selector);
        assert_eq!(Selector::default().to_json(), "{}");
    }

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1e20, "100000000000000000000"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-7"),
            (0.0, "0"),
        ] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
