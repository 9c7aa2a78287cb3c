//! What a client knows about its key: what it was told is committed, what may be, and what it has staged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lockd_conformance::http::{Request, Response, Trouble};
use lockd_conformance::lease::{Client, Lease, acquire_body, merged};
use lockd_conformance::{digest, fresh};
use serde_json::json;

/// The content of a key: its document and its attachments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) version: i64,
    pub(crate) document: Option<String>,
    pub(crate) attachments: BTreeMap<String, Vec<u8>>,
}

/// Where the client was when it last heard from the server.
#[derive(Debug, Clone)]
enum Position {
    /// It holds no lease.
    Free,
    /// An acquire was not answered: somebody may hold the key now.
    Asked,
    /// It holds a lease; `staged` was acknowledged, `attempted` was not answered.
    Holding { lease: Lease, staged: Content, attempted: Option<Content> },
    /// A release was not answered: the content is either committed or still staged.
    Releasing { lease: Lease, staged: Content },
}

/// One key that only one client uses.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) key: String,
    committed: Content,
    top_token: i64,
    position: Position,
    round: u64,
    pub(crate) acknowledged: u64,
}

/// Why a client stopped working.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server did not answer; it was probably killed.
    Gone,
    /// The server answered something that must not be.
    Wrong(String),
}

/// How much one round may write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) document: usize,
    pub(crate) attachment: usize,
}

impl Ledger {
    pub(crate) fn new(label: &str) -> Self {
        Self {
            key: fresh::key(label),
            committed: Content::default(),
            top_token: 0,
            position: Position::Free,
            round: 0,
            acknowledged: 0,
        }
    }

    /// Whether nobody can tell any more who holds this key until its lease runs out.
    pub(crate) fn is_unusable(&self) -> bool {
        matches!(self.position, Position::Asked)
    }

    pub(crate) fn holds_a_lease(&self) -> bool {
        matches!(self.position, Position::Holding { .. })
    }

    /// Acquire, stage, release: one round of work.
    pub(crate) fn round(&mut self, client: &Client, sizes: Sizes) -> Result<(), Stop> {
        self.take(client)?;
        self.stage_document(client, sizes.document)?;
        if fastrand::u8(..4) == 0 {
            self.stage_attachment(client, sizes.attachment)?;
        }
        let commit = fastrand::u8(..8) != 0;
        self.give(client, commit)
    }

    /// Acquires a lease that outlives the test.
    pub(crate) fn take(&mut self, client: &Client) -> Result<(), Stop> {
        let body = merged(acquire_body(&self.key), json!({"ttl_seconds": 1000, "owner": "ledger"}));
        self.position = Position::Asked;
        let answer = ok(client, &Request::post("/v1/acquire").json(&body))?;
        let lease = answer.lease();
        if lease.token <= self.top_token {
            return Err(Stop::Wrong(format!("{}: token {} after {}", self.key, lease.token, self.top_token)));
        }
        if lease.version != self.committed.version {
            return Err(Stop::Wrong(format!(
                "{}: acquired at version {}, committed was {}",
                self.key, lease.version, self.committed.version
            )));
        }
        self.top_token = lease.token;
        self.acknowledged += 1;
        self.position = Position::Holding { lease, staged: self.committed.clone(), attempted: None };
        Ok(())
    }

    fn stage(
        &mut self,
        client: &Client,
        request: impl FnOnce(&Lease) -> Request,
        change: impl FnOnce(&mut Content),
    ) -> Result<(), Stop> {
        let version = self.committed.version + 1;
        let Position::Holding { lease, staged, attempted } = &mut self.position else {
            return Err(Stop::Wrong(format!("{}: the test stages without a lease", self.key)));
        };
        let mut next = staged.clone();
        change(&mut next);
        next.version = version;
        let request = request(lease);
        *attempted = Some(next.clone());
        ok(client, &request)?;
        *attempted = None;
        *staged = next;
        self.acknowledged += 1;
        Ok(())
    }

    pub(crate) fn stage_document(&mut self, client: &Client, size: usize) -> Result<(), Stop> {
        self.round += 1;
        let padding: String = (0..fastrand::usize(..=size)).map(|_| fastrand::alphanumeric()).collect();
        let document = format!(r#"{{"key":"{}","round":{},"padding":"{padding}"}}"#, self.key, self.round);
        let body = document.clone();
        self.stage(client, |lease| lease.update(body), |content| content.document = Some(document))
    }

    fn stage_attachment(&mut self, client: &Client, size: usize) -> Result<(), Stop> {
        let name = format!("a{}", fastrand::u8(..3));
        let mut bytes = vec![0; fastrand::usize(..=size)];
        fastrand::fill(&mut bytes);
        let body = bytes.clone();
        let upload_name = name.clone();
        self.stage(
            client,
            |lease| lease.upload(&upload_name, body),
            |content| drop(content.attachments.insert(name, bytes)),
        )
    }

    fn give(&mut self, client: &Client, commit: bool) -> Result<(), Stop> {
        let Position::Holding { lease, staged, .. } = self.position.clone() else {
            return Err(Stop::Wrong(format!("{}: the test releases without a lease", self.key)));
        };
        let request = if commit { lease.release() } else { lease.rollback() };
        let outcome = if commit { staged.clone() } else { self.committed.clone() };
        self.position = Position::Releasing { lease, staged: outcome.clone() };
        ok(client, &request)?;
        self.committed = outcome;
        self.position = Position::Free;
        self.acknowledged += 1;
        Ok(())
    }

    /// Compares what the server has with what this client was told, and settles what was left open.
    pub(crate) fn audit(&mut self, client: &Client) -> Result<(), String> {
        let found = self.public_content(client)?;
        match self.position.clone() {
            Position::Free | Position::Asked => self.expect(&found, &[&self.committed])?,
            Position::Holding { lease, staged, attempted } => {
                self.expect(&found, &[&self.committed])?;
                self.settle_lease(client, &lease, &staged, attempted.as_ref())?;
            }
            Position::Releasing { lease, staged } => {
                self.expect(&found, &[&self.committed, &staged])?;
                if found == self.committed && staged != self.committed {
                    // The release never happened: the lease and what it staged must still be there.
                    self.settle_lease(client, &lease, &staged, None)?;
                } else {
                    self.committed = found;
                    // A rollback that may not have happened yet.
                    wrong(ok(client, &lease.rollback()))?;
                    self.position = Position::Free;
                }
            }
        }
        Ok(())
    }

    /// The lease was acknowledged and never given back: it must live, and show what was staged. Commits it.
    fn settle_lease(
        &mut self,
        client: &Client,
        lease: &Lease,
        staged: &Content,
        attempted: Option<&Content>,
    ) -> Result<(), String> {
        wrong(ok(client, &lease.keepalive(1000)))?;
        let found = self.content(client, &lease.get(), &lease.list(), |name| lease.download(name))?;
        let found = match attempted {
            Some(attempted) if same_bytes(&found, attempted) => attempted.clone(),
            _ if same_bytes(&found, staged) => staged.clone(),
            _ => {
                return Err(format!(
                    "{}: staged under a live lease: expected {}{}, found {}",
                    self.key,
                    summary(staged),
                    attempted.map_or(String::new(), |content| format!(" or {}", summary(content))),
                    summary(&found),
                ));
            }
        };
        wrong(ok(client, &lease.release()))?;
        self.committed = found;
        self.position = Position::Free;
        let now = self.public_content(client)?;
        self.expect(&now, &[&self.committed])
    }

    fn expect(&self, found: &Content, allowed: &[&Content]) -> Result<(), String> {
        if allowed.contains(&found) {
            return Ok(());
        }
        let allowed: Vec<String> = allowed.iter().map(|content| summary(content)).collect();
        Err(format!("{}: expected {}, found {}", self.key, allowed.join(" or "), summary(found)))
    }

    fn public_content(&self, client: &Client) -> Result<Content, String> {
        let key = |request: Request| request.query("key", &self.key).query("public", "1");
        let mut content = self.content(
            client,
            &key(Request::get("/v1/get")),
            &key(Request::get("/v1/attachments")),
            |name| key(Request::get("/v1/attachment")).query("name", name),
        )?;
        let described = wrong(ok(client, &Request::get("/v1/describe").query("key", &self.key)))?;
        content.version = described.int("version");
        Ok(content)
    }

    /// Document and attachments in one view; the version is not part of it.
    fn content(
        &self,
        client: &Client,
        get: &Request,
        list: &Request,
        download: impl Fn(&str) -> Request,
    ) -> Result<Content, String> {
        let mut content = Content::default();
        let read = wrong(ok(client, get))?;
        if read.status == 200 {
            content.document = Some(read.text());
            if read.header("etag") != Some(&digest::sha256_hex(&read.body)) {
                return Err(format!("{}: the ETag is not the digest of the document: {read}", self.key));
            }
        }
        let listed = wrong(ok(client, list))?.object();
        for entry in listed["attachments"].as_array().into_iter().flatten() {
            let name = entry["name"].as_str().unwrap_or_default();
            let answer = wrong(ok(client, &download(name)))?;
            if entry["plaintext_sha256"] != digest::sha256_hex(&answer.body) {
                return Err(format!("{}: attachment {name} does not have its digest", self.key));
            }
            content.attachments.insert(name.to_owned(), answer.body);
        }
        Ok(content)
    }
}

/// Audits every ledger, and gives up when that takes suspiciously long.
pub(crate) fn audit_all(ledgers: &mut [Ledger], client: &Client) -> Result<(), String> {
    let started = Instant::now();
    for ledger in ledgers.iter_mut() {
        ledger.audit(client)?;
        if started.elapsed() > Duration::from_secs(300) {
            return Err("the audit does not come to an end".to_owned());
        }
    }
    Ok(())
}

fn ok(client: &Client, request: &Request) -> Result<Response, Stop> {
    match client.try_call(request) {
        Ok(answer) if matches!(answer.status, 200 | 204) => Ok(answer),
        // A server that is going down may say so instead of not answering.
        Ok(answer) if answer.status >= 500 => Err(Stop::Gone),
        Ok(answer) => Err(Stop::Wrong(format!("refused: {answer}"))),
        Err(Trouble::Malformed(why)) => Err(Stop::Wrong(format!("{request}: {why}"))),
        Err(_) => Err(Stop::Gone),
    }
}

fn wrong<T>(outcome: Result<T, Stop>) -> Result<T, String> {
    outcome.map_err(|stop| match stop {
        Stop::Gone => "the server stopped answering during the audit".to_owned(),
        Stop::Wrong(why) => why,
    })
}

fn same_bytes(a: &Content, b: &Content) -> bool {
    a.document == b.document && a.attachments == b.attachments
}

fn summary(content: &Content) -> String {
    let document = content.document.as_ref().map_or("no document".to_owned(), |text| {
        let shown: String = text.chars().take(90).collect();
        format!("{} bytes {shown}…", text.len())
    });
    let attachments: Vec<String> =
        content.attachments.iter().map(|(name, bytes)| format!("{name} of {} bytes", bytes.len())).collect();
    format!("[version {}, {document}, {attachments:?}]", content.version)
}
