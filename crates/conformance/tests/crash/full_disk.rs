//! Disks that are full, and disks that cannot be written.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lockd_conformance::reaper;
use lockd_conformance::server::{Launch, Server, Store};

use crate::ledger::{Ledger, Sizes, Stop, audit_all};

/// Documents and attachments beside the journal.
const LARGE: Sizes = Sizes { document: 200_000, attachment: 200_000 };
/// Everything goes through the journal.
const SMALL: Sizes = Sizes { document: 400, attachment: 400 };

/// A small file system of its own, unmounted in the end.
struct Mount {
    at: tempfile::TempDir,
}

impl Mount {
    /// `None`, with a visible line, where mounting is not permitted.
    fn new(test: &str, options: &str) -> Option<Self> {
        let at = tempfile::Builder::new().prefix("lockd-mount-").tempdir().unwrap();
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at.path()).output();
        match output {
            Ok(output) if output.status.success() => {
                reaper::unmount(at.path());
                Some(Self { at })
            }
            Ok(output) => {
                println!(
                    "SKIPPED {test}: cannot mount a tmpfs: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("SKIPPED {test}: cannot run mount: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

/// Takes all the room but about this many bytes.
fn fill(directory: &Path, leave: u64) -> PathBuf {
    let path = directory.join("filler");
    let mut file = File::create(&path).unwrap();
    let block = vec![0xaa; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(leave)).unwrap();
    path
}

#[test]
fn a_full_disk_loses_nothing() {
    run_out_of_room("a_full_disk_loses_nothing", LARGE, 1 << 20);
}

#[test]
fn a_journal_without_room_loses_nothing() {
    // None at all: what is deleted again soon takes none beside the log, which is allocated ahead.
    run_out_of_room("a_journal_without_room_loses_nothing", SMALL, 0);
}

fn run_out_of_room(test: &str, sizes: Sizes, leave: u64) {
    let Some(mount) = Mount::new(test, "size=512m") else { return };
    let store = Store::At(mount.path().join("store"));
    let mut server = Launch::on(store).start();
    let client = server.client();
    let mut ledgers: Vec<Ledger> = (0..6).map(|n| Ledger::new(&format!("full{n}"))).collect();
    for ledger in &mut ledgers {
        for _ in 0..3 {
            ledger.round(&client, sizes).expect("a round of work");
        }
    }
    let filler = fill(mount.path(), leave);

    // Work until a write fails. Space that the store had allocated before may carry it some way.
    let mut failed = None;
    'working: for _ in 0..20_000 {
        for (number, ledger) in ledgers.iter_mut().enumerate() {
            match ledger.round(&client, sizes) {
                Ok(()) => {}
                Err(Stop::Gone) => {
                    failed = Some(number);
                    break 'working;
                }
                Err(Stop::Wrong(why)) => panic!("{why}\nlog of the server:\n{}", server.log.text()),
            }
        }
    }
    let failed = failed.expect("a full disk must make writes fail");

    // Reads go on for as long as the process does; it may also end with a clear line.
    match server.wait_for_exit(Duration::from_secs(3)) {
        None => {
            for (number, ledger) in ledgers.iter_mut().enumerate() {
                if number == failed {
                    continue;
                }
                if let Err(why) = ledger.audit(&client) {
                    panic!("{why}\nlog of the server:\n{}", server.log.text());
                }
            }
            println!("the server went on after the failed write");
        }
        Some(status) => {
            assert!(!status.success(), "a server that gives up must not report success");
            let log = server.log.text();
            assert!(says_what_happened(&log), "the log must say that the disk is full:\n{log}");
            println!("the server gave up after the failed write");
        }
    }
    server.kill();
    std::fs::remove_file(&filler).unwrap();
    let server = restart(&server);
    let client = server.client();
    if let Err(why) = audit_all(&mut ledgers, &client) {
        panic!("{why}\nlog of the server:\n{}", server.log.text());
    }
    for ledger in ledgers.iter_mut().filter(|ledger| !ledger.is_unusable()) {
        ledger.round(&client, sizes).expect("work goes on once there is room");
    }
    server.stop();
}

fn says_what_happened(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("no space left") || log.contains("disk is full") || log.contains("storage full")
}

fn restart(server: &Server) -> Server {
    server.launch().start()
}

#[test]
fn a_read_only_directory_is_refused() {
    let Some(mount) = Mount::new("a_read_only_directory_is_refused", "size=16m,ro") else { return };
    let failure = Launch::on(Store::At(mount.path().join("store")))
        .try_start()
        .expect_err("a server must not start on a store that it cannot write");
    assert!(failure.status.is_some_and(|status| !status.success()), "{failure}");
    assert!(
        failure.log.contains(&mount.path().display().to_string()),
        "the error names the store: {failure}"
    );
    let log = failure.log.to_lowercase();
    assert!(log.contains("read-only") || log.contains("permission denied"), "{failure}");
}
