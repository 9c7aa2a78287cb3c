//! The script for PowerShell.

use std::fmt::Write;

use super::{Value, below, hint, offered, steps, value, valued, verbs, words_to};

pub(super) fn script() -> String {
    let mut out =
        String::from("# Completion of lockd for PowerShell. Made by `lockd completion powershell`.\n\n");
    out.push_str(
        "Register-ArgumentCompleter -Native -CommandName lockd -ScriptBlock {\n    \
         param($word, $line, $position)\n    $steps = @{\n",
    );
    for (from, word, to) in steps() {
        let _ = writeln!(out, "        {} = {}", quoted(&format!("{from}/{word}")), quoted(&to));
    }
    out.push_str("    }\n    $offers = @{\n");
    for verb in verbs() {
        let _ = writeln!(out, "        {} = @(", quoted(&words_to(verb)));
        for entry in below(verb) {
            let _ = writeln!(out, "            , @({}, {})", quoted(entry.names[0]), quoted(entry.summary));
        }
        for flag in offered(verb) {
            let name = quoted(&format!("--{}", flag.name));
            let _ = writeln!(out, "            , @({name}, {})", quoted(hint(flag)));
        }
        out.push_str("        )\n");
    }
    out.push_str("    }\n    $choices = @{\n");
    for verb in verbs() {
        for flag in offered(verb) {
            if let Value::Words(words) = value(flag) {
                let at = words_to(verb);
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                let words = words.join(", ");
                let _ = writeln!(out, "        {} = @({words})", quoted(&format!("{at}/--{}", flag.name)));
            }
        }
    }
    out.push_str(TAIL);
    let valued: Vec<_> = valued().iter().map(|spelling| quoted(spelling)).collect();
    out.replace("@VALUED@", &valued.join(", "))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

const TAIL: &str = r#"    }
    $valued = @(@VALUED@)
    $at = ''
    $previous = ''
    $skip = $false
    foreach ($element in ($line.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $position) { break }
        $text = $element.Extent.Text
        $previous = $text
        if ($skip) { $skip = $false; $previous = ''; continue }
        if ($valued -ccontains $text) { $skip = $true; continue }
        if ($text.StartsWith('-')) { continue }
        if ($steps.ContainsKey("$at/$text")) { $at = $steps["$at/$text"] }
    }
    if ($skip) {
        $choices["$at/$previous"] | Where-Object { $_ -like "$word*" } | ForEach-Object {
            [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
        }
        return
    }
    $offers[$at] | Where-Object { $_[0] -like "$word*" } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_[0], $_[0], 'ParameterName', $_[1])
    }
}
"#;
