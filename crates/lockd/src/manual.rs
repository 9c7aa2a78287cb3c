//! The manual: one page in section 1 for every command, made from the same tables as `--help`.

use std::fmt::Write;
use std::path::Path;

use crate::description;
use crate::flags::{self, Effect, Flag, Scope, Section};
use crate::verb::{ENTRIES, Verb};
use crate::version::VERSION;

/// Writes all pages and says how many.
pub fn write(directory: &Path) -> Result<usize, String> {
    std::fs::create_dir_all(directory)
        .map_err(|error| format!("create directory {}: {error}", directory.display()))?;
    let verbs = std::iter::once(Verb::Serve).chain(ENTRIES.iter().map(|entry| entry.verb));
    let mut count = 0;
    for verb in verbs {
        let path = directory.join(format!("{}.1", name(verb)));
        std::fs::write(&path, page(verb)).map_err(|error| format!("write {}: {error}", path.display()))?;
        count += 1;
    }
    Ok(count)
}

/// `lockd-client-get`
fn name(verb: Verb) -> String {
    verb.path().replace(' ', "-")
}

fn page(verb: Verb) -> String {
    let summary = match verb {
        Verb::Serve => "coordinate processes with leases and shared state",
        verb => verb.entry().summary,
    };
    let mut out = format!(
        ".TH \"{}\" \"1\" \"\" \"lockd {VERSION}\" \"lockd\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n{}\n",
        name(verb).to_uppercase(),
        escaped(&name(verb)),
        escaped(summary),
        escaped(&verb.path()),
        escaped(verb.entry().form),
    );
    let _ = writeln!(out, ".SH DESCRIPTION\n{}", escaped(&description::about(verb).replace('`', "")));
    let mut commands = verb.subcommands().peekable();
    if commands.peek().is_some() {
        out.push_str(".SH COMMANDS\n");
        for entry in commands {
            let path = escaped(&name(entry.verb));
            let _ = writeln!(out, ".TP\n.BR {path} (1)\n{}", escaped(entry.summary));
        }
    }
    for section in Section::ALL {
        let flags: Vec<_> = flags::of(verb)
            .filter(|flag| flag.section == section && flag.effect == Effect::Live && is_listed(flag, verb))
            .collect();
        if flags.is_empty() {
            continue;
        }
        let _ = writeln!(out, ".SH {}", escaped(&section.title().to_uppercase()));
        for flag in flags {
            describe(flag, &mut out);
        }
    }
    let examples = description::examples(verb);
    if !examples.is_empty() {
        let _ = writeln!(out, ".SH EXAMPLES\n.nf\n{}\n.fi", escaped(examples));
    }
    let status = match verb {
        Verb::With => "The status of the command that was run; 1 if the lease could not be had or was lost.",
        _ => "0 on success, 1 on every failure.",
    };
    let _ = writeln!(out, ".SH EXIT STATUS\n{status}");
    if verb != Verb::Serve {
        let _ = writeln!(out, ".SH SEE ALSO\n.BR {} (1)", escaped(&name(verb.entry().parent)));
    }
    out
}

fn is_listed(flag: &Flag, verb: Verb) -> bool {
    match flag.scope {
        Scope::Everywhere => matches!(verb, Verb::Serve | Verb::Dev),
        Scope::Connection => !verb.is_group(),
        _ => true,
    }
}

fn describe(flag: &Flag, out: &mut String) {
    let short = flag.short.map_or_else(String::new, |letter| format!("\\-{letter}, "));
    let long = escaped(&format!("--{}", flag.name));
    let placeholder = match flag.placeholder() {
        "" => String::new(),
        placeholder => format!(" \\fI{placeholder}\\fR"),
    };
    let _ = writeln!(out, ".TP\n\\fB{short}{long}\\fR{placeholder}\n{}", escaped(flag.help));
    let default = flag.shown_default();
    if !default.is_empty() {
        let _ = writeln!(out, "Default: {}.", escaped(&default));
    }
    if let Some(variable) = flag.variable() {
        let _ = writeln!(out, "Variable: {}.", escaped(&variable));
    }
}

/// Text that the formatter shows as it is: no escapes, and no line that looks like a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<_> = text
        .lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_every_flag_and_no_text_is_a_request() {
        let page = page(Verb::With);
        for flag in flags::of(Verb::With).filter(|flag| flag.effect == Effect::Live) {
            assert!(page.contains(&escaped(&format!("--{}", flag.name))), "--{}", flag.name);
        }
        assert!(page.starts_with(".TH \"LOCKD-CLIENT-WITH\" \"1\""));
        assert_eq!(escaped(".so x\n'a \\b --c"), "\\&.so x\n\\&'a \\eb \\-\\-c");
    }
}
