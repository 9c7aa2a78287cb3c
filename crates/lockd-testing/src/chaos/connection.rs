//! One connection through a proxy, from accepted to over.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::counts::{Record, What};
use super::dice::Dice;
use super::epoch::Epoch;
use super::proxy::proxy_gone;
use super::pump::{End, Finished, Pump};
use super::stream::Stream;
use super::{Direction, Harm};
use crate::Endpoint;

/// How long a connection that is closed by plan waits for its ends to let go. Closing with bytes unread would be a reset.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) seed: u64,
    pub(super) target: Arc<Endpoint>,
    pub(super) epochs: watch::Receiver<Arc<Epoch>>,
    /// Changes when all connections are to be reset.
    pub(super) resets: watch::Receiver<u64>,
    pub(super) record: Arc<Record>,
}

/// How it ends.
enum Ending {
    Done,
    Close,
    Reset,
}

impl Connection {
    /// The connection is counted as opened already.
    pub(super) async fn run(mut self, client: Stream) {
        let opened = Instant::now();
        if self.is_refused() {
            client.reset();
        } else {
            let server = OnceLock::new();
            let mut resets = self.resets.clone();
            let ending = tokio::select! {
                biased;
                reset = resets.changed() => {
                    if reset.is_err() {
                        return proxy_gone().await;
                    }
                    self.record.note(self.number, What::ResetByHand);
                    Ending::Reset
                }
                () = self.age(opened) => {
                    self.record.note(self.number, What::CameOfAge);
                    Ending::Close
                }
                ending = self.flow(&client, &server) => ending,
            };
            end(ending, client, server.into_inner()).await;
        }
        self.record.note(self.number, What::Over);
    }

    fn is_refused(&mut self) -> bool {
        let epoch = self.epochs.borrow_and_update().clone();
        let plan = epoch.plan(self.number);
        let refused =
            plan.harm == Some(Harm::Refuse) && !epoch.of(self.number).frozen && epoch.may_harm(self.number);
        if refused {
            let what = What::Harmed { harm: Harm::Refuse, direction: plan.direction, after_bytes: 0 };
            self.record.note(self.number, what);
        }
        refused
    }

    /// Returns when the connection has come of age.
    async fn age(&self, opened: Instant) {
        let mut epochs = self.epochs.clone();
        loop {
            let epoch = epochs.borrow_and_update().clone();
            let chaos = epoch.of(self.number);
            // A network that is cut closes nothing.
            let lifetime = chaos.lifetime.filter(|_| !chaos.frozen);
            let of_age = async {
                match lifetime {
                    Some(lifetime) => sleep_until(opened + lifetime).await,
                    None => std::future::pending().await,
                }
            };
            let changed = tokio::select! {
                biased;
                changed = epochs.changed() => changed,
                () = of_age => {
                    if epoch.may_harm(self.number) {
                        return;
                    }
                    epochs.changed().await
                }
            };
            if changed.is_err() {
                return proxy_gone().await;
            }
        }
    }

    async fn flow(&self, client: &Stream, server: &OnceLock<Stream>) -> Ending {
        let mut epochs = self.epochs.clone();
        if epochs.wait_for(|epoch| !epoch.of(self.number).frozen).await.is_err() {
            return proxy_gone().await;
        }
        let Ok(connected) = Stream::connect(&self.target).await else {
            self.record.note(self.number, What::Unreachable);
            return Ending::Reset;
        };
        let server = server.get_or_init(|| connected);
        let requests = self.pump(client, server, Direction::ToServer);
        let answers = self.pump(server, client, Direction::ToClient);
        match tokio::try_join!(requests.run(), answers.run()) {
            Ok((Finished::Said, Finished::Said)) => Ending::Done,
            Err(End::Harm(Harm::Close)) => Ending::Close,
            Ok(_) | Err(End::Harm(_) | End::Broken) => Ending::Reset,
        }
    }

    fn pump<'a>(&'a self, from: &'a Stream, to: &'a Stream, direction: Direction) -> Pump<'a> {
        Pump {
            from,
            to,
            direction,
            connection: self.number,
            epochs: self.epochs.clone(),
            record: &self.record,
            dice: Dice::for_delays(self.seed, self.number, direction),
        }
    }
}

async fn end(ending: Ending, client: Stream, server: Option<Stream>) {
    match ending {
        Ending::Done => {}
        Ending::Reset => {
            client.reset();
            if let Some(server) = server {
                server.reset();
            }
        }
        Ending::Close => {
            let both = async {
                tokio::join!(farewell(Some(&client)), farewell(server.as_ref()));
            };
            // Whoever does not let go by then is reset.
            let _ = timeout(FAREWELL, both).await;
        }
    }
}

/// Says that no more will come, and hears out the other side.
async fn farewell(stream: Option<&Stream>) {
    if let Some(stream) = stream {
        stream.finish();
        let mut ignored = vec![0; 16 * 1024];
        while matches!(stream.read(&mut ignored).await, Ok(read) if read > 0) {}
    }
}
