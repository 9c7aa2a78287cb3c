//! Work in several steps, with a memory: what a step has done is not done again, whoever does the next.
//!
//! `cargo run -p lockd-client --example workflow`
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Duration;

use lockd_client::{Client, Delivery, Error, Settle};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
enum Step {
    #[default]
    Reserve,
    Pay,
    Ship,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("LOCKD_CLIENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:9341".to_owned());
    let trips = Client::connect(&url)?.queue("examples-trips");
    trips.enqueue("to the sea", &Default::default()).await?;

    let done = Arc::new(Notify::new());
    let finished = done.clone();
    trips
        .consumer()
        .stateful()
        .run_until(done.notified(), move |mut trip: Delivery| {
            let finished = finished.clone();
            async move {
                match step(&mut trip).await {
                    Ok(Settle::Ack) => {
                        finished.notify_one();
                        Settle::Ack
                    }
                    Ok(other) => other,
                    Err(error) => Settle::from(Err(error)),
                }
            }
        })
        .await?;
    Ok(())
}

/// Does one step. What it saves is kept when the message is put back.
async fn step(trip: &mut Delivery) -> Result<Settle, Error> {
    let Some(state) = trip.state() else { return Ok(Settle::Ack) };
    let step = state.load::<Step>().await?.unwrap_or_default();
    println!("{step:?}");
    let next = match step {
        Step::Reserve => Step::Pay,
        Step::Pay => Step::Ship,
        Step::Ship => return Ok(Settle::Ack),
    };
    state.save(&next).await?;
    Ok(Settle::Defer(Duration::ZERO))
}
