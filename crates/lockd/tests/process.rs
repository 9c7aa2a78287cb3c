//! The built program as scripts see it: exit codes, and what goes to stdout and stderr. Names that start with `cli_`
//! carry the number of the line of the contract's checklist that they prove.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what the tests share is part of the tests")]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A fresh home directory and nothing in the environment.
fn lockd(args: &[&str], env: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_lockd"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The text of the one `command failed` line, which must be the last one.
fn command_failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = stderr(output);
    assert_eq!(text.matches("command failed").count(), 1, "{text}");
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["lvl"], "error");
    assert_eq!(line["msg"], "command failed");
    assert_eq!(line["app"], "lockd");
    assert_eq!(line["sys"], "cli.root");
    line["error"].as_str().unwrap().to_owned()
}

#[test]
fn cli_02_no_store() {
    let output = lockd(&[], &[]);
    assert!(command_failed(&output).contains("config: store is required"));
    assert_eq!(stderr(&output).lines().count(), 1);
}

#[test]
fn lql_comes_along() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "{\"a\":1}\n{\"a\":5}\n").unwrap();
    let path = file.path().to_str().unwrap();
    let found = lockd(&["lql", "/a>=3", path], &[]);
    assert_eq!((stdout(&found).as_str(), found.status.code()), ("{\"a\":5}\n", Some(0)));
    assert_eq!(lockd(&["lql", "/a>=9", path], &[]).status.code(), Some(1));
    assert!(stdout(&lockd(&["lql", "--help"], &[])).starts_with("lockd lql "));
}

#[test]
fn cli_03_unknown_command() {
    let output = lockd(&["bogus"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().next(), Some("unknown command \"bogus\" for \"lockd\""));
}

#[test]
fn cli_04_version_is_a_command_and_no_flag() {
    let output = lockd(&["--version"], &[]);
    assert_eq!(command_failed(&output), "unknown flag: --version");
    assert!(stderr(&output).starts_with("Usage:"));

    let semver = stdout(&lockd(&["version", "--semver"], &[]));
    let parts: Vec<_> = semver.trim_end().split('.').map(str::parse::<u32>).collect();
    assert!(parts.len() == 3 && parts.iter().all(Result::is_ok), "{semver}");
    assert_eq!(stdout(&lockd(&["version", "--version"], &[])), format!("v{semver}"));
    assert_eq!(stdout(&lockd(&["version"], &[])), format!("lockd v{semver}"));
}

#[test]
fn cli_05_version_in_one_form_at_a_time() {
    let output = lockd(&["version", "--version", "--semver"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().last(), Some("--version and --semver are mutually exclusive"));
    assert!(stdout(&output).is_empty());
}

#[test]
fn cli_08_missing_config_file() {
    let output = lockd(&["-c", "missing.yaml"], &[]);
    assert!(command_failed(&output).contains("config file \"missing.yaml\": "));
    assert!(stderr(&output).starts_with("Usage:"));
}

#[test]
fn cli_09_directory_as_config_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    assert_eq!(command_failed(&lockd(&["-c", path], &[])), format!("config file \"{path}\" is a directory"));
}

#[test]
fn cli_14_broken_variable() {
    let error = command_failed(&lockd(&["--store", "mem://"], &[("LOCKD_DEFAULT_TTL", "abc")]));
    assert!(error.contains("LOCKD_DEFAULT_TTL"), "{error}");
}

#[test]
fn cli_63_unknown_level() {
    let error = command_failed(&lockd(&["--store", "mem://", "--disable-mtls", "--log-level", "bogus"], &[]));
    assert!(error.contains("\"bogus\""), "{error}");
}

#[test]
fn an_error_that_ends_the_process_is_printed_whatever_the_level_and_wherever_the_log_goes() {
    assert!(command_failed(&lockd(&[], &[("LOCKD_LOG_LEVEL", "none")])).contains("store is required"));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    let output = lockd(&[], &[("LOCKD_LOG_OUTPUT", file.to_str().unwrap())]);
    assert!(command_failed(&output).contains("store is required"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), stderr(&output));

    let output = lockd(&[], &[("LOCKD_LOG_OUTPUT", "/nonexistent/log")]);
    assert!(command_failed(&output).contains("store is required"));
    let flags = ["--store", "mem://", "--disable-mtls"];
    let error = command_failed(&lockd(&flags, &[("LOCKD_LOG_OUTPUT", "/nonexistent/log")]));
    assert!(error.contains("/nonexistent/log"), "{error}");
}

#[test]
fn console_mode_is_for_people() {
    let output = lockd(&[], &[("LOCKD_LOG_MODE", "console"), ("LOCKD_LOG_DISABLE_TIMESTAMP", "true")]);
    assert!(
        stderr(&output).starts_with("ERROR command failed sys=cli.root error=\"config: store is required")
    );
    let output = lockd(&[], &[("LOCKD_LOG_MODE", "console"), ("LOCKD_LOG_FORCE_COLOR", "true")]);
    assert!(stderr(&output).contains("\u{1b}[31mERROR"));
}

#[test]
fn help_goes_to_stdout() {
    for args in
        [&["--help"][..], &["-h"], &["help"], &["help", "dev"], &["version", "-h"], &["--store", "x", "-h"]]
    {
        let output = lockd(args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(stdout(&output).contains("Usage:"), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
    }
    let output = lockd(&["help", "bogus"], &[]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nobody_has_to_listen() {
    // Both ends of the pipe are closed before the program writes to it.
    for args in [&["--help"][..], &["version"], &["bogus"], &[]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = Command::new(env!("CARGO_BIN_EXE_lockd"))
            .args(args)
            .env_clear()
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{args:?}: {status}");
    }
}
