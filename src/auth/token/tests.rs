//! Tokens that must be accepted, as distribution 2.8, 3.x and others make them, and a table of those that must not.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::forge::{self, ALWAYS, NOW, Signer, signed_part, with_hmac};
use super::*;

/// Those who sign, and a registry that trusts some of them.
struct World {
    _directory: tempfile::TempDir,
    tokens: Tokens,
    root: Signer,
    intermediate: Signer,
    leaf: Signer,
    expired_leaf: Signer,
    early_leaf: Signer,
    direct: Signer,
    rsa: Signer,
    in_set: Signer,
    stranger: Signer,
    strangers_leaf: Signer,
}

impl World {
    fn new() -> Self {
        let root = Signer::new(Algorithm::ES256, ALWAYS, None);
        let mut ca = Signer::new(Algorithm::ES256, ALWAYS, None);
        // An authority that the root vouches for.
        ca = ca.vouched_for_by(&root);
        let leaf = Signer::new(Algorithm::ES256, ALWAYS, Some(&ca));
        let stranger = Signer::new(Algorithm::ES256, ALWAYS, None);
        let directory = tempfile::tempdir().unwrap();
        let (direct, rsa) =
            (Signer::new(Algorithm::ES256, (2000, 2016), None), Signer::new(Algorithm::RS256, ALWAYS, None));
        let in_set = Signer::new(Algorithm::ES384, ALWAYS, None);
        let bundle = directory.path().join("bundle.pem");
        std::fs::write(&bundle, [root.pem(), direct.pem(), rsa.pem()].concat()).unwrap();
        let jwks = directory.path().join("jwks.json");
        let mut jwk = in_set.jwk();
        jwk["kid"] = json!("in-set");
        let secret = json!({ "kty": "oct", "kid": "oct", "k": "c2VjcmV0" });
        std::fs::write(&jwks, json!({ "keys": [secret, jwk] }).to_string()).unwrap();
        let config = TokenConfig {
            realm: crate::auth::RealmConfig::Here("/auth/token".to_owned()),
            service: "service".to_owned(),
            issuer: "issuer".to_owned(),
            root_cert_bundle: Some(bundle),
            jwks: Some(crate::auth::KeySet::File(jwks)),
            algorithms: SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
            server: None,
        };
        Self {
            tokens: Tokens::open(&config, None).unwrap(),
            expired_leaf: Signer::new(Algorithm::ES256, (2000, 2001), Some(&root)),
            early_leaf: Signer::new(Algorithm::ES256, (2090, 2100), Some(&root)),
            strangers_leaf: Signer::new(Algorithm::ES256, ALWAYS, Some(&stranger)),
            _directory: directory,
            root,
            intermediate: ca,
            leaf,
            direct,
            rsa,
            in_set,
            stranger,
        }
    }

    fn signer(&self, name: &str) -> &Signer {
        match name {
            "root" => &self.root,
            "intermediate" => &self.intermediate,
            "leaf" => &self.leaf,
            "expired-leaf" => &self.expired_leaf,
            "early-leaf" => &self.early_leaf,
            "direct" => &self.direct,
            "rsa" => &self.rsa,
            "set" => &self.in_set,
            "stranger" => &self.stranger,
            "strangers-leaf" => &self.strangers_leaf,
            other => panic!("nobody is called {other}"),
        }
    }

    /// `$x5c:name`, `$id:name`, `$libtrust:name` and `$x:name` in a cell stand for what the signer has.
    fn filled(&self, cell: &str) -> String {
        let mut text = cell.to_owned();
        while let Some(at) = text.find('$') {
            let rest = &text[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '-').unwrap_or(rest.len());
            let (what, who) = rest[..end].split_once(':').unwrap();
            let signer = self.signer(who);
            let value = match what {
                "x5c" => signer.x5c(),
                "id" => signer.ids().0,
                "libtrust" => signer.ids().1,
                "jwk" => signer.jwk().to_string(),
                other => panic!("{other}"),
            };
            text.replace_range(at..=at + end, &value);
        }
        text
    }

    fn token(&self, signer: &str, header: &str, claims_patch: &str) -> String {
        let (mode, name) = signer.split_once('/').unwrap_or(("sign", signer));
        let signer = self.signer(name);
        let (header, claims) = (self.filled(header), self.filled(claims_patch));
        let header = patched(signer.header(), &header);
        let claims = patched(forge::claims(), &claims);
        match mode {
            "sign" => signer.sign(&header, &claims),
            "unsigned" => format!("{}.", signed_part(&header, &claims)),
            "zero" => format!("{}.{}", signed_part(&header, &claims), "A".repeat(86)),
            "hmac-pem" => with_hmac(signer.pem().as_bytes(), &header, &claims),
            "hmac-der" => with_hmac(&signer.certificate, &header, &claims),
            "hmac-oct" => with_hmac(b"secret", &header, &claims),
            "detached" => {
                let token = signer.sign(&header, &claims);
                let parts: Vec<&str> = token.split('.').collect();
                format!("{}..{}", parts[0], parts[2])
            }
            "four" => signer.sign(&header, &claims) + ".e30",
            "five" => signer.sign(&header, &claims) + ".e30.e30",
            "two" => signed_part(&header, &claims),
            "padded" => signer.sign(&header, &claims) + "==",
            "cut" => signer.sign(&header, &claims)[..100].to_owned(),
            "other-claims" => {
                let (good, bad) = (
                    signer.sign(&header, &claims),
                    signer.sign(&header, &patched(forge::claims(), r#"{"sub":"root"}"#)),
                );
                let (good, bad): (Vec<&str>, Vec<&str>) = (good.split('.').collect(), bad.split('.').collect());
                [good[0], bad[1], good[2]].join(".")
            }
            other => panic!("{other}"),
        }
    }
}

/// The cell itself after `!`; otherwise the value with the cell's keys replaced, and those removed that are `"-"`.
fn patched(mut value: Value, cell: &str) -> String {
    if let Some(raw) = cell.strip_prefix('!') {
        return raw.to_owned();
    }
    if cell != "-" {
        let patch: serde_json::Map<String, Value> =
            serde_json::from_str(cell).unwrap_or_else(|error| panic!("{error}: {cell}"));
        let object = value.as_object_mut().unwrap();
        for (key, new) in patch {
            if new == "-" {
                object.remove(&key)
            } else {
                object.insert(key, new)
            };
        }
    }
    value.to_string()
}

#[test]
fn no_bad_token_is_accepted() {
    let world = World::new();
    let table = include_str!("../../../tests/data/auth/bad_tokens.tsv");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').collect())
        .collect();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    for row in rows {
        let [name, signer, header, claims, expected] = row.as_slice() else { panic!("{row:?}") };
        let token = world.token(signer, header, claims);
        for _ in 0..2 {
            let rejection = world.tokens.verify_at(&token, NOW).expect_err(name);
            assert_eq!(format!("{rejection:?}"), *expected, "{name}: {header} {claims}");
        }
    }
}

#[test]
fn tokens_of_every_maker_are_accepted() {
    let world = World::new();
    let good = [
        ("distribution 3: thumbprint", "direct", "-", "-"),
        (
            "distribution 2 and LAIN: libtrust's id, of a certificate that ended long ago",
            "direct",
            r#"{"kid":"$libtrust:direct"}"#,
            "-",
        ),
        ("RSA", "rsa", "-", "-"),
        ("RSA by libtrust's id", "rsa", r#"{"kid":"$libtrust:rsa"}"#, "-"),
        ("a key set's own name", "set", r#"{"kid":"in-set"}"#, "-"),
        ("a key set's thumbprint", "set", "-", "-"),
        ("a chain", "leaf", r#"{"kid":"-","x5c":["$x5c:leaf","$x5c:intermediate"]}"#, "-"),
        ("a chain with its root", "leaf", r#"{"x5c":["$x5c:leaf","$x5c:intermediate","$x5c:root"]}"#, "-"),
        ("a trusted certificate alone", "rsa", r#"{"x5c":["$x5c:rsa"]}"#, "-"),
        (
            "an embedded key with a chain",
            "leaf",
            r#"{"kid":"-","jwk":{"kty":"EC","x5c":["$x5c:leaf","$x5c:intermediate"]}}"#,
            "-",
        ),
        ("an embedded key that is trusted", "direct", r#"{"kid":"-","jwk":$jwk:direct}"#, "-"),
        (
            "an embedded name that is trusted",
            "direct",
            r#"{"kid":"-","jwk":{"kty":"EC","kid":"$libtrust:direct"}}"#,
            "-",
        ),
        ("several audiences", "direct", "-", r#"{"aud":["x","service"]}"#),
        ("nobody in particular", "direct", "-", r#"{"sub":"-"}"#),
        ("nothing allowed", "direct", "-", r#"{"access":null}"#),
        ("no nbf", "direct", "-", r#"{"nbf":"-"}"#),
        ("expired within the leeway", "direct", "-", r#"{"exp":1799999940}"#),
        ("early within the leeway", "direct", "-", r#"{"nbf":1800000060}"#),
        ("words that nobody knows", "direct", r#"{"x5t":"a","cty":"b"}"#, r#"{"context":{"a":1},"auth_time":1.5}"#),
    ];
    for (name, signer, header, claims) in good {
        let token = world.token(signer, header, claims);
        for _ in 0..2 {
            world.tokens.verify_at(&token, NOW).unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
        }
    }
}

#[test]
fn what_was_verified_is_forgotten_in_time() {
    let world = World::new();
    let token = world.token("direct", "-", r#"{"exp":1799999945}"#);
    assert!(world.tokens.verify_at(&token, NOW).is_ok());
    assert!(world.tokens.verify_at(&token, NOW + 4).is_ok());
    assert_eq!(world.tokens.verify_at(&token, NOW + 6).unwrap_err(), Rejection::Expired);
}

#[test]
fn only_configured_algorithms_sign() {
    let mut world = World::new();
    world.tokens.algorithms = vec![SigningAlgorithm::RS256];
    assert!(world.tokens.verify_at(&world.token("rsa", "-", "-"), NOW).is_ok());
    assert_eq!(world.tokens.verify_at(&world.token("direct", "-", "-"), NOW).unwrap_err(), Rejection::Algorithm);
}

#[test]
fn what_a_token_says_is_kept() {
    let world = World::new();
    let verified = world.tokens.verify_at(&world.token("direct", "-", "-"), NOW).unwrap();
    assert_eq!(verified.subject.as_deref(), Some("alice"));
    assert!(verified.listed.allows("repository", "a/b", &["pull", "push"]));
    assert!(!verified.listed.allows("repository", "a/b", &["delete"]));
}
