//! What our load generators share: latency histograms, the clocks of processes and of the machine, the description of the
//! host, and the form of reports. It knows nothing of any server or protocol.

pub mod clocks;
pub mod host;
pub mod measured;
pub mod pacer;
pub mod report;
pub mod statistics;

/// Why a figure could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unmeasurable(pub String);

impl From<std::io::Error> for Unmeasurable {
    fn from(error: std::io::Error) -> Unmeasurable {
        Unmeasurable(error.to_string())
    }
}
