//! The built program, as people and scripts use it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

use std::{
    io::Write,
    process::{Command, Stdio},
};

struct Ran {
    stdout: String,
    stderr: String,
    status: i32,
}

fn lql(args: &[&str], stdin: &str) -> Ran {
    lql_in(std::env::temp_dir().as_path(), args, stdin)
}

fn lql_in(directory: &std::path::Path, args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lql"))
        .args(args)
        .current_dir(directory)
        .env("HOME", directory)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.as_bytes().to_vec();
    // A program that has ended need not have read everything.
    let feeding = std::thread::spawn(move || {
        let _ = input.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        status: output.status.code().unwrap(),
    }
}

/// Runs it where nothing goes wrong, and returns the output.
fn printed(args: &[&str], stdin: &str) -> String {
    let ran = lql(args, stdin);
    assert_eq!((ran.stderr.as_str(), ran.status), ("", 0), "{args:?}");
    ran.stdout
}

const ORDERS: &str = r#"{"id":1,"status":"open","total":120.50,"lines":[{"sku":"a"},{"sku":"b"}]}
{"id":2,"status":"done","total":80}
[ {"id":3, "status":"open", "total":20}, {"id" : 4} ]
"#;

#[test]
fn documents_are_selected() {
    assert_eq!(
        printed(&["/status=open"], ORDERS),
        "{\"id\":1,\"status\":\"open\",\"total\":120.50,\"lines\":[{\"sku\":\"a\"},{\"sku\":\"b\"}]}\n\
         {\"id\":3,\"status\":\"open\",\"total\":20}\n"
    );
    assert_eq!(printed(&["/lines/sku=b", "-f", "/id"], ORDERS), "{\"id\":1}\n");
    assert_eq!(printed(&["-v", "exists{/status}"], ORDERS), "{\"id\":4}\n");
    assert_eq!(printed(&["-c", "."], ORDERS), "4\n");
    assert_eq!(printed(&["-cv", "/status=open"], ORDERS), "2\n");
    assert_eq!(printed(&[r#"{"range":{"field":"/total","gt":100}}"#, "-f/id"], ORDERS), "{\"id\":1}\n");
    assert_eq!(printed(&["{}", "-c"], ORDERS), "4\n");
}

#[test]
fn fields_are_cut_out() {
    assert_eq!(
        printed(&[".", "-f", "/id,/lines[]/sku", "--fields", "/gone"], ORDERS),
        "{\"id\":1,\"lines\":[{\"sku\":\"a\"},{\"sku\":\"b\"}]}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n"
    );
}

#[test]
fn documents_are_edited() {
    assert_eq!(
        printed(&["/id=2", "-m", "/status=sent", "-m", "/tries++", "-m", "rm:/total"], ORDERS),
        "{\"id\":2,\"status\":\"sent\",\"tries\":1}\n"
    );
    assert_eq!(
        printed(&["/id=4", "-a", "-m", "/status=new", "-f", "/status"], "{\"id\": 4}{\"id\": 5,\n\"x\":[]}"),
        "{\"status\":\"new\"}\n{\"id\":5,\"x\":[]}\n"
    );
    let ran = lql(&[".", "-m", "/id++"], "{\"id\":1}\n{\"id\":\"x\"}\n{\"id\":3}\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("{\"id\":2}\n", 2));
    assert_eq!(
        ran.stderr,
        "lql: stdin: the document at byte 9: increment /id: the value is not numeric but a string\n"
    );
    let ran = lql(&[".", "-m", "/a=1"], "7");
    assert_eq!(ran.stderr, "lql: stdin: the document at byte 0: only objects can be edited\n");
}

#[test]
fn lql_53_values_come_from_files() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("text"), "a \"b\"\n").unwrap();
    std::fs::write(directory.path().join("bytes"), [0xff, 0x00]).unwrap();
    let ran = lql_in(
        directory.path(),
        &[".", "-m", "file:/t=text", "-m", "file:/b=~/bytes", "-m", "base64file:/c=./text"],
        "{}",
    );
    assert_eq!(ran.stdout, "{\"b\":\"/wA=\",\"c\":\"YSAiYiIK\",\"t\":\"a \\\"b\\\"\\n\"}\n");
    let ran = lql_in(directory.path(), &[".", "-m", "textfile:/t=bytes"], "{}");
    assert!(ran.status == 2 && ran.stderr.contains("bytes") && ran.stdout.is_empty(), "{}", ran.stderr);
    let ran = lql_in(directory.path(), &[".", "-m", "file:/t=gone"], "{}");
    assert!(ran.status == 2 && ran.stderr.contains("gone"), "{}", ran.stderr);
}

#[test]
fn output_can_be_made_for_people() {
    assert_eq!(
        printed(&[".", "--pretty"], "{\"a\":[1,{}],\"b\":\"x\"}"),
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"x\"\n}\n"
    );
    assert_eq!(
        printed(&[".", "--color=always"], "{\"a\":1}").replace('\x1b', "^"),
        "{^[34m\"a\"^[0m:^[36m1^[0m}\n"
    );
    assert_eq!(printed(&[".", "--color", "auto"], "{\"a\":1}"), "{\"a\":1}\n");
}

#[test]
fn the_exit_status_tells_whether_something_was_selected() {
    for args in [&["/id=9"][..], &["/id=9", "-c"], &["/id=9", "-a"], &[".", "-v"]] {
        assert_eq!(lql(args, ORDERS).status, 1, "{args:?}");
    }
    assert_eq!(lql(&["."], "").status, 1);
    assert_eq!(lql(&["/id=9", "-a", "-f/id"], "{\"id\":1}").stdout, "{\"id\":1}\n");
}

#[test]
fn files_are_read_in_order_and_a_broken_one_stops_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a"), "{\"n\":1}").unwrap();
    std::fs::write(directory.path().join("b"), "{\"n\":2}\n{\"n\":\n").unwrap();
    let ran = lql_in(directory.path(), &[".", "a", "b", "gone", "-", "a"], "{\"n\":3}");
    assert_eq!(ran.stdout, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":1}\n");
    let errors: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(errors[0], "lql: b: byte 14: expected a value after ':', found the end of the input");
    assert!(errors[1].starts_with("lql: open gone: "), "{errors:?}");
    assert_eq!((errors.len(), ran.status), (2, 2));
}

#[test]
fn mistakes_are_explained() {
    for (args, message) in [
        (&["/n>=\"10\""][..], "lql: range comparisons require numeric or datetime literals\n"),
        (&["eq{f=/x"], "  eq{f=/x\n"),
        (&[".", "-m", "/n=+0"], "increment mutation requires non-zero delta\n  in the mutation \"/n=+0\"\n"),
        (&[".", "-f", "a"], "lql: field \"a\" must start with '/', like /status or /lines[]/sku\n"),
        (
            &[".", "--max-document", "8"],
            "byte 0: the document that begins here is larger than 8 bytes; --max-document allows more\n",
        ),
    ] {
        let ran = lql(args, "{\"a\":\"0123456789\"}");
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 2), "{args:?}");
        assert!(ran.stderr.contains(message), "{args:?}: {}", ran.stderr);
    }
    let ran = lql(&[".", "-m", &"/p{".repeat(10_000)], "");
    assert!(ran.status == 2 && ran.stderr.len() < 1000, "{}", ran.stderr);
    // What is not printed is not held.
    let ran = lql(&["/a=x", "-c", "--max-document", "8"], "{\"a\":\"0123456789\"} {\"a\":\"x\"}");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.status), ("1\n", "", 0));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.json"), "{}").unwrap();
    let ran = lql_in(directory.path(), &["in.json"], "");
    assert!(ran.stderr.contains("the name of a file; the selector comes first"), "{}", ran.stderr);
    let ran = lql(&["eq{f=/a,any=x}"], "");
    assert!(ran.stderr.ends_with('^') || ran.stderr.ends_with("^\n"), "{}", ran.stderr);
    let ran = lql(&["--bad"], "");
    assert_eq!(
        ran.stderr,
        "Usage:\n  lql [flags] SELECTOR [FILE]...\n\nRun 'lql --help' for all flags.\n\nunknown flag: --bad\n"
    );
}

/// Set LQL_GOLDEN to write the file anew.
#[test]
fn the_help_text_is_the_golden_one() {
    let help = printed(&["--help"], "");
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt");
    if std::env::var_os("LQL_GOLDEN").is_some() {
        std::fs::write(golden, &help).unwrap();
    }
    assert_eq!(help, std::fs::read_to_string(golden).unwrap());
    assert!(help.lines().all(|line| line.chars().count() <= 100));
    assert_eq!(printed(&["-ch"], ""), help);
    assert_eq!(printed(&["--version"], ""), format!("lql {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lql"))
        .args(["."])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all("{\"a\":1}\n".repeat(100_000).as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!((String::from_utf8(output.stderr).unwrap().as_str(), output.status.code()), ("", Some(0)));
}
