//! A registry with users, tokens and rules, and what lies in it.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use berth::auth::{
    Action, Authenticator, CertificateConfig, Config, HtpasswdConfig, KeySet, PasswordHash, RealmConfig, Robot,
};
use berth::auth::{Rule, RulesConfig, SigningAlgorithm, TokenConfig, Ways, Who};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::{Berth, Driver, Image};

/// Alice's, that of another, both with one beside it that does not exist, and a public one.
pub(crate) const REPOSITORIES: [&str; 5] = ["alice/app", "alice/none", "bob/app", "bob/none", "public/app"];

/// Everybody with a password, which is their name and a `!`.
const USERS: [&str; 8] = ["alice", "bob", "admin", "olga", "mallory", "dropbox", "build", "deploy"];

/// Who may do what. The keys of tokens are in a directory that lives as long.
pub(crate) struct House {
    pub(crate) authenticator: Arc<Authenticator>,
    signer: EncodingKey,
    stranger: EncodingKey,
    _directory: tempfile::TempDir,
}

impl House {
    pub(crate) fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (signer, stranger) = (key(), key());
        let authenticator = Authenticator::open(config(directory.path(), &signer)).unwrap();
        Self { authenticator: Arc::new(authenticator), signer, stranger, _directory: directory }
    }

    /// A token with the claims of a good one, changed by `patch`.
    pub(crate) fn token(&self, access: &Value, patch: &Value) -> String {
        signed(&self.signer, access, patch)
    }

    /// The same by somebody whose key nobody trusts.
    pub(crate) fn strangers_token(&self, access: &Value) -> String {
        signed(&self.stranger, access, &json!({}))
    }
}

fn config(directory: &Path, signer: &EncodingKey) -> Config {
    let htpasswd = directory.join("htpasswd");
    let hash = |user: &str| bcrypt::hash(format!("{user}!"), 4).unwrap();
    std::fs::write(&htpasswd, USERS.map(|user| format!("{user}:{}\n", hash(user))).concat()).unwrap();
    let robot =
        |name: &str, expires| Robot { name: name.to_owned(), hash: PasswordHash::parse(&hash(name)).unwrap(), expires };
    let robots = vec![robot("ci", i64::MAX), robot("late", 1_000_000_000)];
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(signer, Algorithm::ES256).unwrap()).unwrap();
    jwk["kid"] = json!("house");
    let jwks = directory.join("jwks.json");
    std::fs::write(&jwks, json!({ "keys": [jwk] }).to_string()).unwrap();
    let token = TokenConfig {
        realm: RealmConfig::Fixed("https://auth.example/token".to_owned()),
        service: "registry.example".to_owned(),
        issuer: "auth.example".to_owned(),
        root_cert_bundle: None,
        server: None,
        jwks: Some(KeySet::File(jwks)),
        algorithms: SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
    };
    let htpasswd = HtpasswdConfig { realm: "registry".to_owned(), path: htpasswd };
    let groups = [("readers".to_owned(), vec!["olga".to_owned()])].into();
    Config::Closed(Box::new(Ways {
        htpasswd: Some(htpasswd),
        robots: Some(robots),
        certificate: Some(CertificateConfig::default()),
        token: Some(token),
        rules: Some(RulesConfig { rules: rules(), groups, groups_file: None }),
        silly: None,
    }))
}

fn rules() -> Vec<Rule> {
    let rule = |who: &str, repositories: &str, actions: &[Action]| Rule {
        who: vec![Who::parse(who).unwrap()],
        repositories: vec![repositories.to_owned()],
        actions: actions.to_vec(),
    };
    vec![
        rule("user:mallory", "**", &[]),
        rule("user:admin", "**", &Action::ALL),
        rule("token:build", "bob/*", &[Action::Pull, Action::Push]),
        rule("user:ci", "bob/*", &[Action::Pull]),
        rule("certificate:deploy", "alice/*", &[Action::Pull, Action::Push]),
        rule("everybody", "public/**", &[Action::Pull]),
        rule("group:readers", "**", &[Action::Pull]),
        rule("user:dropbox", "**", &[Action::Push]),
        rule("authenticated", "$user/**", &Action::ALL),
    ]
}

fn key() -> EncodingKey {
    EncodingKey::from_ec_pem(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(key: &EncodingKey, access: &Value, patch: &Value) -> String {
    let mut claims = json!({
        "iss": "auth.example",
        "sub": "alice",
        "aud": "registry.example",
        "exp": now() + 3600,
        "nbf": now() - 10,
        "access": access,
    });
    for (name, value) in patch.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = Header { kid: Some("house".to_owned()), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

/// A registry in memory in which the repositories of [`REPOSITORIES`] that exist hold the same image.
pub(crate) struct World {
    pub(crate) open: Berth,
    pub(crate) guarded: Berth,
    pub(crate) image: Image,
}

impl World {
    pub(crate) async fn new(house: &House) -> Self {
        let open = Berth::new(Driver::Memory);
        let guarded = open.guarded_by(&house.authenticator);
        for repository in REPOSITORIES.iter().filter(|repository| repository.ends_with("/app")) {
            open.push_image(repository, "latest", b"layer").await;
        }
        let image = open.push_image("public/app", "latest", b"layer").await;
        Self { open, guarded, image }
    }

    /// The location of an upload session that somebody began.
    pub(crate) async fn begin(&self, repository: &str) -> String {
        self.open.begin(repository).await
    }
}
