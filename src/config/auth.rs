//! The `auth` section: the ways of proving who one is. Every way that is written is offered; distribution takes one only.

use crate::auth::{Config, HtpasswdConfig, RealmConfig, SigningAlgorithm, SillyConfig, TokenConfig, Ways};

use super::auth_rules::rules;
use super::document::is_on;
use super::scalar::nearest;
use super::section::{Field, Section};

/// The ways there are.
const KNOWN: [&str; 4] = ["none", "silly", "htpasswd", "token"];

/// Where tokens are fetched when `autoredirect` is on and no path is given, as in distribution.
const TOKEN_PATH: &str = "/auth/token";

/// Reads `auth`. Absent, empty and `none` leave the registry open.
pub(super) fn read(root: &Section<'_>) -> Config {
    let Some(section) = root.section("auth") else { return Config::Open };
    let none = section.present("none").is_some();
    let ways = Ways {
        silly: section.present("silly").and_then(|field| silly(&field)),
        htpasswd: section.present("htpasswd").and_then(|field| htpasswd(&field)),
        token: section.present("token").and_then(|field| token(&field)),
        rules: None,
    };
    let rules = rules(&section);
    for way in section.rest() {
        let hint = match nearest(way.key, KNOWN) {
            Some(meant) => format!("did you mean auth.{meant}?"),
            None => "known are none, htpasswd, token and silly".to_owned(),
        };
        way.problem("unknown way of proving who one is", hint);
    }
    if ways == Ways::default() {
        if rules.is_some() {
            let hint = "add auth.htpasswd or auth.token";
            section.problem("access", "says who may do what, and nothing says how to prove who one is", hint);
        }
        return Config::Open;
    }
    let ways = Ways { rules, ..ways };
    if none {
        section.problem(
            "none",
            "two things are said: that nobody is asked, and how to ask",
            "take none out, or everything else",
        );
    }
    Config::Closed(Box::new(ways))
}

fn silly(field: &Field<'_>) -> Option<SillyConfig> {
    let section = field.section()?;
    field.warn("lets in everybody who says anything at all; it is for trying out clients");
    let realm = required(&section, "realm");
    let service = required(&section, "service");
    section.finish();
    Some(SillyConfig { realm: realm?, service: service? })
}

fn htpasswd(field: &Field<'_>) -> Option<HtpasswdConfig> {
    let section = field.section()?;
    let realm = required(&section, "realm");
    let path = section.get("path", Field::path);
    if path.is_none() {
        section.problem("path", "is missing", "name a file of lines user:hash; htpasswd -Bc FILE USER makes one");
    }
    section.finish();
    Some(HtpasswdConfig { realm: realm?, path: path? })
}

fn token(field: &Field<'_>) -> Option<TokenConfig> {
    let section = field.section()?;
    let here = is_on(Some(&section), "autoredirect");
    let path = section.get("autoredirectpath", absolute_path).unwrap_or_else(|| TOKEN_PATH.to_owned());
    let realm = if here {
        section.field("realm");
        Some(RealmConfig::Here(path))
    } else {
        required(&section, "realm").map(RealmConfig::Fixed)
    };
    let (service, issuer) = (required(&section, "service"), required(&section, "issuer"));
    let root_cert_bundle = section.get("rootcertbundle", Field::path);
    let jwks = section.get("jwks", Field::path);
    if root_cert_bundle.is_none() && jwks.is_none() {
        section.problem(
            "rootcertbundle",
            "is missing, and so is jwks: there is no key to verify tokens with",
            "name the token server's certificate in rootcertbundle or its key set in jwks",
        );
    }
    let algorithms = section.get("signingalgorithms", algorithms);
    let algorithms = algorithms.unwrap_or_else(|| SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec());
    section.finish();
    Some(TokenConfig { realm: realm?, service: service?, issuer: issuer?, root_cert_bundle, jwks, algorithms })
}

fn required(section: &Section<'_>, key: &'static str) -> Option<String> {
    let value = section.get(key, Field::word);
    if value.is_none() {
        section.problem(key, "is missing", "clients are told it in the challenge, so it is needed");
    }
    value
}

fn absolute_path(field: &Field<'_>) -> Option<String> {
    let path = field.word()?;
    if path.starts_with('/') { Some(path) } else { field.expected("a path", format_args!("write /{path}")) }
}

/// `None` when nothing is listed, which means every algorithm.
fn algorithms(field: &Field<'_>) -> Option<Vec<SigningAlgorithm>> {
    let mut algorithms = Vec::new();
    let mut symmetric = None;
    let items = field.list()?;
    for item in &items {
        let Some(name) = item.word() else { continue };
        if let Some(algorithm) = SigningAlgorithm::named(&name) {
            algorithms.push(algorithm);
        } else if ["HS256", "HS384", "HS512"].contains(&name.as_str()) {
            symmetric = Some(item);
        } else {
            let names = SigningAlgorithm::ALL.map(|(name, _)| name);
            let hint = match nearest(&name, names) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known are {}", names.join(", ")),
            };
            item.expected::<()>("a signing algorithm", hint);
        }
    }
    match symmetric {
        Some(item) if algorithms.is_empty() => {
            item.problem(
                "needs the signer's secret here, and is not taken",
                "let the token server sign with RS256 or ES256",
            );
        }
        Some(item) => item.warn("needs the signer's secret here, and is not taken; the others in the list are"),
        None => {}
    }
    (!algorithms.is_empty()).then_some(algorithms)
}
