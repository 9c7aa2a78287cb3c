//! The texts of `--help`, made from the flag tables, at most 100 columns wide.

use std::fmt::Write;

use crate::description;
use crate::flags::{self, Effect, Flag, Scope, Section};
use crate::verb::Verb;

const WIDTH: usize = 100;
const INDENT: usize = 10;
/// Stands for a blank that must not become the end of a line.
const NO_BREAK: char = '\u{a0}';

/// The few lines that go with a mistake in the command line.
pub(crate) fn usage(verb: Verb) -> String {
    let path = verb.path();
    let form = match verb {
        Verb::Serve => "lockd --store URL [flags]\n  lockd [command]".to_owned(),
        verb => format!("{path} {}", verb.entry().form),
    };
    format!("Usage:\n  {form}\n\nRun '{path} --help' for all flags.\n\n")
}

/// The whole help of a command.
pub(crate) fn text(verb: Verb) -> String {
    let mut out = String::new();
    introduce(verb, &mut out);
    let shown = |flag: &&Flag| match flag.scope {
        // Flags that every command accepts matter to these two only for the sake of scripts.
        Scope::Everywhere => matches!(verb, Verb::Serve | Verb::Dev),
        scope => verb.knows(scope),
    };
    for section in Section::ALL {
        if section == Section::Connection && verb.is_group() {
            continue;
        }
        let flags: Vec<_> = flags::of(verb)
            .filter(shown)
            .filter(|flag| flag.section == section && flag.effect == Effect::Live)
            .collect();
        if flags.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}:", section.title());
        for flag in flags {
            describe(flag, verb, &mut out);
        }
    }
    let idle: Vec<_> = flags::all()
        .filter(|flag| verb.knows(flag.scope) && flag.effect != Effect::Live)
        .map(|flag| format!("--{}", flag.name))
        .collect();
    if !idle.is_empty() {
        out.push_str(
            "\nAccepted without effect, for scripts and files written for other versions (see docs/config.md):\n",
        );
        wrap(&idle.join(" "), 2, &mut out);
    }
    if verb == Verb::Serve {
        out.push_str(SOURCES);
    }
    out
}

/// What a command is for, how it is written, and what hangs below it.
fn introduce(verb: Verb, out: &mut String) {
    let form = match verb {
        Verb::Serve => {
            "lockd --store URL [flags]     run the server in the foreground\n  lockd [command]".into()
        }
        verb => format!("{} {}", verb.path(), verb.entry().form).trim_end().to_owned(),
    };
    let _ = write!(out, "{}\n\nUsage:\n  {form}\n", description::about(verb));
    let examples = description::examples(verb);
    if !examples.is_empty() {
        let _ = writeln!(out, "\nExamples:\n{examples}");
    }
    if verb == Verb::Serve || verb.is_group() {
        out.push_str("\nCommands:\n");
        let width = verb.subcommands().map(|entry| entry.names[0].len() + 2).max().unwrap_or(0).max(12);
        for entry in verb.subcommands() {
            let _ = writeln!(out, "  {:<width$}{}", entry.names[0], entry.summary);
        }
        if verb == Verb::Serve {
            // It has flags and help of its own.
            out.push_str("  lql         select, cut and edit JSON documents from files and pipes\n");
        }
    } else if let [_, aliases @ ..] = verb.entry().names
        && !aliases.is_empty()
    {
        let _ = writeln!(out, "\nAlso: {}", aliases.join(", "));
    }
}

fn describe(flag: &Flag, verb: Verb, out: &mut String) {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let _ = writeln!(out, "  {}", format!("{short}--{} {}", flag.name, flag.placeholder()).trim_end());
    let mut text = flag.help.to_owned();
    let default = match (verb, flag.name) {
        (Verb::Dev, "listen") => crate::dev::LISTEN.to_owned(),
        // What the development server does by itself.
        (Verb::Dev, "disable-mtls" | "disable-storage-encryption") => "true".to_owned(),
        _ => flag.shown_default(),
    };
    if !default.is_empty() {
        let _ = write!(text, " [default:{NO_BREAK}{default}]");
    }
    if let Some(variable) = flag.variable().filter(|_| verb == Verb::Serve || verb.is_client()) {
        let second = flag.second_variable.map_or_else(String::new, |second| format!(",{NO_BREAK}{second}"));
        let _ = write!(text, " [env:{NO_BREAK}{variable}{second}]");
    }
    wrap(&text, INDENT, out);
}

/// Breaks text at blanks; a word that is too long for a line stands alone.
fn wrap(text: &str, indent: usize, out: &mut String) {
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.extend(word.chars().map(|letter| if letter == NO_BREAK { ' ' } else { letter }));
        column += width;
    }
    out.push('\n');
}

const SOURCES: &str = "
A flag wins over its environment variable, that over the key of the same name in the configuration
file, that over the default. Durations are written like 30s or 1m30s, sizes like 64MiB or 100MB.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_hundred_columns_and_names_every_flag() {
        for verb in std::iter::once(Verb::Serve).chain(crate::verb::ENTRIES.iter().map(|entry| entry.verb)) {
            let text = text(verb);
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
        let text = text(Verb::Serve);
        for flag in flags::all().filter(|flag| Verb::Serve.knows(flag.scope)) {
            assert!(text.contains(&format!("--{}", flag.name)), "--{}", flag.name);
        }
    }
}
