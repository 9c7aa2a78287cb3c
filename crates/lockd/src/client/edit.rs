//! `lockd client edit`: mutations of a local JSON document, without a server.

use std::io::Read;

use super::input::{self, NewFile};
use super::{Failure, Invocation, Outcome, document, print};

pub(super) fn edit(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    if !matches!(settings.edit_type.trim().to_lowercase().as_str(), "json" | "auto") {
        return Err(Failure::Usage("only json format is supported for edit".into()));
    }
    let mut editor =
        document::editor(invocation, || "at least one mutation expression is required".to_owned())?;
    let in_place = !settings.file.is_empty() && settings.file != "-";
    let (mut source, _) = input::open(&settings.file)?;
    let mut text = Vec::new();
    source.read_to_end(&mut text).map_err(|error| Failure::Local(format!("read input: {error}")))?;
    let broken = |error: &dyn std::fmt::Display| Failure::Local(format!("parse json: {error}"));
    let text = match text.trim_ascii() {
        b"" | b"null" => b"{}",
        text => text,
    };
    let mut edited = Vec::new();
    editor.push(text, &mut edited).map_err(|error| broken(&error))?;
    editor.finish(&mut edited).map_err(|error| broken(&error))?;
    let shown = print::document(&edited);
    if !in_place {
        return print::out(shown.as_bytes());
    }
    let mut file = NewFile::create(&settings.file)?;
    file.write(shown.as_bytes())?;
    file.finish()
}
