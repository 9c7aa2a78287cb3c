//! The program on a terminal: what it writes there besides documents.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Runs the program on a terminal that `script` makes, in a shell, where its path is `$LQL`. While it runs, `feed` is
/// given a pipe to write to, which is called `in`, and a view of what stands on the terminal so far. None if this machine
/// has no `script`.
fn on_terminal(
    directory: &Path,
    color: bool,
    command: &str,
    feed: impl FnOnce(&mut File, &dyn Fn() -> String),
) -> Option<String> {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return None;
    }
    let pipe = directory.join("in");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).current_dir(directory);
    script.env("LQL", env!("CARGO_BIN_EXE_lql")).env("TERM", "xterm").env("SHELL", "/bin/sh");
    if color {
        script.env_remove("NO_COLOR");
    } else {
        script.env("NO_COLOR", "1");
    }
    let mut child =
        script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut terminal = child.stdout.take().unwrap();
    let reading = thread::spawn({
        let seen = seen.clone();
        move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = terminal.read(&mut part) {
                seen.lock().unwrap().extend_from_slice(&part[..length]);
            }
        }
    });
    let text = || String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    feed(&mut File::options().write(true).open(&pipe).unwrap(), &text);
    child.wait().unwrap();
    reading.join().unwrap();
    Some(text())
}

/// Writes documents until the terminal shows a line of progress, or a minute has passed.
fn until_progress(pipe: &mut File, terminal: &dyn Fn() -> String) {
    let begun = Instant::now();
    while !terminal().contains(" selected") && begun.elapsed() < Duration::from_secs(60) {
        pipe.write_all(b"{\"a\":1}\n").unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn progress_is_shown_and_erased() {
    let directory = tempfile::tempdir().unwrap();
    let Some(terminal) = on_terminal(directory.path(), true, "$LQL . in > out", until_progress) else {
        return;
    };
    assert!(terminal.starts_with("\r\x1b[K\x1b[?7l"), "{terminal:?}");
    assert!(terminal.ends_with(" selected\x1b[?7h\r\x1b[K"), "{terminal:?}");
    let out = std::fs::read_to_string(directory.path().join("out")).unwrap();
    assert!(!out.is_empty() && out.lines().all(|line| line == "{\"a\":1}"), "{out:?}");
}

#[test]
fn a_count_follows_the_progress_on_a_clean_line() {
    let directory = tempfile::tempdir().unwrap();
    let Some(terminal) = on_terminal(directory.path(), true, "$LQL -c . in", until_progress) else { return };
    let (progress, count) = terminal.rsplit_once("\r\x1b[K").unwrap();
    assert!(progress.contains(" read, "), "{terminal:?}");
    assert!(count.trim_end().parse::<u64>().is_ok(), "{terminal:?}");
}

#[test]
fn documents_have_colours_unless_they_are_unwanted() {
    for (color, expected) in [(true, "{\x1b[34m\"a\"\x1b[0m:\x1b[36m1\x1b[0m}\r\n"), (false, "{\"a\":1}\r\n")]
    {
        let directory = tempfile::tempdir().unwrap();
        let once = |pipe: &mut File, _: &dyn Fn() -> String| pipe.write_all(b"{\"a\":1}\n").unwrap();
        let Some(terminal) = on_terminal(directory.path(), color, "$LQL . in", once) else { return };
        assert_eq!(terminal, expected);
    }
}
