//! Writing selectors as text that reads back as the same selector.

use super::{
    Bound, Date, MAX_DEPTH, Range, Selector, Term, Within,
    clause::{Clause, parse_clause},
    clause_path::Kind,
    shorthand::Shorthand,
};
use crate::text::split_pieces;

impl Selector {
    /// Writes the text form. What comes from text reads back as the same tree, other selectors as one that means the
    /// same. There is none for a selector with a value that text cannot say, such as the string `1.0` in `prefix`, or
    /// one with all kinds of quotes, spaces and commas at once.
    pub fn to_text(&self) -> Option<String> {
        let mut selector = self.clone().simplified();
        if !selector.depth_is_bounded() {
            return None;
        }
        if selector.is_empty() {
            return Some("{}".to_owned());
        }
        if selector == (Selector { not: Some(Box::default()), ..Selector::default() }).simplified() {
            return Some("not.contains{field=/}".to_owned());
        }
        let is_list = selector.parts() == 1 && !(selector.and.is_empty() && selector.or.is_empty());
        if !selector.is_chain() && !is_list {
            // Several pieces always make a list.
            selector = Selector { and: vec![selector], ..Selector::default() };
            if !selector.depth_is_bounded() {
                return None;
            }
        }
        write(&selector)
    }

    /// How many members the node has.
    fn parts(&self) -> usize {
        let lists = usize::from(!self.and.is_empty()) + usize::from(!self.or.is_empty());
        lists + usize::from(self.not.is_some()) + self.clauses().count()
    }

    /// Whether the node is one clause, with nothing but groups around it.
    fn is_chain(&self) -> bool {
        let inner = match (self.and.as_slice(), self.or.as_slice(), self.not.as_deref()) {
            ([], [], None) => return self.clauses().count() == 1,
            ([inner], [], None) | ([], [inner], None) | ([], [], Some(inner)) => inner,
            _ => return false,
        };
        self.clauses().next().is_none() && inner.is_chain()
    }

    fn clauses(&self) -> impl Iterator<Item = ClauseRef<'_>> {
        let terms = self.terms().map(|(name, term)| ClauseRef::Term(name, term));
        let range = self.range.as_deref().map(ClauseRef::Range);
        let date = self.date.as_deref().map(ClauseRef::Date);
        let within = self.within.as_deref().map(ClauseRef::Within);
        let exists = self.exists.as_deref().map(ClauseRef::Exists);
        terms.chain(range).chain(date).chain(within).chain(exists)
    }

    /// The comparison that the node is, with whether it is negated, if it is nothing else.
    fn comparison(&self) -> Option<(bool, &Term)> {
        if self.parts() != 1 {
            return None;
        }
        match (&self.eq, &self.not) {
            (Some(term), None) => Some((false, term)),
            (None, Some(inner)) if inner.parts() == 1 => Some((true, inner.eq.as_deref()?)),
            _ => None,
        }
    }
}

/// Writes a selector that one text can say: a chain, or a node with nothing but one list.
fn write(selector: &Selector) -> Option<String> {
    if selector.is_chain() {
        let mut pieces = Vec::new();
        return match push_pieces(selector, &mut String::new(), false, &mut pieces) {
            Some(()) => pieces.pop(),
            None => match selector.and.as_slice() {
                [_] => write_comparisons(selector, 0),
                _ => comparison(selector),
            },
        };
    }
    if let Some(text) = write_unnumbered(selector) {
        return Some(text);
    }
    let mut pieces = Vec::new();
    match push_pieces(selector, &mut String::new(), true, &mut pieces) {
        Some(()) => Some(pieces.join(",")),
        None => {
            let writable =
                |part: &Selector| push_pieces(part, &mut String::new(), true, &mut Vec::new()).is_some();
            let first = selector.and.iter().position(|part| !writable(part))?;
            write_comparisons(selector, first)
        }
    }
}

/// Writes a list whose elements are chains, without numbers: possible if they stand in the order of their texts.
fn write_unnumbered(selector: &Selector) -> Option<String> {
    let (list, own) = match (selector.and.as_slice(), selector.or.as_slice()) {
        (list, []) => (list, ""),
        ([], list) => (list, "or."),
        _ => return None,
    };
    let mut pieces: Vec<String> = Vec::new();
    for element in list {
        let stands_alone =
            element.is_chain() && (own == "or." || (element.and.is_empty() && element.or.is_empty()));
        if !stands_alone {
            return None;
        }
        push_pieces(element, &mut own.to_owned(), false, &mut pieces)?;
    }
    pieces.is_sorted_by(|a, b| a < b).then(|| pieces.join(","))
}

/// Writes an `and` whose elements from `first` on are comparisons that only the short form can say. The short form has no
/// place for numbers; parsing takes such comparisons last and in an order of their own, which must be theirs.
fn write_comparisons(selector: &Selector, first: usize) -> Option<String> {
    let (numbered, rest) = selector.and.split_at_checked(first)?;
    let (choice, comparisons) = match rest.split_last() {
        Some((last, before)) if last.parts() == 1 && !last.or.is_empty() => (Some(last), before),
        _ => (None, rest),
    };
    let mut pieces = Vec::new();
    for (number, element) in numbered.iter().enumerate() {
        push_pieces(element, &mut format!("and.{number}."), true, &mut pieces)?;
    }
    if let Some(choice) = choice {
        push_pieces(choice, &mut String::new(), true, &mut pieces)?;
    }
    let mut orders = Vec::new();
    // A backslash at the end would swallow the comma, so one piece can have it: the last.
    let mut last = None;
    for element in comparisons {
        let (negated, term) = element.comparison()?;
        orders.push(Shorthand { negated, clause: Clause::Term(Kind::Eq, term.clone()) }.order());
        let text = comparison(element)?;
        if split_pieces(&format!("{text},x")).ok()?.len() == 2 {
            pieces.push(text);
        } else if last.replace(text).is_some() {
            return None;
        }
    }
    if !orders.is_sorted_by(|a, b| a < b) {
        return None;
    }
    if pieces.len() + usize::from(last.is_some()) == 1 {
        // One piece alone would be no list; this one is always true and vanishes.
        pieces.insert(0, "contains{field=/}".to_owned());
    }
    pieces.extend(last);
    Some(pieces.join(","))
}

/// Writes a comparison in the short form.
fn comparison(selector: &Selector) -> Option<String> {
    let (negated, term) = selector.comparison()?;
    let value = term.value.as_deref()?;
    // The longer spelling is for values that begin with an equals sign themselves.
    let operators: &[&str] = if negated { &["!="] } else { &["=", "=="] };
    // What ends a field must not look like the beginning of the operator.
    let gap = if term.field.ends_with('!') { " " } else { "" };
    let wanted = Shorthand { negated, clause: Clause::Term(Kind::Eq, term.clone()) };
    let pieces = operators.iter().flat_map(|operator| {
        spellings(value).map(move |spelling| format!("{}{gap}{operator}{spelling}", term.field))
    });
    pieces.into_iter().find(|piece| {
        stands_alone(piece) && matches!(Shorthand::parse(piece, 0), Some(Ok(found)) if found == wanted)
    })
}

/// Adds a piece for each clause below the node.
fn push_pieces(node: &Selector, prefix: &mut String, numbered: bool, pieces: &mut Vec<String>) -> Option<()> {
    debug_assert!(prefix.len() < MAX_DEPTH * "and.1048576.".len());
    let length = prefix.len();
    for (group, list) in [("and.", &node.and), ("or.", &node.or)] {
        for (number, element) in list.iter().enumerate() {
            prefix.push_str(group);
            if numbered {
                prefix.push_str(&number.to_string());
                prefix.push('.');
            }
            push_pieces(element, prefix, numbered, pieces)?;
            prefix.truncate(length);
        }
    }
    if let Some(inner) = &node.not {
        prefix.push_str("not.");
        push_pieces(inner, prefix, numbered, pieces)?;
        prefix.truncate(length);
    }
    for clause in node.clauses() {
        pieces.push(clause.write(prefix)?);
    }
    Some(())
}

enum ClauseRef<'a> {
    Term(&'static str, &'a Term),
    Range(&'a Range),
    Date(&'a Date),
    Within(&'a Within),
    Exists(&'a str),
}

impl ClauseRef<'_> {
    /// Writes the clause in the first spelling that reads back right. Quotes and brackets in one value can be made up for
    /// by those in another, so only the whole can be judged.
    fn write(&self, prefix: &str) -> Option<String> {
        let (name, wanted) = match *self {
            ClauseRef::Term(name, term) => (name, Clause::Term(Kind::parse(name)?, term.clone())),
            ClauseRef::Range(range) => ("range", Clause::Range(range.clone())),
            ClauseRef::Date(date) => ("date", Clause::Date(date.clone())),
            ClauseRef::Within(within) => ("in", Clause::Within(within.clone())),
            ClauseRef::Exists(pointer) => ("exists", Clause::Exists(pointer.to_owned())),
        };
        let mut end = String::new();
        let (field, value) = match *self {
            ClauseRef::Term(_, term) => {
                if term.ignore_case {
                    end.push_str(",ignoreCase=true");
                }
                let any = (!term.any.is_empty()).then(|| ("any", term.any.join("|")));
                (&*term.field, term.value.clone().map(|value| ("value", value)).or(any))
            }
            ClauseRef::Range(range) => {
                for (key, bound) in range.bounds() {
                    end.push_str(&match bound {
                        Bound::Number(number) => format!(",{key}={number}"),
                        Bound::Time(text) => format!(",{key}={}", temporal(text)),
                    });
                }
                (&*range.field, None)
            }
            ClauseRef::Date(date) => {
                for (key, text) in date.comparators() {
                    end.push_str(&format!(",{key}={}", temporal(text)));
                }
                (&*date.field, None)
            }
            ClauseRef::Within(within) => (&*within.field, Some(("any", within.any.join("|")))),
            ClauseRef::Exists(pointer) => (pointer, None),
        };
        let key = if let ClauseRef::Exists(_) = self { "" } else { "field=" };
        let values: Vec<String> = match value {
            None => vec![String::new()],
            Some((key, value)) => spellings(&value).map(|spelling| format!(",{key}={spelling}")).collect(),
        };
        for field in spellings(field) {
            for value in &values {
                let piece = format!("{name}{{{key}{field}{value}{end}}}");
                if stands_alone(&piece) && parse_clause(&piece, 0).is_ok_and(|(_, read)| read == wanted) {
                    return Some(format!("{prefix}{piece}"));
                }
            }
        }
        None
    }
}

/// The spelling of a temporal literal, in which nothing but space around it can be in the way.
fn temporal(text: &str) -> String {
    if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text.to_owned() }
}

/// The ways to write a value: as it is, and in each kind of quotes.
fn spellings(value: &str) -> impl Iterator<Item = String> {
    ["", "\"", "'"].into_iter().map(move |quote| format!("{quote}{value}{quote}"))
}

/// Whether the text is one piece.
fn stands_alone(piece: &str) -> bool {
    split_pieces(piece).is_ok_and(|pieces| matches!(*pieces, [only] if only.text == piece))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::condition::Instant;

    fn text(source: &str) -> String {
        Selector::parse(source).unwrap().to_text().unwrap()
    }

    #[track_caller]
    fn check(source: &str) {
        let selector = Selector::parse(source).unwrap_or_else(|error| panic!("{}", error.explain(source)));
        let text = selector.to_text().unwrap_or_else(|| panic!("no text for {source:?}"));
        let reread =
            Selector::parse(&text).unwrap_or_else(|error| panic!("{source:?}: {}", error.explain(&text)));
        assert_eq!(reread, selector, "{source:?} printed as {text:?}");
    }

    #[test]
    fn selectors_are_printed_plainly() {
        for (source, expected) in [
            ("", "{}"),
            ("not.contains{f=/}", "not.contains{field=/}"),
            ("/a=1", "eq{field=/a,value=1}"),
            ("/a!='x, y'", "not.eq{field=/a,value=\"x, y\"}"),
            ("/b=1,/a=2", "eq{field=/a,value=2},eq{field=/b,value=1}"),
            ("or.exists{/b},or.exists{/a}", "or.exists{/a},or.exists{/b}"),
            ("not.and.exists{/a}", "not.and.exists{/a}"),
            (
                "/a>=1.5,or.exists{/b},or.exists{/c}",
                "and.0.range{field=/a,gte=1.5},and.1.or.0.exists{/b},and.1.or.1.exists{/c}",
            ),
            (
                "or.7.in{f=/a,a=x|y},or.7.date{f=/t,a=2025-01-01}",
                "or.0.date{field=/t,after=2025-01-01},or.0.in{field=/a,any=x|y}",
            ),
            ("prefix{f=/a,v='',ic=t}", "prefix{field=/a,value=,ignoreCase=true}"),
            ("/a='007'", "/a=\"007\""),
            ("/a='007',/a='007'", "contains{field=/},/a=\"007\""),
        ] {
            assert_eq!(text(source), expected, "{source}");
            check(source);
        }
    }

    #[test]
    fn what_only_the_short_form_can_say() {
        for source in [
            "/a=x \"c d\" 'e f'",
            "/a=b\\",
            "/a!='true',/b=\"y\"'z z',exists{/c}",
            "/b='1e3',/a=b\\",
            "/a=\"c d\" 'e f' ,exists{/x},or.exists{/b}",
            "eq{field=/{field=/b,value=!'\"}'}ouen}",
            "/a=\"c d\" 'e f' ,and.4.or.exists{/b},/a>1",
            "/a===b\\",
            "/a! =b\\",
            "/a! !=b\\",
        ] {
            check(source);
        }
        let json = r#"{"prefix":{"field":"/a","value":"1.0"}}"#;
        assert_eq!(Selector::from_json(json.as_bytes()).unwrap().to_text(), None);
    }

    #[test]
    fn trees_that_text_cannot_draw_keep_their_meaning() {
        for json in [
            r#"{"eq":{"field":"/a","value":"x"},"exists":"/b"}"#,
            r#"{"and":[{"exists":"/a"}],"or":[{"exists":"/b"},{"exists":"/c"}]}"#,
            r#"{"not":{"or":[{"exists":"/a"},{"exists":"/b"}]}}"#,
        ] {
            let selector = Selector::from_json(json.as_bytes()).unwrap();
            let reread = Selector::parse(&selector.to_text().unwrap()).unwrap();
            assert_eq!(reread.compile(Instant(0)), selector.compile(Instant(0)), "{json}");
        }
    }

    /// Texts near to selectors, so that many are some.
    fn sources() -> impl Strategy<Value = String> {
        let value = "[ab1=|&<]{0,3}|\"[a 1,'}]{0,4}\"|'[a 1,\"{]{0,4}'|\"[a ]\" '[b ]'|a\\\\|1e3|TRUE|2025-01-02|'1\\.0'";
        let field = "/[a*]{0,2}|'/a b'|/\\.\\.\\.|\"/\"|/a\\\\'";
        let group = "(and\\.|or\\.|not\\.|and\\.[0-3]\\.|or\\.[0-3]\\.){0,3}";
        let string_term = "eq|contains|icontains|prefix|Iprefix";
        let clause = prop_oneof![
            (group, string_term, field, value)
                .prop_map(|(group, term, field, value)| format!("{group}{term}{{f={field},v={value}}}")),
            (group, field, value).prop_map(|(group, field, any)| format!("{group}in{{f={field} a={any}}}")),
            (group, field, value)
                .prop_map(|(group, field, any)| format!("{group}icontains{{f={field},\na={any}}}")),
            (group, field, "-?[0-9]{1,2}e?[0-9]|2025-01-0[1-9]", "[0-9]{1,3}|\" 2025-02-01\"").prop_map(
                |(group, field, low, high)| format!("{group}range{{f={field},gt={low},lte={high}}}")
            ),
            (group, field, "now|'today '|2025-01-01")
                .prop_map(|(group, field, since)| format!("{group}date{{f={field},since={since}}}")),
            (group, field).prop_map(|(group, field)| format!("{group}exists{{{field}}}")),
            ("/[ab]", "=|==|!=", value)
                .prop_map(|(field, operator, value)| format!("{field}{operator}{value}")),
            ("/[ab]", ">=|<=|<|>", "[0-9]{1,2}|\"2025-01-01 \"")
                .prop_map(|(field, operator, value)| format!("{field}{operator}{value}")),
            Just("{}".to_owned()),
        ];
        prop::collection::vec(clause, 0..5).prop_map(|pieces| pieces.join(","))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn printing_and_parsing_is_the_identity(source in sources()) {
            if Selector::parse(&source).is_ok() {
                check(&source);
            }
        }

        #[test]
        fn no_text_breaks_the_parser(source in r#"([a-z/.{}=<>!,|"'\\ \n019é]|and|or|not|eq|in|exists|field|/a){0,30}"#) {
            if let Err(error) = Selector::parse(&source) {
                error.explain(&source);
            } else {
                check(&source);
            }
            let _ = Selector::from_url_parameters([(&source, "x"), (&source, "y")]);
            let _ = Selector::from_json(source.as_bytes());
        }
    }
}
