//! `lockd client queue` and `lockd txn` as scripts use them: the built program against a running server, from a shell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what the tests share is part of the tests"
)]

mod session;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use session::Session;

/// Waits for something that other processes do; how long that takes is not the point.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(240), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lines(session: &Session, file: &str) -> usize {
    std::fs::read_to_string(session.path().join(file)).unwrap_or_default().lines().count()
}

/// A process that does not outlive its test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn terminate(child: &Background) {
    let status = std::process::Command::new("kill").arg(child.0.id().to_string()).status().unwrap();
    assert!(status.success());
}

#[test]
fn queue_72_the_steps_of_a_script() {
    let session = Session::tcp();
    let script = "set -e
        lockd client queue enqueue -q q -d x; lockd client q enqueue -q q -d y
        eval \"$(lockd client queue dequeue -q q)\"
        cat \"$LOCKD_QUEUE_PAYLOAD_PATH\"; echo
        lockd client queue extend --extend 45s
        lockd client queue ack
        test \"$(lockd client queue stats -q q --output json | grep available)\" = '  \"available\": true,'
        lockd client queue dequeue -q q -o y --block nowait >/dev/null; cat y; echo
        lockd client queue dequeue -q q --block nowait";
    let output = session.run(script);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("message_id=") && lines[0].ends_with(" attempts=0 max_attempts=5"),
        "{text}"
    );
    assert_eq!(lines[2], "x");
    assert!(lines[3].contains(" visibility_timeout_seconds=45 "), "{text}");
    assert_eq!(&lines[4..], ["acknowledged", "y"], "{text}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.ends_with("no messages available (try again later)\n"), "{error}");
}

#[test]
fn cli_56_an_empty_queue_is_no_failure() {
    let session = Session::tcp();
    let output = session.run("lockd client queue dequeue -q none --block nowait");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());
    assert_eq!(output.stderr, b"no messages available (try again later)\n");
    assert_eq!(
        session.out("ls lockd-queue-* 2>/dev/null; lockd client queue dequeue -q none --block 1s 2>&1"),
        "no messages available (try again later)\n"
    );
}

#[test]
fn cli_57_58_what_is_missing_is_noticed_before_a_server_is_asked() {
    let session = Session::tcp();
    let nowhere = "-s http://127.0.0.1:1";
    let held = "-q q --message m --lease l --meta-etag e --fencing-token 1";
    for (command, expected) in [
        ("enqueue -d x".to_owned(), "--queue is required"),
        ("enqueue -q q --attr x".into(), "invalid attribute \"x\" (expected key=value)"),
        ("enqueue -q q --attr =x".into(), "attribute key cannot be empty (\"=x\")"),
        ("dequeue".into(), "--queue is required (or set LOCKD_QUEUE_NAME)"),
        ("dequeue -q q --block soon".into(), "--block: invalid duration \"soon\""),
        ("ack".into(), "--queue is required (or set LOCKD_QUEUE_NAME)"),
        ("ack -q q".into(), "--message is required (or set LOCKD_QUEUE_MESSAGE_ID)"),
        ("ack -q q --message m".into(), "--lease is required (or set LOCKD_QUEUE_LEASE)"),
        ("ack -q q --message m --lease l".into(), "--meta-etag is required (or set LOCKD_QUEUE_META_ETAG)"),
        (
            "ack -q q --message m --lease l --meta-etag e".into(),
            "--fencing-token is required (or set LOCKD_QUEUE_FENCING_TOKEN)",
        ),
        (
            "ack -q q --message m --lease l --meta-etag e --fencing-token x".into(),
            "invalid --fencing-token \"x\" (must be a positive int64)",
        ),
        (
            format!("extend {held} --state-lease s"),
            "--state-fencing-token is required (or set LOCKD_QUEUE_STATE_FENCING_TOKEN)",
        ),
        (format!("nack {held} -i x"), "invalid --intent \"x\" (expected failure|defer)"),
        (
            format!("nack {held} --intent defer --reason x"),
            "--reason is only supported when --intent=failure",
        ),
        ("work -q q".into(), "requires a command: write -- COMMAND"),
        ("work -q q --once --drain -- true".into(), "--once and --drain are mutually exclusive"),
        ("work -- true".into(), "--queue is required (or set LOCKD_QUEUE_NAME)"),
        ("dlq purge -q q".into(), "message ids required, or --all for everything that is dead by now"),
        ("dlq purge -q q --all x".into(), "give either message ids or --all"),
    ] {
        let error = session.error(&format!("lockd client queue {command} {nowhere}"));
        let last = error.lines().last().unwrap_or_default();
        assert!(last.starts_with(expected), "{command}: {error}");
        assert!(error.starts_with("Usage:\n") || !error.contains("Usage:"), "{error}");
    }
}

#[test]
fn the_namespace_of_a_queue_comes_from_either_variable() {
    let session = Session::tcp();
    for (variables, flag, expected) in [
        ("", "", "default"),
        ("LOCKD_CLIENT_NAMESPACE=a", "", "a"),
        ("LOCKD_CLIENT_NAMESPACE=a LOCKD_QUEUE_NAMESPACE=b", "", "b"),
        ("LOCKD_CLIENT_NAMESPACE=a LOCKD_QUEUE_NAMESPACE=b", "-n C", "c"),
    ] {
        let out = session.out(&format!("{variables} lockd client queue {flag} stats -q q"));
        assert!(out.starts_with(&format!("namespace: {expected}\n")), "{out}");
    }
}

#[test]
fn payloads_pass_unchanged_from_pipes_to_files_and_pipes() {
    let session = Session::tcp();
    let script = "set -e
        head -c 6000000 /dev/urandom >big; printf 'a\\r\\n--b\\r\\n' >small; : >empty
        cat big | lockd client queue enqueue -q q -f - --content-type image/x >/dev/null
        lockd client queue enqueue -q q -f small -d ignored >/dev/null
        lockd client queue enqueue -q q -f empty >/dev/null
        lockd client queue dequeue -q q -o big2 --output json | grep payload
        lockd client queue dequeue -q q -o - 2>meta >small2; grep -c LEASE meta
        lockd client queue dequeue -q q -o empty2 >/dev/null
        for file in big small empty; do cmp $file ${file}2; done";
    let out = session.out(script);
    assert_eq!(
        out,
        "  \"payload_bytes\": 6000000,\n  \"payload_content_type\": \"image/x\",\n  \
         \"payload_path\": \"big2\",\n1\n"
    );
}

#[test]
fn a_payload_that_cannot_be_written_goes_back_uncounted() {
    let session = Session::tcp();
    session.out("lockd client queue enqueue -q q -d hello");
    let error = session.error("lockd client queue dequeue -q q -o /dev/full");
    assert!(error.starts_with("write /dev/full: "), "{error}");
    let error = session.error("lockd client queue dequeue -q q -o missing/file");
    assert!(error.starts_with("create a file in missing: "), "{error}");
    let out = session.out("lockd client queue dequeue -q q -o p --block nowait --output json");
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["attempts"], &value["failure_attempts"]), (&2.into(), &0.into()), "{out}");
}

#[test]
fn variables_of_an_earlier_delivery_do_not_stay() {
    let session = Session::tcp();
    let script =
        "lockd client queue enqueue -q q -d a >/dev/null; lockd client queue enqueue -q q -d b >/dev/null
        eval \"$(lockd client queue dequeue -q q -o p --stateful)\"; echo ${LOCKD_QUEUE_STATE_LEASE:+stateful}
        eval \"$(lockd client queue dequeue -q q -o p)\"; echo ${LOCKD_QUEUE_STATE_LEASE-none}
        lockd client queue ack";
    assert_eq!(session.out(script), "stateful\nnone\nacknowledged\n");
}

#[test]
fn an_extended_message_can_be_extended_and_given_back() {
    let session = Session::tcp();
    let script = "lockd client queue enqueue -q q -d a >/dev/null; eval \"$(lockd client queue dequeue -q q -o p)\"
        eval \"$(lockd client queue extend --output env)\"; lockd client queue extend --extend 90s --output json >extended
        lockd client queue nack 2>&1; grep -c seconds.*90 extended
        lockd client queue nack --meta-etag \"$(sed -n 's/.*meta_etag\": \"\\(.*\\)\".*/\\1/p' extended)\"";
    let out = session.out(script);
    assert_eq!(out, "lockd: cas_mismatch (message metadata changed)\n1\nrequeued\n");
}

#[test]
fn dead_letters_are_listed_shown_put_back_and_purged() {
    let session = Session::tcp();
    let fail =
        "eval \"$(lockd client queue dequeue -q q -o p)\"; lockd client queue nack --reason 'no\tpaper'";
    let script = format!(
        "lockd client queue enqueue -q q -d 'to ann' --attr lang=en --max-attempts 1 >/dev/null; {fail}
        printf '\\377' | lockd client queue enqueue -q q -f - --max-attempts 1 >/dev/null; {fail}"
    );
    session.out(&script);
    let list = session.out("lockd client queue dead-letters list -q q");
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 2, "{list}");
    assert_eq!(&rows[0][2..], ["1/1", "6", "no paper"], "{list}");
    let id = rows[0][0];
    assert_eq!(session.out("lockd client queue dlq list -q q --limit 1 --output json").lines().count(), 1);
    let shown = session.out(&format!("lockd client queue dead-letters show -q q {id}"));
    for line in [
        &format!("message_id: {id}"),
        "reason: max_attempts_exceeded",
        "failure_attempts: 1",
        "last_error: {\"detail\":\"no\\tpaper\"}",
        "attributes: {\"lang\":\"en\"}",
        "payload_bytes: 6",
        "to ann",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let shown = session.out(&format!("lockd client queue dead-letters show -q q {id} --output json"));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["payload"], &shown["attributes"]["lang"]), (&"to ann".into(), &"en".into()));
    let binary = session.out(&format!("lockd client queue dead-letters show -q q {}", rows[1][0]));
    assert!(binary.contains("\nThe payload is not shown here: "), "{binary}");
    let payload = session.run(&format!("lockd client queue dead-letters payload -q q {}", rows[1][0]));
    assert_eq!(payload.stdout, b"\xff");
    let error = session.error("lockd client queue dead-letters show -q q nonesuch");
    assert_eq!(error, "lockd: not_found (queue q has no dead letter \"nonesuch\")\n");

    assert_eq!(session.out(&format!("lockd client queue dead-letters redrive -q q {id}")), "redriven=1\n");
    let error = session.error(&format!("lockd client queue dead-letters redrive -q q {id}"));
    assert_eq!(error, "lockd: not_found (no such dead letter)\n");
    assert_eq!(
        session.out("lockd client queue dequeue -q q --block nowait -o p >/dev/null; cat p"),
        "to ann"
    );
    assert_eq!(session.out("lockd client queue dead-letters purge -q q --all"), "purged=1\n");
    assert_eq!(session.out("lockd client queue dead-letters list -q q 2>&1"), "no dead letters\n");
}

#[test]
fn watch_tells_every_change_and_survives_a_restart() {
    let mut session = Session::durable();
    let child = session
        .shell("exec lockd client queue watch -q q >events 2>errors")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut watch = Background(child);
    let event = |session: &Session, number: usize| {
        std::fs::read_to_string(session.path().join("events"))
            .unwrap_or_default()
            .lines()
            .nth(number)
            .unwrap_or_default()
            .to_owned()
    };
    until("the first event", || lines(&session, "events") == 1);
    assert!(event(&session, 0).starts_with("available=false changed_at_unix="));
    session.out("lockd client queue enqueue -q q -d x");
    until("the second event", || lines(&session, "events") == 2);
    assert!(event(&session, 1).starts_with("available=true head_message_id="));
    session.kill();
    session.restart();
    session.out("eval \"$(lockd client queue dequeue -q q -o p)\"; lockd client queue ack");
    until("the third event", || lines(&session, "events") == 3);
    assert!(event(&session, 2).starts_with("available=false "));
    terminate(&watch);
    assert_eq!(watch.0.wait().unwrap().code(), Some(1));
}

#[test]
fn a_transaction_decides_for_all_its_keys() {
    let session = Session::tcp();
    let stage =
        "eval \"$(lockd client acquire -k a)\"; T=$LOCKD_CLIENT_TXN_ID; lockd client set /n=1 >/dev/null
        eval \"$(lockd client acquire -k b --txn-id $T)\"; lockd client set /n=2 >/dev/null";
    let show = "for key in a b; do lockd client get --public -k $key --type raw 2>/dev/null; done";
    for (command, documents) in [("rollback", "null\nnull\n"), ("commit", "{\"n\":1}\n{\"n\":2}\n")] {
        let out = session.out(&format!("{stage}\nlockd txn {command} -p a,b | sed 's/.* //'; {show}"));
        assert_eq!(out, format!("state={command}\n{documents}"));
    }
    // The first decision holds.
    let script = format!(
        "{stage}\nlockd txn prepare --expires-unix $(($(date +%s) + 600)) -p default:a -p b >/dev/null
        lockd txn commit | sed 's/.* //'; lockd txn replay --txn-id $T | sed 's/.* //'"
    );
    assert_eq!(session.out(&script), "state=commit\nstate=commit\n");
    let error = session.error("lockd txn replay --txn-id '!'");
    assert!(error.starts_with("lockd: invalid_txn_id ("), "{error}");
    let error = session.error("lockd txn commit");
    assert!(error.ends_with("--txn-id is required (xid, 20-char base32) or set LOCKD_CLIENT_TXN_ID\n"));
}

#[test]
fn work_runs_a_command_for_every_message() {
    let session = Session::tcp();
    let script = "set -e
        lockd client queue enqueue -q q -d 'to ann' --attr 'lang=en,mood=\"up, mostly\"' --content-type text/plain
        lockd client queue enqueue -q q -d 'to bob'
        lockd client queue work -q q --drain -- sh -c 'cat; echo; cmp - \"$LOCKD_QUEUE_PAYLOAD_PATH\" <\"$LOCKD_QUEUE_PAYLOAD_PATH\"
            echo $LOCKD_QUEUE_NAMESPACE $LOCKD_QUEUE_NAME $LOCKD_QUEUE_ATTEMPTS/$LOCKD_QUEUE_MAX_ATTEMPTS \
                $LOCKD_QUEUE_PAYLOAD_BYTES $LOCKD_QUEUE_PAYLOAD_CONTENT_TYPE $LOCKD_QUEUE_ATTRIBUTES ${LOCKD_QUEUE_STATE_LEASE-none}'
        ls lockd-queue-* 2>/dev/null || lockd client queue stats -q q | grep available";
    let script = script.replace("mood=\"up, mostly\"", "\"mood=up, mostly\"");
    let out = session.out(&script);
    let lines: Vec<_> = out.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "to ann",
            "default q 1/5 6 text/plain {\"lang\":\"en\",\"mood\":\"up, mostly\"} none",
            "to bob",
            "default q 1/5 6 application/octet-stream {} none",
            "available: false",
        ],
        "{out}"
    );
}

#[test]
fn work_gives_back_what_fails_and_what_is_deferred() {
    let session = Session::tcp();
    let work = "lockd client queue work -q q --once --delay 0s --";
    let send = "lockd client queue enqueue -q q -d x --max-attempts 2 >/dev/null";
    // Nothing there, nothing done.
    let output = session.run(&format!("{work} false"));
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b"no messages available (try again later)\n"[..])
    );
    session.out(send);
    assert_eq!(session.run(&format!("{work} sh -c 'exit 75'")).status.code(), Some(75));
    assert_eq!(session.run(&format!("{work} nonesuch")).status.code(), Some(127));
    assert_eq!(session.run(&format!("{work} sh -c 'exit 3'")).status.code(), Some(3));
    let show = "sh -c 'echo $LOCKD_QUEUE_ATTEMPTS $LOCKD_QUEUE_FAILURE_ATTEMPTS; kill -9 $$'";
    let output = session.run(&format!("{work} {show}"));
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(output.stdout, b"4 1\n");
    let list = session.out("lockd client queue dead-letters list -q q");
    assert!(list.ends_with("\t2/2\t1\tsh: ended by signal 9\n"), "{list}");
}

#[test]
fn work_keeps_a_message_for_as_long_as_its_command_runs() {
    let session = Session::tcp();
    // The command looks for its own message once its first lease has been over for a while.
    let script = "lockd client queue enqueue -q q -d x >/dev/null
        lockd client queue work -q q --once --visibility 4s -- sh -c '
            lockd client queue dequeue -q q --block 7s; echo $LOCKD_QUEUE_ATTEMPTS' 2>&1
        lockd client queue stats -q q | grep available";
    assert_eq!(session.out(script), "no messages available (try again later)\n1\navailable: false\n");
}

#[test]
fn work_ends_a_command_whose_message_is_lost() {
    let session = Session::tcp();
    // Somebody settles the message behind the worker's back. What the command has started ends with it.
    let script = "lockd client queue enqueue -q q -d x >/dev/null
        lockd client queue work -q q --once --visibility 3s -- sh -c '
            lockd client queue nack --delay 1h >/dev/null; sleep 600; echo survived'";
    let output = session.run(script);
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("lockd: message ") && error.contains(" is lost, ending its command: "),
        "{error}"
    );
    // One that does not listen is killed.
    let script = "lockd client queue enqueue -q r -d x >/dev/null
        lockd client queue work -q r --once --visibility 3s --kill-after 100ms -- sh -c '
            trap \"\" TERM; lockd client queue nack --delay 1h >/dev/null; while :; do sleep 1; done'";
    assert_eq!(session.run(script).status.code(), Some(137));
}

#[test]
fn a_command_may_settle_its_message_itself() {
    let session = Session::tcp();
    let script = "lockd client queue enqueue -q q -d x >/dev/null
        lockd client queue work -q q --once -- lockd client queue ack
        lockd client queue stats -q q | grep available";
    assert_eq!(session.out(script), "acknowledged\navailable: false\n");
}

#[test]
fn work_with_state_remembers_between_attempts() {
    let session = Session::tcp();
    let script = "lockd client queue enqueue -q q -d x >/dev/null
        step='lockd client set /step++ >/dev/null; lockd client get --type raw 2>/dev/null; exit '
        lockd client queue work -q q --once --stateful --delay 0s -- sh -c \"$step 1\"
        lockd client queue work -q q --once --stateful --delay 0s -- sh -c \"$step 75\"
        lockd client queue work -q q --once --stateful -- sh -c \"$step 0\"
        lockd client queue stats -q q | grep available";
    assert_eq!(session.out(script), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\navailable: false\n");
}

#[test]
fn work_stops_when_it_is_told_to() {
    let session = Session::tcp();
    let begin = |command: &str| {
        session.out("lockd client queue enqueue -q q -d x; rm -f begun go");
        let child = session
            .shell(&format!(
                "exec lockd client queue work -q q --delay 1h -- sh -c '{command}' >out 2>errors"
            ))
            .spawn()
            .unwrap();
        let worker = Background(child);
        until("a command runs", || session.path().join("begun").exists());
        terminate(&worker);
        worker
    };
    // The first signal lets the command finish, and takes no other message.
    let mut worker = begin("touch begun; while [ ! -e go ]; do sleep 0.05; done; echo done");
    session.out("lockd client queue enqueue -q q -d y");
    std::fs::write(session.path().join("go"), "").unwrap();
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
    assert_eq!(session.out("cat out"), "done\n");
    assert_eq!(session.out("lockd client queue dequeue -q q -o p >/dev/null; cat p"), "y");
    // The second one ends it, and the message goes back at once and uncounted.
    let mut worker = begin("touch begun; exec sleep 600");
    // The first signal must have been seen, or both would be one.
    until("the worker ends", || {
        terminate(&worker);
        worker.0.try_wait().unwrap().is_some()
    });
    assert_eq!(worker.0.wait().unwrap().code(), Some(1));
    let out = session.out("lockd client queue dequeue -q q -o p --block nowait --output json");
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["attempts"], &value["failure_attempts"]), (&2.into(), &0.into()), "{out}");
}

#[test]
fn work_runs_several_commands_at_a_time() {
    let session = Session::tcp();
    // None of the three ends before all of them have begun.
    let script = "for n in 1 2 3; do lockd client queue enqueue -q q -d $n >/dev/null; done
        lockd client queue work -q q --drain --concurrency 3 -- sh -c '
            touch begun.$(cat); until [ -e begun.1 -a -e begun.2 -a -e begun.3 ]; do sleep 0.05; done; echo done'";
    assert_eq!(session.out(script), "done\ndone\ndone\n");
}

#[test]
fn work_goes_on_after_the_server_was_killed() {
    let mut session = Session::durable();
    session.out("for n in $(seq 1 12); do lockd client queue enqueue -q q -d $n; done");
    let child = session
        .shell("exec lockd client queue work -q q --concurrency 2 --visibility 10s -- sh -c 'echo $(cat) >>seen; sleep 0.1' 2>errors").spawn().unwrap();
    let mut worker = Background(child);
    for done in [3, 7] {
        until("messages are worked on", || lines(&session, "seen") >= done);
        session.kill();
        session.restart();
    }
    let left = |session: &Session| session.out("lockd client queue stats -q q --output json");
    until("all messages are done", || {
        lines(&session, "seen") >= 12 && left(&session).contains("\"available\": false")
    });
    // What was being worked on when the server went away may come a second time, but nothing is left out.
    let seen = session.out("sort -n seen | uniq");
    assert_eq!(seen, (1..=12).map(|n| format!("{n}\n")).collect::<String>());
    terminate(&worker);
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
    assert_eq!(session.out("lockd client queue dead-letters list -q q"), "");
    // Without a server to begin with, a worker that has an end gives up.
    session.kill();
    let error = session.error("lockd client queue work -q q --drain --timeout 1s -- true");
    assert!(error.contains("all endpoints unreachable"), "{error}");
}
