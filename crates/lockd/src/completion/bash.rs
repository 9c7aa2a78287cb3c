//! The script for bash. It uses nothing of the separate package of completion functions, which need not be installed.

use std::fmt::Write;

use super::{
    Value, below, offered, quoted, runs_at_once, runs_command, steps, takes_file, value, valued, verbs,
    words_to,
};

pub(super) fn script() -> String {
    let mut out = String::from(HEAD);
    let at_once = runs_at_once();
    for (from, word, to) in steps() {
        let begins = if at_once.contains(&to) { "; rest=1" } else { "" };
        let _ =
            writeln!(out, "            {}) at={}{begins} ;;", quoted(&format!("{from}/{word}")), quoted(&to));
    }
    out.push_str(AFTER_STEPS);
    for verb in verbs().filter(|verb| runs_command(*verb)) {
        let _ = writeln!(out, "                {}) rest=$((rest + 1)) ;;", quoted(&words_to(verb)));
    }
    out.push_str(WALKED);
    for verb in verbs() {
        for flag in offered(verb) {
            let words = match value(flag) {
                Value::None => continue,
                Value::Words(words) => format!("choices={}", quoted(&words.join(" "))),
                Value::File => "choices=/".to_owned(),
                Value::Free => "choices=".to_owned(),
            };
            let at = words_to(verb);
            let mut pattern = quoted(&format!("{at}/--{}", flag.name));
            if let Some(letter) = flag.short {
                let _ = write!(pattern, "|{}", quoted(&format!("{at}/-{letter}")));
            }
            let _ = writeln!(out, "        {pattern}) {words} ;;");
        }
    }
    out.push_str(VALUES_DONE);
    for verb in verbs() {
        let commands: Vec<_> = below(verb).map(|entry| entry.names[0]).collect();
        let mut flags = Vec::new();
        for flag in offered(verb) {
            flags.push(format!("--{}", flag.name));
            flags.extend(flag.short.map(|letter| format!("-{letter}")));
        }
        let _ = writeln!(
            out,
            "        {}) commands={} flags={} files={} ;;",
            quoted(&words_to(verb)),
            quoted(&commands.join(" ")),
            quoted(&flags.join(" ")),
            u8::from(takes_file(verb)),
        );
    }
    out.push_str(TAIL);
    out.replace("@VALUED@", &valued().join("|"))
}

const HEAD: &str = r#"# Completion of lockd for bash. Made by `lockd completion bash`.

_lockd_files() {
    compopt -o filenames 2>/dev/null
    local IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$1"))
}

_lockd() {
    local at='' rest=0 index=1 word current="${COMP_WORDS[COMP_CWORD]}" previous=''
    local choices='-' commands='' flags='' files=0
    COMPREPLY=()
    while [ "$index" -lt "$COMP_CWORD" ]; do
        word="${COMP_WORDS[index]}"
        index=$((index + 1))
        case "$word" in
            --) rest=$((rest + 1)); continue ;;
            @VALUED@)
                # bash makes a word of its own of the equals sign.
                [ "${COMP_WORDS[index]}" = '=' ] && index=$((index + 1))
                index=$((index + 1))
                continue
                ;;
            =) index=$((index + 1)); continue ;;
            -?*) continue ;;
        esac
        case "$at/$word" in
"#;

const AFTER_STEPS: &str = r#"            *) case "$at" in
"#;

const WALKED: &str = r#"            esac ;;
        esac
        if [ "$rest" -ge 2 ]; then break; fi
    done
    # The words after the key are another program's command line.
    if [ "$rest" -ge 2 ]; then
        if [ "$index" -eq "$COMP_CWORD" ] && [ "${COMP_WORDS[COMP_CWORD - 1]}" = '--' ]; then
            COMPREPLY=($(compgen -c -- "$current"))
        else
            _lockd_files "$current"
        fi
        return
    fi
    [ "$COMP_CWORD" -gt 0 ] && previous="${COMP_WORDS[COMP_CWORD - 1]}"
    if [ "$current" = '=' ]; then
        current=''
    elif [ "$previous" = '=' ] && [ "$COMP_CWORD" -gt 1 ]; then
        previous="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    case "$at/$previous" in
"#;

const VALUES_DONE: &str = r#"    esac
    case "$choices" in
        -) ;;
        /) _lockd_files "$current"; return ;;
        *) COMPREPLY=($(compgen -W "$choices" -- "$current")); return ;;
    esac
    case "$at" in
"#;

const TAIL: &str = r#"    esac
    case "$current" in
        -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
        *)
            if [ -n "$commands" ]; then
                COMPREPLY=($(compgen -W "$commands" -- "$current"))
            elif [ "$files" -eq 1 ]; then
                _lockd_files "$current"
            fi
            ;;
    esac
}

complete -F _lockd lockd
"#;
