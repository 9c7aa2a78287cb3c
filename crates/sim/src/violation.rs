//! What a check says when the core has broken a promise.

/// A broken promise, in words for whoever reads the trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{promise}: {details}")]
pub struct Violation {
    /// Which promise; one of a few fixed sentences, so that failures can be counted by kind.
    pub promise: &'static str,
    pub details: String,
}

pub type Checked<T = ()> = Result<T, Violation>;

pub fn broken<T>(promise: &'static str, details: impl Into<String>) -> Checked<T> {
    Err(Violation { promise, details: details.into() })
}

/// Checks one promise; the details are put together only if it is broken.
pub fn promise(kept: bool, promise: &'static str, details: impl FnOnce() -> String) -> Checked {
    if kept { Ok(()) } else { broken(promise, details()) }
}
