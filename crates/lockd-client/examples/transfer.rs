//! Two keys that must change together: a transaction.
//!
//! `cargo run -p lockd-client --example transfer`
#![allow(clippy::print_stdout)]

use lockd_client::{AcquireOptions, Client};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("LOCKD_CLIENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:9341".to_owned());
    let client = Client::connect(&url)?.in_namespace("examples");

    // Everybody takes them in the same order, so that nobody waits in a circle.
    let transfer = client.transaction();
    let mut from = transfer.acquire("accounts/a", &AcquireOptions::new()).await?;
    let mut to = transfer.acquire("accounts/b", &AcquireOptions::new()).await?;

    let a: i64 = from.load().await?.unwrap_or(100);
    let b: i64 = to.load().await?.unwrap_or(0);
    from.save(&(a - 5)).await?;
    to.save(&(b + 5)).await?;
    transfer.commit([from, to]).await?;

    let a = client.read::<i64>("accounts/a").await?.map(|account| account.value);
    let b = client.read::<i64>("accounts/b").await?.map(|account| account.value);
    println!("a has {a:?}, b has {b:?}");
    Ok(())
}
