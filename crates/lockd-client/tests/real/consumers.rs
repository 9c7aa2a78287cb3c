//! Consumers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockd_client::{
    ConsumerFailure, Delivery, DequeueOptions, EnqueueOptions, ErrorCode, Nack, Queue, Settle,
};
use tokio::sync::{Barrier, Notify};

use crate::client;

fn queue() -> Queue {
    client().queue(lockd_conformance::fresh::key("sdkc"))
}

async fn fill(queue: &Queue, messages: impl IntoIterator<Item = &str>) {
    for message in messages {
        queue.enqueue(message.to_owned(), &EnqueueOptions::new()).await.unwrap();
    }
}

async fn text(delivery: &mut Delivery) -> String {
    String::from_utf8(delivery.payload().bytes().await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn the_handler_decides() {
    let queue = queue();
    fill(&queue, ["ack", "nack", "defer", "error", "panic"]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::new(Notify::new());
    let panics = Arc::new(Mutex::new(Vec::new()));
    let (log, all, said) = (seen.clone(), done.clone(), panics.clone());
    queue
        .consumer()
        .on_failure(move |failure| match failure {
            ConsumerFailure::Panicked { text, .. } => said.lock().unwrap().push(text.clone()),
            other => panic!("{other}"),
        })
        .run_until(done.notified(), move |mut delivery: Delivery| {
            let (log, all) = (log.clone(), all.clone());
            async move {
                let text = text(&mut delivery).await;
                {
                    let mut log = log.lock().unwrap();
                    log.push((text.clone(), delivery.attempts(), delivery.failures()));
                    if log.len() == 9 {
                        all.notify_one();
                    }
                }
                match (text.as_str(), delivery.attempts()) {
                    ("nack", 1) => Settle::from(Nack::new().error("not yet")),
                    ("defer", 1) => Settle::Defer(Duration::ZERO),
                    ("error", 1) => Settle::from(Err("failed")),
                    ("panic", 1) => panic!("out of order"),
                    _ => Settle::Ack,
                }
            }
        })
        .await
        .unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let wanted = [
        ("ack", 1, 0),
        ("defer", 1, 0),
        ("defer", 2, 0),
        ("error", 1, 0),
        ("error", 2, 1),
        ("nack", 1, 0),
        ("nack", 2, 1),
        ("panic", 1, 0),
        ("panic", 2, 1),
    ];
    assert_eq!(seen, wanted.map(|(text, attempts, failures)| (text.to_owned(), attempts, failures)));
    assert_eq!(*panics.lock().unwrap(), ["out of order"]);
    assert!(queue.dequeue(&DequeueOptions::new().no_wait()).await.unwrap().is_none());
}

#[tokio::test]
async fn as_many_run_at_a_time_as_was_said() {
    let queue = queue();
    fill(&queue, ["x"; 12]).await;
    let (running, handled, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((running, handled, most, Barrier::new(4), Notify::new()));
    let shared = counts.clone();
    queue
        .consumer()
        .concurrency(4)
        .run_until(counts.4.notified(), move |_| {
            let shared = shared.clone();
            async move {
                let (running, handled, most, together, done) = &*shared;
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Passes only if four are here at once.
                together.wait().await;
                running.fetch_sub(1, Ordering::SeqCst);
                if handled.fetch_add(1, Ordering::SeqCst) == 11 {
                    done.notify_one();
                }
            }
        })
        .await
        .unwrap();
    assert_eq!(counts.2.load(Ordering::SeqCst), 4);
    assert!(!queue.stats().await.unwrap().available);
}

#[tokio::test]
async fn stopping_finishes_what_runs_and_takes_no_more() {
    let queue = queue();
    fill(&queue, ["first", "second"]).await;
    let (begun, stopped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes_on) = (begun.clone(), stopped.clone());
    let stop = async move {
        begun.notified().await;
        stopped.notify_one();
    };
    queue
        .consumer()
        .run_until(stop, move |_| {
            let (begins, goes_on) = (begins.clone(), goes_on.clone());
            async move {
                begins.notify_one();
                goes_on.notified().await;
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    let mut left = queue.dequeue_batch(9, &DequeueOptions::new().no_wait()).await.unwrap();
    assert_eq!(left.len(), 1, "the first is done with");
    assert_eq!(left[0].attempts(), 1, "the second was not touched");
    assert_eq!(text(&mut left[0]).await, "second");
}

#[tokio::test]
async fn what_was_taken_in_advance_is_handled_in_order_and_put_back_at_the_end() {
    let queue = queue();
    fill(&queue, ["a", "b", "c", "d", "e", "f"]).await;
    let (third, seen) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let (reaches, log, looks) = (third.clone(), seen.clone(), queue.clone());
    queue
        .consumer()
        .prefetch(5)
        .run_until(third.notified(), move |mut delivery: Delivery| {
            let (reaches, log, looks) = (reaches.clone(), log.clone(), looks.clone());
            async move {
                let text = text(&mut delivery).await;
                if text == "a" {
                    assert!(!looks.stats().await.unwrap().available, "they were not taken");
                }
                if text == "c" {
                    reaches.notify_one();
                    tokio::task::yield_now().await;
                }
                log.lock().unwrap().push(text);
            }
        })
        .await
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), ["a", "b", "c"]);
    let left = queue.dequeue_batch(9, &DequeueOptions::new().no_wait()).await.unwrap();
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|message| message.failures() == 0), "{left:?}");
    // The fetch that was given up may still have stood in line when they were put back, and had one of them in its hands for a moment.
    assert!(left.iter().all(|message| message.attempts() >= 2), "{left:?}");
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_cancelled_and_its_message_put_back() {
    let queue = queue();
    fill(&queue, ["x"]).await;
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (begun, cancelled) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (begins, drops) = (begun.clone(), cancelled.clone());
    queue
        .consumer()
        .grace(Duration::from_millis(20))
        .run_until(begun.notified(), move |_| {
            let (begins, drops) = (begins.clone(), Dropped(drops.clone()));
            async move {
                begins.notify_one();
                std::future::pending::<()>().await;
                drop(drops);
            }
        })
        .await
        .unwrap();
    assert_eq!(cancelled.load(Ordering::SeqCst), 1);
    let message = queue.dequeue(&DequeueOptions::new().no_wait()).await.unwrap().unwrap();
    assert_eq!((message.attempts(), message.failures()), (2, 0));
}

#[tokio::test]
async fn a_dropped_consumer_puts_its_messages_back() {
    let queue = queue();
    fill(&queue, ["x"]).await;
    let begun = Arc::new(Notify::new());
    let begins = begun.clone();
    let consumer = tokio::spawn(queue.consumer().run(move |_| {
        let begins = begins.clone();
        async move {
            begins.notify_one();
            std::future::pending::<()>().await;
        }
    }));
    begun.notified().await;
    consumer.abort();
    let message = queue.dequeue(&DequeueOptions::new()).await.unwrap().unwrap();
    assert_eq!((message.attempts(), message.failures()), (2, 0));
    message.ack().await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_wrong_as_such_ends_the_consumer() {
    let error = client().queue("not/a/name").consumer().run(async |_: Delivery| ()).await.unwrap_err();
    assert!(error.is(ErrorCode::InvalidQueue), "{error}");
}

#[tokio::test]
async fn state_goes_from_step_to_step() {
    let queue = queue();
    fill(&queue, ["x"]).await;
    let done = Arc::new(Notify::new());
    let finished = done.clone();
    queue
        .consumer()
        .stateful()
        .run_until(done.notified(), move |mut delivery: Delivery| {
            let finished = finished.clone();
            async move {
                let state = delivery.state().unwrap();
                let step = state.load::<u32>().await.unwrap().unwrap_or(0) + 1;
                state.save(&step).await.unwrap();
                if step < 3 {
                    return Settle::Defer(Duration::ZERO);
                }
                assert_eq!(delivery.attempts(), 3);
                finished.notify_one();
                Settle::Ack
            }
        })
        .await
        .unwrap();
    assert!(!queue.stats().await.unwrap().available);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_whose_message_is_lost_is_cancelled() {
    let server = lockd_testing::TestServer::start_async().await.unwrap();
    let client = lockd_client::Client::builder()
        .endpoint(server.url())
        .keepalive_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let queue = client.queue("lost");
    fill(&queue, ["x"]).await;
    let (done, server) = (Arc::new(Notify::new()), Arc::new(server));
    let lost = Arc::new(AtomicUsize::new(0));
    let (finished, frozen, thawed, seen) = (done.clone(), server.clone(), server.clone(), lost.clone());
    queue
        .consumer()
        .visibility(Duration::from_secs(1))
        .on_failure(move |failure| {
            if let ConsumerFailure::Lost { .. } = failure {
                seen.fetch_add(1, Ordering::SeqCst);
                thawed.thaw().unwrap();
            }
        })
        .run_until(done.notified(), move |delivery: Delivery| {
            let (finished, frozen) = (finished.clone(), frozen.clone());
            async move {
                if delivery.attempts() == 1 {
                    // The server does not answer any more: the local clock says when the message is lost.
                    frozen.freeze().unwrap();
                    std::future::pending::<()>().await;
                }
                finished.notify_one();
            }
        })
        .await
        .unwrap();
    assert!(lost.load(Ordering::SeqCst) >= 1);
    assert!(!queue.stats().await.unwrap().available);
}
