//! The drain before a server stops. Decision 15: what was leased before may finish, nothing new begins.

use std::time::{Duration, Instant};

use lockd_conformance::http::Response;
use lockd_conformance::queue::{SOON, consume, enqueue};
use lockd_conformance::server::{Launch, StoreKind};
use lockd_conformance::stream::End;
use lockd_conformance::{fresh, multipart};
use rustix::process::Signal;
use serde_json::json;

mod queue_50_drain {
    use super::*;

    fn check(store: StoreKind) {
        let mut server = Launch::fresh(store).start();
        let client = server.client();
        let (queue, idle, empty) = (fresh::key("q"), fresh::key("q"), fresh::key("q"));
        for n in 0..3 {
            client.enqueue(&queue, &n.to_string());
        }
        let deliveries: Vec<_> = (0..3).map(|_| client.dequeue(&queue)).collect();
        client.enqueue(&idle, "x");
        let mut delivering = client.subscribe(&idle, json!({"wait_seconds": 0}));
        let streamed = delivering.delivery(SOON);
        let boundary = multipart::boundary(&delivering.head(SOON).unwrap()).unwrap();
        let waiting = client.start_dequeue(&empty, json!({"wait_seconds": 0}));
        let quiet = client.subscribe(&empty, json!({"wait_seconds": 0}));
        client.await_consumers(&empty, 2);
        let watch = client.watch(&empty);
        watch.head(SOON).unwrap();

        server.signal(Signal::TERM);
        let drained = Instant::now();
        let refused = |answer: Response| {
            let answer = answer.expect_error(503, "shutdown_draining");
            let hint = answer.int("retry_after_seconds");
            assert!(hint >= 1, "{answer}");
            answer.expect_header("retry-after", &hint.to_string()).expect_header("shutdown-imminent", "true")
        };
        // The answers that wait may have been on their way before the header was known.
        waiting.join().expect_error(503, "shutdown_draining");
        quiet.head(SOON).unwrap().expect_error(503, "shutdown_draining");
        let (rest, end) = delivering.finish(SOON).unwrap();
        assert_eq!((rest, end), (format!("\r\n--{boundary}--\r\n").into_bytes(), End::Clean));
        assert!(drained.elapsed() < Duration::from_secs(8), "streams ended after {:?}", drained.elapsed());

        for endpoint in ["dequeue", "dequeueWithState", "subscribe", "subscribeWithState"] {
            refused(client.call(consume(endpoint, &empty, json!({}))));
        }
        refused(client.call(enqueue(&json!({"queue": empty}), b"x")));
        client.stats(&queue).expect_header("shutdown-imminent", "true");
        let etag = client
            .call(deliveries[0].extend(json!({"extend_by_seconds": 40})))
            .expect_status(200)
            .expect_header("shutdown-imminent", "true")
            .string("meta_etag");
        client.call(deliveries[0].ack_with(json!({"meta_etag": etag}))).expect_status(200);
        client.call(deliveries[1].nack(json!({}))).expect_status(200);
        client.call(deliveries[2].ack()).expect_status(200);
        client.call(streamed.ack()).expect_status(200);
        let status = server.wait_for_exit(Duration::from_secs(25)).expect("the server ends");
        assert!(status.success(), "{status}; its log:\n{}", server.log.text());
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
