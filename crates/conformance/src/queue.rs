//! The queue calls that most tests make, and the handles that deliveries are.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Request, Response};
use crate::lease::{Client, Lease, Waiter, merged};
use crate::multipart::{self, Delivery};
use crate::stream::Stream;

const BOUNDARY: &str = "conformance-7f3a";
/// How long something may take that should come at once: only a stuck server is slower.
pub const SOON: Duration = Duration::from_secs(20);

/// A part of a form: name, further header lines, bytes.
pub type Part<'a> = (&'a str, &'a str, &'a [u8]);

/// The bytes of a form with these parts.
pub fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, headers, bytes) in parts {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n{headers}\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// An enqueue without a body.
pub fn enqueue_head() -> Request {
    Request::post("/v1/queue/enqueue")
        .header("Content-Type", &format!("multipart/related; boundary={BOUNDARY}"))
}

/// An enqueue with a meta part and a payload part.
pub fn enqueue(meta: &Value, payload: &[u8]) -> Request {
    let meta = meta.to_string();
    enqueue_head().body(form(&[
        ("meta", "Content-Type: application/json\r\n", meta.as_bytes()),
        ("payload", "Content-Type: application/octet-stream\r\n", payload),
    ]))
}

/// A dequeue (or another way to consume) that does not wait, with some members changed.
pub fn consume(endpoint: &str, queue: &str, changes: Value) -> Request {
    let body = merged(json!({"queue": queue, "owner": "worker", "wait_seconds": -1}), changes);
    Request::post(&format!("/v1/queue/{endpoint}")).json(&body)
}

impl Delivery {
    #[track_caller]
    pub fn string(&self, member: &str) -> String {
        match self.message.get(member).and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => panic!("the delivery has no text {member}: {:?}", self.message),
        }
    }

    #[track_caller]
    pub fn int(&self, member: &str) -> i64 {
        match self.message.get(member).and_then(Value::as_i64) {
            Some(number) => number,
            None => panic!("the delivery has no number {member}: {:?}", self.message),
        }
    }

    pub fn id(&self) -> String {
        self.string("message_id")
    }

    /// Everything that proves this delivery, with some members changed.
    pub fn proof(&self, changes: Value) -> Value {
        let mut proof = json!({});
        for name in ["namespace", "queue", "message_id", "lease_id", "txn_id", "fencing_token", "meta_etag"]
            .into_iter()
            .chain(["state_lease_id", "state_fencing_token", "state_etag"])
        {
            if let Some(value) = self.message.get(name) {
                proof[name] = value.clone();
            }
        }
        merged(proof, changes)
    }

    pub fn ack(&self) -> Request {
        self.ack_with(json!({}))
    }

    pub fn ack_with(&self, changes: Value) -> Request {
        Request::post("/v1/queue/ack").json(&self.proof(changes))
    }

    pub fn nack(&self, changes: Value) -> Request {
        Request::post("/v1/queue/nack").json(&merged(self.proof(changes), json!({"state_etag": null})))
    }

    pub fn extend(&self, changes: Value) -> Request {
        Request::post("/v1/queue/extend").json(&merged(self.proof(changes), json!({"state_etag": null})))
    }

    /// The key of the message's lease.
    pub fn key(&self) -> String {
        format!("q/{}/msg/{}", self.string("queue"), self.id())
    }

    /// The lease on the workflow state of a stateful delivery.
    pub fn state(&self) -> Lease {
        Lease {
            namespace: self.string("namespace"),
            key: format!("q/{}/state/{}", self.string("queue"), self.id()),
            lease_id: self.string("state_lease_id"),
            txn_id: self.string("state_txn_id"),
            token: self.int("state_fencing_token"),
            version: 0,
            expires_at: self.int("state_lease_expires_at_unix"),
        }
    }

    pub fn participant(&self) -> Value {
        json!({"namespace": self.message["namespace"], "key": self.key()})
    }
}

impl Response {
    /// The deliveries of a successful dequeue.
    #[track_caller]
    pub fn deliveries(&self) -> Vec<Delivery> {
        assert!(self.status == 200, "expected deliveries, got\n{self}");
        multipart::deliveries(self).unwrap_or_else(|why| panic!("{why}, in\n{self}"))
    }

    #[track_caller]
    pub fn delivery(&self) -> Delivery {
        let mut all = self.deliveries();
        assert!(all.len() == 1, "expected one delivery, got {} in\n{self}", all.len());
        all.remove(0)
    }
}

impl Client {
    /// Enqueues and returns the message id.
    #[track_caller]
    pub fn enqueue(&self, queue: &str, payload: &str) -> String {
        self.enqueue_with(queue, json!({}), payload)
    }

    #[track_caller]
    pub fn enqueue_with(&self, queue: &str, changes: Value, payload: &str) -> String {
        let meta = merged(json!({"queue": queue}), changes);
        self.call(enqueue(&meta, payload.as_bytes())).expect_status(200).string("message_id")
    }

    #[track_caller]
    pub fn try_dequeue(&self, queue: &str, changes: Value) -> Response {
        self.call(consume("dequeue", queue, changes))
    }

    #[track_caller]
    pub fn dequeue(&self, queue: &str) -> Delivery {
        self.try_dequeue(queue, json!({})).delivery()
    }

    #[track_caller]
    pub fn dequeue_with(&self, queue: &str, changes: Value) -> Delivery {
        self.try_dequeue(queue, changes).delivery()
    }

    #[track_caller]
    pub fn dequeue_with_state(&self, queue: &str, changes: Value) -> Delivery {
        self.call(consume("dequeueWithState", queue, changes)).delivery()
    }

    /// Asserts that nothing can be delivered now.
    #[track_caller]
    pub fn expect_empty(&self, queue: &str) {
        self.try_dequeue(queue, json!({})).expect_error(409, "waiting");
    }

    #[track_caller]
    pub fn stats(&self, queue: &str) -> Response {
        self.call(Request::post("/v1/queue/stats").json(&json!({"queue": queue}))).expect_status(200)
    }

    /// Waits until this many consumers wait on the queue.
    #[track_caller]
    pub fn await_consumers(&self, queue: &str, count: i64) {
        let deadline = std::time::Instant::now() + SOON;
        while self.stats(queue).int("waiting_consumers") != count {
            assert!(std::time::Instant::now() < deadline, "no {count} consumers on {queue} within {SOON:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts a request in the background.
    #[track_caller]
    pub fn start(&self, request: &Request) -> Waiter {
        Waiter::start(self, request)
    }

    /// Starts a dequeue that waits, and returns when the server counts it.
    #[track_caller]
    pub fn start_dequeue(&self, queue: &str, changes: Value) -> Waiter {
        let before = self.stats(queue).int("waiting_consumers");
        let waiter = self.start(&consume("dequeue", queue, merged(json!({"wait_seconds": 30}), changes)));
        self.await_consumers(queue, before + 1);
        waiter
    }

    #[track_caller]
    pub fn open(&self, request: &Request) -> Stream {
        match Stream::open(&self.address, request) {
            Ok(stream) => stream,
            Err(trouble) => panic!("{request}: {trouble}"),
        }
    }

    #[track_caller]
    pub fn subscribe(&self, queue: &str, changes: Value) -> Stream {
        self.open(&consume("subscribe", queue, changes))
    }

    #[track_caller]
    pub fn watch(&self, queue: &str) -> Stream {
        self.open(&Request::post("/v1/queue/watch").json(&json!({"queue": queue})))
    }

    /// Decides a transaction that has enlisted everything it needs.
    #[track_caller]
    pub fn decide(&self, txn: &str, state: &str, participants: Value) -> Response {
        let participants = if participants == json!([]) { Value::Null } else { participants };
        let body = merged(json!({"txn_id": txn, "state": state}), json!({"participants": participants}));
        self.call(Request::post("/v1/txn/decide").json(&body))
    }
}
