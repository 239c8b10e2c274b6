//! Who is let in, over HTTP: the challenges, the refusals and what stays open to everybody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth::auth::{Action, Authenticator, Config, HtpasswdConfig, KeySet, RealmConfig, Rule, RulesConfig};
use berth::auth::{SigningAlgorithm, TokenConfig, Ways, Who};
use http::StatusCode;
use support::{Berth, Driver};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A registry whose only user is alice, with the password wonderland.
fn with_alice() -> (tempfile::TempDir, Berth) {
    with_rules(None)
}

fn with_rules(rules: Option<Vec<Rule>>) -> (tempfile::TempDir, Berth) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    std::fs::write(&path, format!("alice:{}\n", bcrypt::hash("wonderland", 4).unwrap())).unwrap();
    let htpasswd = Some(HtpasswdConfig { realm: "the registry".to_owned(), path });
    let rules = rules.map(|rules| RulesConfig { rules, ..RulesConfig::default() });
    let config = Config::Closed(Box::new(Ways { htpasswd, rules, ..Ways::default() }));
    (directory, Berth::guarded(Driver::Memory, Authenticator::open(config).unwrap()))
}

#[tokio::test]
async fn nobody_gets_in_without_the_password() {
    let (_directory, berth) = with_alice();
    let routes = ["/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/a/manifests/latest", "/v2/a/blobs/sha256:"];
    let wrong = [basic("alice", "wonder"), basic("bob", "wonderland"), "Bearer a.b.c".to_owned(), "Basic !".to_owned()];
    for route in routes {
        let route = if route.ends_with(':') { format!("{route}{}", "a".repeat(64)) } else { route.to_owned() };
        let answer = berth.get(&route).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"the registry\"");
        for header in &wrong {
            let answer = berth.get_with(&route, "authorization", header).await;
            let answer = answer.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
            assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
            assert!(!String::from_utf8_lossy(&answer.body).contains("wonder"));
        }
    }
    berth.post("/v2/a/blobs/uploads/", "").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    berth.delete("/v2/a/manifests/latest").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn the_password_opens_everything() {
    let (_directory, berth) = with_alice();
    let header = basic("alice", "wonderland");
    berth.get_with("/v2/", "authorization", &header).await.is(StatusCode::OK);
    berth.get_with("/v2/_catalog", "authorization", &header).await.is(StatusCode::OK);
    let missing = berth.get_with("/v2/a/manifests/latest", "authorization", &header).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_realm_on_ones_own_host_has_the_scheme_that_the_client_used() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["auth.example".to_owned()]).unwrap();
    let bundle = directory.path().join("bundle.pem");
    std::fs::write(&bundle, certificate.cert.pem()).unwrap();
    let token = TokenConfig {
        realm: RealmConfig::Here("/auth/token".to_owned()),
        service: "registry.example".to_owned(),
        issuer: "auth.example".to_owned(),
        root_cert_bundle: Some(bundle),
        server: None,
        jwks: None,
        algorithms: Vec::new(),
    };
    let config = Config::Closed(Box::new(Ways { token: Some(token), ..Ways::default() }));
    let berth = Berth::guarded(Driver::Memory, Authenticator::open(config).unwrap());
    for (name, value, realm) in [
        ("accept", "*/*", "http://registry.example"),
        ("x-forwarded-proto", "https", "https://registry.example"),
        ("x-forwarded-proto", "https, http", "https://registry.example"),
        ("forwarded", "for=192.0.2.1;proto=https;host=r.example", "https://r.example"),
        ("x-forwarded-proto", "javascript", "http://registry.example"),
    ] {
        let request = support::to(http::Method::GET, "/v2/").header("host", "registry.example").header(name, value);
        let answer = berth.send(request.body(axum::body::Body::empty()).unwrap()).await;
        let expected = format!("Bearer realm=\"{realm}/auth/token\",service=\"registry.example\"");
        assert_eq!(answer.header("www-authenticate"), expected, "{name}: {value}");
    }
}

fn rule(who: Who, repositories: &str, actions: &[Action]) -> Rule {
    Rule { who: vec![who], repositories: vec![repositories.to_owned()], actions: actions.to_vec() }
}

#[tokio::test]
async fn public_pull_and_private_push() {
    let (_directory, berth) = with_rules(Some(vec![
        rule(Who::User("alice".to_owned()), "secret/**", &[]),
        rule(Who::User("alice".to_owned()), "**", &Action::ALL),
        rule(Who::Anonymous, "public/*", &[Action::Pull]),
    ]));
    let header = basic("alice", "wonderland");
    // What is not there is told to be not there only to those who may look.
    berth.get("/v2/public/a/manifests/latest").await.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
    berth.get("/v2/private/a/manifests/latest").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    berth.get("/v2/").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    berth.get("/v2/_catalog").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    berth.post("/v2/public/a/blobs/uploads/", "").await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let denied = berth.get_with("/v2/secret/a/manifests/latest", "authorization", &header).await;
    let denied = denied.refuses(StatusCode::FORBIDDEN, "DENIED");
    assert!(denied.headers.get("www-authenticate").is_none());
    // podman and skopeo show an empty name and an empty password when they have none.
    let empty = berth.get_with("/v2/public/a/manifests/latest", "authorization", &basic("", "")).await;
    empty.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
    // Wrong credentials are not the same as none.
    let wrong = berth.get_with("/v2/public/a/manifests/latest", "authorization", &basic("alice", "x")).await;
    wrong.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    berth.get_with("/v2/private/a/manifests/latest", "authorization", &header).await.is(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_key_that_appears_at_its_address_is_found_when_a_token_names_it() {
    use std::io::{Read, Write};
    let pair = rcgen::KeyPair::generate().unwrap();
    let signer = jsonwebtoken::EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let algorithm = jsonwebtoken::Algorithm::ES256;
    let mut jwk = serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(&signer, algorithm).unwrap()).unwrap();
    jwk["kid"] = "new".into();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let body = serde_json::json!({ "keys": [jwk] }).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let token = TokenConfig {
        realm: RealmConfig::Fixed("https://auth.example/token".to_owned()),
        service: "registry.example".to_owned(),
        issuer: "auth.example".to_owned(),
        root_cert_bundle: None,
        server: None,
        jwks: Some(KeySet::Address(address)),
        algorithms: SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
    };
    let config = Config::Closed(Box::new(Ways { token: Some(token), ..Ways::default() }));
    let berth = Berth::guarded(Driver::Memory, Authenticator::open(config).unwrap());
    let claims = serde_json::json!({
        "iss": "auth.example", "aud": "registry.example", "sub": "alice", "exp": 4_000_000_000_u64,
        "access": [{ "type": "repository", "name": "a", "actions": ["pull"] }],
    });
    let header = |kid: &str| jsonwebtoken::Header { kid: Some(kid.to_owned()), ..jsonwebtoken::Header::new(algorithm) };
    let bearer = |kid| format!("Bearer {}", jsonwebtoken::encode(&header(kid), &claims, &signer).unwrap());
    berth.get_with("/v2/a/tags/list", "authorization", &bearer("new")).await.is(StatusCode::NOT_FOUND);
    let other = berth.get_with("/v2/a/tags/list", "authorization", &bearer("other")).await;
    other.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}
