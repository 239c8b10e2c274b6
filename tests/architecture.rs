//! Enforces who may import whom: the table of the house, read from the `use crate::` lines of the sources.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms it may import. A room that is not a key here must not exist.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("storage", &["oci"]),
    ("registry", &["oci", "storage"]),
    ("auth", &["oci"]),
    ("gc", &["oci", "storage", "registry"]),
    ("telemetry", &[]),
    ("routes", &["oci", "registry", "auth", "telemetry"]),
    ("server", &["oci", "storage", "registry", "auth", "gc", "routes", "telemetry", "config"]),
    ("config", &["oci", "storage", "registry", "auth", "gc", "routes", "telemetry", "server"]),
    ("commands", &["oci", "storage", "registry", "auth", "gc", "routes", "telemetry", "server", "config"]),
];

/// Crates that the pure room of words must not use.
const FORBIDDEN_IN_OCI: &[&str] = &["tokio", "axum", "hyper", "http::"];

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("source directory is readable") {
        let path = entry.expect("directory entry is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms named by `crate::room` anywhere in a line that is code.
fn rooms_named(line: &str) -> Vec<String> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            rooms.extend(group.split(',').map(|part| word(part.trim())));
        } else {
            rooms.push(word(rest));
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn every_room_imports_only_what_its_row_allows() {
    let mut offences = Vec::new();
    for room in fs::read_dir(source()).expect("src is readable") {
        let path = room.expect("entry is readable").path();
        if !path.is_dir() {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("room name is UTF-8").to_owned();
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(room, _)| *room == name) else {
            offences.push(format!("src/{name} is not a room of the house"));
            continue;
        };
        for file in rust_files(&path) {
            for (number, line) in fs::read_to_string(&file).expect("source is UTF-8").lines().enumerate() {
                for imported in rooms_named(line) {
                    let known = MAY_IMPORT.iter().any(|(room, _)| *room == imported);
                    if known && imported != name && !allowed.contains(&imported.as_str()) {
                        offences.push(format!("{}:{}: {name} imports {imported}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn the_room_of_words_does_no_io() {
    for file in rust_files(&source().join("oci")) {
        let text = fs::read_to_string(&file).expect("source is UTF-8");
        for line in text.lines().filter(|line| line.trim_start().starts_with("use ")) {
            for forbidden in FORBIDDEN_IN_OCI {
                assert!(!line.contains(forbidden), "{}: {line}", file.display());
            }
        }
    }
}

#[test]
fn no_source_file_is_longer_than_four_hundred_lines() {
    for file in rust_files(&source()) {
        let lines = fs::read_to_string(&file).expect("source is UTF-8").lines().count();
        assert!(lines <= 400, "{} has {lines} lines", file.display());
    }
}
