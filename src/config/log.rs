//! The `log` section, and `loglevel`, its older name for the level.

use std::collections::BTreeMap;

use crate::telemetry::{AccessLog, Caller, Formatter, Level, Log};

use super::document::is_on;
use super::section::{Field, Section};
use super::unbuilt::{enabled_items, refuse};

/// Reads `log` and `loglevel`; `log.level` wins.
pub(super) fn read(root: &Section<'_>) -> Log {
    let older = root.get("loglevel", level);
    let Some(section) = root.section("log") else { return Log { level: older.unwrap_or_default(), ..Log::default() } };
    let formatters = [("text", Formatter::Text), ("json", Formatter::Json), ("logstash", Formatter::Logstash)];
    let access = section.section("accesslog");
    let log = Log {
        level: section.get("level", level).or(older).unwrap_or_default(),
        formatter: section.get("formatter", |field| field.choice(&formatters)).unwrap_or_default(),
        fields: section.section("fields").map(|fields| words(&fields)).unwrap_or_default(),
        access_log: if is_on(access.as_ref(), "disabled") { AccessLog::Disabled } else { AccessLog::Enabled },
        caller: if is_on(Some(&section), "reportcaller") { Caller::Shown } else { Caller::Hidden },
    };
    for hook in enabled_items(&section, "hooks") {
        refuse(&hook, "sending log lines by mail", "take the hook out, or add disabled: true to it");
    }
    if let Some(access) = access {
        access.finish();
    }
    section.finish();
    log
}

fn level(field: &Field<'_>) -> Option<Level> {
    let levels = [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];
    field.choice(&levels)
}

/// Fields may hold anything; lists and sections are written on one line.
fn words(fields: &Section<'_>) -> BTreeMap<String, String> {
    fields.rest().into_iter().map(|field| (field.key.to_owned(), field.node.to_string())).collect()
}
