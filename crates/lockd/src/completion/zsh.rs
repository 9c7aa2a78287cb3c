//! The script for zsh.

use std::fmt::Write;

use super::{
    Value, below, hint, offered, quoted, runs_at_once, runs_command, steps, takes_file, value, valued, verbs,
    words_to,
};

pub(super) fn script() -> String {
    let mut out = String::from(HEAD);
    let at_once = runs_at_once();
    for (from, word, to) in steps() {
        let begins = if at_once.contains(&to) { "; key=1" } else { "" };
        let _ =
            writeln!(out, "            {}) at={}{begins} ;;", quoted(&format!("{from}/{word}")), quoted(&to));
    }
    for verb in verbs().filter(|verb| runs_command(*verb)) {
        let _ = writeln!(out, "            {}/*) (( key++ )) ;;", quoted(&words_to(verb)));
    }
    out.push_str(WALKED);
    for verb in verbs() {
        let at = words_to(verb);
        for flag in offered(verb) {
            let action = match value(flag) {
                Value::None => continue,
                Value::Words(words) => format!("compadd -- {}", words.join(" ")),
                Value::File => "_files".to_owned(),
                Value::Free => format!("_message {}", quoted(hint(flag))),
            };
            let mut pattern = quoted(&format!("{at}/--{}", flag.name));
            if let Some(letter) = flag.short {
                let _ = write!(pattern, "|{}", quoted(&format!("{at}/-{letter}")));
            }
            let _ = writeln!(out, "        {pattern}) {action}; return ;;");
        }
    }
    out.push_str("    esac\n    case \"$at\" in\n");
    for verb in verbs() {
        let _ = writeln!(out, "        {})", quoted(&words_to(verb)));
        let commands: Vec<_> =
            below(verb).map(|entry| quoted(&format!("{}:{}", entry.names[0], entry.summary))).collect();
        if !commands.is_empty() {
            let _ = writeln!(out, "            commands=({})", commands.join(" "));
        }
        let flags: Vec<_> = offered(verb)
            .map(|flag| quoted(&format!("--{}:{}", flag.name, hint(flag).replace(':', "\\:"))))
            .collect();
        let _ = writeln!(out, "            flags=({})", flags.join(" "));
        if takes_file(verb) {
            out.push_str("            files=1\n");
        }
        out.push_str("            ;;\n");
    }
    out.push_str(TAIL);
    out.replace("@VALUED@", &valued().join("|"))
}

const HEAD: &str = r#"#compdef lockd
# Completion of lockd for zsh. Made by `lockd completion zsh`.

_lockd() {
    local at='' word previous
    local -i index=2 key=0 files=0
    local -a commands flags
    while (( index < CURRENT )); do
        word="${words[index]}"
        (( index++ ))
        case "$word" in
            --)
                if (( key )); then
                    # The words that follow are another program's command line.
                    words=("${(@)words[index,-1]}")
                    (( CURRENT -= index - 1 ))
                    _normal
                    return
                fi
                continue
                ;;
            @VALUED@) (( index++ )); continue ;;
            -?*) continue ;;
        esac
        case "$at/$word" in
"#;

const WALKED: &str = r#"        esac
    done
    previous="${words[CURRENT - 1]}"
    if [[ "${words[CURRENT]}" == --*=* ]]; then
        previous="${words[CURRENT]%%=*}"
        compset -P 1 '*='
    fi
    case "$at/$previous" in
"#;

const TAIL: &str = r#"    esac
    if [[ "${words[CURRENT]}" == -* ]]; then
        _describe -o flag flags
    elif (( ${#commands} )); then
        _describe command commands
    elif (( files )); then
        _files
    fi
}

if [ "${funcstack[1]}" = '_lockd' ]; then
    _lockd "$@"
else
    compdef _lockd lockd
fi
"#;
