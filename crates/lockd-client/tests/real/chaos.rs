//! Work that goes on while connections break and the server is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockd_client::{Client, Delivery, DequeueOptions, EnqueueOptions, Error, Message, RetryPolicy, Settle};
use lockd_testing::{Chaos, ChaosProxy, TestServer};

use crate::workers::{Counter, work};

const WORKERS: usize = 4;
const NUMBERS: u64 = 60;

/// Half of the connections break, most of them when an answer is on its way, until it has happened often enough.
fn bad_network() -> Chaos {
    Chaos::calm().jitter(Duration::from_millis(2)).reset(0.3).close(0.3).after_bytes(200..=3000).at_most(12)
}

fn through(proxy: &ChaosProxy) -> Client {
    Client::builder()
        .endpoint(proxy.url())
        .timeout(Duration::from_secs(20))
        .retry(RetryPolicy {
            longest_pause: Duration::from_millis(200),
            retries: 200,
            ..RetryPolicy::default()
        })
        .build()
        .unwrap()
}

async fn reached(counter: &AtomicU64, target: u64) {
    while counter.load(Ordering::Relaxed) < target {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_lost_or_doubled_by_a_bad_network_and_kills() {
    let server = TestServer::builder().disk().start_async().await.unwrap();
    let proxy = server.proxy().seed(7).chaos(bad_network()).start().unwrap();
    let client = through(&proxy);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| tokio::spawn(work(number, client.clone(), stop.clone(), done.clone())))
        .collect();
    for _ in 0..2 {
        reached(&done, done.load(Ordering::Relaxed) + 10).await;
        server.kill();
        server.restart_async().await.unwrap();
    }
    reached(&done, done.load(Ordering::Relaxed) + 10).await;
    stop.store(true, Ordering::Relaxed);
    let mut steps = BTreeMap::new();
    for (number, worker) in workers.into_iter().enumerate() {
        let taken = worker.await.unwrap();
        if taken > 0 {
            steps.insert(number, taken);
        }
    }
    let direct = Client::connect(&server.url()).unwrap();
    let counter = direct.read::<Counter>("counter").await.unwrap().unwrap().value;
    assert_eq!(counter.count, steps.values().sum::<u64>());
    assert_eq!(counter.steps, steps);
    println!("{} steps, {:?}", counter.count, proxy.counts());
}

/// What the consumers together know.
#[derive(Default)]
struct Ledger {
    handled: Mutex<BTreeSet<u64>>,
    /// Messages whose acknowledgement was acknowledged, and the fencing token with which.
    acknowledged: Mutex<BTreeMap<String, i64>>,
    deliveries: AtomicU64,
    violations: Mutex<Vec<String>>,
}

impl Ledger {
    async fn deliver(&self, delivery: &mut Delivery) {
        if let Some(token) = self.acknowledged.lock().unwrap().get(delivery.id())
            && delivery.fencing_token() > *token
        {
            let what = format!("{} was delivered again after its acknowledgement", delivery.id());
            self.violations.lock().unwrap().push(what);
        }
        let number = delivery.payload().json().await.unwrap();
        self.handled.lock().unwrap().insert(number);
        self.deliveries.fetch_add(1, Ordering::Relaxed);
    }

    async fn acknowledge(&self, message: Message) {
        let (id, token) = (message.id().to_owned(), message.fencing_token());
        match message.ack().await {
            Ok(()) => drop(self.acknowledged.lock().unwrap().insert(id, token)),
            Err(error) => {
                let may_be = error.is_lease_lost() || matches!(error, Error::Unreachable(_));
                assert!(may_be || error.is_outcome_unknown(), "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_handled_and_none_after_its_acknowledgement() {
    let server = TestServer::builder().disk().start_async().await.unwrap();
    let proxy = server.proxy().seed(11).chaos(bad_network()).start().unwrap();
    let queue = through(&proxy).queue("numbers");
    let ledger = Arc::new(Ledger::default());
    let stop = tokio::sync::watch::Sender::new(false);

    // Three workers that take and acknowledge one message after the other.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (queue, ledger, mut stop) = (queue.clone(), ledger.clone(), stop.subscribe());
        tasks.spawn(async move {
            let options = DequeueOptions::new().visibility(Duration::from_secs(1));
            loop {
                let taken = tokio::select! {
                    taken = queue.dequeue(&options) => taken,
                    _ = async { drop(stop.wait_for(|stop| *stop).await) } => return,
                };
                // What broke on the way here comes back.
                let Ok(Some(mut message)) = taken else { continue };
                ledger.deliver(&mut message).await;
                ledger.acknowledge(message).await;
            }
        });
    }
    // A consumer beside them.
    let (failures, mut stopped) = (Arc::new(AtomicUsize::new(0)), stop.subscribe());
    let (consumer, handler, count) = (queue.clone(), ledger.clone(), failures.clone());
    tasks.spawn(async move {
        let stopped = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let consumer =
            consumer.consumer().concurrency(3).visibility(Duration::from_secs(1)).on_failure(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        let ran = consumer.run_until(stopped, move |mut delivery: Delivery| {
            let handler = handler.clone();
            async move {
                handler.deliver(&mut delivery).await;
                Settle::Ack
            }
        });
        ran.await.unwrap();
    });

    let producer = {
        let queue = queue.clone();
        tokio::spawn(async move {
            let options = EnqueueOptions::new().may_duplicate();
            for number in 0..NUMBERS {
                while queue.enqueue_json(&number, &options).await.is_err() {}
            }
        })
    };
    for _ in 0..2 {
        reached(&ledger.deliveries, ledger.deliveries.load(Ordering::Relaxed) + 10).await;
        server.kill();
        server.restart_async().await.unwrap();
    }
    producer.await.unwrap();
    let all = async {
        while ledger.handled.lock().unwrap().len() < NUMBERS as usize {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    // Far longer than it takes; a lost message would never come.
    drop(tokio::time::timeout(Duration::from_secs(120), all).await);
    stop.send_replace(true);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    // What is left was delivered to somebody who could not acknowledge it. A quiet network brings it.
    let direct = Client::connect(&server.url()).unwrap().queue("numbers");
    let patient = DequeueOptions::new().wait_at_most(Duration::from_secs(3));
    let mut left = 0;
    while let Some(mut message) = direct.dequeue(&patient).await.unwrap() {
        ledger.deliver(&mut message).await;
        ledger.acknowledge(message).await;
        left += 1;
    }
    assert_eq!(*ledger.violations.lock().unwrap(), Vec::<String>::new());
    assert_eq!(*ledger.handled.lock().unwrap(), (0..NUMBERS).collect());
    assert_eq!(direct.dead_letters(None).await.unwrap().dead_letters, []);
    println!(
        "{} deliveries, {left} left over, {} failures of the consumer, {:?}",
        ledger.deliveries.load(Ordering::Relaxed),
        failures.load(Ordering::Relaxed),
        proxy.counts()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_messages_and_of_events_outlive_their_server() {
    let server = TestServer::builder().disk().start_async().await.unwrap();
    let client = Client::builder()
        .endpoint(server.url())
        .retry(RetryPolicy {
            longest_pause: Duration::from_millis(100),
            retries: 500,
            ..RetryPolicy::default()
        })
        .build()
        .unwrap();
    let queue = client.queue("streams");
    let (mut messages, mut watch) = (queue.subscribe(DequeueOptions::new().prefetch(4)), queue.watch());
    assert!(!watch.next().await.unwrap().available);
    for round in 0..3u32 {
        let enqueued = queue.enqueue_json(&round, &EnqueueOptions::new()).await.unwrap();
        let mut message = messages.next().await.unwrap().unwrap();
        assert_eq!(message.id(), enqueued.message_id);
        assert_eq!(message.payload().json::<u32>().await.unwrap(), round);
        message.ack().await.unwrap();
        server.kill();
        server.restart_async().await.unwrap();
    }
    queue.enqueue("last", &EnqueueOptions::new()).await.unwrap();
    // Whatever of the rest was told before, this is told in the end.
    while !watch.next().await.unwrap().available {}
    messages.next().await.unwrap().unwrap().ack().await.unwrap();
}
