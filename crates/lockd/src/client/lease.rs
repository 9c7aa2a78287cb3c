//! Taking, extending, giving back and looking at leases.

use std::time::{Duration, Instant};

use lockd_wire::header;
use serde_json::{Value, json};

use super::claim::{Claim, Subject, claimed, namespace, subject};
use super::export;
use super::print;
use super::transport::{Answer, Api, Call};
use super::{Failure, Invocation, Outcome};
use crate::flags::ClientSettings;
use crate::value;

/// What an acquire brought.
#[derive(Debug, Clone, Default)]
pub(super) struct Grant {
    pub(super) namespace: String,
    pub(super) key: String,
    pub(super) owner: String,
    pub(super) lease_id: String,
    pub(super) txn_id: String,
    pub(super) fencing_token: u64,
    pub(super) version: u64,
    pub(super) state_etag: String,
    pub(super) expires_at_unix: u64,
    pub(super) correlation_id: String,
    /// How long it lives without a word from us: the server may have cut short what was asked.
    pub(super) lives: Duration,
}

impl Grant {
    fn read(value: &Value, lives: Duration) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| value[name].as_u64().unwrap_or_default();
        Grant {
            namespace: text("namespace"),
            key: text("key"),
            owner: text("owner"),
            lease_id: text("lease_id"),
            txn_id: text("txn_id"),
            fencing_token: number("fencing_token"),
            version: number("version"),
            state_etag: text("state_etag"),
            expires_at_unix: number("expires_at_unix"),
            correlation_id: text("correlation_id"),
            lives,
        }
    }

    /// The variables that hand the lease to later commands.
    pub(super) fn variables(&self, servers: &str) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("LOCKD_CLIENT_LEASE", self.lease_id.clone()),
            ("LOCKD_CLIENT_KEY", self.key.clone()),
            ("LOCKD_CLIENT_OWNER", self.owner.clone()),
            ("LOCKD_CLIENT_FENCING_TOKEN", self.fencing_token.to_string()),
            ("LOCKD_CLIENT_TXN_ID", self.txn_id.clone()),
            ("LOCKD_CLIENT_SERVER", servers.to_owned()),
            ("LOCKD_CLIENT_VERSION", self.version.to_string()),
            ("LOCKD_CLIENT_ETAG", self.state_etag.clone()),
            ("LOCKD_CLIENT_EXPIRES_UNIX", self.expires_at_unix.to_string()),
        ];
        for (name, value) in [
            ("LOCKD_CLIENT_NAMESPACE", &self.namespace),
            ("LOCKD_CLIENT_CORRELATION_ID", &self.correlation_id),
        ] {
            if !value.is_empty() {
                variables.push((name, value.clone()));
            }
        }
        variables
    }

    pub(super) fn subject(&self) -> Subject {
        Subject { namespace: self.namespace.clone(), key: self.key.clone() }
    }

    pub(super) fn claim(&self) -> Claim {
        Claim {
            lease: self.lease_id.clone(),
            fencing_token: self.fencing_token.to_string(),
            txn_id: self.txn_id.clone(),
        }
    }
}

pub(super) async fn acquire(invocation: &Invocation) -> Outcome<()> {
    let api = Api::new(invocation)?;
    let grant = take(&api, &invocation.settings, &invocation.settings.key).await?;
    let printed = print::out(granted(&api, &invocation.settings, &grant).as_bytes());
    if printed.is_err() {
        // A lease that nobody learns of is in everybody's way.
        let _ = give_back(&api, &grant.subject(), &grant.claim(), true).await;
    }
    printed
}

/// What is printed of a new lease.
fn granted(api: &Api, settings: &ClientSettings, grant: &Grant) -> String {
    if settings.format == "json" {
        let mut members = vec![
            ("namespace", print::string(&grant.namespace)),
            ("lease_id", print::string(&grant.lease_id)),
            ("txn_id", print::string(&grant.txn_id)),
            ("key", print::string(&grant.key)),
            ("owner", print::string(&grant.owner)),
            ("expires_at_unix", grant.expires_at_unix.to_string()),
            ("version", grant.version.to_string()),
            ("state_etag", print::string(&grant.state_etag)),
            ("fencing_token", grant.fencing_token.to_string()),
            ("correlation_id", print::string(&grant.correlation_id)),
        ];
        members.retain(|(_, value)| value != "\"\"");
        return print::result(&members);
    }
    grant.variables(&api.servers()).iter().map(|(name, value)| export::line(name, value)).collect()
}

/// How long to wait for what somebody else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    No,
    Forever,
    For(u64),
}

impl Block {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().to_lowercase();
        match text.as_str() {
            "nowait" | "no-wait" => return Ok(Block::No),
            "" | "0" | "forever" | "waitforever" | "wait-forever" | "infinite" => return Ok(Block::Forever),
            _ => {}
        }
        if let Ok(seconds) = text.parse::<i64>() {
            return Ok(u64::try_from(seconds).map_or(Block::No, Block::For));
        }
        match value::parse_duration(&text) {
            Ok(nanos) if nanos < 0 => Ok(Block::No),
            Ok(0) => Ok(Block::Forever),
            Ok(nanos) => Ok(Block::For(nanos.unsigned_abs().div_ceil(1_000_000_000))),
            Err(reason) => Err(reason),
        }
    }
}

/// How often an acquire is sent again after failures that say nothing about the key.
fn retries(text: &str) -> Result<u64, String> {
    match text.trim() {
        "none" => Ok(0),
        text => match text.parse::<i64>() {
            Ok(0) => Ok(5),
            Ok(count) => Ok(u64::try_from(count).unwrap_or(u64::MAX)),
            Err(_) => Err(format!("invalid number {text:?}: write a whole number or none")),
        },
    }
}

/// Takes a lease, waiting as long as `--block` says.
pub(super) async fn take(api: &Api, settings: &ClientSettings, key: &str) -> Outcome<Grant> {
    let block =
        Block::parse(&settings.block).map_err(|reason| Failure::Usage(format!("--block: {reason}")))?;
    let retries = retries(&settings.retries).map_err(|reason| {
        Failure::Usage(format!("invalid argument {:?} for \"--retries\" flag: {reason}", settings.retries))
    })?;
    let namespace = namespace(settings)?;
    let owner = if settings.owner.is_empty() { default_owner() } else { settings.owner.clone() };
    let started = Instant::now();
    let mut failures = 0;
    let mut pause = Duration::from_millis(100);
    loop {
        let waited = started.elapsed();
        let left = match block {
            Block::No => -1,
            Block::Forever => 0,
            Block::For(seconds) => seconds.saturating_sub(waited.as_secs()).max(1).cast_signed(),
        };
        let mut body = json!({
            "namespace": namespace,
            "key": key,
            "owner": owner,
            "ttl_seconds": whole_seconds(settings.ttl),
            "block_seconds": left,
            "if_not_exists": settings.if_not_exists,
        });
        if !settings.txn_id.is_empty() {
            body["txn_id"] = settings.txn_id.as_str().into();
        }
        let mut call = Call::post("/v1/acquire").json(&body);
        call.patience = match left {
            0 => Some(Duration::from_secs(u64::from(u32::MAX))),
            left => Some(api.timeout + Duration::from_secs(left.max(0).unsigned_abs())),
        };
        let failure = match api.send(call).await {
            Ok(mut answer) => {
                let value = answer.value().await?;
                return Ok(Grant::read(&value, answer.granted_span(&value, settings.ttl)));
            }
            Err(failure) => failure,
        };
        let time_is_over = match block {
            Block::No => return Err(failure),
            Block::Forever => false,
            Block::For(seconds) => started.elapsed() >= Duration::from_secs(seconds),
        };
        let hint = match &failure {
            Failure::Service(refusal) if refusal.code == "already_exists" => return Err(failure),
            Failure::Service(refusal)
                if refusal.status == 409 || refusal.status == 429 || refusal.status >= 500 =>
            {
                if time_is_over {
                    let waited = started.elapsed();
                    return Err(match refusal.code.as_str() {
                        "waiting" => Failure::Local(format!(
                            "lockd: acquire timed out after {}.{:03}s",
                            waited.as_secs(),
                            waited.subsec_millis()
                        )),
                        _ => failure,
                    });
                }
                Duration::from_secs(refusal.retry_after_seconds)
            }
            Failure::Unreachable { .. } if failures < retries && !time_is_over => {
                failures += 1;
                Duration::ZERO
            }
            _ => return Err(failure),
        };
        let jitter = 0.75 + 0.5 * fastrand::f64();
        tokio::time::sleep(pause.max(hint.min(Duration::from_secs(5))).mul_f64(jitter)).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

pub(super) fn default_owner() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = if name.is_empty() { "lockd" } else { &name };
    format!("{name}-{}", std::process::id())
}

pub(super) async fn keepalive(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let (subject, claim) = claimed(invocation)?;
    let claim = claim.unwrap_or_default();
    let api = Api::new(invocation)?;
    let patience = settings.keepalive_timeout.min(settings.close_timeout).max(Duration::from_secs(1));
    let mut answer = extend(&api, &subject, &claim, settings.ttl, patience).await?;
    let expires = answer.value().await?["expires_at_unix"].as_i64().unwrap_or_default();
    let iso = jiff::Timestamp::from_second(expires).map(|time| time.to_string()).unwrap_or_default();
    let text = match settings.format {
        "text" => format!("expires_at_unix: {expires} ({iso})\n"),
        _ => {
            print::result(&[("expires_at_iso", print::string(iso)), ("expires_at_unix", expires.to_string())])
        }
    };
    print::out(text.as_bytes())
}

pub(super) async fn extend(
    api: &Api,
    subject: &Subject,
    claim: &Claim,
    ttl: Duration,
    patience: Duration,
) -> Outcome<Answer> {
    let mut call = Call::post("/v1/keepalive").json(&json!({
        "namespace": subject.namespace,
        "key": subject.key,
        "lease_id": claim.lease,
        "ttl_seconds": whole_seconds(ttl),
        "txn_id": claim.txn_id,
    }));
    call.headers.push((header::FENCING_TOKEN, claim.fencing_token.clone()));
    call.patience = Some(patience);
    api.send(call).await
}

pub(super) async fn release(invocation: &Invocation) -> Outcome<()> {
    let (subject, claim) = claimed(invocation)?;
    let api = Api::new(invocation)?;
    give_back(&api, &subject, &claim.unwrap_or_default(), invocation.settings.rollback).await?;
    let text = match invocation.settings.format {
        "text" => "released: true\n".to_owned(),
        _ => print::result(&[("released", "true".into())]),
    };
    print::out(text.as_bytes())
}

pub(super) async fn give_back(api: &Api, subject: &Subject, claim: &Claim, rollback: bool) -> Outcome<()> {
    let mut call = Call::post("/v1/release").json(&json!({
        "namespace": subject.namespace,
        "key": subject.key,
        "lease_id": claim.lease,
        "txn_id": claim.txn_id,
        "rollback": rollback,
    }));
    call.headers.push((header::FENCING_TOKEN, claim.fencing_token.clone()));
    match api.send(call).await {
        Ok(_) => Ok(()),
        // Nothing is left to give back.
        Err(failure) if failure.code() == "lease_required" => Ok(()),
        Err(failure) => Err(failure),
    }
}

pub(super) async fn describe(invocation: &Invocation) -> Outcome<()> {
    let subject = subject(&invocation.settings)?;
    let api = Api::new(invocation)?;
    let mut call = Call::post("/v1/describe");
    call.method = "GET";
    call.query = vec![("key", subject.key), ("namespace", subject.namespace)];
    let body = api.send(call).await?.bytes().await?;
    if invocation.settings.format != "text" {
        return print::out(print::document(&body).as_bytes());
    }
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut lines = String::new();
    for name in [
        "namespace",
        "key",
        "owner",
        "lease_id",
        "expires_at_unix",
        "version",
        "state_etag",
        "updated_at_unix",
    ] {
        match &value[name] {
            Value::Null => {}
            Value::String(text) => lines.push_str(&format!("{name}: {text}\n")),
            other => lines.push_str(&format!("{name}: {other}\n")),
        }
    }
    let hidden = value["metadata"]["query_hidden"].as_bool().unwrap_or_default();
    lines.push_str(&format!("query_hidden: {hidden}\n"));
    print::out(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_are_words_seconds_or_durations() {
        for (text, block) in [
            ("nowait", Block::No),
            ("-1", Block::No),
            ("-3s", Block::No),
            ("", Block::Forever),
            ("0", Block::Forever),
            ("Infinite", Block::Forever),
            ("7", Block::For(7)),
            ("1500ms", Block::For(2)),
        ] {
            assert_eq!(Block::parse(text), Ok(block), "{text}");
        }
        assert!(Block::parse("soon").is_err());
        assert_eq!(retries("-1"), Ok(u64::MAX));
        assert_eq!(retries("0"), Ok(5));
        assert_eq!(retries("none"), Ok(0));
    }
}
