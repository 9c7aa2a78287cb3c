//! Probes, and the drain before a server stops.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::http::Request;
use lockd_conformance::server::{Launch, StoreKind};
use rustix::process::Signal;
use serde_json::json;

mod http_core_80_probes_and_drain {
    use super::*;

    fn check(store: StoreKind) {
        let mut server = Launch::fresh(store).start();
        let client = server.client();
        let probe = |path: &str| {
            let answer = client.call(Request::get(path)).expect_status(200);
            assert!(answer.body.is_empty(), "{answer}");
            answer
        };
        for path in ["/healthz", "/readyz"] {
            probe(path).expect_no_header("shutdown-imminent");
        }
        let lease = client.acquire(&fresh::key("drain"));
        let other = client.acquire(&fresh::key("drain"));
        client.call(lease.update("[1]")).expect_status(200);
        let mut waiter = client.start_acquire(&lease.key, json!({"block_seconds": 60}));
        waiter.expect_waiting(Duration::from_millis(200));

        server.signal(Signal::TERM);
        let answer = waiter.join().expect_error(503, "shutdown_draining");
        assert!(answer.elapsed < Duration::from_secs(10), "a waiter is answered at once: {answer}");

        let notified =
            |answer: lockd_conformance::http::Response| answer.expect_header("shutdown-imminent", "true");
        for path in ["/healthz", "/readyz"] {
            notified(probe(path));
        }
        let refused = notified(
            client.try_acquire(&fresh::key("drain"), json!({})).expect_error(503, "shutdown_draining"),
        );
        let hint = refused.int("retry_after_seconds");
        assert!(hint >= 1, "{refused}");
        refused.expect_header("retry-after", &hint.to_string());
        // Validation comes before the gate.
        client.acquire_raw("{}").expect_error(503, "shutdown_draining");
        client.acquire_raw("{").expect_error(400, "invalid_body");
        notified(client.call(lease.keepalive(30)).expect_status(200));
        notified(client.call(lease.update("[2]")).expect_status(200));
        notified(client.call(lease.get()).expect_status(200)).expect_text("[2]");
        notified(client.call(lease.release()).expect_status(200));
        notified(client.public_get(&lease.key).expect_status(200)).expect_text("[2]");
        notified(client.public_get(&fresh::key("none")).expect_status(204));
        notified(client.call(Request::get("/v1/nope")).expect_status(404));

        // The last lease ends the grace early.
        let released = Instant::now();
        notified(client.call(other.release()).expect_status(200));
        let status = server.wait_for_exit(Duration::from_secs(20)).expect("the server ends");
        assert!(status.success(), "{status}; its log:\n{}", server.log.text());
        assert!(
            released.elapsed() < Duration::from_secs(6),
            "ended {:?} after the last release",
            released.elapsed()
        );
    }

    #[test]
    fn mem() {
        check(StoreKind::Mem);
    }

    #[test]
    fn disk() {
        check(StoreKind::Disk);
    }
}
