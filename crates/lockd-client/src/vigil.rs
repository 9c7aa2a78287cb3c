//! Watches over a lease: renews it, knows until when it certainly lives, and tells everybody the moment it is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use crate::answer::Renewed;
use crate::answered::Answer;
use crate::call::Call;
use crate::client::Client;
use crate::error::{Error, Loss, Result};
use crate::lease::Lease;
use crate::options::rounded_up;
use crate::queue::Held;
use crate::retry::RetryPolicy;

/// Servers give holders eight seconds to finish when they end; to hear of it in time, ask more often.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);
/// Consumers have nothing to finish when a server ends, and every extension is written to disk.
const LONGEST_INTERVAL_OF_MESSAGES: Duration = Duration::from_secs(30);
/// After a keepalive that failed for no reason of the lease.
const PAUSE: Duration = Duration::from_millis(250);

/// Tells when a lease is lost: a cancellation token for what the lease protects. Copies tell the same.
///
/// ```no_run
/// # async fn example(session: &lockd_client::LeaseSession) {
/// let lost = session.lost();
/// tokio::spawn(async move {
///     let loss = lost.wait().await;
///     eprintln!("stop everything: {loss}");
/// });
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Lost(watch::Receiver<Option<Loss>>);

impl Lost {
    /// Returns when the lease is lost, or when its session has ended in another way.
    pub async fn wait(&self) -> Loss {
        let mut receiver = self.0.clone();
        let lost = receiver.wait_for(Option::is_some).await;
        lost.ok().and_then(|loss| loss.clone()).unwrap_or(Loss::Ended)
    }

    /// How the lease was lost, if it was.
    pub fn loss(&self) -> Option<Loss> {
        self.0.borrow().clone()
    }

    /// Whether the lease is lost.
    pub fn is_lost(&self) -> bool {
        self.0.borrow().is_some()
    }
}

/// Tells when the server that serves a session has announced its end. Leases stay valid and can be renewed and released for a
/// few seconds more; finish and release if you can.
///
/// ```no_run
/// # async fn example(session: lockd_client::LeaseSession, steps: Vec<u32>) -> lockd_client::Result<()> {
/// for step in steps {
///     if session.draining().is_draining() {
///         break;
///     }
///     // ... do the step ...
/// }
/// session.release().await.map(drop)
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Draining {
    flags: watch::Receiver<Vec<bool>>,
    home: Arc<AtomicUsize>,
}

impl Draining {
    /// Returns when the server has announced its end.
    pub async fn wait(&self) {
        let mut flags = self.flags.clone();
        let drained =
            flags.wait_for(|flags| flags.get(self.home.load(Ordering::Relaxed)) == Some(&true)).await;
        if drained.is_err() {
            // The client is gone, so there is nobody to hear it from.
            drop(drained);
            std::future::pending::<()>().await;
        }
    }

    /// Whether the server has announced its end.
    pub fn is_draining(&self) -> bool {
        self.flags.borrow().get(self.home.load(Ordering::Relaxed)) == Some(&true)
    }
}

/// The watch over one lease, shared by its session and the task that renews it.
pub(crate) struct Vigil {
    pub(crate) client: Client,
    pub(crate) lease: Lease,
    /// What else makes the lease that of a message.
    pub(crate) held: Option<Held>,
    ttl: Duration,
    /// Until when the lease certainly lives; `None` while nobody knows.
    deadline: Mutex<Option<Instant>>,
    expires_at_unix: Mutex<i64>,
    /// The deadline is another one.
    moved: Notify,
    loss: watch::Sender<Option<Loss>>,
    /// The server that answered this session last.
    home: Arc<AtomicUsize>,
}

impl Vigil {
    pub(crate) fn new(
        client: Client,
        lease: Lease,
        ttl: Duration,
        deadline: Option<Instant>,
        home: usize,
    ) -> Arc<Vigil> {
        Arc::new(Vigil::of(client, lease, ttl, deadline, home, None))
    }

    pub(crate) fn of_message(
        client: Client,
        lease: Lease,
        ttl: Duration,
        deadline: Option<Instant>,
        home: usize,
        held: Held,
    ) -> Arc<Vigil> {
        Arc::new(Vigil::of(client, lease, ttl, deadline, home, Some(held)))
    }

    fn of(
        client: Client,
        lease: Lease,
        ttl: Duration,
        deadline: Option<Instant>,
        home: usize,
        held: Option<Held>,
    ) -> Vigil {
        Vigil {
            held,
            client,
            ttl,
            deadline: Mutex::new(deadline),
            expires_at_unix: Mutex::new(lease.expires_at_unix),
            lease,
            moved: Notify::new(),
            loss: watch::Sender::new(None),
            home: Arc::new(AtomicUsize::new(home)),
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(crate) fn lost(&self) -> Lost {
        Lost(self.loss.subscribe())
    }

    pub(crate) fn draining(&self) -> Draining {
        Draining { flags: self.client.inner.draining.subscribe(), home: self.home.clone() }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn expires_at_unix(&self) -> i64 {
        *self.expires_at_unix.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares the lease lost, unless it is already.
    pub(crate) fn lose(&self, loss: Loss) {
        let news = self.loss.send_if_modified(|place| match place {
            Some(_) => false,
            None => {
                *place = Some(loss);
                true
            }
        });
        if news {
            tracing::debug!(key = self.lease.key, loss = ?self.loss.borrow().as_ref(), "lease ended");
        }
    }

    /// Fails if the lease is lost, be it that nobody has noticed that its time is over.
    pub(crate) fn check(&self) -> Result<()> {
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.lose(Loss::Expired);
        }
        match self.loss.borrow().clone() {
            None => Ok(()),
            Some(loss) => Err(self.loss_error(loss)),
        }
    }

    pub(crate) fn loss_error(&self, loss: Loss) -> Error {
        Error::LeaseLost { key: self.lease.key.clone(), loss }
    }

    /// Sends a call under the lease, and learns from what comes back.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer> {
        self.check()?;
        self.send_regardless(call).await
    }

    /// The same, even if the lease is believed to be lost.
    pub(crate) async fn send_regardless(&self, call: Call) -> Result<Answer> {
        match self.client.send(call).await {
            Ok(answer) => {
                if self.home.swap(answer.server, Ordering::Relaxed) != answer.server {
                    // Whoever waits for the drain of the former server now waits for that of this one.
                    self.client.inner.draining.send_modify(|_| ());
                }
                Ok(answer)
            }
            Err(Error::Refused(refusal))
                if refusal.ends_lease() || self.held.is_some() && refusal.ends_delivery() =>
            {
                self.lose(Loss::Refused(refusal.clone()));
                Err(self.loss_error(Loss::Refused(refusal)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the lease live this long from now on.
    pub(crate) async fn renew(&self, ttl: Duration, retry: Option<RetryPolicy>) -> Result<Renewed> {
        match &self.held {
            Some(held) => self.extend(held, ttl, retry).await,
            None => self.renew_key(ttl, retry).await,
        }
    }

    pub(crate) fn lives_until(&self, deadline: Option<Instant>, expires_at_unix: i64) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        *self.expires_at_unix.lock().unwrap_or_else(PoisonError::into_inner) = expires_at_unix;
        self.moved.notify_one();
    }

    pub(crate) async fn renew_key(&self, ttl: Duration, retry: Option<RetryPolicy>) -> Result<Renewed> {
        #[derive(Serialize)]
        struct Request<'a> {
            namespace: &'a str,
            key: &'a str,
            lease_id: &'a str,
            txn_id: &'a str,
            ttl_seconds: u64,
        }
        #[derive(Deserialize)]
        struct Granted {
            expires_at_unix: i64,
        }
        let lease = &self.lease;
        let seconds = rounded_up(ttl);
        let mut call = Call::post("/v1/keepalive");
        call.token(lease);
        call.timeout(self.client.inner.keepalive_timeout).json(&Request {
            namespace: &lease.namespace,
            key: &lease.key,
            lease_id: &lease.lease_id,
            txn_id: &lease.txn_id,
            ttl_seconds: seconds,
        });
        if let Some(retry) = retry {
            call.retry(retry);
        }
        let asked = Instant::now();
        let answer = match self.send(call).await {
            Err(Error::Refused(refusal)) if refusal.is(lockd_wire::ErrorCode::TxnMismatch) => {
                self.lose(Loss::Refused(refusal.clone()));
                return Err(self.loss_error(Loss::Refused(refusal)));
            }
            answer => answer?,
        };
        let granted: Granted = answer.json()?;
        let lives = granted_span(answer.header("date"), granted.expires_at_unix, seconds);
        self.lives_until(asked.checked_add(lives), granted.expires_at_unix);
        Ok(Renewed { expires_at_unix: granted.expires_at_unix })
    }

    /// Keeps watch until the lease is lost or the task is aborted. `first` is when to renew for the first time, if at all.
    pub(crate) fn keep(self: &Arc<Self>, first: Option<Instant>) -> JoinHandle<()> {
        let vigil = self.clone();
        tokio::spawn(async move {
            let longest = if vigil.held.is_some() { LONGEST_INTERVAL_OF_MESSAGES } else { LONGEST_INTERVAL };
            let interval = (vigil.ttl / 3).min(longest);
            let mut next = first;
            let lost = vigil.lost();
            loop {
                let far = Instant::now() + Duration::from_secs(3600);
                let deadline = vigil.deadline().unwrap_or(far);
                let wake = next.unwrap_or(deadline).min(deadline);
                tokio::select! {
                    biased;
                    _ = lost.wait() => return,
                    () = vigil.moved.notified() => {
                        // Somebody has made it end sooner: then it has to be renewed sooner.
                        let now = Instant::now();
                        let left = vigil.deadline().unwrap_or(far).saturating_duration_since(now);
                        next = next.map(|next| next.min(now + left / 3));
                        continue;
                    }
                    () = sleep_until(wake) => {}
                }
                if vigil.check().is_err() {
                    return;
                }
                if next.is_none_or(|next| next > Instant::now()) {
                    continue;
                }
                let renewing = vigil.renew(vigil.ttl, Some(RetryPolicy::none()));
                let renewed = timeout_at(vigil.deadline().unwrap_or(far), renewing).await;
                next = Some(match renewed {
                    Ok(Ok(_)) => Instant::now() + interval,
                    Ok(Err(error)) => {
                        tracing::debug!(key = vigil.lease.key, %error, "keepalive failed");
                        Instant::now() + PAUSE.min(interval)
                    }
                    Err(_) => Instant::now(),
                });
            }
        })
    }
}

/// How long a lease lives for which `wished` seconds were asked: the server cuts long wishes short without saying so, but tells
/// when the lease ends and, in the `Date` of its answer, what time it has. Its clock shows whole seconds, so one second less is
/// no cut. The methods of this crate heed it; this is for whoever reads the answer to a [`Call`](crate::Call).
///
/// ```
/// use std::time::Duration;
///
/// let date = Some("Thu, 01 Jan 1970 00:01:00 GMT");
/// assert_eq!(lockd_client::granted_span(date, 64, 60), Duration::from_secs(4));
/// assert_eq!(lockd_client::granted_span(date, 119, 60), Duration::from_secs(60));
/// ```
#[must_use]
pub fn granted_span(date: Option<&str>, expires_at_unix: i64, wished: u64) -> Duration {
    let now = date.and_then(unix_seconds);
    let granted = now.map(|now| u64::try_from(expires_at_unix.saturating_sub(now)).unwrap_or(0));
    let granted = granted.filter(|granted| granted.saturating_add(1) < wished);
    Duration::from_secs(granted.unwrap_or(wished))
}

/// Reads the fixed form of HTTP dates: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn unix_seconds(date: &str) -> Option<i64> {
    let mut words = date.strip_suffix(" GMT")?.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let clock: Vec<i64> = words.next()?.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hour, minute, second] = clock[..] else { return None };
    // Years begin in March here, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::unix_seconds;

    #[test]
    fn http_dates_are_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Wed, 25 Nov 2026 09:30:26 GMT", Some(1_795_599_026)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(unix_seconds(text), seconds, "{text}");
        }
    }
}
