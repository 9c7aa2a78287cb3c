//! Getting a lease: as patiently as the caller wishes, whatever happens to servers meanwhile.

use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant, sleep};

use crate::answered::Answer;
use crate::body::Payload;
use crate::call::{Call, Patience, Repeat};
use crate::client::Client;
use crate::courier::is_retryable;
use crate::error::{Error, Refusal, Result};
use crate::lease::Lease;
use crate::options::{AcquireOptions, Wait, rounded_up};
use crate::session::LeaseSession;
use crate::vigil::{Vigil, granted_span};

#[derive(Serialize)]
struct Request<'a> {
    namespace: &'a str,
    key: &'a str,
    owner: &'a str,
    ttl_seconds: u64,
    block_seconds: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    if_not_exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Grant {
    namespace: String,
    key: String,
    owner: String,
    lease_id: String,
    txn_id: String,
    expires_at_unix: i64,
    #[serde(default)]
    version: i64,
    #[serde(default)]
    state_etag: Option<String>,
    fencing_token: i64,
    #[serde(default)]
    correlation_id: String,
}

impl Client {
    /// Takes the lease on a key. The session renews it by itself until it is released, rolled back or dropped.
    ///
    /// Dropping the returned future takes the request back; a server does not grant a lease to somebody of whom it knows that he
    /// has left. If it grants the lease at that very moment, that runs out by itself.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use std::time::Duration;
    /// use lockd_client::AcquireOptions;
    ///
    /// let options = AcquireOptions::new().ttl(Duration::from_secs(20)).wait_at_most(Duration::from_secs(5));
    /// let mut session = client.acquire("jobs/nightly", &options).await?;
    /// session.save(&serde_json::json!({"done": 3})).await?;
    /// session.release().await?;
    /// # Ok(()) }
    /// ```
    pub async fn acquire(&self, key: &str, options: &AcquireOptions) -> Result<LeaseSession> {
        let ttl_seconds = options.ttl_seconds()?;
        let begun = Instant::now();
        let until = match options.wait {
            Wait::AtMost(longest) => begun.checked_add(longest),
            Wait::Forever | Wait::No => None,
        };
        let mut refusals = 0;
        loop {
            let asked = Instant::now();
            let refused = match self.send(self.acquire_call(key, options, ttl_seconds, until)).await {
                Ok(answer) => return self.session(&answer, options, ttl_seconds, asked),
                Err(Error::Refused(refusal)) if waits_out(&refusal, options) => refusal,
                Err(error) => return Err(error),
            };
            let left = match (options.wait, until) {
                (Wait::No, _) => Duration::ZERO,
                (_, Some(until)) => until.saturating_duration_since(Instant::now()),
                (_, None) => Duration::MAX,
            };
            if left.is_zero() {
                return Err(Error::Refused(refused));
            }
            // The server has had the lease in view for as long as we wanted to wait; its hint may be far beyond that.
            let pause = self.inner.retry.pause(refusals, refused.retry_after).min(left);
            sleep(pause).await;
            refusals += 1;
        }
    }

    /// Takes the lease on a new key whose name the server makes up.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// let session = client.acquire_generated(&Default::default()).await?;
    /// println!("{}", session.key());
    /// # Ok(()) }
    /// ```
    pub async fn acquire_generated(&self, options: &AcquireOptions) -> Result<LeaseSession> {
        self.acquire("", options).await
    }

    /// Goes on with a lease that was acquired elsewhere: by another process, or by a session that was
    /// [detached](LeaseSession::detach). No server is asked. The session renews the lease only when
    /// [told to](LeaseSession::keepalive), and leaves it alone when it is dropped.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use lockd_client::Lease;
    ///
    /// let lease = Lease::new("default", "jobs/nightly", "d4ekq9s2b7m0c1r5t8u0", "d4ekq9s2b7m0c1r5t8ug", 1);
    /// client.attach(lease).release().await?;
    /// # Ok(()) }
    /// ```
    pub fn attach(&self, mut lease: Lease) -> LeaseSession {
        if lease.namespace.is_empty() {
            lease.namespace = self.namespace.to_string();
        }
        if lease.correlation_id.is_empty() {
            lease.correlation_id =
                self.correlation_id.as_deref().map_or_else(crate::correlation::fresh, str::to_owned);
        }
        let vigil = Vigil::new(self.clone(), lease, AcquireOptions::default().ttl, None, 0);
        LeaseSession::attached(vigil)
    }

    fn acquire_call(
        &self,
        key: &str,
        options: &AcquireOptions,
        ttl_seconds: u64,
        until: Option<Instant>,
    ) -> Call {
        let mut call = Call::post("/v1/acquire");
        call.header("content-type", "application/json");
        match options.wait {
            Wait::No => {}
            Wait::Forever => drop(call.answer_within(None)),
            // Every attempt has what is left by then.
            Wait::AtMost(_) => call.patience = until.map_or(Patience::Forever, Patience::After),
        }
        if options.if_not_exists {
            // The echo of an attempt that was carried out would be "already exists".
            call.repeat = Repeat::Never;
        }
        let (namespace, key) = (self.namespace.clone(), key.to_owned());
        let owner = options.owner.clone().unwrap_or_else(|| self.inner.owner.clone());
        let txn_id = options.txn_id.map(|id| id.to_string());
        let (wait, if_not_exists) = (options.wait, options.if_not_exists);
        call.payload = Payload::Made(Box::new(move || {
            let left =
                || until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            let block_seconds = match wait {
                Wait::Forever => 0,
                Wait::No => -1,
                Wait::AtMost(_) => match rounded_up(left()) {
                    0 => -1,
                    seconds => seconds as i64,
                },
            };
            let request = Request {
                namespace: &namespace,
                key: &key,
                owner: &owner,
                ttl_seconds,
                block_seconds,
                if_not_exists,
                txn_id: txn_id.as_deref(),
            };
            serde_json::to_vec(&request).unwrap_or_default().into()
        }));
        call
    }

    fn session(
        &self,
        answer: &Answer,
        options: &AcquireOptions,
        ttl_seconds: u64,
        asked: Instant,
    ) -> Result<LeaseSession> {
        let grant: Grant = answer.json()?;
        let lease = Lease {
            namespace: grant.namespace,
            key: grant.key,
            owner: grant.owner,
            lease_id: grant.lease_id,
            txn_id: grant.txn_id,
            fencing_token: grant.fencing_token,
            version: Some(grant.version),
            state_etag: grant.state_etag.filter(|etag| !etag.is_empty()),
            expires_at_unix: grant.expires_at_unix,
            correlation_id: grant.correlation_id,
        };
        let ttl = Duration::from_secs(ttl_seconds);
        let lives = granted_span(answer.header("date"), lease.expires_at_unix, ttl_seconds);
        // The lease was granted at some time between the request and now. After a long wait that is probably now; the first
        // keepalive, which is then sent at once, makes certain.
        let now = Instant::now();
        let waited = now - asked > lives / 3;
        let deadline = if waited { now.checked_add(lives) } else { asked.checked_add(lives) };
        let coordinated = options.txn_id.is_some();
        let vigil = Vigil::new(self.clone(), lease, ttl.min(lives), deadline, answer.server);
        Ok(LeaseSession::acquired(vigil, options, coordinated, waited))
    }
}

/// Whether an acquire that was refused like this goes on waiting.
fn waits_out(refusal: &Refusal, options: &AcquireOptions) -> bool {
    let is_conflict = refusal.status == 409 && !refusal.is(lockd_wire::ErrorCode::AlreadyExists);
    let may_repeat = !(options.if_not_exists && refusal.maybe_applied);
    is_conflict || is_retryable(refusal) && may_repeat
}
