//! YAML in and out, by the rules of YAML 1.1: `yes`, `no`, `on` and `off` are booleans and `0777` is octal. Numbers are
//! carried over as text, so that none loses a digit. Only the first document of a stream counts.

mod read;
mod scalar;
mod write;

pub(super) use read::to_json;
pub(super) use write::from_json;
