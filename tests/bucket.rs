//! A registry over a bucket, seen from both sides: what its clients are answered, and what the store is asked. Requests are
//! counted on the wire, between the registry and an S3 server, so nothing that a client library adds goes unseen.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod peers;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use berth::gc::{PurgeMode, UploadPurger, UploadPurging};
use berth::storage::driver::s3::{Addressing, Credentials, Secret};
use berth::storage::driver::{self, Unfinished};
use berth::storage::{self, DriverConfig, S3Config, Store};
use futures_util::StreamExt;
use http::{Method, StatusCode};
use peers::faults::{FaultProxy, Plan};
use peers::s3::{S3Options, S3Server};
use support::{Answer, Berth, OCI_MANIFEST, digest, image, noise, to, with};

/// The store, and the way to it.
struct Bucket {
    server: S3Server,
    proxy: FaultProxy,
}

impl Bucket {
    async fn start() -> Self {
        let server = S3Server::start(S3Options::default());
        let to = server.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        Self { proxy: FaultProxy::start(to, Plan::clean()).await.unwrap(), server }
    }

    /// A replica that was just started and remembers nothing.
    async fn replica(&self) -> (Berth, Store) {
        let s3 = S3Config {
            region: self.server.region().to_owned(),
            endpoint: Some(self.proxy.endpoint()),
            addressing: Addressing::Path,
            credentials: Credentials::Given {
                access_key: self.server.access_key().to_owned(),
                secret_key: Secret::new(self.server.secret_key()),
                session_token: None,
            },
            ..S3Config::new(self.server.bucket())
        };
        let redirect = storage::Redirect::Never;
        let config = storage::Config { driver: DriverConfig::S3(Box::new(s3)), redirect, ..storage::Config::default() };
        let store = Store::new(driver::open(&config, driver::Access::ReadWrite).await.unwrap(), &config);
        (Berth::on(store.clone()).await, store)
    }

    /// Requests to the store since it was started, by kind.
    fn asked(&self) -> BTreeMap<String, u64> {
        self.proxy.counts().by_kind
    }

    /// Asserts how many requests `work` costs, those also that come after its answer: the removal of what it left.
    async fn costs(&self, what: &str, expected: &[(&str, u64)], work: impl Future<Output = ()>) {
        let before = self.asked();
        work.await;
        let expected: BTreeMap<String, u64> =
            expected.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        let removals = |asked: &BTreeMap<String, u64>| {
            ["DELETE", "POST delete"].iter().filter_map(|kind| asked.get(*kind)).sum::<u64>()
        };
        let awaited = removals(&before) + removals(&expected);
        let removed = async {
            while removals(&self.asked()) < awaited {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), removed).await.unwrap_or_else(|_| panic!("{what}: no removal"));
        let mut asked = self.asked();
        for (kind, count) in before {
            *asked.get_mut(&kind).unwrap() -= count;
        }
        asked.retain(|_, count| *count > 0);
        println!("{:3} requests: {what} {asked:?}", asked.values().sum::<u64>());
        assert_eq!(asked, expected, "{what}");
    }
}

/// Pushes a blob as docker's classic store and podman do.
async fn patch_blob(berth: &Berth, name: &str, content: &[u8]) -> String {
    let digest = digest(content);
    berth.head(&format!("/v2/{name}/blobs/{digest}")).await.is(StatusCode::NOT_FOUND);
    let location = berth.begin(name).await;
    let patched = berth.patch(&location, content.to_vec()).await.is(StatusCode::ACCEPTED);
    let last = with(patched.header("location"), &format!("digest={digest}"));
    berth.put(&last, "").await.is(StatusCode::CREATED);
    berth.head(&format!("/v2/{name}/blobs/{digest}")).await.is(StatusCode::OK);
    digest
}

async fn put_image(berth: &Berth, config: &str, layers: &[&str]) -> String {
    let layers: Vec<(&str, usize)> = layers.iter().map(|layer| (*layer, 1)).collect();
    let answer = berth.put_manifest("a", "latest", OCI_MANIFEST, image(config, &layers, None)).await;
    answer.is(StatusCode::CREATED).header("docker-content-digest").to_owned()
}

#[tokio::test]
async fn a_push_costs_few_requests() {
    let bucket = Bucket::start().await;
    let (berth, _) = bucket.replica().await;
    bucket
        .costs("a small blob as docker pushes it", &[("GET", 2), ("PUT", 2), ("PUT copy", 1), ("DELETE", 1)], async {
            patch_blob(&berth, "b", b"a layer").await;
        })
        .await;
    bucket
        .costs("a small blob by POST and PUT", &[("HEAD", 1), ("PUT", 2)], async {
            let location = with(&berth.begin("b").await, &format!("digest={}", digest(b"another")));
            berth.put(&location, "another").await.is(StatusCode::CREATED);
        })
        .await;
    bucket
        .costs("the same once more, to another repository", &[("HEAD", 1), ("PUT", 1)], async {
            berth.push_blob("c", b"another").await;
        })
        .await;
    let docker =
        [("GET", 8), ("GET list-type prefix", 1), ("HEAD", 4), ("PUT", 12), ("PUT copy", 4), ("POST delete", 1)];
    bucket
        .costs("an image of three layers as docker pushes it", &docker, async {
            let push = |content: &'static [u8]| patch_blob(&berth, "a", content);
            let (one, two, three, config) = tokio::join!(push(b"1"), push(b"2"), push(b"3"), push(b"{}"));
            put_image(&berth, &config, &[&one, &two, &three]).await;
        })
        .await;
}

#[tokio::test]
async fn a_large_blob_is_written_once_and_put_together_within_the_store() {
    let bucket = Bucket::start().await;
    let (berth, _) = bucket.replica().await;
    let content = noise(12 << 20);
    let known = [("HEAD", 1), ("POST uploads", 1), ("PUT partNumber uploadId", 3), ("POST uploadId", 1), ("PUT", 1)];
    bucket
        .costs("12 MiB whose digest is known", &known, async {
            berth.push_blob("a", &content).await;
        })
        .await;
    let content = [b"other".as_slice(), &content].concat();
    let unknown = [
        ("GET", 2),
        ("HEAD", 1),
        ("PUT", 4),
        ("POST uploads", 1),
        ("PUT copy partNumber uploadId", 3),
        ("POST uploadId", 1),
        ("POST delete", 1),
    ];
    bucket
        .costs("12 MiB whose digest comes last", &unknown, async {
            patch_blob(&berth, "a", &content).await;
        })
        .await;
}

#[tokio::test]
async fn a_pull_and_a_deletion_cost_few_requests() {
    let bucket = Bucket::start().await;
    let (berth, _) = bucket.replica().await;
    let (config, layer) = (berth.push_blob("a", b"{}").await, berth.push_blob("a", b"a layer").await);
    let manifest = put_image(&berth, &config, &[&layer]).await;

    let (berth, _) = bucket.replica().await;
    let by_digest = format!("/v2/a/manifests/{manifest}");
    let get = async |path: &str| drop(berth.get(path).await.is(StatusCode::OK));
    bucket.costs("GET manifest by digest, cold, both at once", &[("GET", 2)], get(&by_digest)).await;
    bucket.costs("GET manifest by digest", &[("GET", 1)], get(&by_digest)).await;
    bucket.costs("GET manifest by tag", &[("GET", 1)], get("/v2/a/manifests/latest")).await;
    bucket.costs("GET blob, both at once", &[("GET", 2)], get(&format!("/v2/a/blobs/{layer}"))).await;
    let (berth, _) = bucket.replica().await;
    let get = async |path: &str| drop(berth.get(path).await.is(StatusCode::OK));
    bucket.costs("GET manifest by tag, cold", &[("GET", 3)], get("/v2/a/manifests/latest")).await;

    let (berth, _) = bucket.replica().await;
    for number in 0..19 {
        let path = format!("tag-{number}");
        berth
            .put_manifest("a", &path, OCI_MANIFEST, image(&config, &[(&layer, 1)], None))
            .await
            .is(StatusCode::CREATED);
    }
    let deletion = [("GET", 21), ("GET list-type prefix", 1), ("POST delete", 2)];
    bucket
        .costs("DELETE manifest with 20 tags", &deletion, async {
            berth.delete(&by_digest).await.is(StatusCode::ACCEPTED);
        })
        .await;
}

#[tokio::test]
async fn a_session_whose_bytes_are_gone_is_unknown_when_it_ends() {
    let bucket = Bucket::start().await;
    let (berth, store) = bucket.replica().await;
    let location = berth.begin("a").await;
    let patched = berth.patch(&location, "a layer").await.is(StatusCode::ACCEPTED);
    let name = "a".parse().unwrap();
    for upload in store.list_uploads(&name).await.unwrap() {
        store.remove_upload(&name, &upload.id).await.unwrap();
    }
    let last = with(patched.header("location"), &format!("digest={}", digest(b"a layer")));
    berth.put(&last, "").await.refuses(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
}

/// Whether the client may try again; anything but success or such an answer is wrong.
#[track_caller]
fn may_try_again(answer: &Answer, done: StatusCode) -> bool {
    if answer.status == done {
        return false;
    }
    let passing =
        answer.status.is_server_error() && !answer.errors().is_empty() && answer.headers.contains_key("retry-after");
    assert!(passing, "{answer:?}");
    true
}

/// Sends the request until it is `done`, as a patient client would.
async fn insist(berth: &Berth, done: StatusCode, request: impl Fn() -> http::Request<Body>) -> Answer {
    for _ in 0..20 {
        let answer = berth.send_unchecked(request()).await;
        if !may_try_again(&answer, done) {
            return answer;
        }
    }
    panic!("the store was never reached");
}

/// Pushes one blob, whichever way, and begins anew when an answer says so.
async fn push_blob_on_a_bad_day(berth: &Berth, number: usize, content: &[u8]) {
    let digest = digest(content);
    if number.is_multiple_of(2) {
        let uri = format!("/v2/bad/blobs/uploads/?digest={digest}");
        insist(berth, StatusCode::CREATED, || to(Method::POST, &uri).body(content.to_vec().into()).unwrap()).await;
        return;
    }
    for _ in 0..20 {
        let location = berth.begin("bad").await;
        let patch = to(Method::PATCH, &location).body(content.to_vec().into()).unwrap();
        let patched = berth.send_unchecked(patch).await;
        if may_try_again(&patched, StatusCode::ACCEPTED) {
            continue;
        }
        let last = with(patched.header("location"), &format!("digest={digest}"));
        let put = berth.send_unchecked(to(Method::PUT, &last).body(Body::empty()).unwrap()).await;
        if !may_try_again(&put, StatusCode::CREATED) {
            return;
        }
    }
    panic!("no upload came to its end");
}

async fn image_on_a_bad_day(berth: &Berth, number: usize) -> (String, Vec<u8>) {
    let layer = [number.to_string().as_bytes(), &noise(if number.is_multiple_of(8) { 6 << 20 } else { 3000 })].concat();
    push_blob_on_a_bad_day(berth, number, b"{}").await;
    push_blob_on_a_bad_day(berth, number, &layer).await;
    let manifest = image(&digest(b"{}"), &[(&digest(&layer), layer.len())], None);
    let uri = format!("/v2/bad/manifests/{number}");
    let put = || to(Method::PUT, &uri).header("content-type", OCI_MANIFEST).body(manifest.clone().into()).unwrap();
    insist(berth, StatusCode::CREATED, put).await;
    (uri, layer)
}

#[tokio::test]
async fn a_bad_day_spoils_no_image_and_leaves_nothing_open() {
    let bucket = Bucket::start().await;
    let (berth, _) = bucket.replica().await;
    bucket.proxy.follow(Plan::bad_day(1, 15));
    let images: Vec<(String, Vec<u8>)> = futures_util::stream::iter(0..40)
        .map(|number| image_on_a_bad_day(&berth, number))
        .buffer_unordered(8)
        .collect()
        .await;
    let spoiled = bucket.proxy.counts().by_fault;
    assert!(spoiled.values().sum::<u64>() > 20, "{spoiled:?}");

    bucket.proxy.follow(Plan::clean());
    let (berth, store) = bucket.replica().await;
    for (manifest, layer) in &images {
        berth.get(manifest).await.is(StatusCode::OK);
        let pulled = berth.get(&format!("/v2/bad/blobs/{}", digest(layer))).await.is(StatusCode::OK);
        assert!(pulled.body == *layer, "{manifest} has other bytes");
    }
    let purging = UploadPurging { age: Duration::ZERO, interval: Duration::from_hours(1), mode: PurgeMode::Remove };
    let tomorrow = SystemTime::now() + Duration::from_hours(24);
    UploadPurger::new(store.clone(), purging).purge(tomorrow).await.unwrap();
    assert_eq!(store.unfinished_writes(tomorrow, Unfinished::Count).await.unwrap(), 0);
}
