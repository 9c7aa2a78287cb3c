//! What can go wrong while measuring. A fault inside a measured operation is counted; any other ends the run.

use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("cannot connect to 127.0.0.1:{port}: {source}; is the limit of open files reached?")]
    Connect { port: u16, source: io::Error },
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the system refused: {0}")]
    System(#[from] rustix::io::Errno),
    #[error("the server closed the connection")]
    Closed,
    #[error("{asked} was answered {answer:?}")]
    Unexpected { asked: &'static str, answer: String },
    #[error(transparent)]
    Unmeasurable(#[from] bench_kit::Unmeasurable),
    #[error("{0}")]
    Setup(String),
}

impl Fault {
    pub(crate) fn unexpected(asked: &'static str, answer: &[u8]) -> Fault {
        Fault::Unexpected { asked, answer: String::from_utf8_lossy(answer).into_owned() }
    }
}
