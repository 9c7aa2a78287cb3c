//! The lockd calls that most tests make, and short ways to say what their answers must be.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::http::{self, Address, Connection, Request, Response, Trouble};

/// Speaks to one server, one connection a call.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: Address,
    /// The store of the server, where an expected answer depends on it.
    pub store: crate::server::StoreKind,
}

/// A lease as acquire reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub namespace: String,
    pub key: String,
    pub lease_id: String,
    pub txn_id: String,
    pub token: i64,
    pub version: i64,
    pub expires_at: i64,
}

impl Lease {
    /// The headers that prove this lease.
    pub fn prove(&self, request: Request) -> Request {
        self.address(request)
            .header("X-Lease-ID", &self.lease_id)
            .header("X-Txn-ID", &self.txn_id)
            .header("X-Fencing-Token", &self.token.to_string())
    }

    /// The query that names this key.
    pub fn address(&self, request: Request) -> Request {
        request.query("key", &self.key).query("namespace", &self.namespace)
    }

    /// The body of a keepalive or a release of this lease.
    pub fn body(&self) -> Value {
        json!({"namespace": self.namespace, "key": self.key, "lease_id": self.lease_id, "txn_id": self.txn_id})
    }

    pub fn update(&self, document: impl Into<Vec<u8>>) -> Request {
        self.prove(Request::post("/v1/update")).body(document)
    }

    pub fn get(&self) -> Request {
        self.prove(Request::get("/v1/get"))
    }

    pub fn public_get(&self) -> Request {
        self.address(Request::get("/v1/get")).query("public", "1")
    }

    pub fn describe(&self) -> Request {
        self.address(Request::get("/v1/describe"))
    }

    pub fn metadata(&self, body: impl Into<Vec<u8>>) -> Request {
        self.prove(Request::post("/v1/metadata")).body(body)
    }

    pub fn remove(&self) -> Request {
        self.prove(Request::post("/v1/remove"))
    }

    pub fn mutate(&self, mutations: &Value) -> Request {
        self.prove(Request::post("/v1/mutate")).json(&json!({"mutations": mutations}))
    }

    pub fn release(&self) -> Request {
        self.release_with(self.body())
    }

    pub fn rollback(&self) -> Request {
        self.release_with(merged(self.body(), json!({"rollback": true})))
    }

    pub fn release_with(&self, body: Value) -> Request {
        Request::post("/v1/release").header("X-Fencing-Token", &self.token.to_string()).json(&body)
    }

    pub fn keepalive(&self, ttl_seconds: i64) -> Request {
        self.keepalive_with(merged(self.body(), json!({"ttl_seconds": ttl_seconds})))
    }

    pub fn keepalive_with(&self, body: Value) -> Request {
        Request::post("/v1/keepalive").header("X-Fencing-Token", &self.token.to_string()).json(&body)
    }

    pub fn upload(&self, name: &str, bytes: impl Into<Vec<u8>>) -> Request {
        self.prove(Request::post("/v1/attachments")).query("name", name).body(bytes)
    }

    pub fn list(&self) -> Request {
        self.prove(Request::get("/v1/attachments"))
    }

    pub fn public_list(&self) -> Request {
        self.address(Request::get("/v1/attachments")).query("public", "1")
    }

    pub fn download(&self, name: &str) -> Request {
        self.prove(Request::get("/v1/attachment")).query("name", name)
    }

    pub fn public_download(&self, name: &str) -> Request {
        self.address(Request::get("/v1/attachment")).query("name", name).query("public", "1")
    }

    pub fn delete(&self, name: &str) -> Request {
        self.prove(Request::delete("/v1/attachment")).query("name", name)
    }

    pub fn delete_all(&self) -> Request {
        self.prove(Request::delete("/v1/attachments"))
    }
}

/// `{"key", "owner", "ttl_seconds": 30, "block_seconds": -1}`: an acquire that does not wait.
pub fn acquire_body(key: &str) -> Value {
    json!({"key": key, "owner": "tester", "ttl_seconds": 30, "block_seconds": -1})
}

/// The first object with the members of the second set over it; `null` removes a member.
pub fn merged(base: Value, changes: Value) -> Value {
    let (Value::Object(mut base), Value::Object(changes)) = (base, changes) else {
        panic!("merged takes two objects");
    };
    for (name, value) in changes {
        match value {
            Value::Null => drop(base.remove(&name)),
            value => drop(base.insert(name, value)),
        }
    }
    Value::Object(base)
}

impl Client {
    /// Sends a request and returns whatever complete answer came.
    #[track_caller]
    pub fn call(&self, request: Request) -> Response {
        match self.try_call(&request) {
            Ok(response) => response,
            Err(trouble) => panic!("{request}: {trouble}"),
        }
    }

    pub fn try_call(&self, request: &Request) -> Result<Response, Trouble> {
        http::call(&self.address, request)
    }

    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(&self.address).expect("connect to the server under test")
    }

    /// An acquire with this body.
    #[track_caller]
    pub fn acquire_raw(&self, body: impl Into<Vec<u8>>) -> Response {
        self.call(Request::post("/v1/acquire").body(body))
    }

    /// [`acquire_body`] with some members changed.
    #[track_caller]
    pub fn try_acquire(&self, key: &str, changes: Value) -> Response {
        self.acquire_raw(merged(acquire_body(key), changes).to_string())
    }

    #[track_caller]
    pub fn acquire(&self, key: &str) -> Lease {
        self.acquire_with(key, json!({}))
    }

    #[track_caller]
    pub fn acquire_with(&self, key: &str, changes: Value) -> Lease {
        self.try_acquire(key, changes).lease()
    }

    /// A key that has this document as its committed state of version 1.
    #[track_caller]
    pub fn committed(&self, label: &str, document: &str) -> String {
        let key = crate::fresh::key(label);
        let lease = self.acquire(&key);
        self.call(lease.update(document)).expect_status(200);
        self.call(lease.release()).expect_status(200);
        key
    }

    #[track_caller]
    pub fn public_get(&self, key: &str) -> Response {
        self.call(Request::get("/v1/get").query("key", key).query("public", "1"))
    }

    /// The answer of describe, as an object.
    #[track_caller]
    pub fn describe(&self, key: &str) -> Map<String, Value> {
        self.call(Request::get("/v1/describe").query("key", key)).expect_status(200).object()
    }

    /// Starts an acquire in the background; it has reached the server when this returns, as far as a client can
    /// tell (its bytes are sent).
    #[track_caller]
    pub fn start_acquire(&self, key: &str, changes: Value) -> Waiter {
        let request = Request::post("/v1/acquire").json(&merged(acquire_body(key), changes));
        Waiter::start(self, &request)
    }
}

/// A request, such as an acquire, that may be waiting at the server.
#[derive(Debug)]
pub struct Waiter {
    connection: Connection,
    request: String,
    started: std::time::Instant,
}

impl Waiter {
    /// Sends a request and leaves its answer for later.
    #[track_caller]
    pub fn start(client: &Client, request: &Request) -> Self {
        let mut connection = client.connect();
        connection.send(request).expect("send a request");
        Self { connection, request: request.to_string(), started: std::time::Instant::now() }
    }

    /// Waits for the answer.
    #[track_caller]
    pub fn join(mut self) -> Response {
        match self.connection.read_response(false) {
            Ok(mut response) => {
                response.elapsed = self.started.elapsed();
                response.request = self.request;
                response
            }
            Err(trouble) => panic!("{}: {trouble}", self.request),
        }
    }

    /// Asserts that no answer comes within this time.
    #[track_caller]
    pub fn expect_waiting(&mut self, time: Duration) {
        self.connection.set_patience(time).expect("set a timeout");
        match self.connection.read_head() {
            Err(Trouble::TimedOut) => {}
            Err(trouble) => panic!("{}: {trouble}", self.request),
            Ok(response) => panic!("{}: answered while it should wait: {response}", self.request),
        }
        self.connection.set_patience(http::PATIENCE).expect("set a timeout");
    }

    /// Closes the connection without waiting for the answer.
    pub fn abandon(self) {}
}

impl Response {
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert!(self.status == status, "expected status {status}, got\n{self}");
        self
    }

    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let got = serde_json::from_slice::<Value>(&self.body).ok();
        let got = got.as_ref().and_then(|body| body["error"].as_str()).unwrap_or_default();
        assert!(self.status == status && got == code, "expected {status} {code}, got\n{self}");
        assert!(self.header("content-type") == Some("application/json"), "an error is JSON, got\n{self}");
        assert!(self.header("x-correlation-id").is_some(), "an error has a correlation id, got\n{self}");
        assert!(self.body.len() < 8 * 1024, "an error body stays under 8 KiB, got\n{self}");
        self
    }

    #[track_caller]
    pub fn expect_header(self, name: &str, value: &str) -> Self {
        assert!(self.header(name) == Some(value), "expected {name}: {value}, got\n{self}");
        self
    }

    #[track_caller]
    pub fn expect_no_header(self, name: &str) -> Self {
        assert!(self.header(name).is_none(), "expected no {name}, got\n{self}");
        self
    }

    #[track_caller]
    pub fn expect_text(self, text: &str) -> Self {
        assert!(self.body == text.as_bytes(), "expected the body {text:?}, got\n{self}");
        self
    }

    /// Asserts that the body has these members with these values; others are welcome.
    #[track_caller]
    pub fn expect_members(self, members: Value) -> Self {
        let object = self.object();
        let Value::Object(members) = members else { panic!("expect_members takes an object") };
        for (name, value) in members {
            assert!(object.get(&name) == Some(&value), "expected member {name}: {value}, got\n{self}");
        }
        self
    }

    #[track_caller]
    pub fn expect_no_member(self, name: &str) -> Self {
        assert!(!self.object().contains_key(name), "expected no member {name}, got\n{self}");
        self
    }

    #[track_caller]
    pub fn object(&self) -> Map<String, Value> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => object,
            _ => panic!("expected a JSON object, got\n{self}"),
        }
    }

    #[track_caller]
    pub fn int(&self, member: &str) -> i64 {
        match self.object().get(member).and_then(Value::as_i64) {
            Some(value) => value,
            None => panic!("expected an integer {member}, got\n{self}"),
        }
    }

    #[track_caller]
    pub fn string(&self, member: &str) -> String {
        match self.object().get(member).and_then(Value::as_str) {
            Some(value) => value.to_owned(),
            None => panic!("expected a string {member}, got\n{self}"),
        }
    }

    /// The lease that a successful acquire granted.
    #[track_caller]
    pub fn lease(self) -> Lease {
        let response = self.expect_status(200);
        Lease {
            namespace: response.string("namespace"),
            key: response.string("key"),
            lease_id: response.string("lease_id"),
            txn_id: response.string("txn_id"),
            token: response.int("fencing_token"),
            version: response.int("version"),
            expires_at: response.int("expires_at_unix"),
        }
    }
}
