//! Workers that count while their server is killed again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lockd_client::{AcquireOptions, Client, Error, RetryPolicy, Update};
use lockd_conformance::http::Address;
use lockd_conformance::server::{Launch, StoreKind};
use serde::{Deserialize, Serialize};

const WORKERS: usize = 6;
const KILLS: usize = 4;

/// The count, and the last step of every worker in it, so that a worker can tell whether a step is in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) count: u64,
    pub(crate) steps: BTreeMap<usize, u64>,
}

/// Counts until told to stop; answers how many steps it took.
pub(crate) async fn work(number: usize, client: Client, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> u64 {
    let options = AcquireOptions::new().ttl(Duration::from_secs(2)).rounds(20);
    let mut step = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = step + 1;
        // Whether an attempt at this step has failed in a way that leaves open whether it is in.
        let mut unknown = false;
        loop {
            let counted = client
                .acquire_for_update("counter", &options, async move |update: &mut Update<Counter>| {
                    let counter = update.state.get_or_insert_default();
                    let last = counter.steps.entry(number).or_default();
                    assert!(
                        *last < next || unknown,
                        "worker {number} was told that step {next} is not in, but it is"
                    );
                    if *last < next {
                        *last = next;
                        counter.count += 1;
                    }
                    Ok::<_, Error>(())
                })
                .await;
            match counted {
                Ok(()) => break,
                Err(error) if error.is_outcome_unknown() => unknown = true,
                // The server is away: do the same step again.
                Err(Error::Unreachable(_)) => {}
                Err(error) if error.is_lease_lost() => {}
                Err(error) => panic!("worker {number} at step {next}: {error}"),
            }
        }
        step = next;
        done.fetch_add(1, Ordering::Relaxed);
    }
    step
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_lost_or_doubled_by_kills() {
    let mut server = Launch::fresh(StoreKind::Disk).start();
    let Address::Tcp(address) = server.address().clone() else { panic!("not TCP") };
    let client = Client::builder()
        .endpoint(format!("http://{address}"))
        .timeout(Duration::from_secs(20))
        .retry(RetryPolicy {
            longest_pause: Duration::from_millis(200),
            retries: 200,
            ..RetryPolicy::default()
        })
        .build()
        .unwrap();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| tokio::spawn(work(number, client.clone(), stop.clone(), done.clone())))
        .collect();
    for _ in 0..KILLS {
        // Kill only when work is under way again, a little later every time.
        let target = done.load(Ordering::Relaxed) + fastrand::u64(3..10);
        while done.load(Ordering::Relaxed) < target {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            server.launch().listen(&address.to_string()).start()
        })
        .await
        .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut steps = BTreeMap::new();
    for (number, worker) in workers.into_iter().enumerate() {
        steps.insert(number, worker.await.unwrap());
    }
    let counter = client.read::<Counter>("counter").await.unwrap().unwrap().value;
    assert_eq!(counter.steps, steps.iter().filter(|(_, n)| **n > 0).map(|(k, n)| (*k, *n)).collect());
    assert_eq!(counter.count, steps.values().sum::<u64>());
    println!("{} steps over {KILLS} kills", counter.count);
    drop(server);
}
