//! `kill -9` at random moments under load.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::lease::Client;
use lockd_conformance::server::{Launch, StoreKind};
use rustix::process::Signal;
use serde_json::json;

use crate::ledger::{Ledger, Sizes, Stop, audit_all};
use crate::pair::Pair;

const WORKERS: usize = 8;
const SIZES: Sizes = Sizes { document: 60_000, attachment: 200_000 };

fn kills() -> usize {
    let text = std::env::var("LOCKD_CRASH_KILLS").unwrap_or_else(|_| {
        let slow = std::env::var("LOCKD_SLOW").is_ok_and(|value| value == "1");
        if slow { "100" } else { "10" }.to_owned()
    });
    text.parse().unwrap_or_else(|_| panic!("LOCKD_CRASH_KILLS={text} is not a number"))
}

/// Works until the server is gone. The last round may leave a lease open on purpose.
fn work(ledger: &mut Ledger, client: &Client, stop: &AtomicBool) -> Result<(), String> {
    while !stop.load(Ordering::Relaxed) {
        match ledger.round(client, SIZES) {
            Ok(()) => {}
            Err(Stop::Gone) => return Ok(()),
            Err(Stop::Wrong(why)) => return Err(why),
        }
    }
    Ok(())
}

/// Commits two keys at a time until the server is gone.
fn work_in_pairs(pair: &mut Pair, client: &Client, stop: &AtomicBool) -> Result<(), String> {
    while !stop.load(Ordering::Relaxed) && pair.round(client)? {}
    Ok(())
}

/// Fights with others for one key and remembers every token it was granted.
fn fight(client: &Client, key: &str, tokens: &Mutex<Vec<i64>>, stop: &AtomicBool) -> Result<(), String> {
    use lockd_conformance::http::Request;
    use lockd_conformance::lease::{acquire_body, merged};
    let body = merged(acquire_body(key), json!({"ttl_seconds": 1, "block_seconds": 5}));
    while !stop.load(Ordering::Relaxed) {
        let Ok(answer) = client.try_call(&Request::post("/v1/acquire").json(&body)) else { return Ok(()) };
        match answer.status {
            200 => {
                let lease = answer.lease();
                tokens.lock().unwrap().push(lease.token);
                if client.try_call(&lease.release()).is_err() {
                    return Ok(());
                }
            }
            409 | 500.. => {}
            _ => return Err(format!("an acquire was refused: {answer}")),
        }
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let seed = fastrand::u64(..);
    let kills = kills();
    println!("{kills} kills, seed {seed}");
    let mut moments = fastrand::Rng::with_seed(seed);
    let mut server = Launch::fresh(StoreKind::Disk).start();
    let mut ledgers: Vec<Ledger> = (0..WORKERS).map(|n| Ledger::new(&format!("w{n}"))).collect();
    let mut retired: Vec<Ledger> = Vec::new();
    let mut pairs = [Pair::new(), Pair::new()];
    let contended = fresh::key("contended");
    let tokens = Mutex::new(Vec::new());
    let mut slowest_start = Duration::ZERO;

    for kill in 0..kills {
        let client = server.client();
        let stop = AtomicBool::new(false);
        // One worker stands still with a staged document, so that there is always one to find again.
        let (standing, working) = ledgers.split_at_mut(1);
        if !standing[0].holds_a_lease() {
            standing[0].take(&client).expect("acquire before the kill");
            standing[0].stage_document(&client, SIZES.document).expect("stage before the kill");
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = working
                .iter_mut()
                .map(|ledger| scope.spawn(|| work(ledger, &client, &stop)))
                .chain(pairs.iter_mut().map(|pair| scope.spawn(|| work_in_pairs(pair, &client, &stop))))
                .chain((0..3).map(|_| scope.spawn(|| fight(&client, &contended, &tokens, &stop))))
                .collect();
            std::thread::sleep(Duration::from_millis(moments.u64(20..600)));
            server.signal(Signal::KILL);
            server.wait_for_exit(Duration::from_secs(10));
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                if let Err(why) = worker.join().unwrap() {
                    panic!(
                        "before kill {kill} (seed {seed}): {why}\nlog of the server:\n{}",
                        server.log.text()
                    );
                }
            }
        });
        let started = Instant::now();
        server = server.kill_and_restart();
        slowest_start = slowest_start.max(started.elapsed());
        let client = server.client();
        let audit = audit_all(&mut ledgers, &client)
            .and_then(|()| audit_all(&mut retired, &client))
            .and_then(|()| pairs.iter().try_for_each(|pair| pair.audit(&client)));
        if let Err(why) = audit {
            panic!("after kill {kill} (seed {seed}): {why}\nlog of the server:\n{}", server.log.text());
        }
        pairs.iter_mut().for_each(Pair::start_over);
        for (number, ledger) in ledgers.iter_mut().enumerate() {
            if ledger.is_unusable() {
                retired.push(std::mem::replace(ledger, Ledger::new(&format!("w{number}"))));
            }
        }
    }
    let together: u64 = pairs.iter().map(|pair| pair.rounds).sum();
    let acknowledged: u64 = ledgers.iter().chain(&retired).map(|ledger| ledger.acknowledged).sum();
    let tokens = tokens.into_inner().unwrap();
    let different: HashSet<i64> = tokens.iter().copied().collect();
    println!(
        "{acknowledged} acknowledged operations on {} keys, {together} transactions of two keys and {} grants of a \
         contended key survived {kills} kills; slowest start {slowest_start:?}",
        ledgers.len() + retired.len(),
        tokens.len()
    );
    assert_eq!(different.len(), tokens.len(), "a fencing token was granted twice");
    assert!(acknowledged > 0 && together > 0 && !tokens.is_empty(), "the load did nothing");
    server.stop();
}

#[test]
fn a_second_process_on_the_same_store_is_refused() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let client = server.client();
    let key = client.committed("mine", "[1]");
    let failure = server.launch().try_start().expect_err("two processes must not share a store");
    assert!(failure.status.is_some_and(|status| !status.success()), "{failure}");
    let path = server.store().path().unwrap().display().to_string();
    let log = failure.log.to_lowercase();
    assert!(failure.log.contains(&path), "the error names the store: {failure}");
    assert!(
        ["in use", "already", "another process", "locked"].iter().any(|word| log.contains(word)),
        "{failure}"
    );
    client.public_get(&key).expect_status(200).expect_text("[1]");
    // The lock goes with its owner, however it ends.
    let server = server.kill_and_restart();
    server.client().public_get(&key).expect_status(200).expect_text("[1]");
}

/// SIGTERM in the middle of work: whatever was acknowledged until the end is there afterwards.
#[test]
fn a_stop_under_load_keeps_what_was_acknowledged() {
    let mut server = Launch::fresh(StoreKind::Disk).with(&["--drain-grace", "1s"]).start();
    let client = server.client();
    let stop = AtomicBool::new(false);
    let mut ledgers: Vec<Ledger> = (0..WORKERS).map(|n| Ledger::new(&format!("term{n}"))).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            ledgers.iter_mut().map(|ledger| scope.spawn(|| work(ledger, &client, &stop))).collect();
        std::thread::sleep(Duration::from_millis(500));
        server.signal(Signal::TERM);
        let status = server.wait_for_exit(Duration::from_secs(20));
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().unwrap().unwrap();
        }
        let log = server.log.text();
        assert!(
            status.is_some_and(|status| status.success()),
            "the server ended with {status:?}; its log:\n{log}"
        );
    });
    let server = server.launch().start();
    audit_all(&mut ledgers, &server.client()).unwrap();
}

#[test]
fn a_clean_stop_keeps_everything() {
    let server = Launch::fresh(StoreKind::Disk).start();
    let launch = server.launch();
    let client = server.client();
    let mut ledgers: Vec<Ledger> = (0..4).map(|n| Ledger::new(&format!("stop{n}"))).collect();
    for ledger in &mut ledgers {
        for _ in 0..5 {
            ledger.round(&client, SIZES).expect("a round of work");
        }
    }
    server.stop();
    let server = launch.start();
    audit_all(&mut ledgers, &server.client()).unwrap();
    server.stop();
}
