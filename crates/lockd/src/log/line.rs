//! One line of the log while it is written: the JSON form and the form for people.

use std::fmt::{self, Write};

use super::{Level, Mode};

/// How lines look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) mode: Mode,
    pub(super) colour: bool,
    pub(super) timestamps: bool,
}

/// The parts of a line, kept apart because `sys` and the message may come after other fields.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) message: String,
    pub(super) sys: String,
    /// Fields as they will stand in the line.
    fields: String,
    scratch: String,
    /// The finished line.
    out: String,
}

/// A field's value. `Text` is anything that has to be escaped.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(fmt::Arguments<'a>),
    /// A number or a boolean.
    Plain(fmt::Arguments<'a>),
}

/// Members every line has; a field of the same name would make the object ambiguous.
const RESERVED: [&str; 5] = ["ts", "lvl", "msg", "app", "sys"];

impl Line {
    pub(super) fn clear(&mut self) {
        self.message.clear();
        self.sys.clear();
        self.fields.clear();
        self.out.clear();
    }

    pub(super) fn fields(&self) -> &str {
        &self.fields
    }

    /// Takes over fields that were rendered before, for the same form.
    pub(super) fn append_rendered(&mut self, fields: &str) {
        self.fields.push_str(fields);
    }

    pub(super) fn field(&mut self, form: Form, name: &str, value: Value<'_>) {
        let prefix = if RESERVED.contains(&name) { "field_" } else { "" };
        // Writing to a string cannot fail; a value that cannot print itself is cut where it gave up.
        let _ = match form.mode {
            Mode::Structured => {
                let _ = write!(self.fields, ",\"{prefix}");
                let _ = Escaping(&mut self.fields).write_str(name);
                self.fields.push_str("\":");
                match value {
                    Value::Plain(value) => self.fields.write_fmt(value),
                    Value::Text(value) => json_text(&mut self.fields, value),
                }
            }
            Mode::Console => {
                let (dim, reset) = if form.colour { (DIM, RESET) } else { ("", "") };
                let _ = write!(self.fields, " {dim}{prefix}{name}={reset}");
                let (Value::Plain(value) | Value::Text(value)) = value;
                self.scratch.clear();
                let _ = self.scratch.write_fmt(value);
                console_text(&mut self.fields, &self.scratch)
            }
        };
    }

    /// Puts the line together, with its newline.
    pub(super) fn finish(&mut self, form: Form, level: Level) -> &[u8] {
        let out = &mut self.out;
        let now = jiff::Timestamp::now();
        let _ = match form.mode {
            Mode::Structured => {
                out.push('{');
                if form.timestamps {
                    let _ = write!(out, "\"ts\":\"{now:.3}\",");
                }
                let _ = write!(out, "\"lvl\":\"{level}\",\"msg\":");
                let _ = json_text(out, format_args!("{}", self.message));
                out.push_str(",\"app\":\"lockd\",\"sys\":");
                let _ = json_text(out, format_args!("{}", self.sys));
                out.push_str(&self.fields);
                out.write_str("}\n")
            }
            Mode::Console => {
                let (dim, tint, bold, reset) =
                    if form.colour { (DIM, tint(level), BOLD, RESET) } else { ("", "", "", "") };
                if form.timestamps {
                    let _ = write!(out, "{dim}{now:.3}{reset} ");
                }
                let _ = write!(out, "{tint}{:<5}{reset} {bold}", level.word().to_ascii_uppercase());
                let _ = ControlFree(out).write_str(&self.message);
                let _ = write!(out, "{reset} {dim}sys={reset}");
                let _ = console_text(out, &self.sys);
                out.push_str(&self.fields);
                out.write_str("\n")
            }
        };
        self.out.as_bytes()
    }
}

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

fn tint(level: Level) -> &'static str {
    match level {
        Level::Trace | Level::Debug => "\x1b[34m",
        Level::Info | Level::None => "\x1b[32m",
        Level::Warn => "\x1b[33m",
        Level::Error | Level::Fatal => "\x1b[31m",
    }
}

fn json_text(out: &mut String, value: fmt::Arguments<'_>) -> fmt::Result {
    out.push('"');
    let result = Escaping(out).write_fmt(value);
    out.push('"');
    result
}

/// Bare where that is unambiguous, in quotes otherwise.
fn console_text(out: &mut String, text: &str) -> fmt::Result {
    let bare =
        !text.is_empty() && !text.contains(|letter: char| letter.is_whitespace() || "\"=\\".contains(letter));
    if bare && !text.contains(char::is_control) {
        out.push_str(text);
        return Ok(());
    }
    out.push('"');
    let result = Escaping(out).write_str(text);
    out.push('"');
    result
}

/// Escapes what may not stand in a JSON string, and whatever a terminal would act on.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|letter: char| letter == '"' || letter == '\\' || letter.is_control())
        {
            let (clean, from) = rest.split_at(at);
            self.0.push_str(clean);
            let mut letters = from.chars();
            match letters.next() {
                Some('"') => self.0.push_str("\\\""),
                Some('\\') => self.0.push_str("\\\\"),
                Some('\n') => self.0.push_str("\\n"),
                Some('\r') => self.0.push_str("\\r"),
                Some('\t') => self.0.push_str("\\t"),
                Some(other) => write!(self.0, "\\u{:04x}", u32::from(other))?,
                None => {}
            }
            rest = letters.as_str();
        }
        self.0.push_str(rest);
        Ok(())
    }
}

/// For the message in console mode: no quotes around it, but nothing that moves the cursor either.
struct ControlFree<'a>(&'a mut String);

impl Write for ControlFree<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form) -> String {
        let mut line = Line::default();
        line.message.push_str("it \"happened\"\n\u{1b}[2J");
        line.sys.push_str("cli.root");
        line.field(form, "path", Value::Text(format_args!("a b\\c\u{7}")));
        line.field(form, "bare", Value::Text(format_args!("x")));
        line.field(form, "count", Value::Plain(format_args!("{}", 3)));
        line.field(form, "app", Value::Text(format_args!("other")));
        String::from_utf8(line.finish(form, Level::Warn).to_vec()).unwrap()
    }

    #[test]
    fn structured_lines_are_json_whatever_is_in_them() {
        let text = written(Form { mode: Mode::Structured, colour: true, timestamps: true });
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["lvl"], "warn");
        assert_eq!(value["msg"], "it \"happened\"\n\u{1b}[2J");
        assert_eq!(value["app"], "lockd");
        assert_eq!(value["field_app"], "other");
        assert_eq!(value["sys"], "cli.root");
        assert_eq!(value["path"], "a b\\c\u{7}");
        assert_eq!(value["count"], 3);
        let time = value["ts"].as_str().unwrap();
        assert_eq!(time.len(), "2026-01-02T03:04:05.678Z".len(), "{time}");
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn console_lines_cannot_be_forged_by_their_content() {
        let text = written(Form { mode: Mode::Console, colour: false, timestamps: false });
        let expected = "WARN  it \"happened\"  [2J sys=cli.root path=\"a b\\\\c\\u0007\" bare=x count=3 field_app=other\n";
        assert_eq!(text, expected);
    }
}
