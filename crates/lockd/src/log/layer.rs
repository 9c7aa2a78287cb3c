//! Turns `tracing` events into lines. What is below the level costs one comparison at the call site.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Level;
use super::line::{Form, Line, Value};
use super::logger::Sink;

#[derive(Debug)]
pub(super) struct LogLayer {
    sink: Arc<Sink>,
    level: LevelFilter,
}

/// Fields of a span, rendered when they are recorded so that events only copy them.
#[derive(Debug, Default)]
struct SpanFields {
    rendered: String,
    sys: String,
}

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

impl LogLayer {
    pub(super) fn new(sink: Arc<Sink>, level: Level) -> LogLayer {
        LogLayer { sink, level: level.into() }
    }

    fn render(&self, line: &mut Line, record: impl FnOnce(&mut Fields<'_>)) {
        record(&mut Fields { line, form: self.sink.form });
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut line = Line::default();
        self.render(&mut line, |fields| attributes.record(fields));
        if let Some(span) = context.span(id) {
            let fields = SpanFields { rendered: line.fields().to_owned(), sys: line.sys };
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut line = Line::default();
        self.render(&mut line, |fields| values.record(fields));
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            fields.rendered.push_str(line.fields());
            if !line.sys.is_empty() {
                fields.sys = line.sys;
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let write = |line: &mut Line| {
            line.clear();
            self.render(line, |fields| event.record(fields));
            for span in context.event_scope(event).into_iter().flatten() {
                if let Some(fields) = span.extensions().get::<SpanFields>() {
                    line.append_rendered(&fields.rendered);
                    if line.sys.is_empty() {
                        line.sys.push_str(&fields.sys);
                    }
                }
            }
            if line.sys.is_empty() {
                line.sys.push_str(&event.metadata().target().replace("::", "."));
            }
            self.sink.write(line.finish(self.sink.form, event.metadata().level().into()));
        };
        LINE.with(|shared| match shared.try_borrow_mut() {
            Ok(mut line) => write(&mut line),
            // A value that logs while it is being printed.
            Err(_) => write(&mut Line::default()),
        });
    }
}

struct Fields<'a> {
    line: &'a mut Line,
    form: Form,
}

impl Fields<'_> {
    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        use fmt::Write;
        // Writing to a string cannot fail; a value that cannot print itself is cut where it gave up.
        let _ = match field.name() {
            "message" => self.line.message.write_fmt(value),
            "sys" => self.line.sys.write_fmt(value),
            name => {
                self.line.field(self.form, name, Value::Text(value));
                Ok(())
            }
        };
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match field.name() {
            "message" | "sys" => self.text(field, value),
            name => self.line.field(self.form, name, Value::Plain(value)),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, format_args!("{value}"));
        } else {
            // JSON has no word for these.
            self.text(field, format_args!("{value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::{LogSettings, Logger, Output};
    use super::*;

    /// What `work` logs at a level, line by line.
    fn logged(level: Level, work: impl FnOnce()) -> Vec<Json> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let output = Output { stream: None, file: Some(file.path().to_owned()) };
        let logger = Logger::open(&LogSettings { output, level, ..LogSettings::default() }).unwrap();
        let layer = LogLayer::new(logger.sink(), level);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let text = std::fs::read_to_string(file.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn an_event_becomes_one_line_with_its_fields() {
        let lines = logged(Level::Info, || {
            tracing::warn!(
                sys = "api.http.server",
                text = "x\ny",
                number = -3,
                large = u64::MAX,
                ratio = 0.5,
                not_a_number = f64::NAN,
                on = true,
                debug = ?vec![1],
                shown = %"z",
                error = &std::io::Error::other("broken") as &(dyn Error + 'static),
                "node.{}", "state"
            );
        });
        let mut line = lines.into_iter().next().unwrap();
        assert!(line.as_object_mut().unwrap().remove("ts").is_some());
        let expected = serde_json::json!({
            "lvl": "warn", "msg": "node.state", "app": "lockd", "sys": "api.http.server", "text": "x\ny",
            "number": -3, "large": u64::MAX, "ratio": 0.5, "not_a_number": "NaN", "on": true, "debug": "[1]",
            "shown": "z", "error": "broken",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn cli_63_what_is_below_the_level_is_not_written() {
        let count = |level| {
            logged(level, || {
                tracing::trace!("t");
                tracing::debug!("d");
                tracing::info!("i");
                tracing::warn!("w");
                tracing::error!("e");
            })
            .len()
        };
        let levels =
            [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal, Level::None];
        assert_eq!(levels.map(count), [5, 4, 3, 2, 1, 0, 0]);
    }

    #[test]
    fn every_line_has_an_area() {
        let lines = logged(Level::Info, || {
            tracing::info!("from the module");
            let _outer = tracing::info_span!("outer", sys = "outer.area").entered();
            tracing::info!("from the span");
            tracing::info!(sys = "own.area", "from the event");
        });
        let areas: Vec<_> = lines.iter().map(|line| line["sys"].as_str().unwrap()).collect();
        assert_eq!(areas, ["lockd.log.layer.tests", "outer.area", "own.area"]);
    }

    #[test]
    fn events_carry_the_fields_of_their_spans() {
        let lines = logged(Level::Info, || {
            let request =
                tracing::info_span!("request", cid = "c-1", client_identity = tracing::field::Empty)
                    .entered();
            request.record("client_identity", "me");
            let _inner = tracing::info_span!("inner", key = "k").entered();
            tracing::info!(key = "own", "x");
        });
        assert_eq!(lines[0]["cid"], "c-1");
        assert_eq!(lines[0]["client_identity"], "me");
    }
}
