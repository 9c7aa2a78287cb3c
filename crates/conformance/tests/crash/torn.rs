//! A log whose last write did not reach the disk completely.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lockd_conformance::fresh;
use lockd_conformance::lease::Client;
use lockd_conformance::server::{Launch, Store, StoreKind};

use crate::ledger::{Ledger, Sizes};

const SIZES: Sizes = Sizes { document: 5000, attachment: 50_000 };

#[test]
fn a_torn_last_write_is_dropped() {
    // How much of the end is missing: a few bytes, and then more and more of the last record.
    for missing in [1, 3, 17, 100, 400] {
        let mut server = Launch::fresh(StoreKind::Disk).start();
        let client = server.client();
        let mut ledger = Ledger::new("kept");
        for _ in 0..5 {
            ledger.round(&client, SIZES).expect("a round of work");
        }
        // The last batch of the journal: nothing else is damaged below.
        let last = last_write(&client);
        server.kill();
        let torn = tear(server.store(), missing);
        let restarted = server.launch().try_start();
        let server = match restarted {
            Ok(server) => server,
            Err(failure) => panic!("{missing} bytes torn off {}: {failure}", torn.display()),
        };
        let client = server.client();
        ledger
            .audit(&client)
            .unwrap_or_else(|why| panic!("{missing} bytes torn off {}: {why}", torn.display()));
        // The damaged write is there completely or not at all.
        let answer = client.public_get(&last.0);
        match answer.status {
            204 => {}
            200 => assert_eq!(answer.text(), last.1),
            _ => panic!("{answer}"),
        }
        ledger.round(&client, SIZES).expect("work goes on");
    }
}

/// Commits one more key, whose release is the last batch written.
fn last_write(client: &Client) -> (String, String) {
    let document = format!("[\"{}\"]", "z".repeat(2000));
    let key = fresh::key("last");
    let lease = client.acquire(&key);
    client.call(lease.update(document.clone())).expect_status(200);
    client.call(lease.release()).expect_status(200);
    (key, document)
}

/// Cuts the last `missing` bytes that were written to the log, or to the journal of a store without one.
fn tear(store: &Store, missing: u64) -> PathBuf {
    let directory = store.path().unwrap();
    let mut journals = Vec::new();
    find(&directory, &mut journals);
    journals.sort_by_key(|(_, modified)| *modified);
    let Some((journal, _)) = journals.pop() else { panic!("no journal below {}", directory.display()) };
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&journal).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    // It may be allocated ahead; its written part ends with the last byte that is not zero.
    let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
    assert!(written > missing, "{} holds {written} bytes", journal.display());
    if bytes.len() as u64 > written {
        // Keep the length; only the content of the tail did not arrive.
        file.seek(SeekFrom::Start(written - missing)).unwrap();
        file.write_all(&vec![0; missing as usize]).unwrap();
    } else {
        file.set_len(written - missing).unwrap();
    }
    journal
}

fn find(directory: &Path, found: &mut Vec<(PathBuf, SystemTime)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            find(&path, found);
        } else if path.parent().is_some_and(|parent| parent.ends_with("log"))
            || path.extension().is_some_and(|e| e == "jnl")
        {
            found.push((path, metadata.modified().unwrap()));
        }
    }
}
