//! Blobs that lie elsewhere: who is sent there, who is not, and what is said on the way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::net::SocketAddr;

use axum::body::Body;
use berth::routes::{self, ProxyNetwork};
use berth::storage::driver::Middleware;
use berth::storage::{self, Redirect};
use berth::telemetry::PeerAddress;
use http::{Method, Request, StatusCode};
use support::{Berth, rules};

const LAYER: &[u8] = b"a layer";

fn elsewhere(redirect: Redirect) -> storage::Config {
    let base = "https://blobs.example.org".to_owned();
    storage::Config { redirect, middleware: vec![Middleware::Redirect { base }], ..storage::Config::default() }
}

async fn berth(redirect: Redirect, config: routes::Config) -> (Berth, String) {
    let berth = Berth::over_memory(elsewhere(redirect), rules(), config);
    let digest = support::digest(LAYER);
    let request = Request::post(format!("/v2/a/blobs/uploads/?digest={digest}")).body(Body::from(LAYER)).unwrap();
    assert_eq!(berth.send(request).await.status, StatusCode::CREATED);
    (berth, digest)
}

fn ask(method: Method, digest: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("/v2/a/blobs/{digest}"))
}

fn address_of(digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap();
    format!("https://blobs.example.org/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
}

#[tokio::test]
async fn get_is_sent_elsewhere_and_head_is_answered_here() {
    let (berth, digest) = berth(Redirect::WherePossible, routes::Config::default()).await;
    for request in [ask(Method::GET, &digest), ask(Method::GET, &digest).header("range", "bytes=2-3")] {
        let answer = berth.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(answer.headers["location"], address_of(&digest));
        assert_eq!(answer.headers["docker-content-digest"], digest);
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(answer.body.is_empty() && !answer.headers.contains_key("etag"));
    }
    let head = berth.send(ask(Method::HEAD, &digest).body(Body::empty()).unwrap()).await;
    assert_eq!((head.status, &head.headers["content-length"]), (StatusCode::OK, &"7".parse().unwrap()));
    assert_eq!(head.headers["docker-content-digest"], digest);
}

#[tokio::test]
async fn nobody_is_sent_after_what_is_not_there_or_what_it_has() {
    let (berth, digest) = berth(Redirect::WherePossible, routes::Config::default()).await;
    let unknown = support::digest(b"nothing");
    let answer = berth.send(ask(Method::GET, &unknown).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let known = ask(Method::GET, &digest).header("if-none-match", format!("\"{digest}\""));
    assert_eq!(berth.send(known.body(Body::empty()).unwrap()).await.status, StatusCode::NOT_MODIFIED);
    let other = Request::get(format!("/v2/b/blobs/{digest}")).body(Body::empty()).unwrap();
    assert_eq!(berth.send(other).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn switched_off_everything_is_served_here() {
    let (berth, digest) = berth(Redirect::Never, routes::Config::default()).await;
    let answer = berth.send(ask(Method::GET, &digest).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, LAYER));
}

#[tokio::test]
async fn clients_of_excluded_networks_are_served_here() {
    let inside = ProxyNetwork { address: "10.0.0.0".parse().unwrap(), prefix: 8 };
    let config = routes::Config { served_directly: vec![inside], ..routes::Config::default() };
    let (berth, digest) = berth(Redirect::WherePossible, config).await;
    for (peer, status) in [("10.9.8.7:1", StatusCode::OK), ("203.0.113.9:1", StatusCode::TEMPORARY_REDIRECT)] {
        let mut request = ask(Method::GET, &digest).body(Body::empty()).unwrap();
        request.extensions_mut().insert(PeerAddress(peer.parse::<SocketAddr>().ok()));
        assert_eq!(berth.send(request).await.status, status, "{peer}");
    }
}
