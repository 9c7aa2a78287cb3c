//! Locks and semaphores: how to get a slot.

use std::time::Duration;

use crate::arguments;
use crate::client::Client;
use crate::connection::{self, Connection, Kind};
use crate::error::Error;
use crate::guard::{Guard, Holding};

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const RENEW_RATIO: f64 = 0.5;

/// A lock that processes share by its key. [`Client::lock`] makes it; it holds nothing until it is acquired, and may be
/// acquired again and again, also at the same time (the second then waits for the first).
#[derive(Clone, Debug)]
pub struct Lock {
    client: Client,
    kind: Kind,
    key: String,
    acquire_timeout: Duration,
    lease: Option<Duration>,
    renew_ratio: f64,
}

/// A slot was granted at once, or there is a place in the queue.
#[derive(Debug)]
pub enum Entry {
    Acquired(Guard),
    Queued(Place),
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Place {
    lock: Lock,
    connection: Connection,
}

impl Lock {
    pub(crate) fn new(client: Client, kind: Kind, key: String) -> Result<Lock, Error> {
        arguments::key(&key)?;
        let (acquire_timeout, renew_ratio) = (ACQUIRE_TIMEOUT, RENEW_RATIO);
        Ok(Lock { client, kind, key, acquire_timeout, lease: None, renew_ratio })
    }

    /// How long to wait for a slot (10 s), in whole seconds, rounded up. Zero tries once.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Result<Lock, Error> {
        arguments::timeout(timeout)?;
        self.acquire_timeout = timeout;
        Ok(self)
    }

    /// How long a grant lasts without renewal (the server's default), in whole seconds, rounded up.
    pub fn lease(mut self, lease: Duration) -> Result<Lock, Error> {
        arguments::lease(Some(lease))?;
        self.lease = Some(lease);
        Ok(self)
    }

    /// The part of the lease after which it is renewed (0.5); a renewal comes after 0.1 s at the earliest and 20 s at the latest.
    pub fn renew_ratio(mut self, ratio: f64) -> Result<Lock, Error> {
        if !(ratio > 0.0 && ratio < 1.0) {
            return Err(Error::Invalid(format!(
                "the renew ratio must be between 0 and 1 (exclusive), and is {ratio}"
            )));
        }
        self.renew_ratio = ratio;
        Ok(self)
    }

    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Waits for a slot. Dropping the future leaves the queue, or gives back what was granted meanwhile.
    pub async fn acquire(&self) -> Result<Guard, Error> {
        let mut connection = self.client.connect(&self.key).await?;
        let grant = connection.acquire_as(self.kind, &self.key, self.acquire_timeout, self.lease).await?;
        Ok(self.hold(connection, grant))
    }

    /// Takes a slot or a place in the queue, without waiting.
    pub async fn enqueue(&self) -> Result<Entry, Error> {
        let mut connection = self.client.connect(&self.key).await?;
        Ok(match connection.enqueue_as(self.kind, &self.key, self.lease).await? {
            connection::Enqueued::Acquired(grant) => Entry::Acquired(self.hold(connection, grant)),
            connection::Enqueued::Queued => Entry::Queued(Place { lock: self.clone(), connection }),
        })
    }

    /// Runs `work` while holding a slot, and releases it afterwards. An error of `work` comes first; a lock that was lost
    /// meanwhile is [`Error::Lost`]. `work` may watch [`Guard::lost`] to stop earlier.
    ///
    /// ```no_run
    /// # async fn example(client: dflockd_client::Client) -> Result<(), dflockd_client::Error> {
    /// let pages = client.lock("nightly-report")?.with_lock(async |_| Ok::<_, dflockd_client::Error>(12)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn with_lock<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&Guard) -> Result<T, E>,
    ) -> Result<T, E> {
        let guard = self.acquire().await?;
        let value = work(&guard).await;
        let released = guard.release().await;
        let value = value?;
        released?;
        Ok(value)
    }

    fn hold(&self, connection: Connection, grant: connection::Grant) -> Guard {
        Guard::new(
            Holding {
                connection,
                kind: self.kind,
                key: self.key.clone(),
                token: grant.token,
                lease: self.lease,
                renew_ratio: self.renew_ratio,
            },
            grant.lease,
        )
    }
}

impl Place {
    /// Waits for the slot. Call it before the server's read timeout (23 s) has passed since the enqueue. Dropping the future
    /// leaves the queue.
    pub async fn wait(mut self, timeout: Duration) -> Result<Guard, Error> {
        let grant = self.connection.wait_as(self.lock.kind, &self.lock.key, timeout).await?;
        Ok(self.lock.hold(self.connection, grant))
    }
}

/// A semaphore that processes share by its key: like [`Lock`], with as many holders as its limit.
#[derive(Clone, Debug)]
pub struct Semaphore(Lock);

impl Semaphore {
    pub(crate) fn of(lock: Lock) -> Semaphore {
        Semaphore(lock)
    }

    /// See [`Lock::acquire_timeout`].
    pub fn acquire_timeout(self, timeout: Duration) -> Result<Semaphore, Error> {
        self.0.acquire_timeout(timeout).map(Semaphore)
    }

    /// See [`Lock::lease`].
    pub fn lease(self, lease: Duration) -> Result<Semaphore, Error> {
        self.0.lease(lease).map(Semaphore)
    }

    /// See [`Lock::renew_ratio`].
    pub fn renew_ratio(self, ratio: f64) -> Result<Semaphore, Error> {
        self.0.renew_ratio(ratio).map(Semaphore)
    }

    #[must_use]
    pub fn key(&self) -> &str {
        self.0.key()
    }

    /// See [`Lock::acquire`].
    pub async fn acquire(&self) -> Result<Guard, Error> {
        self.0.acquire().await
    }

    /// See [`Lock::enqueue`].
    pub async fn enqueue(&self) -> Result<Entry, Error> {
        self.0.enqueue().await
    }

    /// See [`Lock::with_lock`].
    pub async fn with_slot<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&Guard) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.with_lock(work).await
    }
}
