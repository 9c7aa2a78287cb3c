//! A configuration that everybody may read and that is changed under a lease, with a check that it is still the one we saw.
//!
//! `cargo run -p lockd-client --example config`
#![allow(clippy::print_stdout)]

use lockd_client::{AcquireOptions, Client, ErrorCode, UpdateOptions};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Config {
    workers: u32,
    verbose: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("LOCKD_CLIENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:9341".to_owned());
    let client = Client::connect(&url)?.in_namespace("examples");

    // Reading needs no lease.
    let seen = client.read::<Config>("config/app").await?;
    let (mut config, version) = seen.map(|seen| (seen.value, seen.version)).unwrap_or_default();
    println!("version {version}: {config:?}");

    // Somebody thinks about it for a while, without holding a lease.
    config.workers += 1;

    let mut session = client.acquire("config/app", &AcquireOptions::new()).await?;
    let document = serde_json::to_string(&config)?;
    match session.update_with(document, &UpdateOptions::new().if_version(version)).await {
        Ok(saved) => {
            session.release().await?;
            println!("version {}: {config:?}", saved.version);
        }
        Err(error) if error.is(ErrorCode::VersionConflict) => {
            session.rollback().await?;
            println!("somebody was quicker: it is version {:?} by now", error.current_version());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
