//! The text form: one expression after the other becomes an edit at a place of the document.

use crate::{
    condition::Instant,
    path::Path,
    temporal::parse_rfc3339,
    text::{float_literal, split_pieces, unquote},
};

use super::{
    file_value::{FileAccess, FileEncoding, FileValue},
    literal::{Literal, NotFinite},
    mutation_error::MutationError,
    program::Program,
    routes::{ROOT, RouteId, Routes},
};

/// How deep brace blocks may stand in each other.
const MAX_BRACES: usize = 256;

/// How many bytes may stand in blocks, counted once for every block around them, because so often they are read.
const MAX_IN_BRACES: usize = 256 << 20;

/// An ordered list of edits.
#[derive(Debug, Clone, Default)]
pub struct Mutations {
    pub(super) routes: Routes,
    pub(super) edits: Vec<(RouteId, Edit)>,
}

/// What is done at a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    Set(Literal),
    /// Set to the time at which the program is compiled.
    SetNow,
    SetFile(FileValue),
    Increment(f64),
    Remove,
}

/// How expressions are read.
#[derive(Debug, Clone, Default)]
pub struct ParseOptions {
    /// Whether values may stand in files. Off unless asked for, because a service must not read what its clients name.
    pub files: FileAccess,
}

impl Mutations {
    /// Reads a list whose items are one expression each. Blank items are skipped; commas in items are part of values.
    ///
    /// # Errors
    ///
    /// An item is no expression, or there is none.
    pub fn parse_list<S: AsRef<str>>(
        items: &[S],
        options: &ParseOptions,
    ) -> Result<Mutations, MutationError> {
        if items.is_empty() {
            return Err(MutationError::NoneProvided);
        }
        let mut parser = Parser::new(options);
        for item in items {
            parser.expression(item.as_ref(), ROOT, 0)?;
        }
        parser.done()
    }

    /// Reads one text with expressions that are separated by commas and line feeds.
    ///
    /// # Errors
    ///
    /// A part of the text is no expression, or there is none.
    pub fn parse_text(text: &str, options: &ParseOptions) -> Result<Mutations, MutationError> {
        if text.trim().is_empty() {
            return Err(MutationError::NoneProvided);
        }
        let mut parser = Parser::new(options);
        for piece in split_pieces(text)? {
            parser.expression(piece.text, ROOT, 0)?;
        }
        parser.done()
    }

    /// How many edits the list has; brace blocks count as what is in them.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Makes the list ready to run. Every `NOW` in it means `now`.
    pub fn compile(&self, now: Instant) -> Program {
        Program::new(self, now)
    }
}

struct Parser<'a> {
    options: &'a ParseOptions,
    mutations: Mutations,
    in_braces: usize,
}

impl<'a> Parser<'a> {
    fn new(options: &'a ParseOptions) -> Self {
        Parser { options, mutations: Mutations::default(), in_braces: 0 }
    }

    fn done(self) -> Result<Mutations, MutationError> {
        if self.mutations.is_empty() { Err(MutationError::NoneParsed) } else { Ok(self.mutations) }
    }

    /// Reads one expression about what is below `base`.
    fn expression(&mut self, text: &str, base: RouteId, braces: usize) -> Result<(), MutationError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        let (file, text) = file_prefix(text);
        if file.is_some() && matches!(self.options.files, FileAccess::Disabled) {
            return Err(MutationError::FilesDisabled);
        }
        let (remove, text) = strip(text, &["rm:", "remove:", "delete:", "del:"]);
        let (time, text) = strip(text, &["time:"]);
        if file.is_some() && time {
            return Err(MutationError::FileTime(text.to_owned()));
        }
        if remove {
            if time {
                return Err(MutationError::TimeRemove(text.to_owned()));
            }
            if file.is_some() {
                return Err(MutationError::FileRemove(text.to_owned()));
            }
            if text.is_empty() {
                return Err(MutationError::RemoveNoPath);
            }
            return self.push(base, text, Edit::Remove);
        }
        for (suffix, delta) in [("++", 1.0), ("--", -1.0)] {
            let Some(path) = text.strip_suffix(suffix) else { continue };
            let expression = text.to_owned();
            if time {
                return Err(MutationError::TimeIncrement { suffix, expression });
            }
            if file.is_some() {
                return Err(MutationError::FileIncrement { suffix, expression });
            }
            let path = path.trim();
            if path.is_empty() {
                return Err(MutationError::IncrementNoPath);
            }
            return self.push(base, path, Edit::Increment(delta));
        }
        if let Some((path, body)) = brace_block(text) {
            return self.brace(text, path, body, base, braces);
        }
        let Some((path, value)) = text.split_once('=') else {
            return Err(MutationError::NoValue(text.to_owned()));
        };
        let (path, value) = (path.trim(), value.trim());
        if path.is_empty() {
            return Err(MutationError::NoPath(text.to_owned()));
        }
        let edit = match file {
            Some(encoding) => {
                let path = self.options.files.resolve(unquote(value).trim())?;
                Edit::SetFile(FileValue { path, encoding })
            }
            None if time => time_value(unquote(value))?,
            None => value_or_increment(value, text)?,
        };
        self.push(base, path, edit)
    }

    fn brace(
        &mut self,
        text: &str,
        path: &str,
        body: &str,
        base: RouteId,
        braces: usize,
    ) -> Result<(), MutationError> {
        if body.trim().is_empty() {
            return Err(MutationError::BraceEmpty(text.to_owned()));
        }
        if braces >= MAX_BRACES {
            return Err(MutationError::BraceTooDeep { limit: MAX_BRACES });
        }
        self.in_braces += body.len();
        if self.in_braces > MAX_IN_BRACES {
            return Err(MutationError::BracesTooLarge { limit: MAX_IN_BRACES });
        }
        let path = Path::parse(path)?;
        let inner_base = self.mutations.routes.follow(base, &path)?;
        let pieces = split_pieces(body)?;
        if pieces.is_empty() {
            return Err(MutationError::BraceWithoutExpressions(text.to_owned()));
        }
        for piece in pieces {
            self.expression(piece.text, inner_base, braces + 1)?;
        }
        Ok(())
    }

    fn push(&mut self, base: RouteId, text: &str, edit: Edit) -> Result<(), MutationError> {
        let path = Path::parse(text)?;
        if path.is_root() {
            return Err(MutationError::Root(text.to_owned()));
        }
        let route = self.mutations.routes.follow(base, &path)?;
        self.mutations.edits.push((route, edit));
        Ok(())
    }
}

/// Takes one of the prefixes off.
fn strip<'a>(text: &'a str, prefixes: &[&str]) -> (bool, &'a str) {
    let stripped = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
    (stripped.is_some(), stripped.map_or(text, str::trim_start))
}

fn file_prefix(text: &str) -> (Option<FileEncoding>, &str) {
    for (prefix, encoding) in [
        ("file:", FileEncoding::Auto),
        ("textfile:", FileEncoding::Text),
        ("base64file:", FileEncoding::Base64),
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return (Some(encoding), rest.trim_start());
        }
    }
    (None, text)
}

/// The path before a block and its inside, if the text is a path with a block of expressions behind it.
fn brace_block(text: &str) -> Option<(&str, &str)> {
    let (path, body) = text.strip_suffix('}')?.split_once('{')?;
    let path = path.trim();
    (!path.is_empty() && !path.contains('=')).then_some((path, body))
}

fn time_value(text: &str) -> Result<Edit, MutationError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(Edit::SetNow);
    }
    let instant = parse_rfc3339(text).ok_or_else(|| MutationError::Time(text.to_owned()))?;
    Ok(Edit::Set(Literal::Text(instant.to_string().into())))
}

fn value_or_increment(value: &str, expression: &str) -> Result<Edit, MutationError> {
    if value.starts_with(['+', '-'])
        && let Some(delta) = float_literal(value)
    {
        if delta == 0.0 {
            return Err(MutationError::IncrementByZero);
        }
        if !delta.is_finite() {
            return Err(MutationError::IncrementNotFinite(expression.to_owned()));
        }
        return Ok(Edit::Increment(delta));
    }
    // Inside quotes, space is part of a string, but not of a number.
    let text = unquote(value);
    match Literal::parse(text) {
        Ok(literal) => Ok(Edit::Set(literal)),
        Err(NotFinite) => Err(MutationError::NotFinite(expression.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(items: &[&str]) -> Result<Vec<(String, Edit)>, String> {
        let options = ParseOptions {
            files: FileAccess::Enabled { base_dir: Some("/base".into()), home: Some("/home".into()) },
        };
        let mutations = Mutations::parse_list(items, &options).map_err(|error| error.to_string())?;
        let program = mutations.compile(Instant(0));
        Ok(mutations.edits.iter().map(|(route, edit)| (program.path(*route), edit.clone())).collect())
    }

    fn edit(item: &str) -> (String, Edit) {
        edits(&[item]).unwrap().remove(0)
    }

    fn set(path: &str, literal: Literal) -> (String, Edit) {
        (path.into(), Edit::Set(literal))
    }

    fn text(text: &str) -> Literal {
        Literal::Text(text.into())
    }

    #[test]
    fn lql_36_list_items_are_not_split_but_brace_bodies_and_texts_are() {
        assert_eq!(edit("/note=a, b"), set("/note", text("a, b")));
        assert_eq!(
            edits(&["/p{/a=1,/b=\"x,y\"\n rm:/c}"]).unwrap(),
            [set("/p/a", Literal::Integer(1)), set("/p/b", text("x,y")), ("/p/c".into(), Edit::Remove)]
        );
        let options = ParseOptions::default();
        assert_eq!(Mutations::parse_text("/a=1,/b='x,y'\n/c{/d=1,/e=2}, ,", &options).unwrap().len(), 4);
        assert_eq!(Mutations::parse_list(&["/a=1,/b=2", " "], &options).unwrap().len(), 1);
    }

    #[test]
    fn lql_37_all_remove_prefixes() {
        for prefix in ["rm:", "remove:", "delete:", "del:", "rm: "] {
            assert_eq!(edit(&format!("{prefix}/a=b++")), ("/a=b++".into(), Edit::Remove));
        }
        assert_eq!(edits(&["RM:/a"]).unwrap_err(), "invalid mutation \"RM:/a\" (expected key=value)");
    }

    #[test]
    fn lql_42_a_sign_increments_unless_quoted() {
        assert_eq!(edit("/t=-5"), ("/t".into(), Edit::Increment(-5.0)));
        assert_eq!(edit("/t=+1_0.5e1"), ("/t".into(), Edit::Increment(105.0)));
        assert_eq!(edit("/t=\"-5\""), set("/t", Literal::Integer(-5)));
        assert_eq!(edit("/t=-5x"), set("/t", text("-5x")));
        assert_eq!(edit("/t=-"), set("/t", text("-")));
    }

    #[test]
    fn lql_43_suffixes_win_over_the_equals_sign() {
        assert_eq!(edit("/note=C++"), ("/note=C".into(), Edit::Increment(1.0)));
        assert_eq!(edit("/note --"), ("/note".into(), Edit::Increment(-1.0)));
        assert_eq!(edit("/note=\"C++\""), set("/note", text("C++")));
    }

    #[test]
    fn braces_are_values_behind_an_equals_sign() {
        assert_eq!(edit("/tpl={x}"), set("/tpl", text("{x}")));
        assert_eq!(edit("/a/{/b=1}"), set("/a//b", Literal::Integer(1)));
        assert_eq!(edit("/{/b=1}"), set("/b", Literal::Integer(1)));
        assert_eq!(edit("time:/p{/a=x}"), set("/p/a", text("x")));
        assert_eq!(edit("/l[]{/q{/c++}}"), ("/l/[]/q/c".into(), Edit::Increment(1.0)));
    }

    #[test]
    fn lql_44_times_are_now_or_rfc3339() {
        assert_eq!(edit("time:/at=NOW"), ("/at".into(), Edit::SetNow));
        assert_eq!(edit("time: /at = now "), ("/at".into(), Edit::SetNow));
        let utc = set("/at", text("2025-01-02T01:04:05.5Z"));
        assert_eq!(edit("time:/at=2025-01-02T03:04:05.500+02:00"), utc);
        for wrong in ["tomorrow", "2025-01-02", "2025-01-02T03:04:05", "+5", ""] {
            let error = edits(&[&format!("time:/at={wrong}")]).unwrap_err();
            assert_eq!(error, format!("invalid time literal {wrong:?}"));
        }
    }

    #[test]
    fn lql_53_file_values_are_resolved() {
        let value = |path: &str, encoding| {
            ("/b".to_owned(), Edit::SetFile(FileValue { path: path.into(), encoding }))
        };
        assert_eq!(edit("file:/b=x.bin"), value("/base/x.bin", FileEncoding::Auto));
        assert_eq!(edit("textfile:/b='~/a, b'"), value("/home/a, b", FileEncoding::Text));
        assert_eq!(edits(&["/{base64file:/b=/x}"]).unwrap(), [value("/x", FileEncoding::Base64)]);
    }

    #[test]
    fn lql_45_times_are_only_set() {
        for (item, expected) in [
            ("rm:time:/p", "time-prefixed mutation cannot be combined with delete/remove (/p)"),
            ("/q{del:time:/p=NOW}", "time-prefixed mutation cannot be combined with delete/remove (/p=NOW)"),
            ("time:rm:/p", "invalid mutation \"rm:/p\" (expected key=value)"),
            ("time:/p++", "time-prefixed mutation does not support ++ (/p++)"),
            ("time:/p--", "time-prefixed mutation does not support -- (/p--)"),
            ("file:time:/p=x", "file-backed mutation cannot be combined with time: (/p=x)"),
            ("textfile:time:/p=x", "file-backed mutation cannot be combined with time: (/p=x)"),
            ("base64file:time:/p=x", "file-backed mutation cannot be combined with time: (/p=x)"),
        ] {
            assert_eq!(edits(&[item]).unwrap_err(), expected, "{item}");
        }
    }

    #[test]
    fn refusals_have_their_exact_texts() {
        for (item, expected) in [
            ("/broken", "invalid mutation \"/broken\" (expected key=value)"),
            ("=1", "mutation \"=1\" missing key path"),
            ("a=1", "mutation path \"a\" must start with '/'"),
            ("rm:a", "mutation path \"a\" must start with '/'"),
            ("a++", "mutation path \"a\" must start with '/'"),
            ("p{/a=1}", "mutation path \"p\" must start with '/'"),
            ("/p{a=1}", "mutation path \"a\" must start with '/'"),
            ("/=1", "path \"/\" refers to document root"),
            ("rm:/", "path \"/\" refers to document root"),
            ("rm:", "remove mutation missing key path"),
            ("++", "increment mutation missing key path"),
            ("--", "increment mutation missing key path"),
            ("/n=+0", "increment mutation requires non-zero delta"),
            ("/n=-0", "increment mutation requires non-zero delta"),
            ("/n=+inf", "increment mutation \"/n=+inf\" requires finite delta"),
            ("/n=nan", "mutation \"/n=nan\" requires finite number"),
            ("/p{}", "brace mutation \"/p{}\" empty"),
            ("/p{ }", "brace mutation \"/p{ }\" empty"),
            ("/p{,}", "brace mutation \"/p{,}\" produced no expressions"),
            ("/p{/a=1}}", "unexpected closing brace"),
            ("/p{/a='1}", "unterminated quote in selector expression"),
            ("/p{/a{/b=1}", "unterminated brace in selector expression"),
            ("file:rm:/p", "file-backed mutation cannot be combined with delete/remove (/p)"),
            ("file:/p++", "file-backed mutation cannot be combined with ++ (/p++)"),
            ("textfile:/p--", "file-backed mutation cannot be combined with -- (/p--)"),
            ("file:/p=''", "file-backed mutation missing file path"),
            (" ", "no valid field mutations parsed"),
        ] {
            assert_eq!(edits(&[item]).unwrap_err(), expected, "{item}");
        }
        assert_eq!(edits(&[]).unwrap_err(), "no field mutations provided");
        let options = ParseOptions::default();
        let failure = |text| Mutations::parse_text(text, &options).unwrap_err().to_string();
        assert_eq!(failure(" "), "no field mutations provided");
        assert_eq!(failure(" , "), "no valid field mutations parsed");
        assert_eq!(failure("/a=1}"), "unexpected closing brace");
    }

    #[test]
    fn lql_52_files_are_refused_unless_asked_for() {
        for item in ["file:/b=x.bin", "textfile:/b=x", "base64file:/b=x", "/p{file:/b=x}", "file:rm:/x"] {
            let error = Mutations::parse_list(&[item], &ParseOptions::default()).unwrap_err();
            assert_eq!(error, MutationError::FilesDisabled, "{item}");
        }
    }

    #[test]
    fn attacks_on_the_parser_are_bounded() {
        let nested = "/a{".repeat(1_000_000);
        let error = edits(&[&format!("{nested}{}", "}".repeat(1_000_000))]).unwrap_err();
        assert!(error.contains("brace mutation"), "{error}");
        let deep = format!("{}/x=1{}", "/a{".repeat(256), "}".repeat(256));
        assert!(edits(&[&deep]).is_ok());
        let deep = format!("{}/x=1{}", "/a{".repeat(257), "}".repeat(257));
        assert_eq!(edits(&[&deep]).unwrap_err(), "brace mutation nests deeper than 256 levels");
        assert_eq!(
            edits(&[&format!("{}=1", "/a".repeat(2_000_000))]).unwrap_err(),
            "mutation path has more than 1000 segments"
        );
        assert_eq!(
            edits(&["/a/b/c++"; 333_334]).unwrap_err(),
            "mutations address more than 1000000 path segments"
        );
        let options = ParseOptions::default();
        let mut parser = Parser { in_braces: MAX_IN_BRACES - 20, ..Parser::new(&options) };
        assert_eq!(parser.expression("/a{/b{/c=1}}", ROOT, 0), Ok(()));
        assert_eq!(
            parser.expression("/a{/b{/c=1}}", ROOT, 0).unwrap_err().to_string(),
            "brace mutations hold more than 268435456 bytes, counted once for every block around them"
        );
        // What stands before a block is stored once, however much is in the block.
        let wide = format!("{}{{{}}}", "/p".repeat(900), "/x++,".repeat(90_000));
        let mutations = Mutations::parse_list(&[wide], &ParseOptions::default()).unwrap();
        assert_eq!((mutations.len(), mutations.routes.links.len()), (90_000, 902));
    }
}
