//! `lockd client` as scripts use it: the built program against a running server, from a shell. Names that start with
//! `cli_` carry the number of the line of the contract's checklist that they prove.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what the tests share is part of the tests"
)]

mod session;

use std::collections::HashMap;

use serde_json::Value;

use session::Session;

/// Whether the text is what the pattern says. `${name}` stands for any text within a line, the same everywhere.
fn matches(pattern: &str, text: &str, known: &mut HashMap<String, String>) -> bool {
    let Some(at) = pattern.find("${") else { return pattern == text };
    let Some(rest) = text.strip_prefix(&pattern[..at]) else { return false };
    let (name, after) = pattern[at + 2..].split_once('}').unwrap();
    if let Some(value) = known.get(name) {
        return rest
            .strip_prefix(value.as_str())
            .map(str::to_owned)
            .is_some_and(|rest| matches(after, &rest, known));
    }
    let line = rest.find('\n').unwrap_or(rest.len());
    for end in (1..=line).filter(|end| rest.is_char_boundary(*end)) {
        let mut guess = known.clone();
        guess.insert(name.to_owned(), rest[..end].to_owned());
        if matches(after, &rest[end..], &mut guess) {
            *known = guess;
            return true;
        }
    }
    false
}

/// One command of a recorded session and what it printed.
#[derive(Default)]
struct Entry {
    command: String,
    stdout: String,
    stderr: String,
    status: i32,
}

fn entries(section: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in section.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            entries.push(Entry { command: command.to_owned(), ..Entry::default() });
        } else if let Some(entry) = entries.last_mut().filter(|_| !line.starts_with("# ")) {
            if let Some(text) = line.strip_prefix("2> ") {
                entry.stderr.push_str(&format!("{text}\n"));
            } else if let Some(status) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
                && let Ok(status) = status.parse()
            {
                entry.status = status;
            } else {
                entry.stdout.push_str(&format!("{line}\n"));
            }
        }
    }
    entries
}

/// Every section of the catalogue is one shell session. What is written there is what the deployed command line prints,
/// apart from the texts that ours says better.
#[test]
fn recorded_sessions_print_what_they_always_printed() {
    for section in include_str!("client_sessions.txt").split("\n## ").skip(1) {
        let (title, section) = section.split_once('\n').unwrap();
        let session = Session::tcp();
        let entries = entries(section);
        let script: String = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                format!("{{ {}\n}} >out.{index} 2>err.{index}\necho $? >status.{index}\n", entry.command)
            })
            .collect();
        session.run(&script);
        let mut known = HashMap::from([("url".to_owned(), session.url.clone())]);
        for (index, entry) in entries.iter().enumerate() {
            let file =
                |name: &str| std::fs::read_to_string(session.path().join(format!("{name}.{index}"))).unwrap();
            let (out, err, status) = (file("out"), file("err"), file("status"));
            let context = format!("{title}: {}\n--- stdout\n{out}--- stderr\n{err}", entry.command);
            assert_eq!(status.trim(), entry.status.to_string(), "{context}");
            assert!(matches(&entry.stdout, &out, &mut known), "{context}--- expected\n{}", entry.stdout);
            if !entry.stderr.is_empty() || entry.status == 0 && err.is_empty() {
                assert!(matches(&entry.stderr, &err, &mut known), "{context}--- expected\n{}", entry.stderr);
            }
        }
    }
}

#[test]
fn real_uses_in_a_shell() {
    let session = Session::tcp();
    let output = session.run(include_str!("shell/uses.sh"));
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("all uses work\n"), "{output:?}");
}

#[test]
fn cli_28_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("x.sock");
    let session = Session::start(&["--listen-proto", "unix", "--listen", socket.to_str().unwrap()]);
    let command = format!("lockd client get --public -s unix://{} --disable-mtls -k k", socket.display());
    assert_eq!(session.out(&command), "null\n");
    let both =
        session.error(&format!("lockd client get --public -k k -s unix://{},http://a", socket.display()));
    assert_eq!(both, "lockd: unix endpoints cannot be combined with others\n");
}

#[test]
fn cli_44_exports_are_safe_to_evaluate() {
    let session = Session::tcp();
    let script = "eval \"$(lockd client acquire -k k --owner 'a$(touch evil)`touch evil`'\\''b\"')\"
        printf %s \"$LOCKD_CLIENT_OWNER\"";
    assert_eq!(session.out(script), "a$(touch evil)`touch evil`'b\"");
    assert!(!session.path().join("evil").exists());
}

#[test]
fn cli_45_acquire_prints_the_grant_as_json() {
    let session = Session::tcp();
    let out = session.out("lockd client acquire -k k --ttl 1m --output json");
    assert!(out.starts_with("{\n  \"") && out.ends_with("\n}\n"), "{out}");
    let grant: serde_json::Value = serde_json::from_str(&out).unwrap();
    for member in ["lease_id", "txn_id", "key", "owner", "expires_at_unix", "version", "fencing_token"] {
        assert!(!grant[member].is_null(), "{member} in {out}");
    }
    assert_eq!((&grant["key"], &grant["fencing_token"]), (&"k".into(), &1.into()));
}

#[test]
fn cli_48_release_says_so_in_two_forms() {
    let session = Session::tcp();
    let take = "eval \"$(lockd client acquire -k k)\"";
    assert_eq!(session.out(&format!("{take}; lockd client release")), "{\n  \"released\": true\n}\n");
    assert_eq!(session.out(&format!("{take}; lockd client release --output text")), "released: true\n");
}

#[test]
fn cli_49_a_key_without_a_state_is_null() {
    let session = Session::tcp();
    let out = session
        .out("eval \"$(lockd client acquire -k k)\"; lockd client get -o - 2>summary; echo $?; cat summary");
    assert_eq!(out, "null\n0\n{\n  \"bytes\": 0,\n  \"version\": \"\"\n}\n");
}

#[test]
fn cli_55_attachments_are_listed_with_these_names() {
    let session = Session::tcp();
    let out = session.out(
        "eval \"$(lockd client acquire -k k)\"; echo x | lockd client attachments put --name n -f - >/dev/null
        lockd client attachments list --output json",
    );
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    let one = &list["Attachments"][0];
    assert_eq!((&one["Name"], &one["Size"]), (&"n".into(), &2.into()), "{out}");
    assert_eq!(one["PlaintextSHA256"].as_str().map(str::len), Some(64), "{out}");
    assert!(one["CreatedAtUnix"].as_i64() > Some(1_700_000_000), "{out}");
}

#[test]
fn cli_46_nowait() {
    let session = Session::tcp();
    session.out("lockd client acquire -k k --ttl 10m");
    let error = session.error("lockd client acquire -k k --block nowait --output json");
    assert_eq!(error, "lockd: waiting (lease already held)\n");
}

#[test]
fn cli_47_missing_state_is_noticed_before_a_server_is_asked() {
    let session = Session::tcp();
    let nowhere = "-s http://127.0.0.1:1";
    for (command, expected) in [
        ("keepalive", "key required (specify --key/-k or export LOCKD_CLIENT_KEY)\n"),
        ("keepalive -k k", "--lease is required (or set LOCKD_CLIENT_LEASE)\n"),
        ("release -k k --lease l", "--fencing-token is required (or set LOCKD_CLIENT_FENCING_TOKEN)\n"),
        (
            "release -k k --lease l --fencing-token x",
            "invalid --fencing-token \"x\" (must be a positive int64)\n",
        ),
        (
            "release -k k --lease l --fencing-token 1",
            "--txn-id is required (xid, 20-char base32) or set LOCKD_CLIENT_TXN_ID\n",
        ),
        (
            "get --public -k k -n a/b",
            "invalid value \"a/b\" (allowed: lowercase letters, digits, '.', '_', '-')\n",
        ),
        ("mutate -k k --lease l --fencing-token 1 --txn-id t ' '", "no valid field mutations parsed\n"),
        ("set -k k --lease l --fencing-token 1 --txn-id t ' '", "lockd: mutations required\n"),
        (
            "remove -k k --lease l --fencing-token 1 --txn-id t --if-version -1",
            "invalid --if-version \"-1\" (must be >= 0)\n",
        ),
    ] {
        assert_eq!(session.error(&format!("lockd client {command} {nowhere}")), expected, "{command}");
    }
}

#[test]
fn cli_50_yaml_and_the_standard_input() {
    let session = Session::tcp();
    let script = "eval \"$(lockd client acquire -k k)\"
        printf 'a: 1\\nb: [x]\\n---\\nc: 2\\n' >state.yaml; lockd client update state.yaml >/dev/null
        lockd client get --type raw 2>/dev/null
        echo '{\"from\":\"stdin\"}' >f; lockd client update <f >/dev/null; lockd client get --type raw 2>/dev/null
        lockd client update - <f >/dev/null";
    assert_eq!(session.out(script), "{\"a\":1,\"b\":[\"x\"]}\n{\"from\":\"stdin\"}\n");
    // By the rules of YAML 1.1, but names stay text; what comes out goes in again.
    let script = "printf 'n: no\\nmode: 0777\\nbig: 12345678901234567890123\\n' >in.yaml; lockd client update in.yaml >/dev/null
        lockd client get --type raw 2>/dev/null; lockd client get -o out.yaml 2>/dev/null; cat out.yaml
        lockd client update out.yaml >/dev/null; lockd client get --type raw 2>/dev/null";
    assert_eq!(
        session.out(&format!("eval \"$(lockd client acquire -k k3)\"; {script}")),
        "{\"n\":false,\"mode\":511,\"big\":12345678901234567890123}\nbig: 12345678901234567890123\nmode: 511\n\"n\": false\n\
         {\"big\":12345678901234567890123,\"mode\":511,\"n\":false}\n"
    );
    let error = session.error("eval \"$(lockd client acquire -k k2)\"; echo '{} {}' | lockd client update");
    assert!(error.starts_with("parse json: "), "{error}");
}

#[test]
fn cli_52_edit_replaces_the_file_and_keeps_its_mode() {
    let session = Session::tcp();
    let script = "umask 022; echo '{\"n\":1}' >f.json; chmod 664 f.json; ln -s f.json link
        lockd client edit -f f.json /n++; stat -c %a f.json; cat f.json
        lockd client edit -f link /n++; stat -c %F link; ls";
    let out = session.out(script);
    assert_eq!(out, "664\n{\n  \"n\": 2\n}\nsymbolic link\nbin\nf.json\nlink\n");
    let error = session.error("lockd client edit -f missing.json /n++");
    assert!(error.starts_with("open missing.json: "), "{error}");
    let error = session.error("echo '[1]' | lockd client edit /n++");
    assert!(error.starts_with("parse json: "), "{error}");
}

#[test]
fn cli_59_namespace_needs_a_preference() {
    let session = Session::tcp();
    let error = session.error("lockd namespace set query -s http://127.0.0.1:1");
    assert_eq!(error.lines().last(), Some("at least one of --preferred or --fallback must be provided"));
    let error = session.error("lockd namespace set query --preferred bogus");
    assert!(error.contains("unknown --preferred \"bogus\""), "{error}");
    let named = session.out("LOCKD_CLIENT_NAMESPACE=shop lockd ns get -o text");
    assert!(named.starts_with("Namespace: shop\n"), "{named}");
}

#[test]
fn cli_61_a_broken_key_is_not_tried_again() {
    let session = Session::tcp();
    let error = session.error("lockd client acquire -k 'a b' --block 10s --retries -1");
    assert!(error.starts_with("lockd: invalid_key ("), "{error}");
}

/// What the checklist says of line 62 was withdrawn: an exported transaction is not joined by itself.
#[test]
fn cli_62_each_acquire_is_a_transaction_of_its_own() {
    let session = Session::tcp();
    let script = "eval \"$(lockd client acquire -k a)\"; T=$LOCKD_CLIENT_TXN_ID
        eval \"$(lockd client acquire -k b)\"; test $T != $LOCKD_CLIENT_TXN_ID && echo apart
        eval \"$(lockd client acquire -k c --txn-id $T)\"; test $T = $LOCKD_CLIENT_TXN_ID && echo joined";
    assert_eq!(session.out(script), "apart\njoined\n");
}

#[test]
fn cli_65_attachments_from_a_pipe() {
    let session = Session::tcp();
    let script =
        "eval \"$(lockd client acquire -k k)\"; printf x | lockd client attachments put --name a -f -
        lockd client release >/dev/null; lockd client attachments get --public --name a";
    let out = session.out(script);
    assert!(out.contains("\"Size\": 1,\n") && out.ends_with("}\nx"), "{out}");
}

#[test]
fn cli_67_edit_keeps_numbers() {
    let session = Session::tcp();
    let out = session.out("echo '{\"a\":12345678901234567890}' | lockd client edit /b=1");
    assert_eq!(out, "{\n  \"a\": 12345678901234567890,\n  \"b\": 1\n}\n");
}

#[test]
fn large_attachments_come_back_whole_and_limits_are_kept() {
    let session = Session::tcp();
    let script = "eval \"$(lockd client acquire -k k)\"; head -c 9000000 /dev/urandom >big
        lockd client attachments put --name big -f big >/dev/null
        lockd client attachments get --name big -o copy; cmp big copy && echo same
        lockd client attachments put --name small -f big --max-bytes 10 2>&1; ls .lockd-* 2>/dev/null; true";
    let out = session.out(script);
    assert!(out.starts_with("same\nlockd: attachment_too_large ("), "{out}");
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn with_hands_over_the_lease_and_the_exit_status() {
    let session = Session::tcp();
    let show =
        "lockd client with job --ttl 30s -- sh -c 'echo $LOCKD_CLIENT_KEY $LOCKD_CLIENT_FENCING_TOKEN'";
    assert_eq!(session.out(show), "job 1\n");
    for (command, status) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let output = session
            .run(&format!("lockd client with job -- sh -c 'lockd client set /n=1 >/dev/null; {command}'"));
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        // What a failed command staged is not published.
        assert_eq!(session.out("lockd client get --public -k job 2>/dev/null"), "null\n");
    }
    session.out("lockd client with job -- lockd client set /n=1");
    assert_eq!(session.out("lockd client get --public -k job --type raw 2>/dev/null"), "{\"n\":1}\n");
    assert_eq!(session.run("lockd client with job -- nonesuch").status.code(), Some(127));
    // Every one of them gave the lease back.
    session.out("lockd client acquire -k job --block nowait");
}

#[test]
fn with_ends_a_command_whose_lease_is_lost() {
    let session = Session::tcp();
    let take_away = "lockd client release >/dev/null; exec sleep 600";
    let output = session.run(&format!("lockd client with job --ttl 3s -- sh -c '{take_away}'"));
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("lockd: the lease on job is lost, ending the command: "), "{error}");

    // With a warning the command goes on to its end, but its success does not count.
    let script = "lockd client with job --ttl 3s --on-lost warn -- sh -c \
        'lockd client release >/dev/null; while ! grep -q lost warned; do sleep 0.05; done; echo done' 2>warned";
    let output = session.run(script);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"done\n");
}

#[test]
fn with_keeps_a_lease_that_the_server_cuts_short() {
    let session = Session::start(&["--listen", "127.0.0.1:0", "--default-ttl", "5s", "--max-ttl", "6s"]);
    let late = "sleep 8; lockd client acquire -k job --owner other --block nowait >/dev/null 2>&1 && echo stolen || echo held";
    let output = session.run(&format!("lockd client with job --ttl 1h -- sh -c '{late}'"));
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"held\n"[..]), "{output:?}");
}

#[test]
fn with_does_not_succeed_when_the_lease_ran_out_unseen() {
    let session = Session::tcp();
    // Another gets the key while the keeper is stopped, and the command ends before it goes on.
    let script = "lockd client with job --ttl 2s -- sh -c 'touch begun; while [ ! -e go ]; do sleep 0.05; done; touch done' &
        until [ -e begun ]; do sleep 0.05; done
        kill -STOP $!
        lockd client acquire -k job --owner other --ttl 1m --block 1m >/dev/null && echo taken
        touch go; until [ -e done ]; do sleep 0.05; done; sleep 0.5
        kill -CONT $!; wait $! && echo success || echo failure";
    let output = session.run(script);
    assert_eq!(output.stdout, b"taken\nfailure\n", "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("lockd: the lease on job "), "{error}");
}

#[test]
fn a_lease_that_cannot_be_told_of_is_given_back() {
    let session = Session::tcp();
    let output = session.run(
        "lockd client acquire -k k --ttl 5m >/dev/full; echo $?; lockd client acquire -k k --block nowait >/dev/null && echo free",
    );
    assert_eq!(output.stdout, b"1\nfree\n", "{output:?}");
}

#[test]
fn a_condition_that_cannot_be_sent_is_not_left_out() {
    let session = Session::tcp();
    let script = "eval \"$(lockd client acquire -k k --ttl 5m)\"; echo '{\"n\":1}' | lockd client update -k k >/dev/null
        echo '{\"n\":2}' | lockd client update -k k --if-etag ' ' 2>/dev/null && echo blank
        etag=$(printf 'dead\\rbeef'); echo '{\"n\":2}' | lockd client update -k k --if-etag \"$etag\" 2>error; echo $?; cat error
        lockd client acquire -k huge --block 9223372036854775807 >/dev/null && echo granted
        lockd client get -k k 2>/dev/null";
    let told = session.out(script);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "1", "{told}");
    assert!(lines[1].contains("invalid header \"x-if-state-etag: dead\\rbeef\""), "{told}");
    assert_eq!(lines[2], "granted", "{told}");
    assert_eq!(lines[3..].concat().replace(' ', ""), "{\"n\":1}", "{told}");
}

#[test]
fn flags_beat_variables_and_those_beat_the_file() {
    let session = Session::tcp();
    let script = "mkdir .lockd; printf 'client:\\n  server: \"%s\"\\n  disable_mtls: true\\n' $LOCKD_CLIENT_SERVER >.lockd/config.yaml
        unset LOCKD_CLIENT_SERVER LOCKD_CLIENT_DISABLE_MTLS; lockd client get --public -k k 2>/dev/null";
    assert_eq!(session.out(script), "null\n");
    let error = session.error("LOCKD_CLIENT_SERVER=http://127.0.0.1:1 lockd client get --public -k k");
    assert!(
        error.starts_with("lockd: all endpoints unreachable (attempted http://127.0.0.1:1): "),
        "{error}"
    );
    // One that does not answer is passed over.
    assert_eq!(
        session.out("lockd client get --public -k k -s http://127.0.0.1:1,$LOCKD_CLIENT_SERVER 2>/dev/null"),
        "null\n"
    );
    let error = session.error("lockd client get --public -k k --log-level bogus");
    assert_eq!(error, "invalid client log level \"bogus\"\n");
}

#[test]
fn get_tells_in_its_exit_status_that_there_is_no_document() {
    let session = Session::tcp();
    let script = "lockd client get --public -k none --exit-code 2>/dev/null; echo $?
        lockd client get --public -k none 2>/dev/null; echo $?
        lockd client with some -- lockd client set /a=1 >/dev/null
        lockd client get --public -k some --type raw --exit-code 2>/dev/null; echo $?";
    assert_eq!(session.out(script), "null\n1\nnull\n0\n{\"a\":1}\n0\n");
}

#[test]
fn cli_51_set_fails_when_another_writer_came_first() {
    let session = Session::tcp();
    // The file that set reads while it works is a pipe: whoever writes to it has the document changed first.
    let script = |flag: &str, begin: &str| {
        format!(
            "eval \"$(lockd client acquire -k contested{flag})\"
            {begin}
            rm -f pipe{flag}; mkfifo pipe{flag}
            lockd client set {flag} textfile:/text=./pipe{flag} >/dev/null 2>error &
            exec 3>pipe{flag}
            lockd client set /other=1 >/dev/null
            echo hello >&3; exec 3>&-
            wait $!; echo $?"
        )
    };
    let begin = "lockd client set /begin=1 >/dev/null";
    assert_eq!(session.out(&script("", begin)), "1\n");
    assert!(session.out("cat error").contains("lockd: "), "{}", session.out("cat error"));
    assert_eq!(session.out(&script("--no-cas", begin)), "0\n");
    // That there was no document is a condition, too, whether there never was one or it was removed.
    for begin in ["", "lockd client set /a=1 >/dev/null; lockd client remove >/dev/null"] {
        let key = if begin.is_empty() { "new" } else { "removed" };
        let script = script("", begin).replace("contested", key);
        assert_eq!(session.out(&script), "1\n", "{key}");
        let error = session.out("cat error");
        assert!(error.contains("etag_mismatch"), "{error}");
    }
}

#[test]
fn attachments_are_listed_in_the_names_of_the_api_on_request() {
    let session = Session::tcp();
    let list = session.out(
        "lockd client with files -- sh -c 'echo x | lockd client attachments put --name a -f -' >/dev/null
        lockd client attachments list --public -k files --output json-v2",
    );
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["attachments"][0]["name"], "a");
    assert_eq!(list["attachments"][0]["size"], 2);
    assert_eq!(list["key"], "files");
}
