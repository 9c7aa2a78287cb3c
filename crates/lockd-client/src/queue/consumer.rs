//! A consumer: takes messages, runs a handler for each, and settles them as the handler says.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, sleep, timeout};

use super::message::Hold;
use super::{Delivery, DequeueOptions, Message, Nack, Queue, Settle};
use crate::error::{Error, Loss, Result};

const PUT_BACK: Settle = Settle::Defer(Duration::ZERO);

/// How far the end of a consumer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// Nothing more is begun.
    Stopping,
    /// Nothing more is finished.
    Cancelling,
}

/// Runs a handler for every message of a queue. See [`Queue::consumer`].
#[derive(Clone)]
#[must_use]
pub struct Consumer {
    queue: Queue,
    options: DequeueOptions,
    concurrency: usize,
    prefetch: usize,
    grace: Option<Duration>,
    observer: Arc<dyn Fn(&ConsumerFailure) + Send + Sync>,
}

/// What went wrong in a consumer, without ending it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConsumerFailure {
    /// No messages could be fetched. The consumer tries again after the pause.
    Fetch {
        /// Why.
        error: Error,
        /// How long the consumer waits.
        pause: Duration,
    },
    /// A message was lost while its handler ran. The handler was cancelled; the message is delivered again.
    Lost {
        /// The message.
        message_id: String,
        /// How it was lost.
        loss: Loss,
    },
    /// A handler panicked. The message has failed.
    Panicked {
        /// The message.
        message_id: String,
        /// What the panic said.
        text: String,
    },
    /// The server could not be told what a handler has decided. The message is delivered again, unless it was told all the same.
    Settle {
        /// The message.
        message_id: String,
        /// Why.
        error: Error,
    },
}

impl fmt::Display for ConsumerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConsumerFailure::Fetch { error, pause } => {
                write!(f, "cannot fetch messages, trying again in {pause:?}: {error}")
            }
            ConsumerFailure::Lost { message_id, loss } => {
                write!(f, "message {message_id} was lost while it was handled: {loss}")
            }
            ConsumerFailure::Panicked { message_id, text } => {
                write!(f, "the handler of message {message_id} panicked: {text}")
            }
            ConsumerFailure::Settle { message_id, error } => {
                write!(f, "cannot settle message {message_id}: {error}")
            }
        }
    }
}

impl Queue {
    /// A consumer of this queue, to be set up and [run](Consumer::run).
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use std::time::Duration;
    /// use lockd_client::{Delivery, Nack, Settle};
    ///
    /// client
    ///     .queue("orders")
    ///     .consumer()
    ///     .concurrency(8)
    ///     .run(async |mut order: Delivery| match order.payload().json::<u64>().await {
    ///         Ok(number) if number % 2 == 0 => Settle::Ack,
    ///         Ok(_) => Settle::Defer(Duration::from_secs(60)),
    ///         Err(error) => Settle::Nack(Nack::new().error(error)),
    ///     })
    ///     .await
    /// # }
    /// ```
    pub fn consumer(&self) -> Consumer {
        Consumer {
            queue: self.clone(),
            options: DequeueOptions::new().if_dropped(PUT_BACK),
            concurrency: 1,
            prefetch: 0,
            grace: None,
            observer: Arc::new(|failure| tracing::warn!(%failure, "consumer")),
        }
    }
}

impl Consumer {
    /// How many messages are handled at a time; 1 unless said otherwise.
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.concurrency = messages.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How many messages are taken beyond those that are handled, so that handlers need not wait for the next: for handlers that
    /// are quick. None unless said otherwise. Another consumer cannot have them meanwhile; they are extended while they wait,
    /// and put back when the consumer is told to stop.
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.prefetch = messages;
        self
    }

    /// For how long a message is ours without being extended, rounded up to whole seconds: how soon another consumer gets it
    /// after this one has died. It is extended while its handler runs.
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.options = self.options.visibility(visibility);
        self
    }

    /// Who is asking, for people who look at messages.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.options = self.options.owner(owner);
        self
    }

    /// Take messages with their [workflow state](super::WorkflowState).
    pub fn stateful(mut self) -> Self {
        self.options = self.options.stateful();
        self
    }

    /// How long handlers may go on when the consumer [is told to stop](Self::run_until): without this as long as they like.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Calls this when something goes wrong; without it there is a warning in the log. It must not block.
    pub fn on_failure(mut self, observer: impl Fn(&ConsumerFailure) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Runs the handler for every message, for ever. It fails when a server refuses the request as such, for example because the
    /// name of the queue is not allowed; whatever may be better later is tried again with growing pauses.
    ///
    /// * What the handler answers decides what becomes of the message: a [`Settle`], or `()` and `Ok(())` for done, and any `Err`
    ///   for failed. A handler that panics has failed.
    /// * The message is extended while the handler runs. If it is lost all the same, the handler is cancelled where it waits.
    /// * Messages are delivered at least once: handlers must bear repetition.
    ///
    /// Dropping the future cancels the handlers and puts their messages back. The handler is a closure or function from a
    /// [`Delivery`] to a future that can be sent between threads.
    pub async fn run<H, F>(self, handler: H) -> Result<()>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Settle>> + Send + 'static,
    {
        self.run_until(std::future::pending(), handler).await
    }

    /// The same until this future is ready. Then no more messages are taken, and this returns when all handlers are done and
    /// their messages are settled. Handlers that have not finished within the [grace](Self::grace) are cancelled, and their
    /// messages are put back.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use lockd_client::Delivery;
    ///
    /// let stop = async { drop(tokio::signal::ctrl_c().await) };
    /// client.queue("orders").consumer().run_until(stop, async |order: Delivery| println!("{}", order.id())).await
    /// # }
    /// ```
    pub async fn run_until<H, F>(self, stop: impl Future<Output = ()>, handler: H) -> Result<()>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Settle>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let room = self.concurrency.saturating_add(self.prefetch).min(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(room));
        let turns = Arc::new(Semaphore::new(self.concurrency));
        let phase = watch::Sender::new(Phase::Running);
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        let mut failures = 0;
        let ended = loop {
            while tasks.try_join_next().is_some() {}
            let free = tokio::select! {
                biased;
                () = &mut stop => break Ok(()),
                free = slots.clone().acquire_owned() => free,
            };
            // Nobody closes the semaphore.
            let Ok(mut free) = free else { break Ok(()) };
            while let Ok(more) = slots.clone().try_acquire_owned() {
                free.merge(more);
            }
            let fetched = tokio::select! {
                biased;
                () = &mut stop => break Ok(()),
                fetched = self.queue.dequeue_batch(free.num_permits(), &self.options) => fetched,
            };
            match fetched {
                Ok(messages) => {
                    failures = 0;
                    for message in messages {
                        let (slot, consumer) = (free.split(1), self.clone());
                        let (handler, turns, phase) = (handler.clone(), turns.clone(), phase.subscribe());
                        tasks.spawn(async move {
                            consumer.handle(message, handler, &turns, phase).await;
                            drop(slot);
                        });
                    }
                }
                Err(error) if error.is_final() => break Err(error),
                Err(error) => {
                    let pause = self.queue.client.inner.retry.pause(failures, error.retry_after());
                    failures += 1;
                    (self.observer)(&ConsumerFailure::Fetch { error, pause });
                    tokio::select! {
                        biased;
                        () = &mut stop => break Ok(()),
                        () = sleep(pause) => {}
                    }
                }
            }
        };
        phase.send_replace(Phase::Stopping);
        let finished = async { while tasks.join_next().await.is_some() {} };
        match self.grace {
            None => finished.await,
            Some(grace) => {
                if timeout(grace, finished).await.is_err() {
                    phase.send_replace(Phase::Cancelling);
                    while tasks.join_next().await.is_some() {}
                }
            }
        }
        ended
    }

    async fn handle<H, F>(
        &self,
        message: Message,
        handler: Arc<H>,
        turns: &Semaphore,
        mut phase: watch::Receiver<Phase>,
    ) where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Settle>> + Send + 'static,
    {
        let Message { delivery, hold } = message;
        let (message_id, lost) = (delivery.id().to_owned(), delivery.lost());
        let _turn = tokio::select! {
            biased;
            () = reached(&mut phase, Phase::Stopping) => return self.settle(message_id, hold, PUT_BACK).await,
            loss = lost.wait() => return (self.observer)(&ConsumerFailure::Lost { message_id, loss }),
            turn = turns.acquire() => turn,
        };
        // A task of its own, so that a panic ends nothing else. It is cancelled when this is dropped.
        let mut running = JoinSet::new();
        running.spawn(async move { handler(delivery).await.into() });
        let settle = tokio::select! {
            biased;
            ended = running.join_next() => match ended {
                Some(Ok(settle)) => settle,
                Some(Err(error)) => self.failed(&message_id, error),
                None => PUT_BACK,
            },
            loss = lost.wait() => {
                running.shutdown().await;
                (self.observer)(&ConsumerFailure::Lost { message_id, loss });
                return;
            }
            () = reached(&mut phase, Phase::Cancelling) => {
                running.shutdown().await;
                PUT_BACK
            }
        };
        self.settle(message_id, hold, settle).await;
    }

    async fn settle(&self, message_id: String, hold: Hold, settle: Settle) {
        if let Err(error) = hold.settle(&settle).await {
            (self.observer)(&ConsumerFailure::Settle { message_id, error });
        }
    }

    fn failed(&self, message_id: &str, error: JoinError) -> Settle {
        let Ok(panic) = error.try_into_panic() else { return PUT_BACK };
        let text = said(&*panic);
        let nack = Nack::new().error(format!("the handler panicked: {text}"));
        (self.observer)(&ConsumerFailure::Panicked { message_id: message_id.to_owned(), text });
        Settle::Nack(nack)
    }
}

/// Waits until it has gone that far. That the consumer is gone is as far as it goes.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    drop(phase.wait_for(|phase| *phase >= wanted).await);
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "something".to_owned())
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("queue", &self.queue.name)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
