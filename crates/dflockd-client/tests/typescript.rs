//! Runs the suite of the TypeScript client (`clients/typescript/check.sh`) against the built server, so that the one test command of
//! the workspace covers both clients. It needs Node.js 20 or newer with npm, which installs the TypeScript compiler.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test")]

mod support;

use std::process::{Command, Stdio};

#[test]
fn the_typescript_client_passes_its_suite() {
    if std::env::var_os("DFLOCKD_SKIP_TYPESCRIPT").is_some() {
        eprintln!("left out: DFLOCKD_SKIP_TYPESCRIPT is set");
        return;
    }
    for program in ["node", "npm"] {
        let found = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
        assert!(
            found,
            "{program} is not installed: the TypeScript client's tests need Node.js 20 or newer with npm. Install it, or set \
             DFLOCKD_SKIP_TYPESCRIPT=1 to leave them out"
        );
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/typescript");
    let output = Command::new("./check.sh")
        .current_dir(folder)
        .env("DFLOCKD_BIN", support::binary())
        // Colours and the reporter of a terminal would hide what failed.
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "clients/typescript/check.sh failed:\n{text}\n{complaint}");
    assert!(text.contains("# fail 0"), "no summary of the tests:\n{text}");
}
