//! The service against an OSS server in this process, which verifies every signature: what goes over the wire, and what
//! refusals turn into. At the end, the contract of all drivers.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;
use crate::peers::oss::{Mishap, OssOptions, OssServer};
use crate::storage::driver::More;
use crate::storage::driver::bucket::{Depth, KeyEntry};

/// The configuration that reaches `server`.
fn config_for(server: &OssServer) -> Config {
    let options = server.options();
    let address = Address::parse(server.endpoint(), &options.bucket, Scheme::Secure).unwrap();
    Config {
        credentials: Credentials::Given {
            access_key_id: options.access_key_id.clone(),
            access_key_secret: Secret::new(options.access_key_secret.as_str()),
            security_token: options.security_token.as_deref().map(Secret::new),
        },
        ..Config::new(options.bucket.as_str(), options.region.as_str(), address)
    }
}

fn start() -> (Oss, OssServer) {
    let server = OssServer::start(OssOptions::default());
    (Oss::connect(&config_for(&server)).unwrap(), server)
}

fn with_token() -> OssServer {
    OssServer::start(OssOptions { security_token: Some("a+token/=".to_owned()), ..OssOptions::default() })
}

fn text(content: &str) -> Payload {
    Payload::from(Bytes::copy_from_slice(content.as_bytes()))
}

async fn put(oss: &Oss, key: &str, content: &str) {
    oss.put(key, text(content), WriteMode::Overwrite).await.unwrap();
}

async fn read(fetched: Fetched) -> String {
    let pieces: Vec<Bytes> = fetched.body.try_collect().await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

async fn get(oss: &Oss, key: &str) -> String {
    read(oss.get(key, None, None).await.unwrap()).await
}

async fn message(config: &Config) -> String {
    Oss::connect(config).unwrap().check().await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_is_written_is_read_whole_and_in_part() {
    let (oss, server) = start();
    let pieces = vec![Bytes::from_static(b"0123"), Bytes::new(), Bytes::from_static(b"456789")];
    oss.put("a/b", Payload::from(pieces), WriteMode::Overwrite).await.unwrap();
    assert_eq!(get(&oss, "a/b").await, "0123456789");
    let head = oss.head("a/b").await.unwrap();
    assert_eq!(head.size, 10);
    assert!(head.modified.elapsed().unwrap_or_default() < Duration::from_mins(1));
    for (range, expected) in [(2..5, "234"), (8..20, "89"), (4..4, ""), (10..12, ""), (0..10, "0123456789")] {
        let fetched = oss.get("a/b", Some(range.clone()), None).await.unwrap();
        assert_eq!(fetched.head.size, 10, "{range:?}");
        assert_eq!(read(fetched).await, expected, "{range:?}");
    }
    put(&oss, "empty", "").await;
    assert_eq!(get(&oss, "empty").await, "");
    assert!(oss.head("a").await.unwrap_err().is_not_found());
    assert!(matches!(oss.get("a", None, None).await, Err(Error::NotFound { path }) if path == "a"));
    for request in server.take_requests() {
        assert_eq!(request.header("transfer-encoding"), "", "{request:?}");
        let ranged = !request.header("range").is_empty();
        assert_eq!(request.header("x-oss-range-behavior") == "standard", ranged, "{request:?}");
    }
}

#[tokio::test]
async fn names_of_every_kind_are_signed_as_they_are_sent() {
    for signature in [Signature::V4, Signature::V1] {
        let server = with_token();
        let oss = Oss::connect(&Config { signature, ..config_for(&server) }).unwrap();
        let keys = ["a b", "a+b", "a%b", "ä/ö", "a?b&c=d", "a'()*!~b", "a//b"];
        for key in keys {
            put(&oss, key, key).await;
            assert_eq!(get(&oss, key).await, key);
            oss.copy(key, &format!("copy of {key}")).await.unwrap();
            assert_eq!(get(&oss, &format!("copy of {key}")).await, key);
            for method in [PresignMethod::Get, PresignMethod::Head] {
                let url = oss.presign(key, method, Duration::from_mins(1)).await.unwrap();
                let method = if method == PresignMethod::Get { Method::GET } else { Method::HEAD };
                let answer = reqwest_plain().request(method.clone(), &url).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{url}: {:?}", answer.text().await);
                let other = if method == Method::GET { Method::HEAD } else { Method::GET };
                assert_eq!(reqwest_plain().request(other, &url).send().await.unwrap().status(), 403, "{url}");
            }
        }
        let query = ListQuery { prefix: "a", depth: Depth::Tree, after: None, limit: 1000 };
        let page = oss.list(&query).await.unwrap();
        let listed: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(listed, ["a b", "a%b", "a'()*!~b", "a+b", "a//b", "a?b&c=d"]);
        oss.delete(&keys.map(str::to_owned), Sending::AsOftenAsNeeded).await.unwrap();
        assert!(oss.list(&query).await.unwrap().objects.is_empty());
    }
}

fn reqwest_plain() -> reqwest::Client {
    client::connections(client::Route::Direct).unwrap()
}

#[tokio::test]
async fn an_object_of_another_version_is_not_found() {
    let (oss, _server) = start();
    put(&oss, "k", "old").await;
    let version = oss.head("k").await.unwrap().version.unwrap();
    assert_eq!(read(oss.get("k", Some(0..2), Some(&version)).await.unwrap()).await, "ol");
    put(&oss, "k", "new").await;
    assert!(matches!(oss.get("k", None, Some(&version)).await, Err(Error::NotFound { .. })));
    assert!(matches!(oss.get("k", Some(1..1), Some(&version)).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn create_only_spares_what_exists_and_knows_its_own_work() {
    let (oss, server) = start();
    oss.put("k", text("first"), WriteMode::CreateOnly).await.unwrap();
    let error = oss.put("k", text("second"), WriteMode::CreateOnly).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { path } if path == "k"));
    assert_eq!(get(&oss, "k").await, "first");
    // Whose answer was lost finds its own object when it asks again; who finds another's does not take it for its own.
    server.next_meet(&[Mishap::Unanswered]);
    oss.put("lost", text("mine"), WriteMode::CreateOnly).await.unwrap();
    server.next_meet(&[Mishap::Refused(503, "ServiceUnavailable")]);
    let error = oss.put("lost", text("other"), WriteMode::CreateOnly).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    // And content of the same bytes that was there before the first attempt is somebody else's.
    assert!(oss.put("lost", text("mine"), WriteMode::CreateOnly).await.is_err());
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let (oss, server) = start();
    let hiccups = [
        Mishap::Refused(503, "Throttling"),
        Mishap::Refused(500, "InternalError"),
        Mishap::Unanswered,
        Mishap::Miscounted,
        Mishap::Refused(429, "QpsLimitExceeded"),
    ];
    for mishap in hiccups {
        server.next_meet(std::slice::from_ref(&mishap));
        put(&oss, "k", "content").await;
        assert_eq!(server.take_requests().len(), 2, "{mishap:?}");
    }
    for mishap in [Mishap::Truncated, Mishap::Unanswered] {
        server.next_meet(std::slice::from_ref(&mishap));
        let query = ListQuery { prefix: "", depth: Depth::Tree, after: None, limit: 10 };
        assert_eq!(oss.list(&query).await.unwrap().objects.len(), 1, "{mishap:?}");
    }
    server.next_meet(&[Mishap::Refused(403, "AccessDenied")]);
    server.take_requests();
    let error = oss.put("k", text("x"), WriteMode::Overwrite).await.unwrap_err();
    assert!(matches!(error, Error::Backend { retry: Retry::Pointless, .. }), "{error}");
    assert_eq!(server.take_requests().len(), 1, "what stays refused is not asked again");
}

#[tokio::test]
async fn a_removal_that_is_sent_once_tells_of_every_request_that_may_act_later() {
    let (oss, server) = start();
    for keys in [&["a"][..], &["a", "b"]] {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        for mishap in [Mishap::Unanswered, Mishap::Refused(503, "Throttling"), Mishap::Refused(500, "InternalError")] {
            server.next_meet(std::slice::from_ref(&mishap));
            server.take_requests();
            oss.delete(&keys, Sending::Once { issued: SystemTime::now() }).await.unwrap_err();
            assert_eq!(server.take_requests().len(), 1, "{mishap:?}");
        }
        oss.delete(&keys, Sending::Once { issued: SystemTime::now() }).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let (oss, server) = start();
    put(&oss, "k", "0123456789").await;
    server.next_meet(&[Mishap::Truncated]);
    let fetched = oss.get("k", None, None).await.unwrap();
    let result: Result<Vec<Bytes>> = fetched.body.try_collect().await;
    assert!(matches!(result, Err(Error::Backend { retry: Retry::Later, .. })), "{result:?}");
}

#[tokio::test]
async fn parts_become_an_object() {
    let (oss, server) = start();
    let big = "x".repeat(100 << 10);
    put(&oss, "source", &big).await;
    let upload = oss.begin_multipart("big").await.unwrap();
    let page = oss.list_multiparts("b", None).await.unwrap();
    assert_eq!(page.uploads.iter().map(|(upload, _)| upload).collect::<Vec<_>>(), [&upload]);
    assert!(page.next.is_none());
    let parts = [
        oss.upload_part(&upload, 1, text(&big)).await.unwrap(),
        oss.copy_part(&upload, 2, "source").await.unwrap(),
        oss.upload_part(&upload, 3, text("end")).await.unwrap(),
    ];
    assert!(oss.copy_part(&upload, 4, "missing").await.unwrap_err().is_not_found());
    server.take_requests();
    oss.complete_multipart(&upload, &parts).await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "a checksum of the whole is not one of the request");
    assert_eq!(get(&oss, "big").await, format!("{big}{big}end"));
    assert!(oss.complete_multipart(&upload, &parts).await.unwrap_err().is_not_found());
    assert!(oss.upload_part(&upload, 1, text("late")).await.unwrap_err().is_not_found());
    oss.abort_multipart(&upload).await.unwrap();
    let upload = oss.begin_multipart("other").await.unwrap();
    assert_eq!(server.open_uploads(), 1);
    oss.abort_multipart(&upload).await.unwrap();
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn listings_fold_and_go_on() {
    let (oss, _server) = start();
    for key in ["d/a", "d/b/1", "d/b/2", "d/c", "e"] {
        put(&oss, key, "x").await;
    }
    let query = ListQuery { prefix: "d/", depth: Depth::Directory, after: None, limit: 2 };
    let page = oss.list(&query).await.unwrap();
    assert_eq!(page.objects.iter().map(|KeyEntry { key, .. }| key.as_str()).collect::<Vec<_>>(), ["d/a"]);
    assert_eq!((page.folded.as_slice(), page.more), (["d/b/".to_owned()].as_slice(), More::Yes));
    let page = oss.list(&ListQuery { after: Some("d/b/2"), ..query }).await.unwrap();
    assert_eq!(page.objects.len(), 1);
    assert_eq!(page.more, More::No);
}

#[tokio::test]
async fn what_is_wrong_at_the_start_names_the_key_to_change() {
    let server = OssServer::start(OssOptions::default());
    let right = config_for(&server);
    Oss::connect(&right).unwrap().check().await.unwrap();
    let given = |id: &str, secret: &str, token: Option<&str>| Credentials::Given {
        access_key_id: id.to_owned(),
        access_key_secret: Secret::new(secret),
        security_token: token.map(Secret::new),
    };
    let options = server.options();
    let (id, secret) = (options.access_key_id.as_str(), options.access_key_secret.as_str());
    let cases = [
        (Config { credentials: given(id, "wrong-secret", None), ..right.clone() }, "storage.oss.accesskeysecret"),
        (Config { credentials: given("wrong", secret, None), ..right.clone() }, "storage.oss.accesskeyid"),
        (Config { credentials: given(id, secret, Some("t")), ..right.clone() }, "storage.oss.securitytoken"),
        (Config { region: "cn-other".to_owned(), ..right.clone() }, "storage.oss.region, which is cn-other"),
        (
            Config {
                bucket: "other".to_owned(),
                address: Address::parse(server.endpoint(), "other", Scheme::Plain).unwrap(),
                ..right.clone()
            },
            "there is no bucket other: check storage.oss.bucket",
        ),
    ];
    for (config, expected) in cases {
        let message = message(&config).await;
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains(secret) && !message.contains("wrong-secret"), "{message}");
    }
    server.next_meet(&[Mishap::Refused(403, "RequestTimeTooSkewed")]);
    let told = message(&right).await;
    assert!(told.contains("set this machine's clock: the store's says "), "{told}");
}

#[tokio::test]
async fn encryption_is_asked_for_where_objects_are_made() {
    let server = OssServer::start(OssOptions::default());
    let encryption = Encryption::ManagedKey("key-1".to_owned());
    let oss = Oss::connect(&Config { encryption, ..config_for(&server) }).unwrap();
    put(&oss, "k", "x").await;
    oss.copy("k", "l").await.unwrap();
    let upload = oss.begin_multipart("m").await.unwrap();
    for request in server.take_requests() {
        assert_eq!(request.header("x-oss-server-side-encryption"), "KMS", "{request:?}");
        assert_eq!(request.header("x-oss-server-side-encryption-key-id"), "key-1", "{request:?}");
    }
    oss.upload_part(&upload, 1, text("x")).await.unwrap();
    assert_eq!(server.take_requests()[0].header("x-oss-server-side-encryption"), "", "parts take none");
}

#[tokio::test]
async fn refused_keys_of_the_machine_are_looked_up_again() {
    let server = OssServer::start(OssOptions::default());
    let options = server.options();
    let environment = HashMap::from([
        ("ALIBABA_CLOUD_ACCESS_KEY_ID".to_owned(), options.access_key_id.clone()),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET".to_owned(), options.access_key_secret.clone()),
    ]);
    let config = Config { credentials: Credentials::Found, ..config_for(&server) };
    let oss = Oss::connect_with(&config, Provider::new(&Credentials::Found, environment)).unwrap();
    server.next_meet(&[Mishap::Refused(403, "SecurityTokenExpired")]);
    put(&oss, "k", "x").await;
    assert_eq!(server.take_requests().len(), 2);
}

mod contract {
    use super::*;
    use crate::storage::driver::contract::contract_tests;

    async fn open() -> (Arc<dyn Driver>, OssServer) {
        let server = OssServer::start(OssOptions::default());
        let config = Config { root_directory: "registry".to_owned(), part_size: 100 << 10, ..config_for(&server) };
        (super::super::open(&config).await.unwrap(), server)
    }

    contract_tests!(open().await);
}
