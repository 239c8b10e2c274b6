//! The token server in the binary, over HTTP: every word that clients send, every answer that they look at.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use berth::auth::{
    self, Action, Authenticator, Config, HtpasswdConfig, Mint, RealmConfig, Rule, RulesConfig, Scope, SigningAlgorithm,
    TokenConfig, TokenServerConfig, Ways, Who,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, Berth, Driver, to};

struct World {
    directory: tempfile::TempDir,
    berth: Berth,
}

/// A registry with a token server for alice (wonderland) and, where there are rules, whomever they speak of.
fn world(rules: Option<Vec<Rule>>) -> World {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    std::fs::write(&path, format!("alice:{}\n", bcrypt::hash("wonderland", 4).unwrap())).unwrap();
    let token = Some(TokenConfig {
        realm: RealmConfig::Own("/auth/token".to_owned()),
        service: "registry".to_owned(),
        issuer: "registry".to_owned(),
        root_cert_bundle: None,
        jwks: None,
        algorithms: SigningAlgorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
        server: Some(TokenServerConfig {
            key: directory.path().join("key.pem"),
            path: "/auth/token".to_owned(),
            expiration: Duration::from_mins(5),
            refresh_expiration: Duration::from_hours(24),
        }),
    });
    let htpasswd = Some(HtpasswdConfig { realm: "the registry".to_owned(), path });
    let rules = rules.map(|rules| RulesConfig { rules, ..RulesConfig::default() });
    let config = Config::Closed(Box::new(Ways { htpasswd, token, rules, ..Ways::default() }));
    World { directory, berth: Berth::guarded(Driver::Memory, Authenticator::open(config).unwrap()) }
}

fn rule(who: Who, repositories: &str, actions: &[Action]) -> Rule {
    Rule { who: vec![who], repositories: vec![repositories.to_owned()], actions: actions.to_vec() }
}

fn public_and_own() -> Vec<Rule> {
    vec![
        rule(Who::Authenticated, "$user/**", &Action::ALL),
        rule(Who::Everybody, "public/**", &[Action::Pull]),
        rule(Who::User("alice".to_owned()), "secret/**", &[]),
    ]
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

impl World {
    fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    async fn get(&self, query: &str, authorization: Option<&str>) -> Answer {
        let mut request = to(Method::GET, &format!("/auth/token?{query}")).header("host", "r.example:5000");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        not_stored(self.berth.send(request.body(Body::empty()).unwrap()).await)
    }

    async fn post(&self, form: impl Into<Body>) -> Answer {
        let request = to(Method::POST, "/auth/token").header("content-type", "application/x-www-form-urlencoded");
        not_stored(self.berth.send(request.body(form.into()).unwrap()).await)
    }

    /// Asks the registry with a token.
    async fn show(&self, method: Method, target: &str, token: &str) -> Answer {
        let request = to(method, target).header("authorization", format!("Bearer {token}")).header("host", "r.example");
        self.berth.send(request.body(Body::empty()).unwrap()).await
    }
}

fn not_stored(answer: Answer) -> Answer {
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

#[track_caller]
fn word<'a>(document: &'a Value, key: &str) -> &'a str {
    document[key].as_str().unwrap_or_else(|| panic!("no {key} in {document}"))
}

/// What a token says, as anybody can read it.
fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn issued(answer: Answer) -> (String, Value) {
    let document = answer.is(StatusCode::OK).json();
    (word(&document, "token").to_owned(), document)
}

#[tokio::test]
async fn the_challenge_leads_to_a_token_and_the_token_in() {
    let world = world(None);
    let ping = world.berth.get_with("/v2/", "host", "r.example:5000").await;
    let ping = ping.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    assert_eq!(
        ping.header("www-authenticate"),
        "Bearer realm=\"http://r.example:5000/auth/token\",service=\"registry\""
    );
    assert_eq!(ping.headers.get_all("www-authenticate").iter().count(), 1);

    let query = "account=alice&service=registry&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository:c:pull";
    let (token, document) = issued(world.get(query, Some(&basic("alice", "wonderland"))).await);
    assert_eq!(document["access_token"], document["token"]);
    assert_eq!((&document["expires_in"], &document["token_type"]), (&json!(300), &json!("Bearer")));
    assert_eq!(document["scope"], "repository:a/b:pull,push repository:c:pull");
    assert!(document.get("refresh_token").is_none(), "nobody asked for one");
    let at = time::OffsetDateTime::parse(word(&document, "issued_at"), &time::format_description::well_known::Rfc3339);
    let claims = claims(&token);
    assert_eq!(claims["iat"], at.unwrap().unix_timestamp());
    assert_eq!(
        (&claims["sub"], &claims["aud"], &claims["iss"]),
        (&json!("alice"), &json!("registry"), &json!("registry"))
    );
    assert_eq!(claims["access"][0], json!({ "type": "repository", "name": "a/b", "actions": ["pull", "push"] }));

    world.show(Method::GET, "/v2/", &token).await.is(StatusCode::OK);
    world.show(Method::POST, "/v2/a/b/blobs/uploads/", &token).await.is(StatusCode::ACCEPTED);
    world.show(Method::GET, "/v2/c/tags/list", &token).await.refuses(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
    let wider = world.show(Method::POST, "/v2/c/blobs/uploads/", &token).await;
    let wider = wider.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    assert_eq!(
        wider.header("www-authenticate"),
        "Bearer realm=\"http://r.example/auth/token\",service=\"registry\",scope=\"repository:c:pull,push\",\
         error=\"insufficient_scope\""
    );
    // Passwords are taken at the door too, for what knows no tokens.
    world.berth.get_with("/v2/", "authorization", &basic("alice", "wonderland")).await.is(StatusCode::OK);
}

#[tokio::test]
async fn a_form_gets_what_a_query_gets() {
    let world = world(None);
    let form = "grant_type=password&service=registry&client_id=docker&username=alice&password=wonderland\
                &scope=repository:a:pull+repository:b:push,pull&access_type=offline";
    let (token, document) = issued(world.post(form).await);
    assert_eq!(document["scope"], "repository:a:pull repository:b:pull,push");
    world.show(Method::POST, "/v2/b/blobs/uploads/", &token).await.is(StatusCode::ACCEPTED);

    let refresh = word(&document, "refresh_token");
    world.show(Method::GET, "/v2/", refresh).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let form = format!(
        "grant_type=refresh_token&service=registry&client_id=x&scope=repository:c:pull&refresh_token={refresh}"
    );
    let (token, document) = issued(world.post(form).await);
    assert_eq!((claims(&token)["sub"].as_str(), &document["scope"]), (Some("alice"), &json!("repository:c:pull")));
    assert!(document.get("refresh_token").is_none());
    let swapped = world.post(format!("grant_type=refresh_token&refresh_token={token}")).await;
    swapped.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");

    let offline =
        world.get("service=registry&offline_token=true&client_id=docker", Some(&basic("alice", "wonderland"))).await;
    assert!(issued(offline).1.get("refresh_token").is_some());
}

#[tokio::test]
async fn nobody_gets_what_everybody_may() {
    let world = world(Some(public_and_own()));
    let (token, document) =
        issued(world.get("service=registry&scope=repository:public/a:pull,push&offline_token=true", None).await);
    assert_eq!(document["scope"], "repository:public/a:pull");
    assert!(document.get("refresh_token").is_none());
    let missing = world.show(Method::GET, "/v2/public/a/manifests/x", &token).await;
    missing.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
    // A person is told what to do, a client that it needs a wider token.
    for target in ["/v2/public/a/blobs/uploads/", "/v2/alice/a/blobs/uploads/"] {
        let refused = world.show(Method::POST, target, &token).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        assert!(refused.header("www-authenticate").contains("insufficient_scope"));
        assert!(refused.errors()[0]["message"].as_str().unwrap().contains("log in"), "{refused:?}");
    }
}

#[tokio::test]
async fn rules_cut_a_token_down_and_their_refusal_is_final() {
    let world = world(Some(public_and_own()));
    let query = "service=registry&scope=repository:alice/a:pull,push&scope=repository:public/a:pull,push&scope=repository:secret/a:*";
    let (token, document) = issued(world.get(query, Some(&basic("alice", "wonderland"))).await);
    assert_eq!(document["scope"], "repository:alice/a:pull,push repository:public/a:pull");
    world.show(Method::POST, "/v2/alice/a/blobs/uploads/", &token).await.is(StatusCode::ACCEPTED);
    for (method, target) in [
        (Method::POST, "/v2/public/a/blobs/uploads/"),
        (Method::GET, "/v2/secret/a/manifests/x"),
        (Method::DELETE, "/v2/bob/a/manifests/x"),
    ] {
        let denied = world.show(method, target, &token).await.refuses(StatusCode::FORBIDDEN, "DENIED");
        assert!(denied.headers.get("www-authenticate").is_none(), "asking for a wider token would be in vain");
        assert!(denied.errors()[0]["message"].as_str().unwrap().starts_with("alice may not"), "{denied:?}");
    }
}

#[tokio::test]
async fn wrong_passwords_read_as_clients_show_them() {
    let world = world(None);
    let answers = [
        world.get("service=registry&account=alice", Some(&basic("alice", "wonder"))).await,
        world.get("service=registry", Some(&basic("carol", "wonderland"))).await,
        world.post("grant_type=password&service=registry&username=alice&password=wonder").await,
        world.post("grant_type=password&service=registry&username=alice&password=").await,
    ];
    for answer in answers {
        let answer = answer.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"registry\"");
        let document = answer.json();
        assert_eq!(document["errors"][0]["message"], "the user name or the password is wrong");
        assert_eq!(document["error"], "invalid_grant");
        assert_eq!(document["error_description"], document["errors"][0]["message"]);
    }
    let unreadable = world.get("service=registry", Some("Basic !")).await;
    unreadable.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let token = world.get("service=registry", Some("Bearer a.b.c")).await;
    token.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn what_makes_no_sense_is_named() {
    let world = world(None);
    let password = "username=alice&password=wonderland";
    let too_many = format!("grant_type=password&{password}&scope={}", "repository:a:pull+".repeat(101));
    let cases = [
        ("grant_type=client_credentials".to_owned(), "unsupported_grant_type"),
        (password.to_owned(), "invalid_request"),
        (String::new(), "invalid_request"),
        ("{\"grant_type\":\"password\"}".to_owned(), "invalid_request"),
        ("grant_type=password&username=alice".to_owned(), "invalid_request"),
        ("grant_type=password&password=wonderland".to_owned(), "invalid_request"),
        ("grant_type=refresh_token".to_owned(), "invalid_request"),
        (format!("grant_type=password&{password}&service=other"), "invalid_target"),
        (format!("grant_type=password&{password}&scope=everything"), "invalid_scope"),
        (too_many, "invalid_scope"),
    ];
    for (form, code) in cases {
        let answer = world.post(form.clone()).await.refuses(StatusCode::BAD_REQUEST, "UNSUPPORTED");
        assert_eq!(answer.json()["error"], code, "{form}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("wonderland"));
    }
    let service = world.get("service=evil", None).await.refuses(StatusCode::BAD_REQUEST, "UNSUPPORTED");
    assert!(service.errors()[0]["message"].as_str().unwrap().contains("\"registry\""));
    world.post(b"grant_type=\xff".to_vec()).await.refuses(StatusCode::BAD_REQUEST, "UNSUPPORTED");
    let largest = |length| format!("grant_type=password&{password}&x={}", "y".repeat(length));
    let fitting = largest(64 * 1024 - largest(0).len());
    world.post(fitting.clone()).await.is(StatusCode::OK);
    world.post(fitting + "y").await.refuses(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID");
    let endless = Body::from_stream(futures_util::stream::iter(
        (0..100).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b'a'; 1024]))),
    ));
    world.post(endless).await.refuses(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID");
}

#[tokio::test]
async fn the_address_is_there_in_each_spelling_and_only_where_it_is_configured() {
    let world = world(None);
    for target in ["/auth/token", "/auth/token/", "/auth/%74oken"] {
        world.berth.get(target).await.is(StatusCode::OK);
    }
    world.berth.head("/auth/token").await.is(StatusCode::OK);
    let options = world.berth.send(to(Method::OPTIONS, "/auth/token").body(Body::empty()).unwrap()).await;
    assert_eq!(options.is(StatusCode::OK).header("allow"), "GET, HEAD, OPTIONS, POST");
    let put = world.berth.put("/auth/token", "").await.refuses(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
    assert_eq!(put.header("allow"), "GET, HEAD, OPTIONS, POST");
    for target in ["/auth/tokens", "/auth", "/auth//token", "/auth/token//", "/v2/auth/token", "/auth%2Ftoken"] {
        assert_ne!(world.berth.get(target).await.status, StatusCode::OK, "{target}");
    }
    let open = Berth::new(Driver::Memory);
    open.get("/auth/token").await.refuses(StatusCode::NOT_FOUND, "UNSUPPORTED");
}

#[tokio::test]
async fn refresh_tokens_expire() {
    let world = world(None);
    let answer = world.get("offline_token=true", Some(&basic("alice", "wonderland"))).await;
    let refresh = word(&issued(answer).1, "refresh_token").to_owned();
    let mut claims = claims(&refresh);
    let key = jsonwebtoken::EncodingKey::from_ec_pem(&std::fs::read(world.key()).unwrap()).unwrap();
    let mut header = jsonwebtoken::decode_header(&refresh).unwrap();
    header.typ = Some("refresh+jwt".to_owned());
    let mut use_at = async |expires: i64| {
        claims["exp"] = json!(expires);
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        world.post(format!("grant_type=refresh_token&refresh_token={token}")).await
    };
    // The same words with the same signer, once for ever and once a moment of 1970.
    use_at(i64::from(u32::MAX)).await.is(StatusCode::OK);
    let expired = use_at(1).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    assert!(expired.errors()[0]["message"].as_str().unwrap().contains("expired"), "{expired:?}");
}

fn minted_for(subject: &str, world: &World, scopes: &str) -> String {
    let order = Mint {
        key: world.key(),
        issuer: "registry".to_owned(),
        service: "registry".to_owned(),
        subject: subject.to_owned(),
        scopes: Scope::parse_list(scopes).unwrap(),
        expiration: 60,
    };
    auth::mint(&order).unwrap()
}

#[tokio::test]
async fn a_token_minted_by_hand_opens_what_it_lists_and_rules_allow() {
    let world = world(Some(vec![
        rule(Who::Token("ci".to_owned()), "build/**", &[Action::Pull, Action::Push]),
        rule(Who::User("alice".to_owned()), "**", &[Action::Pull]),
    ]));
    let mint = |subject: &str, scopes: &str| minted_for(subject, &world, scopes);
    let ci = mint("ci", "repository:build/a:pull,push repository:other:pull,push");
    world.show(Method::POST, "/v2/build/a/blobs/uploads/", &ci).await.is(StatusCode::ACCEPTED);
    world.show(Method::POST, "/v2/other/blobs/uploads/", &ci).await.refuses(StatusCode::FORBIDDEN, "DENIED");
    let alice = mint("alice", "repository:build/a:pull,push");
    world.show(Method::POST, "/v2/build/a/blobs/uploads/", &alice).await.refuses(StatusCode::FORBIDDEN, "DENIED");
}

#[tokio::test]
async fn a_mount_asks_for_the_token_that_reaches_its_source() {
    let world = world(Some(vec![
        rule(Who::User("alice".to_owned()), "secret/**", &[Action::Push]),
        rule(Who::User("alice".to_owned()), "**", &[Action::Pull, Action::Push]),
        rule(Who::Token("ci".to_owned()), "**", &[Action::Pull, Action::Push]),
    ]));
    let alice = basic("alice", "wonderland");
    let token = async |scopes: &str| issued(world.get(&format!("scope={scopes}"), Some(&alice)).await).0;
    let digest = support::digest(b"layer");
    let target = "repository:a:pull,push";
    for repository in ["b", "secret/b"] {
        let push = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let push = to(Method::POST, &push).header("authorization", &alice);
        world.berth.send(push.body("layer".into()).unwrap()).await.is(StatusCode::CREATED);
    }
    let mount = format!("/v2/a/blobs/uploads/?mount={digest}&from=");
    let narrow = world.show(Method::POST, &format!("{mount}b"), &token(target).await).await;
    let narrow = narrow.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let challenge = narrow.header("www-authenticate");
    assert!(
        challenge.contains("scope=\"repository:a:pull,push repository:b:pull\",error=\"insufficient_scope\""),
        "{challenge}"
    );
    let wide = token("repository:a:pull,push+repository:b:pull").await;
    world.show(Method::POST, &format!("{mount}b"), &wide).await.is(StatusCode::CREATED);
    // No token would reach these: an upload begins at once.
    for (target, token) in [
        (format!("{mount}secret/b"), token(target).await),
        (mount.trim_end_matches("&from=").to_owned(), token(target).await),
        (format!("{mount}b"), minted_for("ci", &world, target)),
    ] {
        world.show(Method::POST, &target, &token).await.is(StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn who_may_read_everything_mounts_from_anywhere() {
    let world = world(None);
    let alice = basic("alice", "wonderland");
    let digest = support::digest(b"layer");
    let push = to(Method::POST, &format!("/v2/b/blobs/uploads/?digest={digest}")).header("authorization", &alice);
    world.berth.send(push.body("layer".into()).unwrap()).await.is(StatusCode::CREATED);
    let mount = format!("/v2/a/blobs/uploads/?mount={digest}");
    let narrow = issued(world.get("scope=repository:a:pull,push", Some(&alice)).await).0;
    let refused = world.show(Method::POST, &mount, &narrow).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    assert!(refused.header("www-authenticate").contains("repository:a:pull,push registry:content:pull"));
    let wide = issued(world.get("scope=repository:a:pull,push&scope=registry:content:pull", Some(&alice)).await).0;
    world.show(Method::POST, &mount, &wide).await.is(StatusCode::CREATED);
}
