//! A session: the lease on a key in the hands of one holder.

mod attachments;
mod release;
mod state;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use crate::answer::Renewed;
use crate::client::Client;
use crate::error::Result;
use crate::lease::Lease;
use crate::options::{AcquireOptions, whole_seconds};
use crate::transaction::Transaction;
use crate::vigil::{Draining, Lost, Vigil};

/// Holds the lease on a key.
///
/// What is written through a session is *staged*: the session sees it, nobody else does. [`release`](Self::release) makes all
/// of it visible at once, [`rollback`](Self::rollback) discards it. Both consume the session, so a lease that is gone cannot
/// be used:
///
/// ```compile_fail,E0382
/// # async fn example(mut session: lockd_client::LeaseSession) -> lockd_client::Result<()> {
/// session.release().await?;
/// session.save(&1).await?;
/// # Ok(()) }
/// ```
///
/// The lease is renewed in the background. Dropping a session rolls back in the background: what was staged before an error or
/// a panic does not become visible, and the key is free again soon.
pub struct LeaseSession {
    vigil: Arc<Vigil>,
    view: Mutex<View>,
    /// Renews the lease and watches its time.
    watch: Option<JoinHandle<()>>,
    /// The lease takes part in a transaction that others may decide.
    coordinated: bool,
    /// Where a dropped session is rolled back.
    on_drop: Option<Handle>,
}

/// What the session knows of its key.
#[derive(Debug, Clone)]
struct View {
    /// The version that the lease sees.
    version: Option<i64>,
    /// The state that the lease sees.
    etag: Seen,
    /// What the server compares `X-If-State-ETag` with: the same, except that a removed state counts as still there.
    condition: Seen,
    committed: Seen,
    staged: Staged,
}

/// What a commit would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Staged {
    /// Something is staged for certain.
    certain: bool,
    /// A call that stages something broke off, and may have been carried out.
    possible: bool,
    /// Something is or may be staged that makes a new version, which metadata alone does not.
    versioned: bool,
    /// Calls that stage something and have not ended, or were dropped before they did.
    open: u32,
    /// Those of them that make a new version.
    open_versioned: u32,
}

impl Staged {
    fn is_possible(self) -> bool {
        self.certain || self.is_doubtful()
    }

    fn is_doubtful(self) -> bool {
        self.possible || self.open > 0
    }

    fn makes_a_version(self) -> bool {
        self.versioned || self.open_versioned > 0
    }
}

/// What is known of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Unknown,
    Nothing,
    Etag(String),
}

impl Seen {
    fn etag(&self) -> Option<&str> {
        match self {
            Seen::Etag(etag) => Some(etag),
            Seen::Unknown | Seen::Nothing => None,
        }
    }
}

impl LeaseSession {
    pub(crate) fn acquired(
        vigil: Arc<Vigil>,
        options: &AcquireOptions,
        coordinated: bool,
        renew_at_once: bool,
    ) -> LeaseSession {
        let first = match renew_at_once {
            true => Instant::now(),
            false => Instant::now() + vigil.ttl() / 3,
        };
        let watch = Some(vigil.keep(options.keepalive.then_some(first)));
        let etag = vigil.lease.state_etag.clone().map_or(Seen::Nothing, Seen::Etag);
        let on_drop = options.release_on_drop.then(Handle::try_current).and_then(Result::ok);
        LeaseSession::new(vigil, etag, watch, coordinated, on_drop)
    }

    pub(crate) fn attached(vigil: Arc<Vigil>) -> LeaseSession {
        // Others may use the same lease, and may have changed the state since it was last seen.
        LeaseSession::new(vigil, Seen::Unknown, None, false, None)
    }

    fn new(
        vigil: Arc<Vigil>,
        etag: Seen,
        watch: Option<JoinHandle<()>>,
        coordinated: bool,
        on_drop: Option<Handle>,
    ) -> LeaseSession {
        let view = View {
            version: vigil.lease.version,
            committed: etag.clone(),
            condition: etag.clone(),
            etag,
            staged: Staged::default(),
        };
        LeaseSession { vigil, view: Mutex::new(view), watch, coordinated, on_drop }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> &Lease {
        &self.vigil.lease
    }

    /// The namespace of the key.
    pub fn namespace(&self) -> &str {
        &self.lease().namespace
    }

    /// The key, as all calls must spell it.
    pub fn key(&self) -> &str {
        &self.lease().key
    }

    /// Who holds the lease.
    pub fn owner(&self) -> &str {
        &self.lease().owner
    }

    /// Names this grant of the lease.
    pub fn lease_id(&self) -> &str {
        &self.lease().lease_id
    }

    /// The transaction that the changes belong to. To let other keys take part in it, use [`transaction`](Self::transaction).
    pub fn txn_id(&self) -> &str {
        &self.lease().txn_id
    }

    /// Grows with every grant of the key. Hand it to whatever you write to under this lease, and let that refuse writers with
    /// a lower one.
    pub fn fencing_token(&self) -> i64 {
        self.lease().fencing_token
    }

    /// The id under which the server's log knows the calls of this session.
    pub fn correlation_id(&self) -> &str {
        &self.lease().correlation_id
    }

    /// The version of the key as the lease sees it: with a state staged, the one that releasing will make.
    /// `None` if the session was attached and has not seen it yet.
    pub fn version(&self) -> Option<i64> {
        self.view().version
    }

    /// The ETag of the state as the lease sees it. `None` if there is no state, or it has not been seen yet.
    pub fn etag(&self) -> Option<String> {
        self.view().etag.etag().map(str::to_owned)
    }

    /// When the lease ends unless it is renewed, by the server's clock, in seconds since 1970; 0 if unknown.
    pub fn expires_at_unix(&self) -> i64 {
        self.vigil.expires_at_unix()
    }

    /// Tells when the lease is lost. See [`Lost`].
    pub fn lost(&self) -> Lost {
        self.vigil.lost()
    }

    /// Tells when the server announces its end. See [`Draining`].
    pub fn draining(&self) -> Draining {
        self.vigil.draining()
    }

    /// The client that made this session.
    pub fn client(&self) -> &Client {
        &self.vigil.client
    }

    /// Lets other keys take part in the transaction of this lease. From now on releasing any of them decides for all.
    ///
    /// ```no_run
    /// # async fn example(mut order: lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// let transaction = order.transaction()?;
    /// let mut stock = transaction.acquire("stock/widget", &Default::default()).await?;
    /// stock.save(&41).await?;
    /// order.save(&"one widget").await?;
    /// transaction.commit([order, stock]).await?;
    /// # Ok(()) }
    /// ```
    pub fn transaction(&mut self) -> Result<Transaction> {
        let id = self.txn_id().parse()?;
        self.coordinated = true;
        Ok(Transaction::of(self.client().in_namespace(self.namespace()), id))
    }

    /// Renews the lease for as long as it was acquired for. Sessions do so by themselves, unless the options say otherwise or
    /// they were attached.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// println!("lives until {}", session.keepalive().await?.expires_at_unix);
    /// # Ok(()) }
    /// ```
    pub async fn keepalive(&self) -> Result<Renewed> {
        self.vigil.renew(self.vigil.ttl(), None).await
    }

    /// Makes the lease live this long from now on, rounded up to whole seconds, which may be shorter than before.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// session.keepalive_for(std::time::Duration::from_secs(300)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn keepalive_for(&self, ttl: Duration) -> Result<Renewed> {
        whole_seconds("ttl", ttl)?;
        self.vigil.renew(ttl, None).await
    }

    /// Lets go of the session without ending the lease, which lives on until it runs out. See [`Client::attach`].
    ///
    /// ```no_run
    /// # async fn example(session: lockd_client::LeaseSession) -> Result<(), Box<dyn std::error::Error>> {
    /// std::fs::write("lease.json", serde_json::to_string(&session.detach())?)?;
    /// # Ok(()) }
    /// ```
    pub fn detach(mut self) -> Lease {
        self.on_drop = None;
        let mut lease = self.lease().clone();
        {
            let view = self.view();
            lease.version = view.version;
            lease.state_etag = view.etag.etag().map(str::to_owned);
        }
        lease.expires_at_unix = self.expires_at_unix();
        lease
    }

    pub(crate) fn is_coordinated(&self) -> bool {
        self.coordinated
    }

    /// Whether a commit would do something, as far as this session knows.
    pub(crate) fn has_staged(&self) -> bool {
        self.view().staged.is_possible()
    }

    /// Fails if the lease is lost.
    pub(crate) fn check(&self) -> Result<()> {
        self.vigil.check()
    }

    pub(crate) fn loss_error(&self, loss: crate::error::Loss) -> crate::error::Error {
        self.vigil.loss_error(loss)
    }

    /// Somebody else has decided what becomes of it.
    pub(crate) fn forget(&mut self) {
        self.stop_watching();
        self.on_drop = None;
    }

    /// Ends the watch over the lease.
    fn stop_watching(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }
}

impl Drop for LeaseSession {
    fn drop(&mut self) {
        self.stop_watching();
        if let Some(runtime) = self.on_drop.take() {
            let call = release::call(&self.vigil, true);
            let vigil = self.vigil.clone();
            runtime.spawn(async move {
                if let Err(error) = vigil.send_regardless(call).await {
                    tracing::debug!(key = vigil.lease.key, %error, "a dropped session was not rolled back");
                }
            });
        }
        self.vigil.lose(crate::error::Loss::Ended);
    }
}

impl fmt::Debug for LeaseSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseSession")
            .field("namespace", &self.namespace())
            .field("key", &self.key())
            .field("lease_id", &self.lease_id())
            .field("fencing_token", &self.fencing_token())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
