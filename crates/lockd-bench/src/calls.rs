//! The lockd calls the workloads are made of: request bytes written by hand, the few members needed picked
//! out of the answers.

use std::io::Write as _;

use crate::connection::{Answer, Connection};
use crate::fault::Fault;

/// A granted lease, as the later calls must prove it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) lease_id: String,
    pub(crate) txn_id: String,
    pub(crate) fencing_token: i64,
}

/// How long an acquire waits for a held key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    No,
    Seconds(u32),
}

/// A client: one connection and the buffer its requests are built in.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: Connection,
    request: Vec<u8>,
    body: Vec<u8>,
    grant: Grant,
}

impl Caller {
    pub(crate) fn new(connection: Connection) -> Caller {
        Caller { connection, request: Vec::with_capacity(8192), body: Vec::new(), grant: Grant::default() }
    }

    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Acquires `key`; the grant is remembered for the calls that follow.
    pub(crate) async fn acquire(
        &mut self,
        key: &str,
        ttl_seconds: u64,
        waiting: Waiting,
    ) -> Result<(), Fault> {
        let answer = self.send_acquire(key, ttl_seconds, waiting).await?;
        answer.expect_ok("acquire")?;
        let grant = read_grant(answer.body).ok_or_else(|| Fault::Unexpected {
            call: "acquire",
            detail: format!("no lease in {}", String::from_utf8_lossy(answer.body).trim_end()),
        })?;
        self.grant = grant;
        Ok(())
    }

    /// True when somebody holds `key` now. Takes and keeps the lease when nobody does.
    pub(crate) async fn is_held(&mut self, key: &str, ttl_seconds: u64) -> Result<bool, Fault> {
        let answer = self.send_acquire(key, ttl_seconds, Waiting::No).await?;
        if answer.status == 409 && memchr::memmem::find(answer.body, b"\"waiting\"").is_some() {
            return Ok(true);
        }
        answer.expect_ok("acquire")?;
        Ok(false)
    }

    async fn send_acquire(
        &mut self,
        key: &str,
        ttl_seconds: u64,
        waiting: Waiting,
    ) -> Result<Answer<'_>, Fault> {
        let block: i64 = match waiting {
            Waiting::No => -1,
            Waiting::Seconds(seconds) => i64::from(seconds),
        };
        self.body.clear();
        write!(
            self.body,
            "{{\"key\":\"{key}\",\"owner\":\"lockd-bench\",\"ttl_seconds\":{ttl_seconds},\"block_seconds\":{block}}}"
        )?;
        self.request.clear();
        write!(
            self.request,
            "POST /v1/acquire HTTP/1.1\r\nHost: lockd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.body.len()
        )?;
        self.request.extend_from_slice(&self.body);
        self.connection.exchange(&self.request).await
    }

    /// Stages `document` as the state of `key` under the remembered grant.
    pub(crate) async fn update(&mut self, key: &str, document: &[u8]) -> Result<(), Fault> {
        self.request.clear();
        write!(
            self.request,
            "POST /v1/update?key={key} HTTP/1.1\r\nHost: lockd\r\nX-Lease-ID: {}\r\nX-Txn-ID: {}\r\n\
             X-Fencing-Token: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.grant.lease_id,
            self.grant.txn_id,
            self.grant.fencing_token,
            document.len()
        )?;
        self.request.extend_from_slice(document);
        self.connection.exchange(&self.request).await?.expect_ok("update")
    }

    pub(crate) async fn release(&mut self, key: &str) -> Result<(), Fault> {
        self.body.clear();
        write!(
            self.body,
            "{{\"key\":\"{key}\",\"lease_id\":\"{}\",\"txn_id\":\"{}\"}}",
            self.grant.lease_id, self.grant.txn_id
        )?;
        self.post_with_token("/v1/release");
        self.connection.exchange(&self.request).await?.expect_ok("release")
    }

    pub(crate) async fn keepalive(&mut self, key: &str, ttl_seconds: u64) -> Result<(), Fault> {
        self.body.clear();
        write!(
            self.body,
            "{{\"key\":\"{key}\",\"lease_id\":\"{}\",\"ttl_seconds\":{ttl_seconds},\"txn_id\":\"{}\"}}",
            self.grant.lease_id, self.grant.txn_id
        )?;
        self.post_with_token("/v1/keepalive");
        self.connection.exchange(&self.request).await?.expect_ok("keepalive")
    }

    fn post_with_token(&mut self, path: &str) {
        self.request.clear();
        // Writing to a Vec cannot fail.
        let _ = write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: lockd\r\nContent-Type: application/json\r\n\
             X-Fencing-Token: {}\r\nContent-Length: {}\r\n\r\n",
            self.grant.fencing_token,
            self.body.len()
        );
        self.request.extend_from_slice(&self.body);
    }

    /// Sends prepared request bytes and wants 200 with a body of `body_bytes`.
    pub(crate) async fn send(
        &mut self,
        call: &'static str,
        request: &[u8],
        body_bytes: usize,
    ) -> Result<(), Fault> {
        let answer = self.connection.exchange(request).await?;
        answer.expect_ok(call)?;
        if answer.body.len() != body_bytes {
            return Err(Fault::Unexpected {
                call,
                detail: format!("a body of {} bytes instead of {body_bytes}", answer.body.len()),
            });
        }
        Ok(())
    }
}

pub(crate) fn health_request() -> Vec<u8> {
    b"GET /healthz HTTP/1.1\r\nHost: lockd\r\n\r\n".to_vec()
}

pub(crate) fn public_read_request(key: &str) -> Vec<u8> {
    format!("GET /v1/get?key={key}&public=1 HTTP/1.1\r\nHost: lockd\r\n\r\n").into_bytes()
}

fn read_grant(body: &[u8]) -> Option<Grant> {
    let text = std::str::from_utf8(body).ok()?;
    let fencing_token = member(text, "\"fencing_token\"")?;
    let digits = fencing_token.find(|c: char| !c.is_ascii_digit()).unwrap_or(fencing_token.len());
    Some(Grant {
        lease_id: quoted(member(text, "\"lease_id\"")?)?,
        txn_id: quoted(member(text, "\"txn_id\"")?)?,
        fencing_token: fencing_token[..digits].parse().ok()?,
    })
}

/// The text behind `"name":`. Enough for these flat answers, whose values never contain the names looked for
/// because the generator chooses key and owner.
pub(crate) fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = memchr::memmem::find(text.as_bytes(), name.as_bytes())?;
    text[at + name.len()..].trim_start().strip_prefix(':').map(str::trim_start)
}

pub(crate) fn quoted(text: &str) -> Option<String> {
    let (value, _) = text.strip_prefix('"')?.split_once('"')?;
    Some(value.to_owned())
}

/// A compact JSON document of exactly `size` bytes whose content changes with every revision.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    bytes: Vec<u8>,
    revision: u64,
}

const REVISION_AT: usize = "{\"n\":".len();
const REVISION_DIGITS: usize = 12;
const FIRST_REVISION: u64 = 100_000_000_000;
const FRAME_BYTES: usize = "{\"n\":100000000000,\"fill\":\"\"}".len();

impl Document {
    pub(crate) const MIN_BYTES: usize = FRAME_BYTES;

    pub(crate) fn new(size: usize, seed: u64) -> Document {
        let mut bytes = format!("{{\"n\":{FIRST_REVISION},\"fill\":\"").into_bytes();
        // Hexadecimal noise (xorshift): a compressing server must not look better than it is.
        let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..size.saturating_sub(FRAME_BYTES) {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            bytes.push(b"0123456789abcdef"[(noise >> 60) as usize]);
        }
        bytes.extend_from_slice(b"\"}");
        Document { bytes, revision: 0 }
    }

    pub(crate) fn next_revision(&mut self) -> &[u8] {
        self.revision += 1;
        let mut number = FIRST_REVISION + self.revision % FIRST_REVISION;
        for at in (REVISION_AT..REVISION_AT + REVISION_DIGITS).rev() {
            self.bytes[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_from_compact_and_spaced_answers() {
        let want = Grant { lease_id: "l1".into(), txn_id: "t1".into(), fencing_token: 42 };
        let compact =
            br#"{"namespace":"default","lease_id":"l1","txn_id":"t1","version":7,"fencing_token":42}"#;
        let spaced = b"{ \"fencing_token\" : 42 , \"txn_id\": \"t1\", \"lease_id\" : \"l1\" }\n";
        assert_eq!(read_grant(compact), Some(want.clone()));
        assert_eq!(read_grant(spaced), Some(want));
        assert_eq!(read_grant(b"{\"lease_id\":\"l1\"}"), None);
    }

    #[test]
    fn documents_have_the_size_asked_for_and_change() {
        let mut document = Document::new(4096, 1);
        let first = document.next_revision().to_vec();
        let second = document.next_revision().to_vec();
        assert_eq!((first.len(), second.len()), (4096, 4096));
        assert_ne!(first, second);
        let value: serde_json::Value = serde_json::from_slice(&second).unwrap();
        assert_eq!(value["n"], FIRST_REVISION + 2);
        assert_eq!(Document::new(0, 1).next_revision().len(), Document::MIN_BYTES);
        assert_ne!(Document::new(64, 1).bytes, Document::new(64, 2).bytes);
    }
}
