//! Every kind of credential, and in one table what each may do where.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth::routes::ClientCertificate;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use serde_json::{Value, json};

use crate::house::{House, REPOSITORIES, now};

/// What is known of whoever shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Nothing is shown.
    Nobody,
    /// It is wrong: nothing is allowed, not even what nobody in particular may do.
    Wrong,
    /// It is a token that is not good.
    WrongToken,
    /// A name is proven.
    Known,
    /// A token is good. The letters are the rights that it lists in every repository of the matrix.
    Token { lists: &'static str, catalog: bool },
}

/// A kind of credential.
pub(crate) struct Credential {
    pub(crate) name: &'static str,
    pub(crate) headers: Vec<Vec<u8>>,
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) kind: Kind,
    /// For each of [`REPOSITORIES`]: `r` pull, `w` push, `d` delete.
    rights: [&'static str; 5],
}

impl Credential {
    pub(crate) fn may(&self, repository: &str, letter: char) -> bool {
        let column = REPOSITORIES.iter().position(|name| *name == repository).unwrap();
        self.rights[column].contains(letter)
    }
}

const NOTHING: [&str; 5] = [""; 5];

/// Who shows what, what that proves, and the rights in alice/app, alice/none, bob/app, bob/none and public/app.
const TABLE: &[(&str, Kind, [&str; 5])] = &[
    ("none", Kind::Nobody, ["", "", "", "", "r"]),
    ("password alice", Kind::Known, ["rwd", "rwd", "", "", "r"]),
    ("password bob", Kind::Known, ["", "", "rwd", "rwd", "r"]),
    ("password admin", Kind::Known, ["rwd", "rwd", "rwd", "rwd", "rwd"]),
    ("password olga, in a group", Kind::Known, ["r", "r", "r", "r", "r"]),
    ("password mallory, shut out", Kind::Known, NOTHING),
    ("password dropbox, pushes only", Kind::Known, ["w", "w", "w", "w", "r"]),
    ("password build, whose rule is for tokens", Kind::Known, ["", "", "", "", "r"]),
    ("wrong password", Kind::Wrong, NOTHING),
    ("unknown user", Kind::Wrong, NOTHING),
    ("empty password", Kind::Wrong, NOTHING),
    ("token alice r", Kind::Token { lists: "r", catalog: false }, ["r", "r", "", "", "r"]),
    ("token alice rw", Kind::Token { lists: "rw", catalog: false }, ["rw", "rw", "", "", "r"]),
    ("token alice *", Kind::Token { lists: "rwd", catalog: false }, ["rwd", "rwd", "", "", "r"]),
    ("token alice push without pull", Kind::Token { lists: "", catalog: false }, NOTHING),
    ("token admin rwd catalog", Kind::Token { lists: "rwd", catalog: true }, ["rwd", "rwd", "rwd", "rwd", "rwd"]),
    ("token build rw", Kind::Token { lists: "rw", catalog: false }, ["", "", "rw", "rw", "r"]),
    ("token mallory *", Kind::Token { lists: "rwd", catalog: true }, NOTHING),
    ("token nobody r", Kind::Token { lists: "r", catalog: false }, ["", "", "", "", "r"]),
    ("token for another repository", Kind::Token { lists: "", catalog: false }, NOTHING),
    ("token with wildcards for names", Kind::Token { lists: "", catalog: false }, NOTHING),
    ("token expired", Kind::WrongToken, NOTHING),
    ("token not yet valid", Kind::WrongToken, NOTHING),
    ("token of another issuer", Kind::WrongToken, NOTHING),
    ("token for another service", Kind::WrongToken, NOTHING),
    ("token signed by a stranger", Kind::WrongToken, NOTHING),
    ("token without a signature", Kind::WrongToken, NOTHING),
    ("robot ci", Kind::Known, ["", "", "r", "r", "r"]),
    ("robot with another's password", Kind::Wrong, NOTHING),
    ("robot late, expired", Kind::Wrong, NOTHING),
    ("certificate alice", Kind::Known, ["rwd", "rwd", "", "", "r"]),
    ("certificate mallory", Kind::Known, NOTHING),
    ("certificate deploy, by a rule for certificates", Kind::Known, ["rw", "rw", "", "", "r"]),
    ("password deploy, whose rule is for certificates", Kind::Known, ["", "", "", "", "r"]),
    ("certificate without a name", Kind::Wrong, NOTHING),
    ("certificate expired", Kind::Wrong, NOTHING),
    ("certificate alice, password bob", Kind::Known, ["", "", "rwd", "rwd", "r"]),
    ("certificate alice, wrong password", Kind::Wrong, NOTHING),
    ("certificate admin, token alice r", Kind::Token { lists: "r", catalog: false }, ["r", "r", "", "", "r"]),
    ("header empty", Kind::Wrong, NOTHING),
    ("header of another scheme", Kind::Wrong, NOTHING),
    ("header Bearer alone", Kind::Wrong, NOTHING),
    ("header Basic that is no base64", Kind::Wrong, NOTHING),
    ("header that is no text", Kind::Wrong, NOTHING),
    ("headers right and wrong", Kind::Wrong, NOTHING),
];

/// Every credential of the table, with what `house` makes of it.
pub(crate) fn all(house: &House) -> Vec<Credential> {
    let credential = |(name, kind, rights): &(&'static str, Kind, [&'static str; 5])| Credential {
        name,
        headers: headers(name, house),
        certificate: certificate(name),
        kind: *kind,
        rights: *rights,
    };
    TABLE.iter().map(credential).collect()
}

fn headers(name: &str, house: &House) -> Vec<Vec<u8>> {
    let one = |text: String| vec![text.into_bytes()];
    let bearer = |token: String| one(format!("Bearer {token}"));
    let everything = everywhere(&["*"]);
    let patched = |patch: Value| bearer(house.token(&everything, &patch));
    match name {
        "none" => Vec::new(),
        "robot ci" => one(basic("ci", "ci!")),
        "robot with another's password" => one(basic("ci", "alice!")),
        "robot late, expired" => one(basic("late", "late!")),
        "password deploy, whose rule is for certificates" => one(basic("deploy", "deploy!")),
        "certificate alice, password bob" => one(basic("bob", "bob!")),
        "certificate alice, wrong password" => one(basic("alice", "bob!")),
        "certificate admin, token alice r" => bearer(house.token(&everywhere(&["pull"]), &json!({}))),
        certificate if certificate.starts_with("certificate ") => Vec::new(),
        "password olga, in a group" => one(basic("olga", "olga!")),
        "password mallory, shut out" => one(basic("mallory", "mallory!")),
        "password dropbox, pushes only" => one(basic("dropbox", "dropbox!")),
        "password build, whose rule is for tokens" => one(basic("build", "build!")),
        "wrong password" => one(basic("alice", "bob!")),
        "unknown user" => one(basic("alicia", "alice!")),
        "empty password" => one(basic("alice", "")),
        "token alice r" => bearer(house.token(&everywhere(&["pull"]), &json!({}))),
        "token alice rw" => bearer(house.token(&everywhere(&["pull", "push"]), &json!({}))),
        "token alice *" => bearer(house.token(&everything, &json!({}))),
        "token alice push without pull" => bearer(house.token(&everywhere(&["push"]), &json!({}))),
        "token admin rwd catalog" => bearer(house.token(&with_catalog(), &json!({ "sub": "admin" }))),
        "token build rw" => bearer(house.token(&everywhere(&["pull", "push"]), &json!({ "sub": "build" }))),
        "token mallory *" => bearer(house.token(&with_catalog(), &json!({ "sub": "mallory" }))),
        "token nobody r" => bearer(house.token(&everywhere(&["pull"]), &json!({ "sub": "" }))),
        "token for another repository" => bearer(house.token(&listed(&["alice/ap", "alice", "x"]), &json!({}))),
        "token with wildcards for names" => bearer(house.token(&listed(&["*", "alice/*", "**"]), &json!({}))),
        "token expired" => patched(json!({ "exp": now() - 120 })),
        "token not yet valid" => patched(json!({ "nbf": now() + 120 })),
        "token of another issuer" => patched(json!({ "iss": "auth.example.org" })),
        "token for another service" => patched(json!({ "aud": ["registry", "registry.example.org"] })),
        "token signed by a stranger" => bearer(house.strangers_token(&everything)),
        "token without a signature" => {
            let token = house.token(&everything, &json!({}));
            bearer(token[..=token.rfind('.').unwrap()].to_owned())
        }
        "header empty" => one(String::new()),
        "header of another scheme" => one("Digest username=\"alice\"".to_owned()),
        "header Bearer alone" => one("Bearer".to_owned()),
        "header Basic that is no base64" => one("Basic alice:alice!".to_owned()),
        "header that is no text" => vec![b"Basic \xff\xfe".to_vec()],
        "headers right and wrong" => vec![basic("alice", "alice!").into_bytes(), basic("alice", "x").into_bytes()],
        _ => {
            let user = name.strip_prefix("password ").unwrap_or_else(|| panic!("nobody knows how to show {name}"));
            one(basic(user, &format!("{user}!")))
        }
    }
}

/// What TLS hands over, which it does only when it has verified the certificate.
fn certificate(name: &str) -> Option<ClientCertificate> {
    let holder = name.strip_prefix("certificate ")?;
    let (holder, _) = holder.split_once(',').unwrap_or((holder, ""));
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    match holder {
        "without a name" => params.subject_alt_names = vec![SanType::DnsName("alice".try_into().unwrap())],
        "expired" => {
            params.distinguished_name.push(DnType::CommonName, "alice");
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        user => params.distinguished_name.push(DnType::CommonName, user),
    }
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    Some(ClientCertificate { der: certificate.der().to_vec().into() })
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn everywhere(actions: &[&str]) -> Value {
    REPOSITORIES.iter().map(|name| json!({ "type": "repository", "name": name, "actions": actions })).collect()
}

fn listed(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "type": "repository", "name": name, "actions": ["*"] })).collect()
}

fn with_catalog() -> Value {
    let mut access = everywhere(&["pull", "push", "delete"]);
    access.as_array_mut().unwrap().push(json!({ "type": "registry", "name": "catalog", "actions": ["*"] }));
    access
}
