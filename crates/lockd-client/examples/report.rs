//! A result that is a file: attached under the lease, published together with the state, downloaded by anybody.
//!
//! `cargo run -p lockd-client --example report`
#![allow(clippy::print_stdout)]

use lockd_client::{AcquireOptions, AttachOptions, Body, Client};
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("LOCKD_CLIENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:9341".to_owned());
    let client = Client::connect(&url)?;

    let mut session = client.acquire("examples/report", &AcquireOptions::new()).await?;
    // Any reader will do, such as a tokio::fs::File; it is streamed.
    let file = std::io::Cursor::new("all is well\n".repeat(1000));
    let options = AttachOptions::new().content_type("text/plain");
    let attached = session.attach_with("report.txt", Body::reader(file), &options).await?;
    session.save(&serde_json::json!({"report": attached.attachment.name})).await?;
    session.release().await?;

    let mut report = client.read_attachment("examples/report", "report.txt").await?;
    println!("{} bytes, SHA-256 {}", report.attachment().size, report.attachment().plaintext_sha256);
    let mut start = [0; 11];
    report.read_exact(&mut start).await?;
    println!("it begins with {:?}", String::from_utf8_lossy(&start));
    Ok(())
}
