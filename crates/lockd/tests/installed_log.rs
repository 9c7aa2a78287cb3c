//! The log of a whole process. There is one in a process, hence one test.

use std::fmt;

use lockd::log::{self, LogSettings, Output};
use serde_json::Value;

/// A value that logs while it is being printed.
struct Chatty;

impl fmt::Display for Chatty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!("inner");
        out.write_str("outer")
    }
}

#[test]
fn events_of_all_threads_arrive_and_none_disturbs_another() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut settings = LogSettings::default();
    settings.output = Output { stream: None, file: Some(file.path().to_owned()) };
    log::install(&settings).unwrap();
    assert!(log::install(&settings).is_err(), "a second log would take the events away from the first");

    tracing::info!(value = %Chatty, "event");
    tracing::debug!("below the level");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for number in 0..100 {
                    tracing::info!(thread, number, text = "x".repeat(1000), "busy");
                }
            });
        }
    });

    let text = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["msg"], &lines[1]["msg"]), (&"inner".into(), &"event".into()));
    assert_eq!(lines[1]["value"], "outer");
    assert_eq!(lines.len(), 2 + 400);
}
