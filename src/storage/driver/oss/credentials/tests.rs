//! Credentials that machines have, from servers that stand for the metadata service and for STS.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::super::client::{Route, connections};
use super::super::config::Secret;
use super::*;

/// Answers every request with what `answer` makes of method, path, the metadata token and the body.
async fn server(answer: impl Fn(&str, &str, &str, &str) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let answer = Arc::clone(&answer);
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let token = parts.headers.get("x-aliyun-ecs-metadata-token").and_then(|token| token.to_str().ok());
                    let text = String::from_utf8_lossy(&body);
                    let (status, content) =
                        answer(parts.method.as_str(), parts.uri.path(), token.unwrap_or_default(), &text);
                    let mut response = Response::new(Full::new(Bytes::from(content)));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

fn provider(environment: &[(&str, &str)], metadata: &str) -> Provider {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut machine = Machine::new(environment);
    machine.metadata = metadata.to_owned();
    Provider { source: Source::Machine(machine), held: ArcSwapOption::empty(), renewal: Mutex::new(()) }
}

async fn keys(provider: &Provider) -> Result<Arc<Keys>, String> {
    provider.keys(&connections(Route::Direct).unwrap()).await
}

fn temporary(id: &str, expiration: &str) -> String {
    format!(
        "{{\"AccessKeyId\":\"{id}\",\"AccessKeySecret\":\"s\",\"SecurityToken\":\"t\",\"Expiration\":\"{expiration}\"}}"
    )
}

const NOWHERE: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn the_environment_comes_first() {
    let both = [("ALIBABA_CLOUD_ACCESS_KEY_ID", "a"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "b")];
    let found = keys(&provider(&both, NOWHERE)).await.unwrap();
    assert_eq!((found.id.as_str(), found.secret.reveal(), found.token.is_none()), ("a", "b", true));
    let others = [("OSS_ACCESS_KEY_ID", "c"), ("OSS_ACCESS_KEY_SECRET", "d"), ("OSS_SESSION_TOKEN", "e")];
    let found = keys(&provider(&others, NOWHERE)).await.unwrap();
    assert_eq!(found.token.as_ref().map(Secret::reveal), Some("e"));
}

#[tokio::test]
async fn nothing_found_says_what_to_set() {
    let reason = keys(&provider(&[], NOWHERE)).await.unwrap_err();
    assert!(reason.contains("set storage.oss.accesskeyid and storage.oss.accesskeysecret"), "{reason}");
    let reason = keys(&provider(&[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")], NOWHERE)).await.unwrap_err();
    assert!(!reason.contains("metadata"), "{reason}");
}

#[tokio::test]
async fn an_instance_gives_the_keys_of_its_role() {
    let metadata = server(|method, path, token, _| match (method, path, token) {
        ("PUT", "/latest/api/token", _) => (200, "pass".to_owned()),
        (_, _, token) if token != "pass" => (403, String::new()),
        ("GET", "/latest/meta-data/ram/security-credentials/", _) => (200, "registry".to_owned()),
        ("GET", "/latest/meta-data/ram/security-credentials/registry", _) => {
            (200, temporary("id", "2999-01-01T00:00:00Z"))
        }
        _ => (404, String::new()),
    });
    let provider = provider(&[], &metadata.await);
    let found = keys(&provider).await.unwrap();
    assert_eq!((found.id.as_str(), found.token.as_ref().map(Secret::reveal)), ("id", Some("t")));
    assert!(Arc::ptr_eq(&found, &keys(&provider).await.unwrap()), "they are asked for once");
    assert!(provider.forget() && !Arc::ptr_eq(&found, &keys(&provider).await.unwrap()));
}

#[tokio::test]
async fn an_older_instance_knows_no_tokens() {
    let metadata = server(|method, path, _, _| match (method, path) {
        ("PUT", _) => (404, String::new()),
        (_, path) if path.ends_with('/') => (200, "registry".to_owned()),
        _ => (200, temporary("id", "2999-01-01T00:00:00Z")),
    });
    assert_eq!(keys(&provider(&[], &metadata.await)).await.unwrap().id, "id");
}

#[tokio::test]
async fn keys_that_expire_soon_are_renewed_and_used_while_that_fails() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let soon = time::OffsetDateTime::now_utc() + Duration::from_mins(2);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let metadata = server(move |_, path, _, _| match path {
        "/latest/meta-data/ram/security-credentials/registry" => match counter.fetch_add(1, Ordering::SeqCst) {
            0 => (200, temporary("first", &soon)),
            1 => (500, String::new()),
            _ => (200, temporary("third", "2999-01-01T00:00:00Z")),
        },
        _ => (200, "registry".to_owned()),
    });
    let provider = provider(&[], &metadata.await);
    let ids = [keys(&provider).await, keys(&provider).await, keys(&provider).await, keys(&provider).await];
    assert_eq!(ids.map(|keys| keys.unwrap().id.clone()), ["first", "first", "third", "third"]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_oidc_token_is_exchanged_for_a_role() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "the.token\n").unwrap();
    let sts = server(|method, path, _, body| {
        let right = ["Action=AssumeRoleWithOIDC", "RoleArn=acs%3Aram", "OIDCProviderArn=p", "OIDCToken=the.token"];
        if right.iter().all(|part| body.contains(part)) && (method, path) == ("POST", "/") {
            return (200, format!("{{\"Credentials\":{}}}", temporary("role", "2999-01-01T00:00:00Z")));
        }
        (400, "{\"Code\":\"Wrong\",\"Message\":\"no\"}".to_owned())
    });
    let (sts, path) = (sts.await, file.path().to_str().unwrap());
    let mut environment = vec![
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", path),
        ("ALIBABA_CLOUD_STS_ENDPOINT", sts.as_str()),
    ];
    assert_eq!(keys(&provider(&environment, NOWHERE)).await.unwrap().id, "role");
    environment[1].1 = "another";
    let reason = keys(&provider(&environment, NOWHERE)).await.unwrap_err();
    assert!(reason.contains("the role acs:ram was not given") && reason.contains("Wrong: no"), "{reason}");
    assert!(!reason.contains("the.token"), "{reason}");
    environment[2].1 = "/nowhere/token";
    let reason = keys(&provider(&environment, NOWHERE)).await.unwrap_err();
    assert!(reason.contains("/nowhere/token, named by ALIBABA_CLOUD_OIDC_TOKEN_FILE"), "{reason}");
}

#[tokio::test]
async fn keys_of_the_environment_take_on_a_role() {
    let sts = server(|_, _, _, body| {
        let right = ["Action=AssumeRole&", "AccessKeyId=a&", "RoleArn=acs%3Aram", "&Signature=", "SecurityToken=c"];
        assert!(right.iter().all(|part| body.contains(part)), "{body}");
        (200, format!("{{\"Credentials\":{}}}", temporary("role", "2999-01-01T00:00:00Z")))
    });
    let sts = sts.await;
    let environment = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "a"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "b"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "c"),
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram"),
        ("ALIBABA_CLOUD_STS_ENDPOINT", sts.as_str()),
    ];
    assert_eq!(keys(&provider(&environment, NOWHERE)).await.unwrap().id, "role");
}
