//! The service against an S3 server in this process: what goes over the wire, and what refusals turn into.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;

use super::*;
use crate::peers::s3::{Habit, Recorded, S3Options, S3Server};
use crate::storage::driver::More;
use crate::storage::driver::bucket::{Depth, KeyEntry};
use crate::storage::driver::contract::contract_tests;
use crate::storage::error::Error;

/// The configuration that reaches `server`.
fn config_for(server: &S3Server) -> Config {
    Config {
        endpoint: Some(server.endpoint().to_owned()),
        addressing: Addressing::Path,
        region: server.region().to_owned(),
        credentials: Credentials::Given {
            access_key: server.access_key().to_owned(),
            secret_key: Secret::new(server.secret_key()),
            session_token: None,
        },
        ..Config::new(server.bucket())
    }
}

fn server_with(habits: &[Habit]) -> S3Server {
    S3Server::start(S3Options { habits: habits.to_vec(), ..S3Options::default() })
}

async fn connect(server: &S3Server) -> S3 {
    S3::connect(&config_for(server)).await.unwrap()
}

async fn put(s3: &S3, key: &str, content: &str) {
    s3.put(key, text(content), WriteMode::Overwrite).await.unwrap();
}

fn text(content: &str) -> Payload {
    Payload::from(bytes::Bytes::copy_from_slice(content.as_bytes()))
}

async fn read(fetched: Fetched) -> String {
    let pieces: Vec<bytes::Bytes> = fetched.body.try_collect().await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

async fn get(s3: &S3, key: &str) -> String {
    read(s3.get(key, None, None).await.unwrap()).await
}

/// Nothing that only some stores understand.
fn assert_plain(requests: &[Recorded]) {
    for request in requests {
        for name in request.headers.keys() {
            assert!(!name.as_str().contains("checksum") && name != "x-amz-trailer", "{request:?}");
        }
        assert!(!request.header("content-encoding").contains("aws-chunked"), "{request:?}");
        assert_eq!(request.header("transfer-encoding"), "", "{request:?}");
        if matches!(request.method.as_str(), "PUT" | "POST") {
            assert!(!request.header("content-length").is_empty(), "{request:?}");
        }
    }
}

mod contract {
    use super::*;

    contract_tests!({
        let server = server_with(&[]);
        (open(&Config { root_directory: "/some/place/".to_owned(), ..config_for(&server) }).await.unwrap(), server)
    });
}

/// The habits that hurt most, all at once.
mod contract_of_a_difficult_store {
    use super::*;

    contract_tests!({
        let server = server_with(&[
            Habit::IgnoresConditions,
            Habit::NoDeleteObjects,
            Habit::RefusesChecksums,
            Habit::RefusesAwsChunked,
            Habit::EqualParts,
            Habit::StartAfterWithinPrefix,
        ]);
        (open(&config_for(&server)).await.unwrap(), server)
    });
}

#[tokio::test]
async fn what_is_written_is_read_whole_and_in_part() {
    let server = server_with(&[]);
    let s3 = connect(&server).await;
    let pieces = vec![bytes::Bytes::from_static(b"0123"), bytes::Bytes::from_static(b"456789")];
    s3.put("a/b", Payload::from(pieces), WriteMode::Overwrite).await.unwrap();
    assert_eq!(get(&s3, "a/b").await, "0123456789");
    assert_eq!(s3.head("a/b").await.unwrap().size, 10);
    for (range, expected) in [(2..5, "234"), (8..20, "89"), (4..4, ""), (10..12, "")] {
        let fetched = s3.get("a/b", Some(range.clone()), None).await.unwrap();
        assert_eq!(fetched.head.size, 10, "{range:?}");
        assert_eq!(read(fetched).await, expected, "{range:?}");
    }
    put(&s3, "empty", "").await;
    assert_eq!(get(&s3, "empty").await, "");
    assert!(s3.head("a").await.unwrap_err().is_not_found());
    assert!(matches!(s3.get("a", None, None).await, Err(Error::NotFound { path }) if path == "a"));
}

#[tokio::test]
async fn an_object_of_another_version_is_not_found() {
    let server = server_with(&[]);
    let s3 = connect(&server).await;
    put(&s3, "k", "old").await;
    let version = s3.head("k").await.unwrap().version.unwrap();
    assert_eq!(read(s3.get("k", Some(0..2), Some(&version)).await.unwrap()).await, "ol");
    put(&s3, "k", "new").await;
    assert!(matches!(s3.get("k", None, Some(&version)).await, Err(Error::NotFound { .. })));
    assert!(matches!(s3.get("k", Some(1..1), Some(&version)).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn create_only_spares_what_exists() {
    let server = server_with(&[]);
    let s3 = connect(&server).await;
    s3.put("k", text("first"), WriteMode::CreateOnly).await.unwrap();
    let error = s3.put("k", text("second"), WriteMode::CreateOnly).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { path } if path == "k"));
    assert_eq!(get(&s3, "k").await, "first");
    // Another writer is at it; the store wants to be asked again.
    server.refuse_next(2, 409, "ConditionalRequestConflict");
    s3.put("other", text("third"), WriteMode::CreateOnly).await.unwrap();
}

#[tokio::test]
async fn nothing_on_the_wire_that_only_some_stores_understand() {
    let server = server_with(&[Habit::RefusesChecksums, Habit::RefusesAwsChunked, Habit::EqualParts]);
    let s3 = connect(&server).await;
    for key in ["a", "b", "c"] {
        put(&s3, key, key).await;
    }
    s3.delete(&["a".to_owned(), "b".to_owned(), "missing".to_owned()], Sending::AsOftenAsNeeded).await.unwrap();
    let upload = s3.begin_multipart("big").await.unwrap();
    let part = s3.upload_part(&upload, 1, text("all of it")).await.unwrap();
    s3.complete_multipart(&upload, &[part]).await.unwrap();
    assert_eq!(get(&s3, "big").await, "all of it");
    let requests = server.requests();
    assert_plain(&requests);
    let find = |method: &str, query: &str| {
        requests.iter().find(|request| request.method == method && request.query.contains(query)).unwrap()
    };
    assert_eq!(find("PUT", "x-id=PutObject").header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert_eq!(find("PUT", "partNumber=1").header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert_eq!(find("POST", "delete").header("content-md5").len(), 24);
    assert!(find("POST", "delete").header("authorization").contains("content-md5"), "it is signed too");
    assert!(s3.head("a").await.unwrap_err().is_not_found());
    assert_eq!(get(&s3, "c").await, "c");
}

#[tokio::test]
async fn a_store_that_deletes_singly_is_asked_once_only() {
    let server = server_with(&[Habit::NoDeleteObjects]);
    let s3 = connect(&server).await;
    let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    for round in 0..2 {
        for key in &keys {
            put(&s3, key, "x").await;
        }
        server.forget_requests();
        s3.delete(&keys, Sending::AsOftenAsNeeded).await.unwrap();
        let together = server.requests().iter().filter(|request| request.method == "POST").count();
        assert_eq!(together, usize::from(round == 0));
        assert!(s3.head("k7").await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn a_removal_that_is_sent_once_tells_of_every_request_that_may_act_later() {
    let many: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    for (habits, keys) in [(&[][..], &many[..1]), (&[], &many), (&[Habit::NoDeleteObjects], &many)] {
        let server = server_with(habits);
        let s3 = connect(&server).await;
        s3.delete(keys, Sending::Once { issued: SystemTime::now() }).await.unwrap();
        for (status, code) in [(503, "SlowDown"), (500, "InternalError")] {
            server.refuse_next(1, status, code);
            server.forget_requests();
            s3.delete(keys, Sending::Once { issued: SystemTime::now() }).await.unwrap_err();
            let mut sent: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
            sent.sort();
            assert!(sent.windows(2).all(|two| two[0] != two[1]), "{sent:?}");
            s3.delete(keys, Sending::AsOftenAsNeeded).await.unwrap();
        }
    }
}

#[tokio::test]
async fn listings_are_pages_in_byte_order() {
    let server = server_with(&[Habit::StartAfterWithinPrefix]);
    let s3 = connect(&server).await;
    for key in ["d/a", "d/b/1", "d/b/2", "d/c", "d-", "e"] {
        put(&s3, key, "xyz").await;
    }
    let query = ListQuery { prefix: "d/", depth: Depth::Directory, after: None, limit: 2 };
    let page = s3.list(&query).await.unwrap();
    let names = |objects: &[KeyEntry]| objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>();
    assert_eq!((names(&page.objects), page.folded), (vec!["d/a".to_owned()], vec!["d/b/".to_owned()]));
    assert_eq!((page.more, page.objects[0].size), (More::Yes, 3));
    let page = s3.list(&ListQuery { after: Some("d/b0"), ..query }).await.unwrap();
    assert_eq!((names(&page.objects), page.folded.len(), page.more), (vec!["d/c".to_owned()], 0, More::No));
    let tree = s3.list(&ListQuery { depth: Depth::Tree, limit: 1000, ..query }).await.unwrap();
    assert_eq!(names(&tree.objects), ["d/a", "d/b/1", "d/b/2", "d/c"]);
}

#[tokio::test]
async fn multipart_uploads_are_completed_aborted_and_listed() {
    let server = server_with(&[]);
    let s3 = connect(&server).await;
    put(&s3, "chunk +1", "the end").await;
    let upload = s3.begin_multipart("dir/big").await.unwrap();
    let large = Payload::from(vec![bytes::Bytes::from(vec![7; 3 << 20]); 2]);
    let first = s3.upload_part(&upload, 1, large).await.unwrap();
    let second = s3.copy_part(&upload, 2, "chunk +1").await.unwrap();
    let page = s3.list_multiparts("dir/", None).await.unwrap();
    assert_eq!((page.uploads.len(), &page.uploads[0].0), (1, &upload));
    assert!(s3.list_multiparts("other", None).await.unwrap().uploads.is_empty());
    s3.complete_multipart(&upload, &[first.clone(), second]).await.unwrap();
    assert_eq!(read(s3.get("dir/big", Some((6 << 20)..(7 << 20)), None).await.unwrap()).await, "the end");
    assert!(s3.complete_multipart(&upload, &[first]).await.unwrap_err().is_not_found());
    assert!(s3.upload_part(&upload, 1, text("late")).await.unwrap_err().is_not_found());
    s3.abort_multipart(&upload).await.unwrap();
    let other = s3.begin_multipart("dir/other").await.unwrap();
    s3.abort_multipart(&other).await.unwrap();
    assert!(s3.list_multiparts("dir/", None).await.unwrap().uploads.is_empty());
    s3.copy("chunk +1", "copy").await.unwrap();
    assert_eq!(get(&s3, "copy").await, "the end");
    assert!(s3.copy("missing", "copy").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn hiccups_are_repeated_with_the_same_body() {
    let server = server_with(&[]);
    let s3 = connect(&server).await;
    for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (200, "InternalError")] {
        let upload = s3.begin_multipart("k").await.unwrap();
        server.refuse_next(2, if status == 200 { 500 } else { status }, code);
        let part = s3.upload_part(&upload, 1, text("content")).await.unwrap();
        // MinIO denies a write that meets another request at the directory around it.
        server.refuse_next(1, 403, "AccessDenied");
        put(&s3, "denied", "once").await;
        // An error may come with a status that says success.
        server.refuse_next(1, status, code);
        s3.complete_multipart(&upload, &[part]).await.unwrap();
        assert_eq!(get(&s3, "k").await, "content");
    }
    server.refuse_next(100, 503, "SlowDown");
    server.forget_requests();
    let error = s3.head("k").await.unwrap_err();
    assert!(matches!(error, Error::Backend { retry: Retry::Later, .. }), "{error}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn addresses_are_signed_for_the_host_that_clients_reach() {
    let server = server_with(&[]);
    let s3 = connect(&server).await;
    put(&s3, "a b", "for everyone").await;
    let http = reqwest_client();
    let lifetime = Duration::from_mins(20);
    let get = s3.presign("a b", PresignMethod::Get, lifetime).await.unwrap();
    assert_eq!(http.get(&get).send().await.unwrap().text().await.unwrap(), "for everyone");
    let head = s3.presign("a b", PresignMethod::Head, lifetime).await.unwrap();
    assert_eq!(http.head(&head).send().await.unwrap().headers()["content-length"], "12");
    let config = Config { redirect_endpoint: Some("https://cdn.example.org".to_owned()), ..config_for(&server) };
    let elsewhere = S3::connect(&config).await.unwrap().presign("k", PresignMethod::Get, lifetime).await.unwrap();
    assert!(elsewhere.starts_with("https://cdn.example.org/images/k?"), "{elsewhere}");
    assert!(elsewhere.contains("X-Amz-Expires=1200"), "{elsewhere}");
}

fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::new()
}

#[tokio::test]
async fn a_wrong_configuration_is_one_clear_error_at_start() {
    let server = server_with(&[]);
    let right = config_for(&server);
    let given = |access_key: &str, secret_key: &str| Credentials::Given {
        access_key: access_key.to_owned(),
        secret_key: Secret::new(secret_key),
        session_token: None,
    };
    let cases = [
        (Config { bucket: "other".to_owned(), ..right.clone() }, "no bucket other: check storage.s3.bucket"),
        (Config { region: "mars".to_owned(), ..right.clone() }, "set storage.s3.region to us-east-1; it is mars now"),
        (Config { credentials: given(server.access_key(), "hush"), ..right.clone() }, "check storage.s3.secretkey"),
        (Config { credentials: given("nobody", server.secret_key()), ..right.clone() }, "check storage.s3.accesskey"),
    ];
    for (config, expected) in cases {
        let error = S3::connect(&config).await.unwrap().check().await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(expected), "{said}");
        assert!(matches!(error, Error::Backend { retry: Retry::Pointless, .. }), "{said}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
    server.refuse_next(1, 403, "RequestTimeTooSkewed");
    let said = S3::connect(&right).await.unwrap().check().await.unwrap_err().to_string();
    assert!(said.contains("set this machine's clock"), "{said}");
    S3::connect(&right).await.unwrap().check().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named() {
    // A port that was free a moment ago and is nobody's now.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server_with(&[]);
    let config = Config { endpoint: Some(format!("http://{address}")), ..config_for(&server) };
    let error = S3::connect(&config).await.unwrap().check().await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&format!("http://{address} cannot be reached")), "{said}");
    assert!(said.contains("storage.s3.regionendpoint"), "{said}");
}

#[tokio::test]
async fn what_new_objects_are_to_be_is_said_only_when_configured() {
    let server = server_with(&[]);
    let wanted = Config {
        storage_class: Some("STANDARD_IA".to_owned()),
        acl: Some("bucket-owner-full-control".to_owned()),
        encryption: Encryption::ManagedKey("the-key".to_owned()),
        user_agent: Some("shipyard/1".to_owned()),
        ..config_for(&server)
    };
    for (config, expected) in [
        (config_for(&server), ["", "", "", ""]),
        (wanted, ["STANDARD_IA", "bucket-owner-full-control", "aws:kms", "the-key"]),
    ] {
        let s3 = S3::connect(&config).await.unwrap();
        server.forget_requests();
        put(&s3, "k", "x").await;
        s3.copy("k", "l").await.unwrap();
        s3.begin_multipart("m").await.unwrap();
        let headers = [
            "x-amz-storage-class",
            "x-amz-acl",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
        ];
        for request in server.requests() {
            assert_eq!(headers.map(|name| request.header(name)), expected, "{request:?}");
            assert_eq!(request.header("user-agent") == "shipyard/1", config.user_agent.is_some());
        }
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_unless_told_otherwise() {
    let server = S3Server::start_encrypted(S3Options::default());
    let said = connect(&server).await.check().await.unwrap_err().to_string();
    assert!(said.contains("certificate"), "{said}");
    let config = Config { certificates: Certificates::Unverified, ..config_for(&server) };
    let s3 = S3::connect(&config).await.unwrap();
    let large = vec![bytes::Bytes::from(vec![b'x'; 1 << 20]); 2];
    s3.put("k", Payload::from(large), WriteMode::Overwrite).await.unwrap();
    assert_eq!(get(&s3, "k").await.len(), 2 << 20);
    assert_plain(&server.requests());
}
