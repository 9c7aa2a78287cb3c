//! Completion scripts for shells, made from the tree of commands and the flag tables. Each script carries all it needs: it
//! finds the command that the words lead to, then offers what may follow. Nothing has to be asked of `lockd` while somebody
//! types.

mod bash;
mod fish;
mod powershell;
mod zsh;

use crate::flags::{self, Effect, Flag, Kind, Scope};
use crate::verb::{ENTRIES, Entry, Verb};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

pub(crate) fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash::script(),
        Shell::Zsh => zsh::script(),
        Shell::Fish => fish::script(),
        Shell::Powershell => powershell::script(),
    }
}

/// What may be offered for a flag's value.
enum Value {
    /// It has none.
    None,
    Words(&'static [&'static str]),
    File,
    /// Only the user knows.
    Free,
}

fn value(flag: &Flag) -> Value {
    match (flag.kind, flag.placeholder()) {
        (Kind::Switch(_), _) => Value::None,
        (Kind::Choice(words, _), _) => Value::Words(words),
        (Kind::Path(_), _) | (_, "FILE") => Value::File,
        (_, "ENGINE") if flag.name == "preferred" => Value::Words(&["index", "scan"]),
        (_, "ENGINE") => Value::Words(&["scan", "none"]),
        (_, "FORMAT") => Value::Words(&["json", "text"]),
        _ => Value::Free,
    }
}

/// The server first, then all others in the order of the help.
fn verbs() -> impl Iterator<Item = Verb> {
    std::iter::once(Verb::Serve).chain(ENTRIES.iter().map(|entry| entry.verb))
}

/// The words that lead to a command, without the program's name.
fn words_to(verb: Verb) -> String {
    verb.path().split(' ').skip(1).collect::<Vec<_>>().join(" ")
}

/// Every way to write the step from a command to one below it: where one is, the word, where it leads.
fn steps() -> impl Iterator<Item = (String, &'static str, String)> {
    ENTRIES.iter().flat_map(|entry| {
        entry.names.iter().map(|name| (words_to(entry.parent), *name, words_to(entry.verb)))
    })
}

/// The commands below this one.
fn below(verb: Verb) -> impl Iterator<Item = &'static Entry> {
    verb.subcommands()
}

/// The flags worth offering: those that its help lists.
fn offered(verb: Verb) -> impl Iterator<Item = &'static Flag> {
    flags::of(verb).filter(move |flag| {
        flag.effect == Effect::Live
            && match flag.scope {
                Scope::Everywhere => matches!(verb, Verb::Serve | Verb::Dev),
                Scope::Connection => !verb.is_group(),
                _ => true,
            }
    })
}

/// All spellings of flags that take the next word for their value, wherever they stand.
fn valued() -> Vec<String> {
    let mut spellings: Vec<_> = flags::all()
        .filter(|flag| !matches!(flag.kind, Kind::Switch(_)))
        .flat_map(|flag| {
            let long = format!("--{}", flag.name);
            std::iter::once(long).chain(flag.short.map(|letter| format!("-{letter}")))
        })
        .collect();
    spellings.sort();
    spellings.dedup();
    spellings
}

/// The first sentence of the help of a flag, for a list.
fn hint(flag: &Flag) -> &'static str {
    let end = flag.help.find([':', ';']).into_iter().chain(flag.help.find(". ")).min();
    flag.help[..end.unwrap_or(flag.help.len())].trim_end_matches('.')
}

/// Commands whose words are files or directories.
fn takes_file(verb: Verb) -> bool {
    matches!(verb, Verb::Update | Verb::Man)
}

/// How many words stand before the command line of somebody else that a command runs.
fn before_command(verb: Verb) -> Option<usize> {
    verb.entry().words.before_command()
}

/// The command whose words end in a command line of somebody else's.
fn runs_command(verb: Verb) -> bool {
    before_command(verb).is_some()
}

/// Commands that run another one, without words of their own before it.
fn runs_at_once() -> Vec<String> {
    verbs().filter(|verb| before_command(*verb) == Some(0)).map(words_to).collect()
}

/// Text between single quotes, by the rules of POSIX shells.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_names_every_command_and_flag() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Powershell] {
            let script = script(shell);
            for verb in verbs() {
                assert!(script.contains(&words_to(verb)), "{shell:?} {verb:?}");
                for flag in offered(verb) {
                    assert!(script.contains(flag.name), "{shell:?} {verb:?} --{}", flag.name);
                }
            }
        }
    }

    #[test]
    fn hints_are_one_sentence() {
        for flag in flags::all() {
            let hint = hint(flag);
            assert!(!hint.is_empty() && !hint.contains(". "), "{hint}");
        }
    }
}
