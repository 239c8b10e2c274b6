//! The process log on stderr, one line an event: levels, fields and where an event comes from.
//!
//! How a line looks is `log_line`'s; this file only collects what it holds.

use std::fmt;
use std::io::Write;

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level as TracingLevel, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;

use super::log_line::{Line, Value};
use super::{Caller, Level, Log, TelemetryError};

/// Sends all `tracing` events at or above `log.level` to stderr in the configured format. Call once, early in `main`.
///
/// The message is an event's `message`; its other fields, and those of the spans around it, follow it. Libraries below us
/// are heard from the level of warnings.
pub fn init_logging(log: &Log) -> Result<(), TelemetryError> {
    let ours = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let theirs = if log.level == Level::Error { "error" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::new(format!("{theirs},berth={ours},registry={ours}"));
    let lines = Lines { log: log.clone(), output: |line: &[u8]| std::io::stderr().lock().write_all(line) };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|_| TelemetryError::AlreadyInitialised)
}

/// Makes a line of each event and hands it over whole, so that lines of different threads do not mix.
struct Lines<W> {
    log: Log,
    output: W,
}

/// Fields of a span, kept until events inside it are written.
struct SpanFields(Vec<(&'static str, Value)>);

#[derive(Default)]
struct Collector {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Visit for Collector {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Value::Text(value.to_string()));
    }
}

impl Collector {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&[u8]) -> std::io::Result<()> + 'static,
{
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::span::Id, context: Context<'_, S>) {
        let mut collector = Collector::default();
        attributes.record(&mut collector);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(collector.fields));
        }
    }

    fn on_record(&self, id: &tracing::span::Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let mut collector = Collector::default();
        values.record(&mut collector);
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            fields.0.append(&mut collector.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut collector = Collector::default();
        event.record(&mut collector);
        let mut line = Line::new(OffsetDateTime::now_utc(), level(*event.metadata().level()), &collector.message);
        // Audit lines and the like name one, by which they are found; others have their module's.
        if Some(event.metadata().target()) != event.metadata().module_path() {
            line.field("target", &Value::Text(event.metadata().target().to_owned()));
        }
        for (name, value) in &self.log.fields {
            line.field(name, &Value::Text(value.clone()));
        }
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                fields.0.iter().for_each(|(name, value)| line.field(name, value));
            }
        }
        collector.fields.iter().for_each(|(name, value)| line.field(name, value));
        if self.log.caller == Caller::Shown
            && let (Some(file), Some(number)) = (event.metadata().file(), event.metadata().line())
        {
            line.field("file", &Value::Text(format!("{file}:{number}")));
        }
        // Nobody is left to tell when stderr is gone.
        let _ = (self.output)(line.finish(self.log.formatter).as_bytes());
    }
}

fn level(level: TracingLevel) -> &'static str {
    match level {
        TracingLevel::ERROR => "error",
        TracingLevel::WARN => "warning",
        TracingLevel::INFO => "info",
        _ => "debug",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::telemetry::Formatter;

    fn written(log: Log, events: impl FnOnce()) -> String {
        let text = Arc::new(Mutex::new(Vec::new()));
        let target = Arc::clone(&text);
        let output = move |line: &[u8]| target.lock().expect("no panic").write_all(line);
        let subscriber = tracing_subscriber::registry().with(Lines { log, output });
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(text.lock().expect("no panic").clone()).expect("UTF-8")
    }

    #[test]
    fn a_line_holds_static_span_and_event_fields_in_this_order() {
        let fields = BTreeMap::from([("service".to_owned(), "registry".to_owned())]);
        let log = Log { formatter: Formatter::Text, fields, ..Log::default() };
        let text = written(log, || {
            let _span = tracing::info_span!("request", http.request.id = 7).entered();
            tracing::warn!(error = "no space left", count = 3_u64, "cannot write");
        });
        let expected =
            "level=warning msg=\"cannot write\" service=registry http.request.id=7 error=\"no space left\" count=3\n";
        assert!(text.starts_with("time=\"") && text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_target_is_shown_when_an_event_names_one() {
        let log = Log { formatter: Formatter::Text, ..Log::default() };
        let text = written(log, || {
            tracing::info!(target: "berth::audit", user = "alice", "refused");
            tracing::info!("ordinary");
        });
        assert!(text.contains("msg=refused target=\"berth::audit\" user=alice"), "{text}");
        assert!(!text.lines().any(|line| line.contains("ordinary") && line.contains("target")), "{text}");
    }

    #[test]
    fn the_caller_is_named_when_asked_for() {
        let log = Log { caller: Caller::Shown, formatter: Formatter::Json, ..Log::default() };
        let text = written(log, || tracing::info!("here"));
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(line["file"].as_str().expect("text").contains("logging.rs:"), "{text}");
    }
}
