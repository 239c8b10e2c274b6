//! Who is let in, over HTTP: the challenges, the refusals and what stays open to everybody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth::auth::{Authenticator, Config, HtpasswdConfig, Ways};
use http::StatusCode;
use support::{Berth, Driver};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A registry whose only user is alice, with the password wonderland.
fn with_alice() -> (tempfile::TempDir, Berth) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    std::fs::write(&path, format!("alice:{}\n", bcrypt::hash("wonderland", 4).unwrap())).unwrap();
    let htpasswd = Some(HtpasswdConfig { realm: "the registry".to_owned(), path });
    let config = Config::Closed(Box::new(Ways { htpasswd, ..Ways::default() }));
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
