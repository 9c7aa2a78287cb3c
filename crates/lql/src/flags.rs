//! Every flag, described once: parsing and help come from this table. The conventions are those of GNU: `--name value`,
//! `--name=value`, `-n value`, `-nvalue`, switches run together, `--`.

use std::{ffi::OsString, path::PathBuf};

pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    /// What stands for the value in help; empty means that it is a switch.
    pub(crate) placeholder: &'static str,
    pub(crate) help: &'static str,
    /// Takes the value, empty for switches; an error is the reason why it is no good.
    set: fn(&mut Invocation, &str) -> Result<(), String>,
}

/// In the order of the help text.
pub(crate) const FLAGS: &[Flag] = &[
    Flag {
        name: "fields",
        short: Some('f'),
        placeholder: "PATHS",
        help: "Print only these fields of each document: paths, separated by commas. May be given several times.",
        set: |invocation, value| {
            invocation.fields.extend(split_fields(value));
            Ok(())
        },
    },
    Flag {
        name: "mutate",
        short: Some('m'),
        placeholder: "EXPRESSION",
        help: "Edit each selected document before it is printed. May be given several times; the edits are made in order.",
        set: |invocation, value| {
            invocation.mutations.push(value.to_owned());
            Ok(())
        },
    },
    Flag {
        name: "invert",
        short: Some('v'),
        placeholder: "",
        help: "Select the documents that the selector does not match.",
        set: |invocation, _| {
            invocation.invert = true;
            Ok(())
        },
    },
    Flag {
        name: "all",
        short: Some('a'),
        placeholder: "",
        help: "Print the documents that are not selected as well, unedited and whole.",
        set: |invocation, _| {
            invocation.all = true;
            Ok(())
        },
    },
    Flag {
        name: "count",
        short: Some('c'),
        placeholder: "",
        help: "Print only how many documents were selected.",
        set: |invocation, _| {
            invocation.count = true;
            Ok(())
        },
    },
    Flag {
        name: "pretty",
        short: Some('p'),
        placeholder: "",
        help: "Print documents on many lines, indented by two spaces.",
        set: |invocation, _| {
            invocation.pretty = true;
            Ok(())
        },
    },
    Flag {
        name: "color",
        short: None,
        placeholder: "WHEN",
        help: "Colour the output: auto (on a terminal, unless NO_COLOR is set), always or never. [default:\u{a0}auto]",
        set: |invocation, value| {
            invocation.color = match value {
                "auto" => Color::Auto,
                "always" => Color::Always,
                "never" => Color::Never,
                _ => return Err("must be auto, always or never".to_owned()),
            };
            Ok(())
        },
    },
    Flag {
        name: "max-document",
        short: None,
        placeholder: "SIZE",
        help: "Largest document that is accepted, before and after edits. [default:\u{a0}100MiB]",
        set: |invocation, value| {
            invocation.max_document = size(value)?;
            Ok(())
        },
    },
    Flag {
        name: "version",
        short: None,
        placeholder: "",
        help: "Print the version.",
        set: |invocation, _| {
            invocation.version = true;
            Ok(())
        },
    },
    Flag {
        name: "help",
        short: Some('h'),
        placeholder: "",
        help: "Print this text.",
        set: |invocation, _| {
            invocation.help = true;
            Ok(())
        },
    },
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// What the command line says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Invocation {
    pub(crate) selector: String,
    /// `-` is stdin.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) fields: Vec<String>,
    pub(crate) mutations: Vec<String>,
    pub(crate) invert: bool,
    pub(crate) all: bool,
    pub(crate) count: bool,
    pub(crate) pretty: bool,
    pub(crate) color: Color,
    pub(crate) max_document: u64,
    version: bool,
    help: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    Run(Box<Invocation>),
    Version,
    Help,
}

/// Reads the words behind the command's name. An error is the mistake in words.
pub(crate) fn parse(args: &[OsString]) -> Result<Request, String> {
    let mut invocation = Invocation {
        selector: String::new(),
        files: Vec::new(),
        fields: Vec::new(),
        mutations: Vec::new(),
        invert: false,
        all: false,
        count: false,
        pretty: false,
        color: Color::Auto,
        max_document: 100 << 20,
        version: false,
        help: false,
    };
    let mut selector = None;
    let mut rest = args.iter();
    let mut only_words = false;
    while let Some(arg) = rest.next() {
        let is_word = only_words || arg == "-" || !arg.as_encoded_bytes().starts_with(b"-");
        if is_word && selector.is_some() {
            // The names of files need not be text.
            invocation.files.push(PathBuf::from(arg));
            continue;
        }
        let text = as_text(arg)?;
        if is_word {
            selector = Some(text.to_owned());
        } else if text == "--" {
            only_words = true;
        } else if let Some(long) = text.strip_prefix("--") {
            set_long(&mut invocation, text, long, &mut rest)?;
        } else {
            set_shorts(&mut invocation, text, &mut rest)?;
        }
    }
    if invocation.help {
        return Ok(Request::Help);
    }
    if invocation.version {
        return Ok(Request::Version);
    }
    let Some(selector) = selector else {
        return Err("a selector is missing; '.' selects every document".to_owned());
    };
    invocation.selector = selector;
    if invocation.files.is_empty() {
        invocation.files.push(PathBuf::from("-"));
    }
    if invocation.count && invocation.all {
        return Err("--count and --all exclude each other: --count prints no documents".to_owned());
    }
    Ok(Request::Run(Box::new(invocation)))
}

type Rest<'a> = std::slice::Iter<'a, OsString>;

fn set_long(invocation: &mut Invocation, arg: &str, long: &str, rest: &mut Rest<'_>) -> Result<(), String> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(format!("bad flag syntax: {arg}"));
    }
    let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
        return Err(format!("unknown flag: --{name}"));
    };
    if flag.placeholder.is_empty() {
        return match value {
            Some(_) => Err(format!("flag takes no argument: --{name}")),
            None => flag.apply(invocation, ""),
        };
    }
    match value {
        Some(value) => flag.apply(invocation, value),
        None => {
            let value = rest.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?;
            flag.apply(invocation, as_text(value)?)
        }
    }
}

fn set_shorts(invocation: &mut Invocation, arg: &str, rest: &mut Rest<'_>) -> Result<(), String> {
    let mut letters = arg.trim_start_matches('-').chars();
    while let Some(letter) = letters.next() {
        let Some(flag) = FLAGS.iter().find(|flag| flag.short == Some(letter)) else {
            return Err(format!("unknown shorthand flag: '{letter}' in {arg}"));
        };
        if flag.placeholder.is_empty() {
            flag.apply(invocation, "")?;
            continue;
        }
        let attached = letters.as_str();
        if !attached.is_empty() {
            return flag.apply(invocation, attached.strip_prefix('=').unwrap_or(attached));
        }
        let value = rest.next().ok_or_else(|| format!("flag needs an argument: '{letter}' in {arg}"))?;
        return flag.apply(invocation, as_text(value)?);
    }
    Ok(())
}

impl Flag {
    fn apply(&self, invocation: &mut Invocation, value: &str) -> Result<(), String> {
        (self.set)(invocation, value)
            .map_err(|reason| format!("invalid argument {value:?} for \"--{}\" flag: {reason}", self.name))
    }
}

fn as_text(arg: &OsString) -> Result<&str, String> {
    arg.to_str().ok_or_else(|| format!("argument {:?} is not valid UTF-8", arg.to_string_lossy()))
}

/// Cuts a list at the commas that a path follows: other commas are part of names.
fn split_fields(list: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for part in list.split(',') {
        match fields.last_mut() {
            Some(last) if !part.trim_start().starts_with('/') => {
                last.push(',');
                last.push_str(part);
            }
            _ => fields.push(part.to_owned()),
        }
    }
    fields
}

/// A number of bytes, perhaps with a unit.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("kB", 1_000),
        ("B", 1),
        ("", 1),
    ];
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bytes = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| "must be a size like 512KiB, 64MiB or 1GB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Request, String> {
        parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn invocation(args: &[&str]) -> Invocation {
        match parsed(args).unwrap() {
            Request::Run(invocation) => *invocation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_and_words_come_in_any_order() {
        let one =
            invocation(&["-vp", "/a=1", "--fields=/a, /b", "x", "-m/a=2", "-m", "rm:/b", "-", "--", "-y"]);
        assert_eq!((one.selector.as_str(), one.invert, one.pretty), ("/a=1", true, true));
        assert_eq!(one.files, ["x", "-", "-y"].map(PathBuf::from));
        assert_eq!(one.fields, ["/a", " /b"]);
        assert_eq!(one.mutations, ["/a=2", "rm:/b"]);
        assert_eq!(invocation(&["."]).files, [PathBuf::from("-")]);
    }

    #[test]
    fn commas_in_names_do_not_split_fields() {
        assert_eq!(split_fields("/a,/b,c,/d"), ["/a", "/b,c", "/d"]);
        assert_eq!(split_fields("a,b"), ["a,b"]);
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1", 1), ("512KiB", 512 << 10), ("3MB", 3_000_000), ("2GiB", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "MiB", "1 MiB", "1mib", "99999999999GiB", "1.5MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_in_the_usual_words() {
        for (args, message) in [
            (&["--x"][..], "unknown flag: --x"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["-vx"], "unknown shorthand flag: 'x' in -vx"),
            (&["--fields"], "flag needs an argument: --fields"),
            (&["-vm"], "flag needs an argument: 'm' in -vm"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["--count=yes"], "flag takes no argument: --count"),
            (
                &["--color", "red"],
                "invalid argument \"red\" for \"--color\" flag: must be auto, always or never",
            ),
            (&["-c"], "a selector is missing; '.' selects every document"),
            (&["-ca", "."], "--count and --all exclude each other: --count prints no documents"),
        ] {
            assert_eq!(parsed(args), Err(message.to_owned()), "{args:?}");
        }
    }
}
