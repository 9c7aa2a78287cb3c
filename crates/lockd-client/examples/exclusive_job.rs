//! A job that runs on several machines and must not run twice at a time: whoever is too late goes away.
//!
//! `cargo run -p lockd-client --example exclusive_job`
#![allow(clippy::print_stdout)]

use lockd_client::{AcquireOptions, Client, ErrorCode};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("LOCKD_CLIENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:9341".to_owned());
    let client = Client::connect(&url)?;

    let session = match client.acquire("examples/nightly", &AcquireOptions::new().no_wait()).await {
        Ok(session) => session,
        Err(error) if error.is(ErrorCode::Waiting) => {
            println!("somebody else is at it");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };

    // The session renews the lease while we work, and tells if that fails.
    let lost = session.lost();
    tokio::select! {
        () = work(session.fencing_token()) => drop(session.release().await?),
        loss = lost.wait() => println!("stopped in the middle: {loss}"),
    }
    Ok(())
}

/// Gives the fencing token to whatever it writes to, so that a late writer can be told.
async fn work(fencing_token: i64) {
    println!("working with fencing token {fencing_token}");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    println!("done");
}
