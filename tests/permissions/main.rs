//! The permission matrix: every endpoint and method, with every kind of credential, on one's own repository, another's, a
//! public one and ones that do not exist. Whoever adds an endpoint must say here what it needs.
//!
//! What is expected comes from `credentials::TABLE` and `endpoints::row` alone; nothing is asked of the code under test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod credentials;
mod endpoints;
mod house;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::time::Instant;

use axum::body::Body;
use berth::routes::{Effect, Endpoint};
use credentials::{Credential, Kind};
use endpoints::{Needs, Row};
use house::{House, REPOSITORIES, World};
use http::{HeaderValue, Method, StatusCode};
use support::{Answer, Berth, OCI_MANIFEST, to};

/// What a cell of the matrix must answer.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    status: StatusCode,
    /// The `error` of a Bearer challenge.
    error: Option<&'static str>,
}

fn expected(credential: &Credential, row: &Row, repository: &str) -> Expected {
    let refused = |status, error| Expected { status, error };
    let answers = |status| Expected { status, error: None };
    let unauthorized = StatusCode::UNAUTHORIZED;
    let known = match credential.kind {
        Kind::Wrong => return refused(unauthorized, None),
        Kind::WrongToken => return refused(unauthorized, Some("invalid_token")),
        Kind::Nobody => None,
        Kind::Known => Some(None),
        Kind::Token { lists, .. } => Some(Some(lists)),
    };
    let letter = match row.needs {
        Needs::ToBeKnown => return if known.is_some() { answers(row.here) } else { refused(unauthorized, None) },
        Needs::Catalog => {
            return match credential.kind {
                Kind::Known | Kind::Token { catalog: true, .. } => answers(row.here),
                Kind::Token { .. } => refused(unauthorized, Some("insufficient_scope")),
                _ => refused(unauthorized, None),
            };
        }
        Needs::Pull => 'r',
        Needs::Push => 'w',
        Needs::Delete => 'd',
    };
    if credential.may(repository, letter) {
        let mounts = row.source.is_none_or(|source| credential.may(source, 'r'));
        let exists = !repository.ends_with("/none");
        return answers(match (mounts, exists) {
            (false, _) => StatusCode::ACCEPTED,
            (true, true) => row.here,
            (true, false) => row.missing,
        });
    }
    match known {
        None => refused(unauthorized, None),
        Some(Some(lists)) if !lists.contains(letter) => refused(unauthorized, Some("insufficient_scope")),
        Some(_) => refused(StatusCode::FORBIDDEN, None),
    }
}

async fn ask(berth: &Berth, credential: &Credential, method: &Method, row: &Row) -> Answer {
    let mut request = to(method.clone(), &row.target).header("content-type", OCI_MANIFEST);
    for value in &credential.headers {
        request = request.header("authorization", HeaderValue::from_bytes(value).unwrap());
    }
    if let Some(certificate) = &credential.certificate {
        request = request.extension(certificate.clone());
    }
    berth.send(request.body(Body::from(row.body.clone())).unwrap()).await
}

fn challenge_of(answer: &Answer) -> Option<String> {
    let mut values = answer.headers.get_all("www-authenticate").iter();
    let first = values.next().map(|value| value.to_str().unwrap().to_owned());
    assert!(values.next().is_none(), "clients read one challenge only: {answer:?}");
    first
}

fn assert_cell(answer: &Answer, expected: &Expected, about: &str) {
    assert_eq!(answer.status, expected.status, "{about}: {answer:?}");
    let challenge = challenge_of(answer);
    assert_eq!(challenge.is_some(), expected.status == StatusCode::UNAUTHORIZED, "{about}: {answer:?}");
    let error = challenge.as_deref().and_then(|text| text.split_once("error=\"")).map(|(_, rest)| rest);
    assert_eq!(error.map(|rest| rest.trim_end_matches('"')), expected.error, "{about}: {challenge:?}");
}

/// An answer without what names the repository, for comparing those about one that exists with those about one that does not.
fn told(answer: &Answer, repository: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(repository, "REPOSITORY");
    format!("{} {} {:?}", answer.status, text(&answer.body), challenge_of(answer).map(|text_| text(text_.as_bytes())))
}

#[tokio::test]
async fn every_endpoint_answers_every_credential_as_the_table_says() {
    let (started, house) = (Instant::now(), House::open());
    let credentials = credentials::all(&house);
    assert!(credentials.len() >= 12);
    let mut cells = 0;
    for credential in &credentials {
        let mut world = World::new(&house).await;
        let mut refusals: HashMap<(String, Method), String> = HashMap::new();
        for (endpoint, repository) in every_endpoint_in_every_repository() {
            for method in endpoints::row(&endpoint, &world, repository, "").methods {
                let session =
                    if endpoints::is_session(&endpoint) { world.begin(repository).await } else { String::new() };
                let row = endpoints::row(&endpoint, &world, repository, &session);
                let expected = expected(credential, &row, repository);
                let answer = ask(&world.guarded, credential, method, &row).await;
                let about = format!("{} {method} {endpoint:?} in {repository}", credential.name);
                assert_cell(&answer, &expected, &about);
                cells += 1;
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status);
                if refused && repository.starts_with("bob/") {
                    let key = (format!("{:?}", std::mem::discriminant(&endpoint)), method.clone());
                    let said = told(&answer, repository);
                    let before = refusals.entry(key).or_insert_with(|| said.clone());
                    assert_eq!(*before, said, "{about}: a refusal tells what exists");
                }
                if !refused && endpoint.effect() == Effect::Writes {
                    world = World::new(&house).await;
                }
            }
        }
    }
    println!("{cells} cells with {} credentials in {:?}", credentials.len(), started.elapsed());
}

fn every_endpoint_in_every_repository() -> impl Iterator<Item = (Endpoint, &'static str)> {
    support::endpoints::every_endpoint()
        .flat_map(|endpoint| REPOSITORIES.map(|repository| (endpoint.clone(), repository)))
}
