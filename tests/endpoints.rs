//! A walk through every endpoint and method: what each answers in the open, in read-only mode and without deletes.
//!
//! The matches are exhaustive: a new endpoint does not compile without its row here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use berth::auth::{Access as Needed, Action};
use berth::registry::{self, Access, Deletion};
use berth::routes::{self, Effect, Endpoint};
use berth::telemetry::{Health, HealthChecks, Probe, StorageProbe};
use http::{Method, StatusCode};
use support::endpoints::every_endpoint;
use support::{Answer, Berth, Driver, OCI_MANIFEST, digest, rules, to, with};

/// What a row needs to exist.
struct Content {
    berth: Berth,
    image: support::Image,
    session: String,
}

async fn content(driver: Driver) -> Content {
    let berth = Berth::new(driver);
    let image = berth.push_image("a", "v1", b"layer").await;
    let session = berth.begin("a").await;
    Content { berth, image, session }
}

/// How a client asks for an endpoint, and what it answers when all is well.
struct Row {
    methods: &'static [Method],
    target: String,
    body: Vec<u8>,
    answers: StatusCode,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

fn row(endpoint: &Endpoint, content: &Content) -> Row {
    let (image, session) = (&content.image, &content.session);
    let row = |methods, target: String, answers| Row { methods, target, body: Vec::new(), answers };
    match endpoint {
        Endpoint::Base => row(READ, "/v2/".into(), StatusCode::OK),
        Endpoint::Catalog { .. } => row(READ, "/v2/_catalog".into(), StatusCode::OK),
        Endpoint::Tags { .. } => row(READ, "/v2/a/tags/list".into(), StatusCode::OK),
        Endpoint::Referrers { .. } => row(READ, format!("/v2/a/referrers/{}", image.digest), StatusCode::OK),
        Endpoint::PullManifest { .. } => row(READ, "/v2/a/manifests/v1".into(), StatusCode::OK),
        Endpoint::PushManifest { .. } => Row {
            body: image.manifest.clone(),
            ..row(&[Method::PUT], "/v2/a/manifests/v2".into(), StatusCode::CREATED)
        },
        Endpoint::DeleteManifest { .. } => row(&[Method::DELETE], "/v2/a/manifests/v1".into(), StatusCode::ACCEPTED),
        Endpoint::PullBlob { .. } => row(READ, format!("/v2/a/blobs/{}", image.layer), StatusCode::OK),
        Endpoint::DeleteBlob { .. } => {
            row(&[Method::DELETE], format!("/v2/a/blobs/{}", image.layer), StatusCode::ACCEPTED)
        }
        Endpoint::BeginUpload { .. } => row(&[Method::POST], "/v2/a/blobs/uploads/".into(), StatusCode::ACCEPTED),
        Endpoint::PushBlob { .. } => Row {
            body: b"x".to_vec(),
            ..row(&[Method::POST], format!("/v2/a/blobs/uploads/?digest={}", digest(b"x")), StatusCode::CREATED)
        },
        Endpoint::MountBlob { .. } => {
            let target = format!("/v2/b/blobs/uploads/?mount={}&from=a", image.layer);
            row(&[Method::POST], target, StatusCode::CREATED)
        }
        Endpoint::UploadStatus { .. } => row(READ, session.clone(), StatusCode::NO_CONTENT),
        Endpoint::AppendUpload { .. } => {
            Row { body: b"x".to_vec(), ..row(&[Method::PATCH], session.clone(), StatusCode::ACCEPTED) }
        }
        Endpoint::FinishUpload { .. } => {
            let target = with(session, &format!("digest={}", digest(b"x")));
            Row { body: b"x".to_vec(), ..row(&[Method::PUT], target, StatusCode::CREATED) }
        }
        Endpoint::CancelUpload { .. } => row(&[Method::DELETE], session.clone(), StatusCode::NO_CONTENT),
    }
}

async fn ask(berth: &Berth, method: &Method, row: &Row) -> Answer {
    let request = to(method.clone(), &row.target).header("content-type", OCI_MANIFEST);
    berth.send(request.body(Body::from(row.body.clone())).unwrap()).await
}

/// What needs `storage.delete.enabled`.
fn is_delete(endpoint: &Endpoint) -> bool {
    matches!(endpoint.access(), Needed::Repository { action: Action::Delete, .. })
}

on_every_driver! {
    async fn every_endpoint_answers_as_its_row_says(driver) {
        for endpoint in every_endpoint() {
            for method in row(&endpoint, &content(driver).await).methods {
                let content = content(driver).await;
                let row = row(&endpoint, &content);
                assert_eq!(ask(&content.berth, method, &row).await.status, row.answers, "{method} {endpoint:?}");
            }
        }
    }

    async fn a_method_is_allowed_exactly_when_allow_names_it(driver) {
        let purge = Method::from_bytes(b"PURGE").unwrap();
        for endpoint in every_endpoint() {
            let target = row(&endpoint, &content(driver).await).target;
            let content = content(driver).await;
            let options = content.berth.send(to(Method::OPTIONS, &target).body(Body::empty()).unwrap()).await;
            let allow = options.is(StatusCode::OK).header("allow").to_owned();
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE, purge.clone()] {
                let answer = content.berth.send(to(method.clone(), &target).body(Body::empty()).unwrap()).await;
                let allowed = allow.split(", ").any(|allowed| allowed == method.as_str());
                assert_eq!(allowed, answer.status != StatusCode::METHOD_NOT_ALLOWED, "{method} {target}: {answer:?}");
                if !allowed {
                    assert_eq!(answer.header("allow"), allow);
                }
            }
        }
    }

    async fn a_read_only_registry_refuses_every_endpoint_that_writes(driver) {
        for endpoint in every_endpoint() {
            let content = content(driver).await;
            let row = row(&endpoint, &content);
            let before = content.berth.files();
            let rules = registry::Config { access: Access::ReadOnly, ..rules() };
            let closed = content.berth.restarted(rules, routes::Config::default());
            let answer = ask(&closed, &row.methods[0], &row).await;
            match endpoint.effect() {
                Effect::Writes => drop(answer.refuses(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED")),
                Effect::Reads => drop(answer.is(row.answers)),
            }
            assert_eq!(content.berth.files(), before, "{endpoint:?}");
        }
    }

    async fn without_the_delete_switch_every_delete_is_refused_and_nothing_else(driver) {
        for endpoint in every_endpoint() {
            let content = content(driver).await;
            let row = row(&endpoint, &content);
            let rules = registry::Config { deletion: Deletion::Disabled, ..rules() };
            let closed = content.berth.restarted(rules, routes::Config::default());
            let answer = ask(&closed, &row.methods[0], &row).await;
            if is_delete(&endpoint) {
                answer.refuses(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
            } else {
                answer.is(row.answers);
            }
        }
    }
}

/// Health checks of which one fails, and has said so.
async fn failing() -> HealthChecks {
    let health = HealthChecks::new();
    let config = Health { storage_driver: Some(Probe::default()), ..Health::default() };
    let probe: StorageProbe = Arc::new(|| Box::pin(async { Err("/dev/secret does not answer".to_owned()) }));
    health.start(&config, Some(("storagedriver_test".to_owned(), probe))).unwrap();
    let verdict = async {
        while health.unhealthy().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), verdict).await.expect("the check is made at once");
    health
}

#[tokio::test]
async fn while_a_health_check_fails_every_endpoint_answers_503() {
    for endpoint in every_endpoint() {
        let content = content(Driver::Memory).await;
        let row = row(&endpoint, &content);
        let sick = content.berth.watched(failing().await);
        for target in [row.target.as_str(), "/", "/nowhere"] {
            let request = to(row.methods[0].clone(), target).body(Body::from(row.body.clone())).unwrap();
            let answer = sick.send_unchecked(request).await.refuses(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
            assert!(answer.headers.contains_key("retry-after"));
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
        }
    }
}

#[test]
fn who_may_only_pull_changes_nothing() {
    for endpoint in every_endpoint() {
        let only_pulls = matches!(
            endpoint.access(),
            Needed::Ping | Needed::Catalog | Needed::Repository { action: Action::Pull, .. }
        );
        assert!(!only_pulls || endpoint.effect() == Effect::Reads, "{endpoint:?}");
    }
}
