//! The contract of selectors in text, JSON and URLs: worked examples by number, and the lines of its checklist.

mod json;
mod limits;
mod text;
mod urls;

use super::*;
use crate::{
    condition::{Condition, Instant},
    error::{Problem, SelectorError},
};

fn json(text: &str) -> String {
    parse(text).to_json()
}

#[track_caller]
fn parse(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|error| panic!("{}", error.explain(text)))
}

fn error(text: &str) -> String {
    match Selector::parse(text) {
        Ok(selector) => panic!("{text:?} is accepted as {}", selector.to_json()),
        Err(error) => error.to_string(),
    }
}

fn from_json(json: &str) -> Result<Selector, SelectorError> {
    Selector::from_json(json.as_bytes())
}

fn json_error(json: &str) -> String {
    from_json(json).unwrap_err().to_string()
}

/// The condition, for comparing meanings.
fn meaning(text: &str) -> Condition {
    parse(text).compile(Instant(0)).unwrap()
}

fn url(parameters: &[(&str, &str)]) -> Result<Option<Selector>, SelectorError> {
    Selector::from_url_parameters(parameters.iter().copied())
}

const STACK: usize = 1024 * 1024;

const OPEN: &str = r#"{"eq":{"field":"/status","value":"open"}}"#;
