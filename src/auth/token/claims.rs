//! What a token says (RFC 7519 §4.1, and `access` of distribution's token documentation). Pure.

use serde::{Deserialize, Deserializer};

use super::{LEEWAY, Rejection};

/// The claims that are looked at. One that is there twice, or has another type, makes the token no token.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "iss", default, deserialize_with = "or_default")]
    issuer: String,
    #[serde(rename = "sub", default, deserialize_with = "or_default")]
    pub(super) subject: String,
    #[serde(rename = "aud", default, deserialize_with = "or_default")]
    audience: Audience,
    /// Unix time; 0 when absent, so that a token without it has expired.
    #[serde(rename = "exp", default)]
    pub(super) expires: i64,
    #[serde(rename = "nbf", default)]
    not_before: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) access: AccessList,
}

/// Whom a token is meant for: one, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// What a token allows.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(in crate::auth) struct AccessList(Vec<Entry>);

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    actions: Vec<String>,
}

/// `null` means absent, as it does to Go.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Claims {
    /// Reads the payload of a token.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Rejection> {
        super::jws::object(payload)
    }

    /// Whether they hold for `service` at `now`, Unix time.
    pub(super) fn check(&self, issuer: &str, service: &str, now: i64) -> Result<(), Rejection> {
        let meant = match &self.audience {
            Audience::One(one) => one == service,
            Audience::Several(several) => several.iter().any(|one| one == service),
        };
        if self.issuer != issuer {
            Err(Rejection::Issuer)
        } else if !meant {
            Err(Rejection::Audience)
        } else if now > self.expires.saturating_add(LEEWAY) {
            Err(Rejection::Expired)
        } else if now < self.not_before.saturating_sub(LEEWAY) {
            Err(Rejection::Early)
        } else {
            Ok(())
        }
    }
}

impl AccessList {
    /// Whether it lists every one of `actions` on the thing; `*` stands for all. Names have no wildcards.
    pub(in crate::auth) fn allows(&self, kind: &str, name: &str, actions: &[&str]) -> bool {
        let about = |entry: &&Entry| entry.kind == kind && entry.name == name;
        let lists = |action: &str| {
            self.0.iter().filter(about).flat_map(|entry| &entry.actions).any(|listed| listed == action || listed == "*")
        };
        actions.iter().all(|action| lists(action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(json: &str) -> AccessList {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn entries_add_up_and_names_match_exactly() {
        let list = list(
            r#"[{"type":"repository","name":"a","actions":["pull"]},{"type":"repository","name":"a","actions":["push"]},
                {"type":"repository","class":"plugin","name":"b","actions":["*"]},{"type":"Repository","name":"c","actions":["pull"]},
                {"type":"repository","name":"*","actions":["*"]},{"type":"x","name":null,"actions":null,"more":{}}]"#,
        );
        let repository = |name: &str, actions: &[&str]| list.allows("repository", name, actions);
        assert!(repository("a", &["pull", "push"]) && repository("b", &["delete"]));
        assert!(!repository("a", &["pull", "delete"]) && !repository("c", &["pull"]) && !repository("d", &["pull"]));
        assert!(!list.allows("registry", "catalog", &["*"]));
    }
}
