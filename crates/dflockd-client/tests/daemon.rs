//! Against the built server. The numbers in names are lines of the clients' checklist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use dflockd_client::{Client, Entry, Error, Loss, Tls, stable_hash_shard};
use support::{Daemon, dial, until, waiters};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ZERO: Duration = Duration::ZERO;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn is_free(client: &Client, key: &str) -> bool {
    let lock = client.lock(key).unwrap().acquire_timeout(ZERO).unwrap();
    match lock.acquire().await {
        Ok(guard) => {
            guard.release().await.unwrap();
            true
        }
        Err(Error::Timeout { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn dflockd_clients_31_32_34_acquire_and_release() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap();
    let guard = lock.acquire().await.unwrap();
    assert!(guard.token().as_str().len() == 32 && guard.token().fencing().is_some(), "{}", guard.token());
    assert_eq!(guard.lease(), seconds(33));
    let asked = Instant::now();
    let fault = lock.clone().acquire_timeout(seconds(1)).unwrap().acquire().await.unwrap_err();
    assert!(matches!(fault, Error::Timeout { .. }), "{fault}");
    assert!(asked.elapsed() >= Duration::from_millis(950));
    guard.release().await.unwrap();
    let mut last = 0;
    for _ in 0..100 {
        let guard = lock.acquire().await.unwrap();
        let number = guard.token().fencing().unwrap();
        assert!(number > last);
        last = number;
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn dflockd_clients_37_38_with_lock() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap();
    assert_eq!(lock.with_lock(async |guard| Ok::<_, Error>(guard.key().len())).await.unwrap(), 1);
    let outcome: Result<(), Box<dyn std::error::Error>> = lock.with_lock(async |_| Err("mine".into())).await;
    assert_eq!(outcome.unwrap_err().to_string(), "mine");
    assert!(is_free(&client, "k").await);
    let guard = lock.acquire().await.unwrap();
    let eager = lock.clone().acquire_timeout(ZERO).unwrap();
    let fault = eager.with_lock(async |_| Ok::<_, Error>(())).await.unwrap_err();
    assert!(matches!(fault, Error::Timeout { .. }), "{fault}");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn dflockd_clients_40_to_43_two_phases() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap();
    let Entry::Acquired(holder) = lock.enqueue().await.unwrap() else { panic!("the key is free") };
    let Entry::Queued(first) = lock.enqueue().await.unwrap() else { panic!("the key is held") };
    let Entry::Queued(second) = lock.enqueue().await.unwrap() else { panic!("the key is held") };
    let fault = first.wait(seconds(1)).await.unwrap_err();
    assert!(matches!(fault, Error::Timeout { .. }), "{fault}");
    holder.release().await.unwrap();
    let guard = second.wait(seconds(30)).await.unwrap();
    let Entry::Queued(third) = lock.enqueue().await.unwrap() else { panic!("the key is held") };
    drop(third);
    until(&client, |stats| waiters(stats, "k") == 0).await;
    guard.release().await.unwrap();
    assert!(is_free(&client, "k").await);
}

#[tokio::test]
async fn dflockd_clients_51_released_by_another() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().lease(seconds(60)).unwrap().renew_ratio(0.005).unwrap();
    let outcome = lock
        .with_lock(async |guard| {
            let mut other = client.connect("k").await?;
            other.release("k", guard.token()).await?;
            assert_eq!(guard.lost().wait().await, Loss::Refused);
            Ok::<_, Error>(())
        })
        .await;
    assert!(matches!(outcome, Err(Error::Lost { loss: Loss::Refused, .. })), "{outcome:?}");
}

#[tokio::test]
async fn dflockd_clients_54_55_semaphores() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let two = client.semaphore("s", 2).unwrap().acquire_timeout(seconds(1)).unwrap();
    let (first, _second) = (two.acquire().await.unwrap(), two.acquire().await.unwrap());
    assert!(matches!(two.acquire().await, Err(Error::Timeout { .. })));
    let stats = client.stats(0).await.unwrap();
    assert_eq!((stats.semaphores[0].limit, stats.semaphores[0].holders), (2, 2));
    let fault = client.semaphore("s", 3).unwrap().acquire().await.unwrap_err().to_string();
    assert_eq!(fault, "sem_acquire failed: 'error_limit_mismatch'");
    // Locks and semaphores have separate keys (decision 21).
    assert!(is_free(&client, "s").await);
    first.release().await.unwrap();
    two.with_slot(async |_| Ok::<_, Error>(())).await.unwrap();
}

#[tokio::test]
async fn dflockd_clients_56_stats() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let guard = client.lock("k").unwrap().acquire().await.unwrap();
    let stats = client.stats(0).await.unwrap();
    assert_eq!(stats.connections, 2);
    let lock = &stats.locks[0];
    assert_eq!((lock.key.as_str(), lock.waiters), ("k", 0));
    assert!(lock.owner_conn_id >= 1 && lock.lease_expires_in_s > 0.0, "{lock:?}");
    guard.release().await.unwrap();
    until(&client, |stats| stats.idle_locks.len() == 1 && stats.idle_locks[0].key == "k").await;
}

#[tokio::test]
async fn dflockd_clients_58_tls_and_a_secret() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/typescript/test/fixtures/");
    let path = |name: &str| format!("{fixtures}{name}");
    let (cert, key) = (path("server-cert.pem"), path("server-key.pem"));
    let daemon = Daemon::start(&["--tls-cert", &cert, "--tls-key", &key, "--auth-token", "s3cret"]);
    let tls = |name: &str| Tls::with_roots(&std::fs::read(path(name)).unwrap()).unwrap();
    let build = |tls: Tls, secret: &str| {
        Client::builder().server(daemon.address()).tls(tls).auth(secret).build().unwrap()
    };
    let client = build(tls("server-cert.pem"), "s3cret");
    client.lock("k").unwrap().with_lock(async |_| Ok::<_, Error>(())).await.unwrap();
    client.semaphore("s", 2).unwrap().with_slot(async |_| Ok::<_, Error>(())).await.unwrap();
    client.stats(0).await.unwrap();
    let named = Client::builder()
        .server(daemon.address())
        .tls(tls("server-cert.pem").server_name("localhost").unwrap())
        .auth("s3cret");
    named.build().unwrap().stats(0).await.unwrap();
    let fault = build(tls("foreign-cert.pem"), "s3cret").stats(0).await.unwrap_err();
    assert!(matches!(fault, Error::Connect { .. }), "{fault}");
    assert!(matches!(build(tls("server-cert.pem"), "wrong").stats(0).await.unwrap_err(), Error::Auth));
    let fault = build(tls("server-cert.pem"), "").lock("k").unwrap().acquire().await.unwrap_err().to_string();
    assert_eq!(fault, "acquire failed: 'error_auth'");
}

#[tokio::test]
async fn dflockd_clients_30_a_secret_that_the_server_does_not_have() {
    let daemon = Daemon::start(&[]);
    let client = Client::builder().server(daemon.address()).auth("x").build().unwrap();
    let fault = client.lock("k").unwrap().acquire().await.unwrap_err().to_string();
    assert_eq!(fault, "auth failed: 'error'");
}

#[tokio::test]
async fn dflockd_clients_59_overlapping_calls_leave_nothing_held() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().acquire_timeout(seconds(1)).unwrap();
    let (first, second) = tokio::join!(lock.acquire(), lock.acquire());
    assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1, "{first:?} {second:?}");
    first.or(second).unwrap().release().await.unwrap();
    assert!(is_free(&client, "k").await);
}

#[tokio::test]
async fn a_dropped_acquire_leaves_the_queue_and_a_dropped_guard_the_lock() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().acquire_timeout(seconds(1000)).unwrap();
    let guard = lock.acquire().await.unwrap();
    tokio::select! {
        outcome = lock.acquire() => panic!("{outcome:?}"),
        () = until(&client, |stats| waiters(stats, "k") == 1) => {}
    }
    until(&client, |stats| waiters(stats, "k") == 0).await;
    drop(guard);
    lock.acquire().await.unwrap().release().await.unwrap();
    until(&client, |stats| stats.connections == 1).await;
}

/// Grants and drops meet at every possible moment; none may leave the lock with nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_meets_a_drop_is_not_leaked() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().acquire_timeout(seconds(1000)).unwrap();
    for _ in 0..300 {
        let guard = lock.acquire().await.unwrap();
        let impatient = lock.clone();
        let waiting = tokio::spawn(async move { impatient.acquire().await.map(drop) });
        let pause = Duration::from_micros(fastrand::u64(0..1500));
        let releasing = tokio::spawn(guard.release());
        tokio::time::sleep(pause).await;
        waiting.abort();
        releasing.await.unwrap().unwrap();
    }
    // With a leaked grant this would wait for the end of its lease, and longer, because its connection renews.
    lock.acquire().await.unwrap().release().await.unwrap();
    until(&client, |stats| stats.connections == 1 && stats.locks.is_empty()).await;
}

#[tokio::test]
async fn a_dropped_release_releases_all_the_same() {
    let daemon = Daemon::start(&["--no-auto-release-on-disconnect"]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().acquire_timeout(seconds(1000)).unwrap();
    let guard = lock.acquire().await.unwrap();
    // Polled once: the order to leave is given, its answer not awaited.
    tokio::select! {
        biased;
        _ = guard.release() => {}
        () = std::future::ready(()) => {}
    }
    lock.acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_short_lease_is_held_by_renewing_it() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().lease(seconds(4)).unwrap().renew_ratio(0.05).unwrap();
    let guard = lock.acquire().await.unwrap();
    let other = lock.clone().acquire_timeout(seconds(6)).unwrap();
    assert!(matches!(other.acquire().await, Err(Error::Timeout { .. })));
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_is_ended_by_the_server_and_renewals_prevent_it() {
    // A lease of 60 s at 0.9 would be renewed after 20 s; the server hangs up after 3 s of silence, and that is told at once.
    let daemon = Daemon::start(&["--read-timeout", "3"]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().lease(seconds(60)).unwrap();
    let silent = lock.clone().renew_ratio(0.9).unwrap().acquire().await.unwrap();
    assert_eq!(silent.lost().wait().await, Loss::Disconnected);
    let guard = lock.renew_ratio(0.002).unwrap().acquire().await.unwrap();
    tokio::time::sleep(seconds(5)).await;
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_a_lost_lock_and_its_successor_serves_again() {
    let mut daemon = Daemon::start(&[]);
    let client = daemon.client();
    let lock = client.lock("k").unwrap().lease(seconds(600)).unwrap().acquire_timeout(seconds(600)).unwrap();
    let guard = lock.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    until(&client, |stats| waiters(stats, "k") == 1).await;
    daemon.kill();
    assert_eq!(guard.lost().wait().await, Loss::Disconnected);
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed | Error::Broken(_))));
    assert!(matches!(guard.release().await, Err(Error::Lost { .. })));
    assert!(matches!(lock.acquire().await, Err(Error::Connect { .. })));
    let _successor = Daemon::start_at(daemon.port, &[]);
    lock.acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn keys_are_spread_over_the_servers_by_their_hash() {
    let daemons = [Daemon::start(&[]), Daemon::start(&[]), Daemon::start(&[])];
    let builder = daemons.iter().fold(Client::builder(), |builder, daemon| builder.server(daemon.address()));
    let client = builder.build().unwrap();
    for key in ["my-resource", "my-key", "foo", "a", "klüssel", "🔒"] {
        let guard = client.lock(key).unwrap().acquire().await.unwrap();
        for number in 0..3 {
            let held = client.stats(number).await.unwrap().locks.iter().any(|lock| lock.key == key);
            assert_eq!(held, Some(number) == stable_hash_shard(key, 3), "{key} on {number}");
        }
        guard.release().await.unwrap();
    }
}

/// What the Go and Python clients put on the wire, byte for byte where they differ from ours.
#[tokio::test]
async fn dflockd_clients_66_67_forms_of_other_clients() {
    let daemon = Daemon::start(&[]);
    let mut socket = dial(daemon.port).await;
    let mut ask = async |request: &str| {
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"\n") {
            reply.push(socket.read_u8().await.unwrap());
        }
        String::from_utf8(reply).unwrap()
    };
    // Grants have exactly three fields, tokens 32 hexadecimal digits, renewals exactly two fields.
    let grant = ask("l\nk\n10 2\n").await;
    let fields: Vec<&str> = grant.trim_end().split(' ').collect();
    assert!(fields.len() == 3 && fields[0] == "ok" && fields[2] == "2", "{grant}");
    assert!(fields[1].len() == 32 && fields[1].bytes().all(|byte| byte.is_ascii_hexdigit()), "{grant}");
    assert_eq!(ask(&format!("n\nk\n{} 2\n", fields[1])).await, "ok 2\n");
    assert_eq!(ask(&format!("n\nk\n{}\n", fields[1])).await, "ok 33\n");
    assert_eq!(ask(&format!("r\nk\n{}\n", fields[1])).await, "ok\n");
    // All three ways to ask for stats.
    for request in ["stats\n_\n\n", "stats\n_\n_\n", "stats\n\n\n"] {
        assert!(ask(request).await.starts_with("ok {\"connections\":1,\"locks\":["), "{request:?}");
    }
    assert!(ask("e\nk\n\n").await.starts_with("acquired "));
    assert_eq!(ask("auth\n_\nx\n").await, "error\n");
}

/// A cancelled context closes the socket while the request is blocked.
#[tokio::test]
async fn dflockd_clients_68_a_socket_closed_while_queued() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client();
    let guard = client.lock("k").unwrap().acquire().await.unwrap();
    let mut socket = dial(daemon.port).await;
    socket.write_all(b"l\nk\n1000\n").await.unwrap();
    until(&client, |stats| waiters(stats, "k") == 1).await;
    drop(socket);
    until(&client, |stats| waiters(stats, "k") == 0).await;
    guard.release().await.unwrap();
}
