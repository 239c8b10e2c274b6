//! The `auth` section: which way of proving who one is, exactly one.
//!
//! A new way is one more arm in [`read`], giving its variant of the room's `Config`.

use crate::auth::Config;

use super::scalar::nearest;
use super::section::{Field, Section};
use super::unbuilt::refuse;

/// The ways that distribution knows.
const KNOWN: [&str; 4] = ["none", "silly", "htpasswd", "token"];

/// Reads `auth`. Absent, empty and `none` leave the registry open.
pub(super) fn read(root: &Section<'_>) -> Config {
    let Some(section) = root.section("auth") else { return Config::Open };
    let ways = section.rest();
    if let [first, second, ..] = ways.as_slice() {
        let message =
            format!("two ways are configured, {} ({}) and {} ({})", first.key, first.place, second.key, second.place);
        root.problem("auth", message, "keep one; REGISTRY_AUTH with its name replaces the section");
    } else if let [way] = ways.as_slice() {
        read_way(way);
    }
    Config::Open
}

fn read_way(way: &Field<'_>) {
    match way.key {
        "none" => {}
        "htpasswd" => refuse(way, "users from an htpasswd file", WAY_OUT),
        "token" => refuse(way, "tokens from a token server", WAY_OUT),
        "silly" => refuse(way, "silly, which lets everybody in who says anything", WAY_OUT),
        other => {
            let hint = match nearest(other, KNOWN) {
                Some(meant) => format!("did you mean auth.{meant}?"),
                None => "known are none, htpasswd, token and silly".to_owned(),
            };
            way.problem("unknown way of proving who one is", hint);
        }
    }
}

const WAY_OUT: &str =
    "let a proxy in front ask for the credentials and write auth: none, or wait for a release that has it";
