//! Client certificates as an identity, from the socket to the registry's answer.

use std::sync::Arc;

use axum::Router;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth::auth::{Action, Authenticator, CertificateConfig, HtpasswdConfig, Rule, RulesConfig, Ways, Who};
use berth::registry::{self, Registry};
use berth::routes;
use berth::server::{ClientAuth, Config, Tls};
use berth::storage::{self, DriverConfig, Store, driver};
use berth::telemetry::HealthChecks;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::harness::{Answer, Server, config, generous};
use super::tls::{Files, certificate};

/// A registry for whoever has a certificate and for alice, whose password is `alice`.
fn app(directory: &std::path::Path) -> Router {
    let htpasswd = directory.join("htpasswd");
    std::fs::write(&htpasswd, format!("alice:{}\n", bcrypt::hash("alice", 4).expect("hashed"))).expect("written");
    let rule = |who: &str, repositories: &str, actions: &[Action]| Rule {
        who: vec![Who::parse(who).expect("somebody")],
        repositories: vec![repositories.to_owned()],
        actions: actions.to_vec(),
    };
    let rules =
        vec![rule("certificate:friend", "friend/*", &[Action::Pull]), rule("user:alice", "alice/*", &[Action::Pull])];
    let ways = Ways {
        htpasswd: Some(HtpasswdConfig { realm: "registry".to_owned(), path: htpasswd }),
        certificate: Some(CertificateConfig::default()),
        rules: Some(RulesConfig { rules, ..RulesConfig::default() }),
        ..Ways::default()
    };
    let authenticator = Authenticator::open(berth::auth::Config::Closed(Box::new(ways))).expect("opened");
    let storage = storage::Config { driver: DriverConfig::Memory, ..storage::Config::default() };
    let driver = driver::open(&storage, driver::Access::ReadWrite).now_or_never().expect("at once").expect("opened");
    let registry = Arc::new(Registry::new(registry::Config::default(), Store::new(driver, &storage)));
    routes::router(routes::Config::default(), registry, Arc::new(authenticator), HealthChecks::new())
}

fn config_of(files: &Files, client_auth: ClientAuth) -> Config {
    Config { tls: Some(Tls { client_auth, client_cas: vec![files.path("ours")], ..files.tls() }), ..config(generous()) }
}

#[test]
fn a_certificate_is_handed_over_only_where_it_is_verified() {
    let files = Files::make();
    for (client_auth, shown, handed_over) in [
        (ClientAuth::VerifyIfGiven, Some("friend"), true),
        (ClientAuth::VerifyIfGiven, None, false),
        (ClientAuth::RequireAndVerify, Some("friend"), true),
        (ClientAuth::Request, Some("friend"), false),
        (ClientAuth::Request, Some("stranger"), false),
        (ClientAuth::RequireAny, Some("stranger"), false),
    ] {
        let server = Server::start(config_of(&files, client_auth), b"");
        let mut client = files.connect(&server, shown, &["http/1.1"]);
        let expected = if handed_over { certificate(&files.path("friend")).to_vec() } else { Vec::new() };
        // The second request is another on the same connection.
        for _ in 0..2 {
            assert!(client.get("/certificate").body == expected, "{client_auth:?} {shown:?}");
        }
    }
}

fn ask(files: &Files, server: &Server, shown: Option<&str>, target: &str, password: Option<&str>) -> Answer {
    let mut client = files.connect(server, shown, &["http/1.1"]);
    let authorization = password.map_or_else(String::new, |password| {
        format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("alice:{password}")))
    });
    client.send(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n"));
    client.answer()
}

#[test]
fn who_shows_a_certificate_is_its_holder_unless_a_password_says_otherwise() {
    let (files, directory) = (Files::make(), tempfile::tempdir().expect("a directory"));
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::start_app(config_of(&files, ClientAuth::VerifyIfGiven), app(directory.path()), gate);
    let (friends, alices) = ("/v2/friend/app/tags/list", "/v2/alice/app/tags/list");
    for (shown, target, password, status) in [
        (None, "/v2/", None, 401),
        (Some("friend"), "/v2/", None, 200),
        (Some("friend"), friends, None, 404),
        (Some("friend"), alices, None, 403),
        (Some("friend"), alices, Some("alice"), 404),
        (Some("friend"), friends, Some("alice"), 403),
        (Some("friend"), friends, Some("wrong"), 401),
        (None, alices, Some("alice"), 404),
        (None, friends, None, 401),
    ] {
        let answer = ask(&files, &server, shown, target, password);
        assert_eq!(answer.status, status, "{shown:?} {target} {password:?}: {}", answer.head);
        if status == 403 {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            let name = password.map_or("friend", |_| "alice");
            assert!(said.contains(&format!("{name} may not pull")), "{said}");
        }
    }
}
