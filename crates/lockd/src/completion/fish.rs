//! The script for fish.

use std::fmt::Write;

use super::{Value, below, hint, offered, runs_command, steps, takes_file, value, valued, verbs, words_to};

pub(super) fn script() -> String {
    let mut out = String::from(HEAD);
    for (from, word, to) in steps() {
        let _ = writeln!(out, "            case {}", quoted(&format!("{from}/{word}")));
        let _ = writeln!(out, "                set at {}", quoted(&to));
    }
    out.push_str(WALKED);
    for verb in verbs() {
        let at = quoted(&format!("__lockd_at {}", quoted(&words_to(verb))));
        for entry in below(verb) {
            let (name, summary) = (entry.names[0], quoted(entry.summary));
            let _ = writeln!(out, "complete -c lockd -n {at} -a {name} -d {summary}");
        }
        for flag in offered(verb) {
            let short = flag.short.map_or_else(String::new, |letter| format!(" -s {letter}"));
            let argument = match value(flag) {
                Value::None => String::new(),
                Value::Words(words) => format!(" -x -a {}", quoted(&words.join(" "))),
                Value::File => " -r -F".to_owned(),
                Value::Free => " -x".to_owned(),
            };
            let hint = quoted(hint(flag));
            let _ = writeln!(out, "complete -c lockd -n {at} -l {}{short}{argument} -d {hint}", flag.name);
        }
        if takes_file(verb) || runs_command(verb) {
            let _ = writeln!(out, "complete -c lockd -n {at} -F");
        }
    }
    out.replace("@VALUED@", &valued().join(" "))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const HEAD: &str = r#"# Completion of lockd for fish. Made by `lockd completion fish`.

# Whether the words so far lead to the command that is named.
function __lockd_at
    set -l at ''
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip -eq 1
            set skip 0
            continue
        end
        if contains -- $word @VALUED@
            set skip 1
            continue
        end
        if string match -q -- '-*' $word
            continue
        end
        switch "$at/$word"
"#;

const WALKED: &str = r#"        end
    end
    test "$at" = "$argv[1]"
end

complete -c lockd -f
"#;
