//! Acquire for update: several tasks count in one place, and every step counts once.
//!
//! `cargo run -p lockd-client --example counter`
#![allow(clippy::print_stdout)]

use lockd_client::{AcquireOptions, Client, Update};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("LOCKD_CLIENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:9341".to_owned());
    let client = Client::connect(&url)?;

    let mut tasks = Vec::new();
    for _ in 0..10 {
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            client
                .acquire_for_update(
                    "examples/counter",
                    &AcquireOptions::new(),
                    async move |counter: &mut Update<u64>| {
                        let next = counter.state.unwrap_or(0) + 1;
                        counter.state = Some(next);
                        Ok::<_, lockd_client::Error>(next)
                    },
                )
                .await
        }));
    }
    for task in tasks {
        println!("{}", task.await??);
    }
    Ok(())
}
