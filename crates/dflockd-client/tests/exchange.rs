//! Bytes and replies, against a scripted server. The numbers in names are lines of the clients' checklist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use dflockd_client::{Client, Enqueued, Error, Loss, Refusal, Token};
use support::{HANG_UP, Mock, SILENCE};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn token(text: &str) -> Token {
    Token::from(text.to_owned())
}

#[tokio::test]
async fn dflockd_clients_10_to_22_the_bytes_of_each_command() {
    let script = [
        "ok tok 33\n",
        "ok tok 60\r\n",
        "ok tok 60\n",
        "acquired t 9\n",
        "queued\n",
        "queued\n",
        "ok tok 5\n",
        "ok tok 5\n",
        "ok 60\n",
        "ok\n",
        "ok\n",
        "ok 7\n",
        "ok\n",
        "ok\n",
        "ok\n",
    ];
    let mock = Mock::start(&script).await;
    let mut connection = mock.client().connect("k").await.unwrap();
    let grant = connection.acquire("k", seconds(10), None).await.unwrap();
    assert_eq!((grant.token.as_str(), grant.lease), ("tok", seconds(33)));
    assert_eq!(connection.acquire("k", seconds(5), Some(seconds(60))).await.unwrap().lease, seconds(60));
    connection.sem_acquire("k", seconds(10), 3, Some(seconds(60))).await.unwrap();
    let Enqueued::Acquired(grant) = connection.enqueue("k", None).await.unwrap() else { panic!("queued") };
    assert_eq!((grant.token.as_str(), grant.lease), ("t", seconds(9)));
    assert_eq!(connection.enqueue("k", Some(seconds(4))).await.unwrap(), Enqueued::Queued);
    assert_eq!(connection.sem_enqueue("k", 5, None).await.unwrap(), Enqueued::Queued);
    connection.wait("k", seconds(7)).await.unwrap();
    connection.sem_wait("k", seconds(7)).await.unwrap();
    let t = token("t");
    assert_eq!(connection.renew("k", &t, Some(seconds(60))).await.unwrap(), seconds(60));
    assert_eq!(connection.renew("k", &t, Some(seconds(50))).await.unwrap(), seconds(50));
    assert_eq!(connection.renew("k", &t, None).await.unwrap(), seconds(30));
    assert_eq!(connection.sem_renew("k", &t, Some(seconds(7))).await.unwrap(), seconds(7));
    connection.release("k", &t).await.unwrap();
    connection.sem_release("k", &t).await.unwrap();
    connection.ping().await.unwrap();
    assert_eq!(
        mock.requests(),
        [
            "l\nk\n10\n",
            "l\nk\n5 60\n",
            "sl\nk\n10 3 60\n",
            "e\nk\n\n",
            "e\nk\n4\n",
            "se\nk\n5\n",
            "w\nk\n7\n",
            "sw\nk\n7\n",
            "n\nk\nt 60\n",
            "n\nk\nt 50\n",
            "n\nk\nt\n",
            "sn\nk\nt 7\n",
            "r\nk\nt\n",
            "sr\nk\nt\n",
            "ping\n_\n\n"
        ]
    );
}

#[tokio::test]
async fn dflockd_clients_13_14_20_21_refusals() {
    let script = [
        "timeout\n",
        "error_max_locks\n",
        "error_max_waiters\n",
        "error_limit_mismatch\n",
        "error_already_enqueued\n",
        "error_not_enqueued\n",
        "error_lease_expired\n",
        "okay\n",
        "error\n",
        "ok  33\n",
    ];
    let mock = Mock::start(&script).await;
    let mut connection = mock.client().connect("k").await.unwrap();
    let fault = connection.acquire("k", seconds(1), None).await.unwrap_err();
    assert!(
        matches!(fault, Error::Timeout { .. }) && fault.to_string() == "timeout acquiring 'k'",
        "{fault}"
    );
    let text = |fault: Error| fault.to_string();
    assert_eq!(
        text(connection.acquire("k", seconds(1), None).await.unwrap_err()),
        "acquire failed: 'error_max_locks'"
    );
    for (expected, fault) in [
        (Refusal::MaxWaiters, connection.acquire("k", seconds(1), None).await.unwrap_err()),
        (Refusal::LimitMismatch, connection.sem_acquire("k", seconds(1), 2, None).await.unwrap_err()),
        (Refusal::AlreadyEnqueued, connection.enqueue("k", None).await.unwrap_err()),
        (Refusal::NotEnqueued, connection.wait("k", seconds(1)).await.unwrap_err()),
        (Refusal::LeaseExpired, connection.wait("k", seconds(1)).await.unwrap_err()),
        (Refusal::Other("okay".into()), connection.renew("k", &token("t"), None).await.unwrap_err()),
    ] {
        assert!(matches!(&fault, Error::Refused { reason, .. } if *reason == expected), "{fault}");
    }
    assert_eq!(text(connection.release("k", &token("t")).await.unwrap_err()), "release failed: 'error'");
    assert_eq!(
        text(connection.acquire("k", seconds(1), None).await.unwrap_err()),
        "acquire: server returned no token: 'ok  33'"
    );
}

#[tokio::test]
async fn dflockd_clients_23_bad_arguments_write_nothing() {
    let mock = Mock::start(&["ok\n"]).await;
    let mut connection = mock.client().connect("k").await.unwrap();
    assert!(connection.acquire("", seconds(1), None).await.is_err());
    assert!(connection.acquire("a\nb", seconds(1), None).await.is_err());
    assert!(connection.acquire(&"k".repeat(257), seconds(1), None).await.is_err());
    assert!(connection.acquire("k", Duration::MAX, None).await.is_err());
    assert!(connection.acquire("k", seconds(1), Some(Duration::ZERO)).await.is_err());
    assert!(connection.sem_acquire("k", seconds(1), 0, None).await.is_err());
    assert!(connection.release("k", &token("")).await.is_err());
    assert!(connection.renew("k", &token("a\0"), None).await.is_err());
    connection.ping().await.unwrap();
    assert_eq!(mock.requests(), ["ping\n_\n\n"]);
}

#[tokio::test]
async fn dflockd_clients_24_surplus_lines_are_kept() {
    let mock = Mock::start(&["ok a 1\nok b 2\n", SILENCE]).await;
    let mut connection = mock.client().connect("k").await.unwrap();
    assert_eq!(connection.acquire("k", seconds(1), None).await.unwrap().token.as_str(), "a");
    assert_eq!(connection.acquire("k", seconds(1), None).await.unwrap().token.as_str(), "b");
}

#[tokio::test]
async fn dflockd_clients_26_the_server_hangs_up() {
    let mock = Mock::start(&[HANG_UP]).await;
    let mut connection = mock.client().connect("k").await.unwrap();
    let fault = connection.ping().await.unwrap_err();
    assert_eq!(fault.to_string(), "server closed connection");
    assert!(matches!(connection.ping().await.unwrap_err(), Error::GivenUp));
}

#[tokio::test]
async fn dflockd_clients_27_a_line_without_end() {
    let endless = "x".repeat((1 << 20) + 1);
    let mock = Mock::start(&[&endless]).await;
    let mut connection = mock.client().connect("k").await.unwrap();
    let fault = connection.ping().await.unwrap_err();
    assert_eq!(fault.to_string(), "server response exceeded maximum line length");
}

#[tokio::test]
async fn dflockd_clients_28_auth_comes_first() {
    let mock = Mock::start(&["ok\n", "ok\n", "error_auth\n", "error\n"]).await;
    let client = Client::builder().server(format!("127.0.0.1:{}", mock.port)).auth("s").build().unwrap();
    client.connect("k").await.unwrap().ping().await.unwrap();
    assert_eq!(mock.requests(), ["auth\n_\ns\n", "ping\n_\n\n"]);
    let fault = client.connect("k").await.unwrap_err();
    assert!(matches!(fault, Error::Auth) && fault.to_string() == "authentication failed", "{fault}");
    assert_eq!(client.connect("k").await.unwrap_err().to_string(), "auth failed: 'error'");
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let mock = Mock::start(&[SILENCE]).await;
    let mut connection = mock.client().connect("k").await.unwrap();
    tokio::select! {
        _ = connection.acquire("k", seconds(60), None) => panic!("answered"),
        () = mock.requested(1) => {}
    }
    assert!(matches!(connection.release("k", &token("t")).await.unwrap_err(), Error::GivenUp));
    assert_eq!(mock.requests().len(), 1);
}

#[tokio::test]
async fn dflockd_clients_44_45_the_interval_follows_the_lease() {
    let mock = Mock::start(&["ok tok1 10\n", "ok 20\n", "ok 100000\n"]).await;
    let lock = mock.client().lock("k").unwrap().renew_ratio(0.001).unwrap();
    let guard = lock.acquire().await.unwrap();
    let granted = Instant::now();
    assert_eq!(guard.lease(), seconds(10));
    mock.requested(3).await;
    assert!(granted.elapsed() >= Duration::from_millis(200), "two renewals need 0.1 s each at least");
    assert_eq!(mock.requests()[1..], ["n\nk\ntok1\n", "n\nk\ntok1\n"]);
    while guard.lease() != seconds(100_000) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dflockd_clients_46_a_refused_renewal() {
    let mock = Mock::start(&["ok tok1 10\n", "error\n", "ok tok2 10\n"]).await;
    let lock = mock.client().lock("k").unwrap().renew_ratio(0.001).unwrap();
    let guard = lock.acquire().await.unwrap();
    let mut lost = guard.lost();
    assert_eq!(lost.wait().await, Loss::Refused);
    assert_eq!(lost.clone().wait().await, Loss::Refused);
    assert!(guard.is_lost());
    let fault = guard.release().await.unwrap_err();
    assert_eq!(fault.to_string(), "'k' was no longer held: its renewal was refused");
    assert_eq!(lock.acquire().await.unwrap().token().as_str(), "tok2");
}

#[tokio::test]
async fn dflockd_clients_48_a_renewal_without_answer() {
    let mock = Mock::start(&["ok tok1 1\n", SILENCE]).await;
    let guard = mock.client().lock("k").unwrap().renew_ratio(0.01).unwrap().acquire().await.unwrap();
    assert_eq!(guard.lost().wait().await, Loss::Expired);
}

#[tokio::test]
async fn dflockd_clients_49_release_waits_for_the_renewal() {
    let mock = Mock::start(&["ok tok1 600\n", SILENCE, "ok\n"]).await;
    let guard = mock.client().lock("k").unwrap().renew_ratio(0.0001).unwrap().acquire().await.unwrap();
    mock.requested(2).await;
    let releasing = tokio::spawn(guard.release());
    tokio::task::yield_now().await;
    assert_eq!(mock.requests().len(), 2, "the renewal has no answer yet");
    mock.say("ok 600\n").await;
    releasing.await.unwrap().unwrap();
    assert_eq!(mock.requests()[1..], ["n\nk\ntok1\n", "r\nk\ntok1\n"]);
}

#[tokio::test]
async fn a_line_that_nobody_asked_for_is_a_loss() {
    let mock = Mock::start(&["ok tok1 600\n"]).await;
    let guard = mock.client().lock("k").unwrap().acquire().await.unwrap();
    // The server's notice before it ends a silent connection.
    mock.say("error\n").await;
    assert_eq!(guard.lost().wait().await, Loss::Disconnected);
}

#[tokio::test]
async fn dflockd_clients_52_unreachable() {
    let port = {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        closed.local_addr().unwrap().port()
    };
    let fault = Client::new(format!("127.0.0.1:{port}")).unwrap().connect("k").await.unwrap_err();
    let Error::Connect { source, .. } = &fault else { panic!("{fault}") };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(fault.to_string().contains(&port.to_string()), "{fault}");

    // Takes connections and never speaks TLS.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let roots = include_bytes!("../../../clients/typescript/test/fixtures/server-cert.pem");
    let client = Client::builder()
        .server(&address)
        .tls(dflockd_client::Tls::with_roots(roots).unwrap())
        .connect_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let fault = client.connect("k").await.unwrap_err();
    assert_eq!(fault.to_string(), format!("connect timed out after 200ms to {address}"));
}

#[tokio::test]
async fn dflockd_clients_53_shards_that_do_not_exist() {
    let client = Client::builder().sharding(|_, servers| servers).build().unwrap();
    let fault = client.connect("k").await.unwrap_err().to_string();
    assert_eq!(fault, "there is no server number 1: 1 server(s) are configured");
}

#[tokio::test]
async fn dflockd_clients_57_stats_that_are_not_json() {
    let mock = Mock::start(&["ok {bad\n"]).await;
    let fault = mock.client().stats(0).await.unwrap_err();
    assert_eq!(fault.to_string(), "stats: malformed JSON response: '{bad'");
    assert_eq!(mock.requests(), ["stats\n_\n\n"]);
}

#[test]
fn dflockd_clients_06_renew_ratios() {
    let client = Client::builder().build().unwrap();
    for ratio in [0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(client.lock("k").unwrap().renew_ratio(ratio).is_err(), "{ratio}");
    }
    client.lock("k").unwrap().renew_ratio(0.01).unwrap();
    assert!(client.semaphore("k", 0).is_err());
}
