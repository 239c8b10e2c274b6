//! Sections that are known and have no effect here: those whose feature is not built stop the start, those that can
//! have no meaning are warned about once. Nothing is ignored silently.

use std::fmt::Display;

use super::document::is_on;
use super::section::{Field, Section};

/// Reports a value whose feature is not built, and what to do instead.
pub(super) fn refuse(field: &Field<'_>, feature: impl Display, way_out: impl Display) {
    field.problem(format_args!("not built into this release: {feature}"), way_out);
}

/// Reads the sections that belong to no room yet.
pub(super) fn read(root: &Section<'_>) {
    proxy(root);
    notifications(root);
    redis(root);
    compatibility(root);
    reporting(root);
}

/// Without a remote address the section is inert, as in distribution.
fn proxy(root: &Section<'_>) {
    let Some(section) = root.section("proxy") else { return };
    if let Some(remote) = section.field("remoteurl").filter(|remote| remote.word().is_some()) {
        let way_out = "take the proxy section out, or keep distribution running for the mirror";
        refuse(&remote, "pulling through from another registry", way_out);
    }
}

fn notifications(root: &Section<'_>) {
    let Some(section) = root.section("notifications") else { return };
    if let Some(events) = section.section("events") {
        events.get("includereferences", Field::boolean);
        events.finish();
    }
    for endpoint in enabled_items(&section, "endpoints") {
        let way_out = "take the endpoint out, or add disabled: true to it";
        refuse(&endpoint, "telling endpoints of pushes and pulls", way_out);
    }
    section.finish();
}

/// Off unless an address is given, as in distribution: `addrs` since 3.0, `addr` before.
fn redis(root: &Section<'_>) {
    let Some(section) = root.section("redis") else { return };
    let way_out = "take the redis section out; manifests are cached in memory";
    for key in ["addrs", "addr"] {
        let given = |field: &Field<'_>| !matches!(field.node.to_string().as_str(), "" | "[]");
        if let Some(field) = section.field(key).filter(given) {
            refuse(&field, "a cache shared through Redis", way_out);
        }
    }
}

/// The items of a list that are not switched off. What else an item holds is not looked at.
pub(super) fn enabled_items<'a>(section: &Section<'a>, key: &'static str) -> Vec<Field<'a>> {
    let items = section.get(key, Field::list).unwrap_or_default();
    items.into_iter().filter(|item| item.section().is_some_and(|item| !is_on(Some(&item), "disabled"))).collect()
}

fn compatibility(root: &Section<'_>) {
    let Some(section) = root.section("compatibility") else { return };
    if let Some(schema1) = section.field("schema1") {
        schema1.warn("has no effect: Docker schema 1 manifests are neither signed nor served");
        if let Some(schema1) = schema1.section() {
            schema1.get("signingkeyfile", Field::text);
            schema1.get("enabled", Field::boolean);
            schema1.finish();
        }
    }
    section.finish();
}

fn reporting(root: &Section<'_>) {
    let Some(section) = root.section("reporting") else { return };
    let services: [(&'static str, &[&'static str]); 2] =
        [("bugsnag", &["apikey", "releasestage", "endpoint"]), ("newrelic", &["licensekey", "name", "verbose"])];
    for (service, keys) in services {
        if let Some(field) = section.field(service) {
            field.warn("has no effect: nothing is reported to outside services");
            if let Some(settings) = field.section() {
                for key in keys {
                    settings.field(key);
                }
                settings.finish();
            }
        }
    }
    section.finish();
}
