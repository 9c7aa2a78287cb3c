//! `lockd client queue work -- COMMAND…`: a command for every message. Messages are taken one by one, when there is room
//! for another command, so that none waits here while somebody else could have it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::delivery::{Delivery, Wish, take};
use super::dequeue::{block, wait_for, wish};
use super::job::{self, End, Workshop};
use crate::client::lease::{Block, whole_seconds};
use crate::client::transport::Api;
use crate::client::{Failure, Invocation, Outcome, print};

/// How long one request waits; a broken connection is noticed after that.
const ROUND: i64 = 30;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Until a signal comes.
    Forever,
    Drain(Block),
    Once(Block),
}

impl Mode {
    fn of(invocation: &Invocation) -> Outcome<Mode> {
        let settings = &invocation.settings.queue;
        match (settings.once, settings.drain) {
            (true, true) => Err(Failure::Usage("--once and --drain are mutually exclusive".into())),
            (true, false) => Ok(Mode::Once(block(invocation)?)),
            (false, true) => Ok(Mode::Drain(block(invocation)?)),
            (false, false) => Ok(Mode::Forever),
        }
    }
}

type Fetched = (Instant, Outcome<Option<Delivery>>);

pub(in crate::client) async fn work(invocation: &Invocation) -> Outcome<u8> {
    let settings = &invocation.settings;
    let [program, arguments @ ..] = invocation.words.as_slice() else {
        return Err(Failure::Usage("requires a command: write -- COMMAND".into()));
    };
    let mode = Mode::of(invocation)?;
    let wish = Arc::new(wish(invocation)?);
    let shop = Arc::new(Workshop {
        api: Api::new(invocation)?,
        program: program.clone(),
        arguments: arguments.to_vec(),
        delay_seconds: whole_seconds(settings.queue.delay),
        kill_after: settings.kill_after,
        patience: settings.keepalive_timeout.min(settings.close_timeout),
    });
    let room = match (mode, usize::try_from(settings.queue.concurrency)) {
        (Mode::Once(_), _) => 1,
        (_, room) => room.unwrap_or(1).max(1),
    };
    let mut worker = Worker {
        shop,
        wish,
        mode,
        room,
        running: JoinSet::new(),
        hurry: watch::Sender::new(false),
        stopping: false,
        trouble: None,
        status: 0,
        failure: None,
    };
    worker.run().await?;
    match worker.failure {
        Some(failure) => Err(failure),
        None => Ok(worker.status),
    }
}

/// Since when no server has answered, and how long to wait before the next try.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    since: Instant,
    pause: Duration,
}

struct Worker {
    shop: Arc<Workshop>,
    wish: Arc<Wish>,
    mode: Mode,
    room: usize,
    running: JoinSet<End>,
    hurry: watch::Sender<bool>,
    stopping: bool,
    trouble: Option<Trouble>,
    status: u8,
    failure: Option<Failure>,
}

impl Worker {
    async fn run(&mut self) -> Outcome<()> {
        let cannot = |error: std::io::Error| Failure::Local(format!("listen for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(cannot)?;
        // Goes on while commands end: a request given up half-way could take a message along.
        let mut fetch: Option<Pin<Box<dyn Future<Output = Fetched> + Send>>> = None;
        // The queue was empty while commands were running.
        let mut idle = false;
        loop {
            if self.stopping {
                fetch = None;
                if self.running.is_empty() {
                    return Ok(());
                }
            } else if fetch.is_none() && !idle && self.running.len() < self.room {
                fetch = Some(Box::pin(self.fetch()));
            }
            let fetching = async {
                match &mut fetch {
                    Some(fetch) => fetch.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (asked, taken) = fetching => {
                    fetch = None;
                    match taken {
                        Ok(Some(delivery)) => self.begin(delivery, asked),
                        Ok(None) => idle = self.nothing_came(),
                        Err(failure) => self.failed(failure),
                    }
                }
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    idle = false;
                    self.ended(ended.unwrap_or(End::NotBegun));
                }
                _ = interrupt.recv() => self.told_to_stop(),
                _ = terminate.recv() => self.told_to_stop(),
                // The commands are not in the terminal's group and would be left alone.
                _ = hang_up.recv() => self.told_to_stop(),
            }
        }
    }

    fn fetch(&self) -> impl Future<Output = Fetched> + Send + use<> {
        let pause = self.trouble.map(|trouble| trouble.pause.mul_f64(0.75 + 0.5 * fastrand::f64()));
        let (shop, wish, mode) = (Arc::clone(&self.shop), Arc::clone(&self.wish), self.mode);
        async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let asked = Instant::now();
            let taken = match mode {
                Mode::Forever => take(&shop.api, &wish, ROUND).await,
                Mode::Drain(block) | Mode::Once(block) => wait_for(&shop.api, &wish, block).await,
            };
            (asked, taken)
        }
    }

    fn begin(&mut self, delivery: Delivery, asked: Instant) {
        self.answered();
        self.stopping |= matches!(self.mode, Mode::Once(_));
        self.running.spawn(job::run(Arc::clone(&self.shop), delivery, asked, self.hurry.subscribe()));
    }

    /// Tells whether to wait for a command to end before asking again.
    fn nothing_came(&mut self) -> bool {
        self.answered();
        if self.mode == Mode::Forever {
            return false;
        }
        // What still runs may put its message back.
        self.stopping = self.running.is_empty();
        if self.stopping && matches!(self.mode, Mode::Once(_)) {
            print::complain("no messages available (try again later)\n");
        }
        !self.stopping
    }

    fn answered(&mut self) {
        if self.trouble.take().is_some() {
            print::complain("lockd: a server answers again\n");
        }
    }

    fn failed(&mut self, failure: Failure) {
        let is_first = self.trouble.is_none();
        let mut trouble = self.trouble.unwrap_or(Trouble { since: Instant::now(), pause: FIRST_PAUSE });
        let has_end = self.mode != Mode::Forever;
        if job::is_final(&failure) || has_end && trouble.since.elapsed() >= self.shop.api.timeout {
            self.stopping = true;
            self.failure = Some(failure);
            return;
        }
        if is_first {
            print::complain(&format!("{failure}; trying again\n"));
        } else {
            trouble.pause = (trouble.pause * 2).min(LAST_PAUSE);
        }
        if let Failure::Service(refusal) = &failure {
            trouble.pause =
                trouble.pause.max(Duration::from_secs(refusal.retry_after_seconds).min(LAST_PAUSE));
        }
        self.trouble = Some(trouble);
    }

    fn ended(&mut self, end: End) {
        match end {
            End::NoCommand(status) => {
                self.stopping = true;
                self.status = status;
            }
            End::Settled(status) if matches!(self.mode, Mode::Once(_)) => self.status = status,
            // The message is not done, whatever the command said.
            End::Lost(status) if matches!(self.mode, Mode::Once(_)) => self.status = status.max(1),
            End::NotBegun if matches!(self.mode, Mode::Once(_)) => self.status = 1,
            End::Settled(_) | End::Lost(_) | End::NotBegun => {}
        }
    }

    /// The first time running commands may finish; the second time they have to.
    fn told_to_stop(&mut self) {
        if self.stopping && !self.running.is_empty() {
            self.hurry.send_replace(true);
            if self.status == 0 {
                self.status = 1;
            }
        }
        self.stopping = true;
    }
}
