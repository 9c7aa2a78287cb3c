//! What can go wrong while measuring. A fault inside a measured operation is counted; any other ends the run.

use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("cannot connect to {endpoint}: {source}; is the server running and listening there?")]
    Connect { endpoint: String, source: io::Error },
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the server closed the connection before its answer was complete")]
    Closed,
    #[error("the answer is not the HTTP/1.1 this client understands: {0}")]
    Malformed(String),
    #[error("{call} was answered {status}: {body}")]
    Refused { call: &'static str, status: u16, body: String },
    #[error("{call} gave an unexpected result: {detail}")]
    Unexpected { call: &'static str, detail: String },
    #[error("gRPC call failed: {0}")]
    Grpc(String),
    #[error(transparent)]
    Unmeasurable(#[from] bench_kit::Unmeasurable),
    #[error("{0}")]
    Setup(String),
}

impl From<h2::Error> for Fault {
    fn from(error: h2::Error) -> Fault {
        Fault::Grpc(error.to_string())
    }
}
