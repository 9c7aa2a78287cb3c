//! Queues: one message, batches, streams, dead letters, workflow state, watching.

use std::time::Duration;

use lockd_client::{
    Body, DequeueOptions, EnqueueOptions, ErrorCode, Message, Nack, Queue, Settle, Subscription,
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::client;

fn queue() -> Queue {
    client().queue(lockd_conformance::fresh::key("sdkq"))
}

fn at_once() -> DequeueOptions {
    DequeueOptions::new().no_wait()
}

async fn take(queue: &Queue) -> Message {
    queue.dequeue(&at_once()).await.unwrap().expect("no message")
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent_and_is_gone_when_acknowledged() {
    let queue = queue();
    assert!(queue.dequeue(&at_once()).await.unwrap().is_none());
    let options = EnqueueOptions::new().attribute("kind", "ship").attribute("n", 7).content_type("text/x");
    // What looks like the framing is payload all the same.
    let payload = "--x\r\n\r\n--x--\r\n";
    let enqueued = queue.enqueue(payload, &options).await.unwrap();
    assert_eq!((enqueued.queue.as_str(), enqueued.payload_bytes), (queue.name(), payload.len() as u64));
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.available, stats.head_message_id.as_deref()), (true, Some(&*enqueued.message_id)));

    let mut message = take(&queue).await;
    assert_eq!(message.id(), enqueued.message_id);
    assert_eq!((message.attempts(), message.failures(), message.max_attempts()), (1, 0, 5));
    assert_eq!((message.content_type(), message.fencing_token()), ("text/x", 1));
    assert_eq!(message.attribute::<String>("kind").as_deref(), Some("ship"));
    assert_eq!(message.attribute::<f64>("n"), Some(7.0));
    assert_eq!(message.correlation_id(), enqueued.correlation_id);
    assert_eq!(message.payload().bytes().await.unwrap(), payload);
    assert!(queue.dequeue(&at_once()).await.unwrap().is_none(), "it is leased");
    message.ack().await.unwrap();
    assert!(!queue.stats().await.unwrap().available);
}

#[tokio::test]
async fn what_failed_comes_back_until_it_has_failed_too_often() {
    let queue = queue();
    let options = EnqueueOptions::new().max_attempts(2).attribute("a", json!([1.5]));
    let id = queue.enqueue_json(&json!({"order": 42}), &options).await.unwrap().message_id;
    take(&queue).await.defer(Duration::ZERO).await.unwrap();
    take(&queue).await.nack(Nack::new().error("first")).await.unwrap();
    let message = take(&queue).await;
    assert_eq!((message.attempts(), message.failures()), (3, 1));
    message.nack(Nack::new().details(json!({"why": "second"}))).await.unwrap();
    assert!(queue.dequeue(&at_once()).await.unwrap().is_none());

    let page = queue.dead_letters(None).await.unwrap();
    assert_eq!(page.next, None);
    let [letter] = &page.dead_letters[..] else { panic!("{page:?}") };
    assert_eq!((letter.message_id.as_str(), letter.failure_attempts), (&*id, 2));
    assert_eq!(letter.last_error, Some(json!({"why": "second"})));
    assert_eq!(letter.attributes["a"], json!([1.5]));
    assert_eq!(letter.payload_content_type, "application/json");
    let payload = queue.dead_letter_payload(&id).await.unwrap().bytes().await.unwrap();
    assert_eq!(payload, r#"{"order":42}"#);

    queue.redrive(&id).await.unwrap();
    let mut message = take(&queue).await;
    assert_eq!(message.payload().json::<Value>().await.unwrap(), json!({"order": 42}));
    message.ack().await.unwrap();
    assert!(queue.redrive(&id).await.unwrap_err().is(ErrorCode::NotFound));

    for _ in 0..3 {
        queue.enqueue("x", &EnqueueOptions::new().max_attempts(1)).await.unwrap();
        take(&queue).await.nack(Nack::new()).await.unwrap();
    }
    let first = queue.dead_letters(None).await.unwrap().dead_letters[0].message_id.clone();
    queue.purge(&first).await.unwrap();
    assert_eq!(queue.redrive_all().await.unwrap(), 2);
    for _ in 0..2 {
        take(&queue).await.nack(Nack::new().error("again")).await.unwrap();
    }
    assert_eq!(queue.purge_all().await.unwrap(), 2);
    assert_eq!(queue.dead_letters(None).await.unwrap().dead_letters, []);
}

#[tokio::test]
async fn a_lost_message_is_known_as_such() {
    let queue = queue();
    queue.enqueue("x", &EnqueueOptions::new()).await.unwrap();
    let options = at_once().visibility(Duration::from_secs(1)).manual_extend();
    let message = queue.dequeue(&options).await.unwrap().unwrap();
    message.lost().wait().await;
    // It waits until the message is there again.
    let again = queue.dequeue(&DequeueOptions::new()).await.unwrap().unwrap();
    assert_eq!((again.attempts(), again.fencing_token()), (2, 2));
    let error = message.ack().await.unwrap_err();
    assert!(error.is_lease_lost() && !error.is_outcome_unknown(), "{error}");
    again.ack().await.unwrap();
}

#[tokio::test]
async fn a_message_is_extended_by_itself() {
    let queue = queue();
    queue.enqueue("x", &EnqueueOptions::new()).await.unwrap();
    let message = queue.dequeue(&at_once().visibility(Duration::from_secs(60))).await.unwrap().unwrap();
    // Made to end sooner, it is extended sooner.
    let short = message.extend(Duration::from_secs(15)).await.unwrap().expires_at_unix;
    while message.expires_at_unix() < short + 30 {
        assert!(!message.lost().is_lost());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The ETag of the extension is the one that this must name.
    message.nack(Nack::new()).await.unwrap();
    assert_eq!(take(&queue).await.failures(), 1);
}

#[tokio::test]
async fn a_dropped_message_has_failed_or_what_was_said() {
    let queue = queue();
    queue.enqueue("x", &EnqueueOptions::new()).await.unwrap();
    drop(take(&queue).await);
    let options = DequeueOptions::new().if_dropped(Settle::Defer(Duration::ZERO));
    let message = queue.dequeue(&options).await.unwrap().unwrap();
    assert_eq!((message.attempts(), message.failures()), (2, 1));
    drop(message);
    let message = queue.dequeue(&options).await.unwrap().unwrap();
    assert_eq!((message.attempts(), message.failures()), (3, 1));
    let lease = message.detach();
    assert!(queue.dequeue(&at_once()).await.unwrap().is_none(), "it is still leased");
    let lease = serde_json::from_str(&serde_json::to_string(&lease).unwrap()).unwrap();
    let attached = queue.attach(lease);
    attached.extend(Duration::from_secs(60)).await.unwrap();
    attached.ack().await.unwrap();
    assert!(!queue.stats().await.unwrap().available);
}

#[tokio::test]
async fn large_payloads_are_streamed_both_ways() {
    let queue = queue();
    const LENGTH: u64 = 5 << 20;
    let zeros = || tokio::io::repeat(b'z').take(LENGTH);
    queue.enqueue(Body::reader(zeros()), &EnqueueOptions::new()).await.unwrap();
    queue
        .enqueue(Body::reader_of_length(tokio::io::repeat(b'z'), LENGTH), &EnqueueOptions::new())
        .await
        .unwrap();
    queue.enqueue("short", &EnqueueOptions::new()).await.unwrap();
    let mut first = take(&queue).await;
    assert_eq!(first.payload().length(), LENGTH);
    assert_eq!(tokio::io::copy(first.payload(), &mut tokio::io::sink()).await.unwrap(), LENGTH);
    first.ack().await.unwrap();

    let mut messages = queue.subscribe(at_once());
    let mut second = messages.next().await.unwrap().unwrap();
    let mut some = [0; 3];
    second.payload().read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"zzz");
    // What has not been read is passed over.
    second.ack().await.unwrap();
    let mut third = messages.next().await.unwrap().unwrap();
    assert_eq!(third.payload().bytes().await.unwrap(), "short");
    third.ack().await.unwrap();
    assert!(messages.next().await.unwrap().is_none());

    let short = Body::reader_of_length(&b"four"[..], 5);
    let error = queue.enqueue(short, &EnqueueOptions::new()).await.unwrap_err();
    assert!(error.to_string().contains("1 bytes before its announced length"), "{error}");
    assert!(!queue.stats().await.unwrap().available, "half a message is none");
}

#[tokio::test]
async fn batches_and_streams_keep_the_order() {
    let queue = queue();
    let send = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            queue.enqueue_json(&number, &EnqueueOptions::new()).await.unwrap();
        }
    };
    send(0..5).await;
    let batch = queue.dequeue_batch(3, &at_once()).await.unwrap();
    let mut seen = Vec::new();
    for mut message in batch {
        seen.push(message.payload().json::<u32>().await.unwrap());
        message.ack().await.unwrap();
    }
    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(queue.dequeue_batch(9, &at_once()).await.unwrap().len(), 2);
    // Dropping them has put them back; they come first.
    async fn next(messages: &mut Subscription) -> u32 {
        let mut message = messages.next().await.unwrap().unwrap();
        let number = message.payload().json().await.unwrap();
        message.ack().await.unwrap();
        number
    }
    let mut messages = queue.subscribe(DequeueOptions::new().prefetch(4));
    let mut two = [next(&mut messages).await, next(&mut messages).await];
    two.sort_unstable();
    assert_eq!(two, [3, 4]);
    send(5..8).await;
    assert_eq!([next(&mut messages).await, next(&mut messages).await, next(&mut messages).await], [5, 6, 7]);
}

#[tokio::test]
async fn workflow_state_survives_what_gives_the_message_back() {
    let queue = queue();
    queue.enqueue("x", &EnqueueOptions::new()).await.unwrap();
    let options = at_once().stateful();
    for step in 0..3u32 {
        let mut message = queue.dequeue(&options).await.unwrap().unwrap();
        let state = message.state().unwrap();
        assert_eq!(state.load::<u32>().await.unwrap().unwrap_or(0), step);
        state.save(&(step + 1)).await.unwrap();
        message.defer(Duration::ZERO).await.unwrap();
    }
    let mut message = queue.dequeue(&options).await.unwrap().unwrap();
    let key = message.state().unwrap().key().to_owned();
    message.extend(Duration::from_secs(20)).await.unwrap();
    message.ack().await.unwrap();
    assert_eq!(client().read::<Value>(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_watch_tells_of_every_change() {
    let queue = queue();
    let mut watch = queue.watch();
    assert!(!watch.next().await.unwrap().available);
    let id = queue.enqueue("x", &EnqueueOptions::new()).await.unwrap().message_id;
    let event = watch.next().await.unwrap();
    assert_eq!((event.available, event.head_message_id), (true, Some(id)));
    let message = take(&queue).await;
    assert!(!watch.next().await.unwrap().available);
    message.nack(Nack::new()).await.unwrap();
    assert!(watch.next().await.unwrap().available);
}

#[tokio::test]
async fn waiting_consumers_are_woken() {
    let queue = queue();
    let waiting = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.dequeue(&DequeueOptions::new()).await.unwrap().unwrap().ack().await })
    };
    while queue.stats().await.unwrap().waiting_consumers == 0 {
        tokio::task::yield_now().await;
    }
    queue.enqueue("x", &EnqueueOptions::new()).await.unwrap();
    waiting.await.unwrap().unwrap();

    // Who leaves takes nothing along.
    let leaving = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.dequeue(&DequeueOptions::new()).await })
    };
    while queue.stats().await.unwrap().waiting_consumers == 0 {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    while queue.stats().await.unwrap().waiting_consumers > 0 {
        tokio::task::yield_now().await;
    }
    queue.enqueue("y", &EnqueueOptions::new()).await.unwrap();
    let message = take(&queue).await;
    assert_eq!(message.attempts(), 1);
    message.ack().await.unwrap();
    let patient = DequeueOptions::new().wait_at_most(Duration::from_secs(1));
    assert!(queue.dequeue(&patient).await.unwrap().is_none());
}

#[tokio::test]
async fn a_transaction_takes_messages_and_keys_along() {
    let (client, queue, key) = (client(), queue(), crate::key());
    queue.enqueue("x", &EnqueueOptions::new()).await.unwrap();

    let transaction = client.transaction();
    let message = transaction.dequeue(&queue, &at_once()).await.unwrap().unwrap();
    let mut session = transaction.acquire(&key, &Default::default()).await.unwrap();
    session.save(&1).await.unwrap();
    transaction.commit_with([session], [message]).await.unwrap();
    assert_eq!(client.read::<u32>(&key).await.unwrap().unwrap().value, 1);
    assert!(!queue.stats().await.unwrap().available);

    // A failure of the message takes the key back.
    queue.enqueue("y", &EnqueueOptions::new()).await.unwrap();
    let transaction = client.transaction();
    let message = transaction.dequeue(&queue, &at_once()).await.unwrap().unwrap();
    let mut session = transaction.acquire(&key, &Default::default()).await.unwrap();
    session.save(&2).await.unwrap();
    message.nack(Nack::new()).await.unwrap();
    let error = transaction.commit_with([session], []).await.unwrap_err();
    assert!(error.is_lease_lost(), "{error}");
    assert_eq!(client.read::<u32>(&key).await.unwrap().unwrap().value, 1);
    assert_eq!(take(&queue).await.failures(), 1);
}

#[tokio::test]
async fn transactions_are_decided_by_their_id() {
    use lockd_client::{Decision, Participant, TxnId};
    let (client, key) = (client(), crate::key());
    let id = TxnId::fresh();
    assert_eq!(client.txn_replay(id).await.unwrap_err().code(), Some("txn_not_found"));
    let options = lockd_client::AcquireOptions::new().txn(id);
    let mut session = client.acquire(&key, &options).await.unwrap();
    session.save(&"staged").await.unwrap();
    let parts = [Participant::from(&session)];
    assert_eq!(client.txn_commit(id, parts).await.unwrap(), Decision::Commit);
    assert_eq!(client.txn_rollback(id, []).await.unwrap(), Decision::Commit, "it is decided");
    assert_eq!(client.txn_replay(id).await.unwrap(), Decision::Commit);
    assert_eq!(client.read::<String>(&key).await.unwrap().unwrap().value, "staged");
}
