//! The `health` section: what is probed, how often, and how many failures count.

use crate::telemetry::{FileCheck, Health, HttpCheck, Probe, TcpCheck};

use super::document::is_on;
use super::section::{Field, Section};
use super::unbuilt::refuse;

/// Reads `health`; absent, nothing is probed.
pub(super) fn read(root: &Section<'_>) -> Health {
    let Some(section) = root.section("health") else { return Health::default() };
    let health = Health {
        storage_driver: section.section("storagedriver").and_then(storage_driver),
        files: items(&section, "file", file_check),
        http: items(&section, "http", http_check),
        tcp: items(&section, "tcp", tcp_check),
    };
    section.finish();
    health
}

fn items<T>(section: &Section<'_>, key: &'static str, read: fn(&Section<'_>) -> Option<T>) -> Vec<T> {
    let checks = section.get(key, Field::list).unwrap_or_default();
    let read_item = |item: Field<'_>| {
        let item = item.section()?;
        let check = read(&item);
        item.finish();
        check
    };
    checks.into_iter().filter_map(read_item).collect()
}

fn storage_driver(section: Section<'_>) -> Option<Probe> {
    let enabled = is_on(Some(&section), "enabled");
    let probe = probe(&section);
    section.finish();
    enabled.then_some(probe)
}

/// An interval of zero asks for the default, as in distribution.
fn probe(section: &Section<'_>) -> Probe {
    let default = Probe::default();
    let interval = section.get("interval", Field::duration).filter(|interval| !interval.is_zero());
    Probe {
        interval: interval.unwrap_or(default.interval),
        threshold: section.get("threshold", |field| field.number(0..=1_000_000)).unwrap_or(default.threshold),
    }
}

fn file_check(item: &Section<'_>) -> Option<FileCheck> {
    let probe = probe(item);
    let file = item.get("file", Field::path);
    Some(FileCheck { file: required(item, "file", "name the file whose existence means unhealthy", file)?, probe })
}

fn http_check(item: &Section<'_>) -> Option<HttpCheck> {
    let probe = probe(item);
    let uri = item.get("uri", http_address);
    let status = item.get("statuscode", |field| field.number(0..=599)).filter(|status| *status != 0).unwrap_or(200);
    let headers = item.section("headers").map(|headers| header_values(&headers)).unwrap_or_default();
    // Without a time of its own a check must at least be over when the next one is due.
    let timeout = item.get("timeout", Field::duration).filter(|timeout| !timeout.is_zero()).unwrap_or(probe.interval);
    let uri = required(item, "uri", "name the address to ask, such as http://127.0.0.1:8080/", uri)?;
    Some(HttpCheck { uri, status, headers, timeout, probe })
}

fn http_address(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    let parsed = text.parse::<http::Uri>().ok().filter(|uri| uri.authority().is_some());
    match parsed.as_ref().and_then(http::Uri::scheme_str) {
        Some("http") => Some(text),
        Some("https") => {
            refuse(field, "health checks over https", "ask an http:// address, or use health.tcp");
            None
        }
        _ => field.expected("an http:// address", "write for example http://127.0.0.1:8080/"),
    }
}

fn header_values(headers: &Section<'_>) -> Vec<(String, String)> {
    let values = |field: Field<'_>| {
        let name = field.key.to_owned();
        let words = field.words().unwrap_or_default();
        words.into_iter().map(move |word| (name.clone(), word)).collect::<Vec<_>>()
    };
    headers.rest().into_iter().flat_map(values).collect()
}

fn tcp_check(item: &Section<'_>) -> Option<TcpCheck> {
    let probe = probe(item);
    let addr = item.get("addr", Field::host_and_port);
    let timeout = item.get("timeout", Field::duration).filter(|timeout| !timeout.is_zero()).unwrap_or(probe.interval);
    Some(TcpCheck { addr: required(item, "addr", "name host and port to connect to", addr)?, timeout, probe })
}

/// Reports a key that is missing; one that is there and wrong was reported when it was read.
fn required<T>(item: &Section<'_>, key: &'static str, hint: &str, value: Option<T>) -> Option<T> {
    if value.is_none() && item.field(key).is_none() {
        item.problem(key, "is missing", hint);
    }
    value
}
