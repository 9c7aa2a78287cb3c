//! Splits the words of the command line by the GNU conventions: `--name value`, `--name=value`, `-n value`, `-nvalue`,
//! grouped switches, `--`. Long names are never abbreviated; flags and words may come in any order.

use std::ffi::OsString;

use crate::command::UsageError;
use crate::flags::{self, Flag, Kind};
use crate::verb::{Verb, Words};

/// A flag as it was given, in order.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) flag: &'static Flag,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) verb: Verb,
    pub(crate) given: Vec<Given>,
    /// Words after the subcommand.
    pub(crate) words: Vec<String>,
}

impl CommandLine {
    /// Everything that was given for a list, as one list.
    pub(crate) fn joined(&self, name: &str) -> Option<String> {
        let texts: Vec<_> = self
            .given
            .iter()
            .filter(|given| given.flag.name == name && !given.text.is_empty())
            .map(|given| given.text.as_str())
            .collect();
        (!texts.is_empty()).then(|| texts.join(","))
    }

    /// Of a flag given twice the last counts.
    pub(crate) fn last(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|given| given.flag.name == name).map(|given| given.text.as_str())
    }
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: &[OsString]) -> Result<CommandLine, UsageError> {
    let (verb, mut path) = locate(args);
    let mut line = CommandLine { verb, given: Vec::new(), words: Vec::new() };
    let mut args = args.iter();
    let mut only_words = false;
    while let Some(arg) = args.next() {
        let arg = text(line.verb, arg)?;
        if only_words || arg == "-" || !arg.starts_with('-') {
            if path > 0 {
                path -= 1;
                continue;
            }
            line.word(arg)?;
            // The rest is another program's command line.
            only_words |= verb.entry().words.before_command().is_some_and(|before| line.words.len() > before);
        } else if arg == "--" {
            only_words = true;
        } else if let Some(long) = arg.strip_prefix("--") {
            line.long(arg, long, &mut args)?;
        } else {
            line.shorts(arg, &mut args)?;
        }
    }
    Ok(line)
}

/// The command that the words lead to, and how many of them do. Flags may stand anywhere between them, so this has to
/// know which flags take the next word for their value.
fn locate(args: &[OsString]) -> (Verb, usize) {
    let takes_value = |found: Option<&Flag>| found.is_some_and(|flag| !matches!(flag.kind, Kind::Switch(_)));
    let mut verb = Verb::Serve;
    let mut words = 0;
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            if takes_value(flags::all().find(|flag| flag.name == long)) {
                args.next();
            }
        } else if arg.starts_with('-') && arg != "-" {
            let mut letters = arg.char_indices().skip(1);
            let valued = letters
                .find(|(_, letter)| takes_value(flags::all().find(|flag| flag.short == Some(*letter))));
            if valued.is_some_and(|(at, letter)| at + letter.len_utf8() == arg.len()) {
                args.next();
            }
        } else {
            let Some(below) = verb.below(&arg) else { break };
            verb = below;
            words += 1;
        }
    }
    (verb, words)
}

type Rest<'a> = std::slice::Iter<'a, OsString>;

impl CommandLine {
    fn word(&mut self, word: &str) -> Result<(), UsageError> {
        match self.verb.entry().words {
            Words::Subcommand | Words::Nothing => Err(UsageError::unknown_word(self.verb, word)),
            Words::Exactly(_)
            | Words::AtMost(_)
            | Words::AtLeast(_)
            | Words::KeyAndCommand
            | Words::Command => {
                self.words.push(word.to_owned());
                Ok(())
            }
        }
    }

    /// Whether there are as many words as the command needs.
    pub(crate) fn check_words(&self) -> Result<(), UsageError> {
        let count = self.words.len();
        let message = match self.verb.entry().words {
            Words::Exactly(wanted) if count != wanted => format!("accepts {wanted} arg(s), received {count}"),
            Words::AtMost(most) if count > most => format!("accepts at most {most} arg(s), received {count}"),
            Words::AtLeast(least) if count < least => {
                format!("requires at least {least} arg(s), only received {count}")
            }
            Words::KeyAndCommand if count < 2 => {
                format!("requires a key and a command, only received {count} arg(s): write KEY -- COMMAND")
            }
            Words::Command if count == 0 => "requires a command: write -- COMMAND".to_owned(),
            _ => return Ok(()),
        };
        Err(UsageError::usage(self.verb, message))
    }

    fn long(&mut self, arg: &str, long: &str, rest: &mut Rest<'_>) -> Result<(), UsageError> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(UsageError::usage(self.verb, format!("bad flag syntax: {arg}")));
        }
        let Some(flag) = flags::by_name(self.verb, name) else {
            return Err(UsageError::usage(self.verb, format!("unknown flag: --{name}")));
        };
        let text = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch(_)) => "true".to_owned(),
            (None, _) => self.argument(rest, format!("flag needs an argument: --{name}"))?,
        };
        self.given.push(Given { flag, text });
        Ok(())
    }

    /// `-c path`, `-cpath`, `-c=path`, and switches run together before it.
    fn shorts(&mut self, arg: &str, rest: &mut Rest<'_>) -> Result<(), UsageError> {
        let mut letters = arg[1..].chars();
        while let Some(letter) = letters.next() {
            let Some(flag) = flags::by_short(self.verb, letter) else {
                let unknown = format!("unknown shorthand flag: '{letter}' in {arg}");
                return Err(UsageError::usage(self.verb, unknown));
            };
            let attached = letters.as_str();
            let text = match flag.kind {
                Kind::Switch(_) if !attached.starts_with('=') => "true".to_owned(),
                _ if attached.is_empty() => {
                    self.argument(rest, format!("flag needs an argument: '{letter}' in {arg}"))?
                }
                _ => {
                    letters = "".chars();
                    attached.strip_prefix('=').unwrap_or(attached).to_owned()
                }
            };
            self.given.push(Given { flag, text });
        }
        Ok(())
    }

    fn argument(&self, rest: &mut Rest<'_>, missing: String) -> Result<String, UsageError> {
        match rest.next() {
            Some(arg) => Ok(text(self.verb, arg)?.to_owned()),
            None => Err(UsageError::usage(self.verb, missing)),
        }
    }
}

fn text(verb: Verb, arg: &OsString) -> Result<&str, UsageError> {
    arg.to_str().ok_or_else(|| {
        UsageError::usage(verb, format!("argument {:?} is not valid UTF-8", arg.to_string_lossy()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<CommandLine, UsageError> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn message(line: &str) -> String {
        parsed(line).unwrap_err().message
    }

    #[test]
    fn values_may_stand_in_the_next_word_or_behind_the_name() {
        for line in ["--store x", "--store=x", "-c x --store x", "--store y --store x", "--store=x --"] {
            assert_eq!(parsed(line).unwrap().last("store"), Some("x"), "{line}");
        }
        for line in ["-c x", "-cx", "-c=x", "--config x", "-n y -cx", "version -c x", "-c x version"] {
            assert_eq!(parsed(line).unwrap().last("config"), Some("x"), "{line}");
        }
        assert_eq!(parsed("--store --listen").unwrap().last("store"), Some("--listen"));
        assert_eq!(parsed("--store=a=b").unwrap().last("store"), Some("a=b"));
        assert_eq!(parsed("--store=").unwrap().last("store"), Some(""));
    }

    #[test]
    fn switches_take_a_value_behind_an_equals_sign_only() {
        assert_eq!(parsed("--disable-mtls").unwrap().last("disable-mtls"), Some("true"));
        assert_eq!(parsed("--disable-mtls=false").unwrap().last("disable-mtls"), Some("false"));
        assert_eq!(message("--disable-mtls false"), "unknown command \"false\" for \"lockd\"");
        let grouped = parsed("-hcx").unwrap();
        assert_eq!((grouped.last("help"), grouped.last("config")), (Some("true"), Some("x")));
        assert_eq!(parsed("-h=false").unwrap().last("help"), Some("false"));
    }

    #[test]
    fn mistakes_are_named_in_the_usual_words() {
        assert_eq!(message("--x"), "unknown flag: --x");
        assert_eq!(message("--x=1"), "unknown flag: --x");
        assert_eq!(message("--stor x"), "unknown flag: --stor");
        assert_eq!(message("-x"), "unknown shorthand flag: 'x' in -x");
        assert_eq!(message("-hx"), "unknown shorthand flag: 'x' in -hx");
        assert_eq!(message("--store"), "flag needs an argument: --store");
        assert_eq!(message("-c"), "flag needs an argument: 'c' in -c");
        assert_eq!(message("--=x"), "bad flag syntax: --=x");
        assert_eq!(message("---x"), "bad flag syntax: ---x");
        assert_eq!(message("x"), "unknown command \"x\" for \"lockd\"");
        assert_eq!(message("-- x"), "unknown command \"x\" for \"lockd\"");
        assert_eq!(message("-"), "unknown command \"-\" for \"lockd\"");
        assert_eq!(message("version x"), "unknown command \"x\" for \"lockd version\"");
    }

    #[test]
    fn a_command_takes_its_own_flags_only() {
        assert_eq!(message("--version"), "unknown flag: --version");
        assert_eq!(message("--data-dir x"), "unknown flag: --data-dir");
        assert_eq!(message("version --store x"), "unknown flag: --store");
        assert_eq!(message("--store x version"), "unknown flag: --store");
        assert_eq!(message("version -n x"), "unknown shorthand flag: 'n' in -n");
        assert!(parsed("--log-level debug version --disable-mtls").is_ok());
        assert!(parsed("dev --data-dir x --json-max 1MiB").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn words_that_are_not_text_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let error = parse(&["--store".into(), OsString::from_vec(vec![0xff])]).unwrap_err();
        assert!(error.message.contains("not valid UTF-8"), "{}", error.message);
    }
}
