//! A worker: takes orders from a queue, four at a time, until it is told to stop. Start several; each order goes to one of them.
//!
//! `cargo run -p lockd-client --example queue_worker`
//!
//! It enqueues five orders first, and stops when they are done or with Ctrl-C.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Duration;

use lockd_client::{Client, Delivery, EnqueueOptions, Nack, Settle};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("LOCKD_CLIENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:9341".to_owned());
    let orders = Client::connect(&url)?.queue("examples-orders");

    for number in 1..=5 {
        // Rather twice than not at all: the worker bears repetition.
        let options = EnqueueOptions::new().max_attempts(3).may_duplicate();
        orders.enqueue_json(&Order { number }, &options).await?;
    }

    let done = Arc::new(Semaphore::new(0));
    let shipped = done.clone();
    let stop = async {
        tokio::select! {
            _ = done.acquire_many(5) => {}
            _ = tokio::signal::ctrl_c() => println!("finishing what is under way"),
        }
    };
    orders
        .consumer()
        .concurrency(4)
        .grace(Duration::from_secs(20))
        .run_until(stop, move |mut delivery: Delivery| {
            let shipped = shipped.clone();
            async move {
                let order: Order = match delivery.payload().json().await {
                    Ok(order) => order,
                    // Will not get better: after three times it is a dead letter, for somebody to look at.
                    Err(error) => return Settle::from(Nack::new().error(error)),
                };
                if order.number == 3 && delivery.attempts() == 1 {
                    println!("order 3 has to wait");
                    return Settle::Defer(Duration::from_secs(1));
                }
                println!("order {} is shipped", order.number);
                shipped.add_permits(1);
                Settle::Ack
            }
        })
        .await?;
    println!("done");
    Ok(())
}
