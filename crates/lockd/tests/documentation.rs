//! What users read is made from the flag tables; the copies in the repository must not drift from them. After changing
//! a flag, run this test with UPDATE_GOLDEN=1 and look at the difference.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what the tests share is part of the tests")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use lockd::{Command, Inputs, reference, resolve};

fn assert_golden(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if let Some((number, (old, new))) =
        expected.lines().zip(actual.lines()).enumerate().find(|(_, (old, new))| old != new)
    {
        panic!("{}:{} is out of date\n  there: {old}\n  now:   {new}", path.display(), number + 1);
    }
    assert!(expected == actual, "{} is out of date: set UPDATE_GOLDEN=1 to write it", path.display());
}

fn manifest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_configuration_page_is_up_to_date() {
    assert_golden(&manifest().join("../../docs/config.md"), &reference::markdown());
}

#[test]
fn help_is_up_to_date() {
    for (name, words) in [
        ("help", "--help"),
        ("help-dev", "dev --help"),
        ("help-version", "help version"),
        ("help-help", "help -h"),
        ("help-completion", "completion"),
        ("help-completion-bash", "completion bash -h"),
        ("help-man", "help man"),
        ("help-client", "client"),
        ("help-client-acquire", "client acquire -h"),
        ("help-client-keepalive", "client keepalive -h"),
        ("help-client-release", "client release -h"),
        ("help-client-with", "client with -h"),
        ("help-client-get", "client get -h"),
        ("help-client-update", "help client update"),
        ("help-client-set", "client set -h"),
        ("help-client-mutate", "client mutate -h"),
        ("help-client-edit", "client edit -h"),
        ("help-client-remove", "client rm -h"),
        ("help-client-describe", "client describe -h"),
        ("help-client-metadata", "client metadata -h"),
        ("help-client-attachments", "client attachments"),
        ("help-client-attachments-put", "client attachments put -h"),
        ("help-client-attachments-get", "client attachments get -h"),
        ("help-client-attachments-list", "client attachments list -h"),
        ("help-client-attachments-delete", "client attachments delete -h"),
        ("help-client-attachments-delete-all", "client attachments delete-all -h"),
        ("help-client-queue", "client q"),
        ("help-client-queue-enqueue", "client queue enqueue -h"),
        ("help-client-queue-dequeue", "client queue dequeue -h"),
        ("help-client-queue-ack", "client queue ack -h"),
        ("help-client-queue-nack", "client queue nack -h"),
        ("help-client-queue-extend", "client queue extend -h"),
        ("help-client-queue-work", "client queue work -h"),
        ("help-client-queue-stats", "client queue stats -h"),
        ("help-client-queue-watch", "client queue watch -h"),
        ("help-client-queue-dead-letters", "client queue dlq"),
        ("help-client-queue-dead-letters-list", "client queue dead-letters list -h"),
        ("help-client-queue-dead-letters-show", "client queue dead-letters show -h"),
        ("help-client-queue-dead-letters-payload", "client queue dead-letters payload -h"),
        ("help-client-queue-dead-letters-redrive", "client queue dead-letters redrive -h"),
        ("help-client-queue-dead-letters-purge", "client queue dead-letters purge -h"),
        ("help-txn", "client txn"),
        ("help-txn-prepare", "txn prepare -h"),
        ("help-txn-commit", "client txn commit -h"),
        ("help-txn-rollback", "txn rollback -h"),
        ("help-txn-replay", "txn replay -h"),
        ("help-namespace", "ns"),
        ("help-namespace-get", "namespace get -h"),
        ("help-namespace-set-query", "namespace set query -h"),
    ] {
        let args: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let command =
            resolve(&Inputs { args: &args, env: &|_| None, read_file: &|_| panic!("help reads no file") });
        match command {
            Ok(Command::Print(text)) => {
                assert_golden(&manifest().join(format!("tests/golden/{name}.txt")), &text)
            }
            other => panic!("{words}: {other:?}"),
        }
    }
}
