//! The proxy itself: listens, and hands every connection to its fate. Runs on a thread of its own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::connection::Connection;
use super::counts::{Record, What};
use super::epoch::Epoch;
use super::stream::{Listener, Stream};
use super::{Chaos, Counts, Event};
use crate::waiting::on_a_thread;
use crate::{Endpoint, Error, show};

/// After an accept has failed, which is when files have run out.
const BREATHER: Duration = Duration::from_millis(10);

/// How to start a [`ChaosProxy`]. Made by [`ChaosProxy::to`] and [`TestServer::proxy`](crate::TestServer::proxy).
#[derive(Debug, Clone)]
#[must_use = "nothing runs before start()"]
pub struct ChaosProxyBuilder {
    target: Endpoint,
    listen: Option<Endpoint>,
    unix: bool,
    seed: u64,
    chaos: Chaos,
}

impl ChaosProxyBuilder {
    /// What all choices are made of: 0 unless told otherwise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What to do to connections from the beginning; otherwise all is [calm](Chaos::calm).
    pub fn chaos(mut self, chaos: Chaos) -> Self {
        self.chaos = chaos;
        self
    }

    /// Listens exactly there, instead of a free port of 127.0.0.1.
    pub fn listen(mut self, endpoint: impl Into<Endpoint>) -> Self {
        self.listen = Some(endpoint.into());
        self.unix = false;
        self
    }

    /// Listens on a unix socket in a temporary directory. The server behind may listen on either kind.
    pub fn unix_socket(mut self) -> Self {
        self.listen = None;
        self.unix = true;
        self
    }

    /// Starts the proxy. It listens when this returns; the server behind need not be there yet.
    pub fn start(self) -> Result<ChaosProxy, Error> {
        let home = self.unix.then(|| tempfile::Builder::new().prefix("lockd-chaos-").tempdir()).transpose();
        let home = home.map_err(Error::io("make a temporary directory for a chaos proxy"))?;
        let listen = match (&home, self.listen) {
            (Some(home), _) => Endpoint::Unix(home.path().join("chaos.sock")),
            (None, Some(endpoint)) => endpoint,
            (None, None) => Endpoint::Tcp(([127, 0, 0, 1], 0).into()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::io("start the runtime of a chaos proxy"))?;
        let (listener, endpoint) = {
            let _on_the_runtime = runtime.enter();
            Listener::bind(&listen).map_err(Error::io(format!("listen on {listen} for a chaos proxy")))?
        };
        let record = Arc::new(Record::default());
        let epoch = watch::Sender::new(Arc::new(Epoch::new(self.chaos, self.seed, 0)));
        let resets = watch::Sender::new(0);
        let accept = Accept {
            listener,
            seed: self.seed,
            target: Arc::new(self.target),
            epochs: epoch.subscribe(),
            resets: resets.subscribe(),
            record: record.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("lockd-chaos".to_owned())
            // The runtime ends here, and all connections with it: one must not be dropped where async code runs.
            .spawn(move || runtime.block_on(accept.run()))
            .map_err(Error::io("start a thread for a chaos proxy"))?;
        let control = Mutex::new(Some(Control { epoch, resets, thread }));
        let inner = Inner { endpoint, seed: self.seed, record, control, _home: home };
        Ok(ChaosProxy { inner: Arc::new(inner) })
    }
}

/// Stands between clients and a server, and makes trouble as a [`Chaos`] says. Clones are the same proxy; with the last one
/// go its connections, as if the process had ended that held them. If that happens because a test fails, the seed and the counts are printed.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use lockd_testing::{Chaos, ChaosProxy, Direction};
///
/// // Any server. This one answers with seven bytes.
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// std::thread::spawn(move || {
///     let (mut stream, _) = listener.accept().unwrap();
///     stream.read_exact(&mut [0; 1]).unwrap();
///     stream.write_all(b"answers").unwrap();
/// });
///
/// let cut_short = Chaos::calm().close(1.0).only(Direction::ToClient).after_bytes(3..=3);
/// let proxy = ChaosProxy::to(address).chaos(cut_short).start()?;
///
/// let mut client = TcpStream::connect(proxy.endpoint().tcp().unwrap())?;
/// client.write_all(b"?")?;
/// let mut heard = String::new();
/// client.read_to_string(&mut heard)?;
/// assert_eq!(heard, "ans");
/// assert_eq!(proxy.counts().closed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChaosProxy {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    seed: u64,
    record: Arc<Record>,
    /// Taken when the proxy ends.
    control: Mutex<Option<Control>>,
    _home: Option<tempfile::TempDir>,
}

struct Control {
    epoch: watch::Sender<Arc<Epoch>>,
    resets: watch::Sender<u64>,
    thread: JoinHandle<()>,
}

impl ChaosProxy {
    /// A proxy to this server, yet to be started.
    pub fn to(target: impl Into<Endpoint>) -> ChaosProxyBuilder {
        ChaosProxyBuilder { target: target.into(), listen: None, unix: false, seed: 0, chaos: Chaos::calm() }
    }

    /// Where the proxy listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// [`endpoint`](Self::endpoint) as clients of lockd take it: `http://127.0.0.1:…` or `unix:///…`.
    pub fn url(&self) -> String {
        self.inner.endpoint.to_string()
    }

    /// The seed it was started with.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// What it does now.
    pub fn chaos(&self) -> Chaos {
        self.inner.with_control(|control| control.epoch.borrow().chaos.clone()).unwrap_or_default()
    }

    /// Does this from now on. Connections that are open get new plans, count their bytes from here, and go on if they had
    /// stopped; bytes under way are late or slow as the new chaos says.
    pub fn set(&self, chaos: Chaos) {
        let seed = self.inner.seed;
        self.inner.with_control(|control| {
            control.epoch.send_modify(|epoch| *epoch = Arc::new(Epoch::new(chaos, seed, epoch.nth + 1)));
        });
    }

    /// Resets every connection that is open, once. [`wait_for`](Self::wait_for) tells when that is done.
    pub fn reset_all(&self) {
        self.inner.with_control(|control| control.resets.send_modify(|resets| *resets += 1));
    }

    /// What it has done so far. Bytes are counted once they are written, so that who reads them may be faster than the
    /// count: see [`wait_for`](Self::wait_for). Harm is counted before it is done.
    pub fn counts(&self) -> Counts {
        self.inner.record.counts()
    }

    /// What it has done to which connection, oldest first: the last 10 000 things.
    pub fn events(&self) -> Vec<Event> {
        self.inner.record.events()
    }

    /// Waits until the counts are as `wanted`; false if they were not within `patience`.
    pub fn wait_for(&self, patience: Duration, wanted: impl Fn(&Counts) -> bool) -> bool {
        self.inner.record.wait_for(patience, wanted)
    }

    /// [`wait_for`](Self::wait_for) in async code.
    pub async fn wait_for_async(
        &self,
        patience: Duration,
        wanted: impl Fn(&Counts) -> bool + Send + 'static,
    ) -> Result<bool, Error> {
        let record = self.inner.record.clone();
        on_a_thread(move || record.wait_for(patience, wanted)).await
    }
}

impl Inner {
    fn with_control<T>(&self, act: impl FnOnce(&Control) -> T) -> Option<T> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(act)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosProxy")
            .field("endpoint", &self.endpoint)
            .field("seed", &self.seed)
            .field("counts", &self.record.counts())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let control = self.control.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Control { epoch, resets, thread }) = control {
            // The thread ends when nobody can change the chaos any more.
            drop((epoch, resets));
            let _ = thread.join();
        }
        if std::thread::panicking() {
            let counts = self.record.counts();
            show(&format!("chaos proxy at {}, seed {}: {counts:?}\n", self.endpoint, self.seed));
        }
    }
}

/// For a connection that notices that nobody can change the chaos any more: the runtime is about to end and to close it.
/// If it ended by itself, chance would decide how.
pub(super) async fn proxy_gone<T>() -> T {
    std::future::pending().await
}

/// What the thread of a proxy does.
struct Accept {
    listener: Listener,
    seed: u64,
    target: Arc<Endpoint>,
    epochs: watch::Receiver<Arc<Epoch>>,
    resets: watch::Receiver<u64>,
    record: Arc<Record>,
}

impl Accept {
    async fn run(self) {
        let mut epochs = self.epochs.clone();
        let over = async { while epochs.changed().await.is_ok() {} };
        tokio::select! {
            biased;
            () = over => {}
            () = self.accept_all() => {}
        }
    }

    async fn accept_all(&self) {
        let mut number = 0;
        loop {
            match self.listener.accept().await {
                Ok(client) => {
                    self.hand_over(client, number);
                    number += 1;
                }
                Err(_) => tokio::time::sleep(BREATHER).await,
            }
        }
    }

    fn hand_over(&self, client: Stream, number: u64) {
        self.record.note(number, What::Opened);
        // Only resets from now on are meant for this connection.
        let mut resets = self.resets.clone();
        resets.mark_unchanged();
        let connection = Connection {
            number,
            seed: self.seed,
            target: self.target.clone(),
            epochs: self.epochs.clone(),
            resets,
            record: self.record.clone(),
        };
        tokio::spawn(connection.run(client));
    }
}
