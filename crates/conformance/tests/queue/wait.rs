//! Consumers that wait: how long, in which company, and who gets what.

use std::time::{Duration, Instant};

use lockd_conformance::lease::Client;
use lockd_conformance::queue::consume;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

use crate::{ms, within};

on_every_store!(queue_17_the_whole_wait, |client| {
    within(ms(2000), ms(2300), "an empty queue with a wait of 2 s", || {
        let queue = fresh::key("q");
        let company = client.start_dequeue(&queue, json!({"wait_seconds": 60}));
        let answer = client.try_dequeue(&queue, json!({"wait_seconds": 2})).expect_error(409, "waiting");
        company.abandon();
        let took = answer.elapsed;
        answer.expect_header("retry-after", "2").expect_members(json!({"retry_after_seconds": 2}));
        took
    });
});

on_every_store!(queue_18_enqueue_wakes, |client| {
    within(ms(0), ms(50), "from the enqueue to the delivery", || {
        let queue = fresh::key("q");
        let mut waiter = client.start_dequeue(&queue, json!({"wait_seconds": 10}));
        waiter.expect_waiting(ms(300));
        let id = client.enqueue(&queue, "x");
        let enqueued = Instant::now();
        assert_eq!(waiter.join().delivery().id(), id);
        enqueued.elapsed()
    });
});

on_every_store!(queue_19_no_delivery_to_the_gone, |client| {
    let queue = fresh::key("q");
    client.start_dequeue(&queue, json!({"wait_seconds": 0})).abandon();
    client.await_consumers(&queue, 0);
    client.enqueue(&queue, "x");
    assert_eq!(client.dequeue(&queue).int("attempts"), 1);
});

on_every_store!(queue_20_one_message_for_five, |client| {
    let queue = fresh::key("q");
    let consumers: Vec<_> =
        (0..5).map(|_| client.start(&consume("dequeue", &queue, json!({"wait_seconds": 2})))).collect();
    client.await_consumers(&queue, 5);
    client.enqueue(&queue, "x");
    let answers: Vec<_> = consumers.into_iter().map(lockd_conformance::lease::Waiter::join).collect();
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        answer.expect_error(409, "waiting");
    }
});

on_every_store!(queue_20_first_come_first_served, |client| {
    let queue = fresh::key("q");
    let consumers: Vec<_> = (0..3).map(|_| client.start_dequeue(&queue, json!({}))).collect();
    let ids: Vec<_> = (0..3).map(|n| client.enqueue(&queue, &n.to_string())).collect();
    let got: Vec<_> = consumers.into_iter().map(|consumer| consumer.join().delivery().id()).collect();
    assert_eq!(got, ids);
});

fn delayed(client: &Client) -> Duration {
    let queue = fresh::key("q");
    let before = Instant::now();
    let id = client.enqueue_with(&queue, json!({"delay_seconds": 2}), "x");
    let delivery = client.dequeue_with(&queue, json!({"wait_seconds": 5}));
    assert_eq!(delivery.id(), id);
    before.elapsed()
}

on_every_store!(queue_23_delay, |client| {
    within(ms(2000), ms(2300), "a delay of 2 s", || delayed(client));
});

on_every_store!(queue_24_timeout, |client| {
    within(ms(1000), ms(1300), "a visibility timeout of 1 s", || {
        let queue = fresh::key("q");
        client.enqueue(&queue, "x");
        let before = Instant::now();
        let first = client.dequeue_with(&queue, json!({"visibility_timeout_seconds": 1}));
        let second = client.dequeue_with(&queue, json!({"wait_seconds": 5}));
        let took = before.elapsed();
        assert_eq!(second.id(), first.id());
        assert_eq!((second.int("attempts"), second.int("fencing_token")), (2, 2));
        assert_ne!(second.string("lease_id"), first.string("lease_id"));
        assert!(!second.message.contains_key("failure_attempts"));
        took
    });
});
