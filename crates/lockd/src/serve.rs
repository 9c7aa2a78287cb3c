//! The life of the server process, from a checked configuration to a clean end.

use crate::config::ServerConfig;
use crate::listen::Listen;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the server is not part of this build")]
    NotLinked,
}

/// Runs the server until a signal ends it.
pub async fn serve(config: ServerConfig) -> Result<(), ServeError> {
    let _ = config;
    Err(ServeError::NotLinked)
}

/// Says that the server now accepts connections at `bound`: in the log, and to the developer who started it.
pub fn announce(config: &ServerConfig, bound: &Listen) {
    tracing::info!(
        sys = "server.lifecycle.core",
        network = bound.network(),
        address = %bound,
        mtls = config.mtls,
        "listening"
    );
    if let Some(greeting) = &config.greeting {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        // Nobody may be reading; the server runs all the same.
        let _ = out.write_all(greeting.text(bound).as_bytes()).and_then(|()| out.flush());
    }
}
