//! Completion scripts do in a shell what they are for, and manual pages can be read. Shells other than bash are asked only
//! where they are installed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what the tests share is part of the tests"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

const LOCKD: &str = env!("CARGO_BIN_EXE_lockd");

fn lockd(words: &[&str]) -> Output {
    Command::new(LOCKD).args(words).env_clear().stdin(Stdio::null()).output().unwrap()
}

fn script(shell: &str) -> String {
    let output = lockd(&["completion", shell]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    if !found {
        eprintln!("{program} is not installed: its part of this test is skipped");
    }
    found
}

/// What bash offers for the last word, sorted.
fn bash(directory: &Path, words: &[&str]) -> Vec<String> {
    let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "{}\nCOMP_WORDS=({})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_lockd\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script("bash"),
        words.join(" ")
    );
    let output = Command::new("bash")
        .args(["--norc", "-euc", &script.replace("compopt", "true")])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    let mut offered: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    offered.sort();
    offered
}

#[test]
fn bash_completes_commands_flags_words_and_files() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["my state.yaml", "other.json"] {
        std::fs::write(directory.path().join(name), "").unwrap();
    }
    let offer = |words: &[&str]| bash(directory.path(), words);
    assert_eq!(offer(&["lockd", "cl"]), ["client"]);
    assert_eq!(offer(&["lockd", "client", "re"]), ["release", "remove"]);
    assert_eq!(offer(&["lockd", "ns", "set", ""]), ["query"]);
    assert_eq!(offer(&["lockd", "completion", ""]), ["bash", "fish", "powershell", "zsh"]);
    assert_eq!(offer(&["lockd", "client", "get", "--sh"]), ["--show-meta"]);
    // Flags and their values may stand in between.
    assert_eq!(offer(&["lockd", "-c", "version", "client", "-s", "dev", "get", "--pu"]), ["--public"]);
    assert_eq!(offer(&["lockd", "client", "acquire", "--output", ""]), ["json", "text"]);
    assert_eq!(offer(&["lockd", "client", "acquire", "--output", "=", "j"]), ["json"]);
    assert_eq!(offer(&["lockd", "client", "acquire", "--output", "="]), ["json", "text"]);
    assert_eq!(offer(&["lockd", "client", "get", "--type", "y"]), ["yaml"]);
    assert_eq!(offer(&["lockd", "client", "get", "-k", ""]), Vec::<String>::new());
    assert_eq!(offer(&["lockd", "client", "update", ""]), ["my state.yaml", "other.json"]);
    assert_eq!(offer(&["lockd", "client", "edit", "-f", "my"]), ["my state.yaml"]);
    assert!(offer(&["lockd", "client", "with", "--bl"]).contains(&"--block".to_owned()));
    assert!(offer(&["lockd", "client", "with", "job", "--", "printe"]).contains(&"printenv".to_owned()));
    assert_eq!(offer(&["lockd", "client", "with", "job", "--", "cat", "oth"]), ["other.json"]);
}

#[test]
fn bash_loads_the_script_as_it_is() {
    let load = script("bash") + "\ncomplete -p lockd";
    let output = Command::new("bash").args(["--norc", "-euc", &load]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn zsh_reads_the_script() {
    if is_installed("zsh") {
        let load = format!("autoload -U compinit && compinit -D -u\n{}\necho $_comps[lockd]", script("zsh"));
        let output = Command::new("zsh").args(["-f", "-c", &load]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "_lockd\n", "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn fish_completes() {
    if is_installed("fish") {
        let home = tempfile::tempdir().unwrap();
        let offer = |line: &str| -> Vec<String> {
            let ask = format!("{}\ncomplete -C '{line}'", script("fish"));
            let output = Command::new("fish")
                .args(["--no-config", "-c", &ask])
                .env("HOME", home.path())
                .current_dir(home.path())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
        };
        assert_eq!(offer("lockd client re"), ["release", "remove"]);
        assert_eq!(offer("lockd client -s dev get --sh"), ["--show-meta"]);
        assert_eq!(offer("lockd client acquire --output "), ["json", "text"]);
    }
}

#[test]
fn other_words_are_refused() {
    let output = lockd(&["completion", "tcsh"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("unknown command \"tcsh\" for \"lockd completion\"")
    );
    assert_eq!(lockd(&["man"]).status.code(), Some(1));
}

#[test]
fn a_broken_configuration_file_stops_neither() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "a: [").unwrap();
    for words in [vec!["completion", "bash"], vec!["man", "pages"]] {
        let output = Command::new(LOCKD)
            .args(words)
            .env("LOCKD_CONFIG", &file)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn manual_pages_are_written_and_well_formed() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("share/man1");
    let output = lockd(&["man", target.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let mut pages = 0;
    for entry in std::fs::read_dir(&target).unwrap() {
        pages += 1;
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(text.contains(part), "{}: {part}", path.display());
        }
        if is_installed("groff") {
            let output = Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(&path).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", path.display());
        }
    }
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("wrote {pages} pages to {}\n", target.display())
    );
    assert!(target.join("lockd-client-with.1").exists());
}
