//! The `auth` section: the ways of proving who one is. Every way that is written is offered; distribution takes one only.

use crate::auth::{CertificateConfig, CertificateName, Config, HtpasswdConfig, RealmConfig, SigningAlgorithm};
use crate::auth::{KeySet, SillyConfig, TokenConfig, Ways};
use crate::server::{ClientAuth, Tls};

use super::auth_robots;
use super::auth_rules::rules;
use super::auth_token_server as token_server;
use super::document::is_on;
use super::scalar::nearest;
use super::section::{Field, Section};

/// The ways there are.
const KNOWN: [&str; 6] = ["none", "silly", "htpasswd", "token", "robots", "certificate"];

/// Where tokens are fetched when `autoredirect` is on and no path is given, as in distribution.
const TOKEN_PATH: &str = "/auth/token";

/// Reads `auth`. Absent, empty and `none` leave the registry open.
pub(super) fn read(root: &Section<'_>) -> Config {
    let Some(section) = root.section("auth") else { return Config::Open };
    let none = section.present("none").is_some();
    let ways = Ways {
        silly: section.present("silly").and_then(|field| silly(&field)),
        htpasswd: section.present("htpasswd").and_then(|field| htpasswd(&field)),
        robots: section.present("robots").and_then(|field| auth_robots::read(&field)),
        certificate: section.present("certificate").and_then(|field| certificate(&field)),
        token: section.present("token").and_then(|field| token(&field)),
        rules: None,
    };
    let rules = rules(&section);
    for way in section.rest() {
        let hint = match nearest(way.key, KNOWN) {
            Some(meant) => format!("did you mean auth.{meant}?"),
            None => "known are none, htpasswd, robots, token, certificate and silly".to_owned(),
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
    let serves = ways.token.as_ref().is_some_and(|token| token.server.is_some());
    if serves && ways.htpasswd.is_none() && ways.robots.is_none() {
        let hint = "add auth.htpasswd with realm and path, or auth.robots";
        section.problem("token", "its server has nobody to issue tokens to", hint);
    }
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

fn certificate(field: &Field<'_>) -> Option<CertificateConfig> {
    let section = field.section()?;
    let name = section.get("name", |field| {
        field.choice(&[
            ("cn", CertificateName::CommonName),
            ("dns", CertificateName::Dns),
            ("email", CertificateName::Email),
            ("uri", CertificateName::Uri),
        ])
    });
    section.finish();
    Some(CertificateConfig { name: name.unwrap_or_default() })
}

/// Certificates say who somebody is only where TLS verifies them.
pub(super) fn check_certificates(root: &Section<'_>, config: &Config, tls: Option<&Tls>) {
    let named = matches!(config, Config::Closed(ways) if ways.certificate.is_some());
    let verified = |tls: &Tls| {
        !tls.client_cas.is_empty()
            && matches!(tls.client_auth, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    };
    if let Some(section) = root.section("auth")
        && named
        && !tls.is_some_and(verified)
    {
        section.problem(
            "certificate",
            "client certificates are to say who somebody is, and http.tls does not verify any",
            "name the authority's certificate in http.tls.clientcas, and write clientauth: verify-client-cert-if-given to \
             let others in too",
        );
    }
}

fn token(field: &Field<'_>) -> Option<TokenConfig> {
    let section = field.section()?;
    let here = is_on(Some(&section), "autoredirect");
    let path = section.get("autoredirectpath", absolute_path).unwrap_or_else(|| TOKEN_PATH.to_owned());
    let own = section.present("server").is_some();
    let server = token_server::read(&section, path.clone());
    let realm = if here || own && section.get("realm", Field::word).is_none() {
        section.field("realm");
        Some(if own { RealmConfig::Own(path) } else { RealmConfig::Here(path) })
    } else {
        required(&section, "realm").map(RealmConfig::Fixed)
    };
    let named = |key| match section.get(key, Field::word) {
        None if own => Some(token_server::NAME.to_owned()),
        _ => required(&section, key),
    };
    let (service, issuer) = (named("service"), named("issuer"));
    let root_cert_bundle = section.get("rootcertbundle", Field::path);
    let jwks = section.get("jwks", key_set);
    let jwks_is_named = section.field("jwks").is_some_and(|field| field.node.to_string() != "");
    if root_cert_bundle.is_none() && !jwks_is_named && !own {
        section.problem(
            "rootcertbundle",
            "is missing, and so is jwks: there is no key to verify tokens with",
            "name the token server's certificate in rootcertbundle or its key set in jwks",
        );
    }
    let algorithms = section.get("signingalgorithms", algorithms);
    let algorithms = algorithms.unwrap_or_else(|| SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec());
    section.finish();
    if own && server.is_none() {
        return None;
    }
    Some(TokenConfig { realm: realm?, service: service?, issuer: issuer?, root_cert_bundle, jwks, algorithms, server })
}

/// A file, or an address that nobody between it and us can speak for.
fn key_set(field: &Field<'_>) -> Option<KeySet> {
    let text = field.word()?;
    let Some((scheme, rest)) = text.split_once("://") else { return Some(KeySet::File(text.into())) };
    let parsed = text.parse::<http::Uri>().ok();
    let authority = parsed.as_ref().and_then(http::Uri::authority).map(http::uri::Authority::as_str);
    let hint = "write for example https://auth.example.org/jwks.json, or name a file";
    match (scheme, authority) {
        ("http" | "https", Some(authority)) if authority.contains('@') => {
            field.problem("holds a name or password, which would be shown in logs", hint);
            None
        }
        ("https", Some(_)) => Some(KeySet::Address(text)),
        ("http", Some(_)) if KeySet::is_this_machine(&text) => Some(KeySet::Address(text)),
        ("http", Some(_)) => {
            let message = "over plain http whoever stands between can put their own keys in the place of these";
            field.problem(message, format_args!("write https://{rest}"));
            None
        }
        _ => field.expected("a file, or an https:// address", hint),
    }
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
