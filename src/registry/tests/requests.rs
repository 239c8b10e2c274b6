//! How often a store across a network is asked for each operation: a driver call is a request, but for opening an upload
//! session, of which a bucket knows nothing. A number that grows is a regression that every client waits for.

use super::*;
use crate::registry::{Error, PageRequest};
use crate::storage::driver::faulty::{Call, Faulty};
use crate::storage::driver::{Latency, Unfinished, WriteMode};
use crate::storage::{StoragePath, Store};

/// Calls that cost a bucket nothing: it knows of a staged write when its bytes come, and takes them up by their state.
const FREE: [&str; 6] = ["stage", "resume", "create", "append", "suspend", "staged_length"];

/// A registry far from its store, cold, and the record of what it asks.
fn far(driver: &Arc<dyn Driver>) -> (Registry, Faulty) {
    let counted = Faulty::at(Latency::Remote, Arc::clone(driver));
    let remote: Arc<dyn Driver> = Arc::new(counted.clone());
    (replica(&remote), counted)
}

/// The requests since the last time, and forgets them.
fn requests(counted: &Faulty) -> Vec<Call> {
    let calls = counted.calls().into_iter().filter(|call| !FREE.contains(&call.verb)).collect();
    counted.heal();
    calls
}

async fn stored_image() -> (Arc<dyn Driver>, Bytes, Digest) {
    let driver = memory();
    let near = replica(&driver);
    let manifest = image(&near, "a", "").await;
    let digest = push_tag(&near, "a", "t", &manifest).await;
    (driver, manifest, digest)
}

#[tokio::test]
async fn a_pull_asks_once_for_each_link_and_once_for_the_content() {
    let (driver, _, digest) = stored_image().await;
    let (registry, counted) = far(&driver);
    for (reference, cold, warm) in [(Reference::Digest(digest), 2, 1), (Reference::Tag(tag("t")), 3, 1)] {
        let (registry, counted) = far(&driver);
        registry.manifest(&name("a"), &reference).await.unwrap();
        assert_eq!(requests(&counted).len(), cold, "{reference} cold");
        registry.manifest(&name("a"), &reference).await.unwrap();
        assert_eq!(requests(&counted).len(), warm, "{reference} warm");
    }
    let layer = sha256(b"layer");
    registry.blob(&name("a"), &layer, Reading::Whole).await.unwrap();
    assert_eq!(requests(&counted).len(), 2);
    registry.blob_size(&name("a"), &layer).await.unwrap();
    assert_eq!((requests(&counted).len(), counted.count("open")), (2, 0));
    // What a client asks before it pushes.
    assert!(registry.blob_size(&name("a"), &sha256(b"none")).await.is_err());
    assert_eq!(requests(&counted).len(), 1);
}

#[tokio::test]
async fn a_tag_whose_manifest_was_taken_away_leads_nowhere() {
    let (driver, _, digest) = stored_image().await;
    let revision = format!("docker/registry/v2/repositories/a/_manifests/revisions/sha256/{}/link", digest.hex());
    driver.delete(&StoragePath::for_test(&revision)).await.unwrap();
    let (registry, _) = far(&driver);
    let missing = registry.manifest(&name("a"), &Reference::Tag(tag("t"))).await;
    assert!(matches!(missing, Err(Error::ManifestUnknown { .. })));
}

/// HEAD, POST, PATCH, PUT for each blob, then the manifest by tag. A bucket adds to each blob the request of its PATCH, and
/// three to its PUT where this test sees one `publish`.
#[tokio::test]
async fn a_small_image_pushed_by_docker_leaves_little_to_ask() {
    let (registry, counted) = far(&memory());
    let repository = name("a");
    let layers: [&[u8]; 3] = [b"one", b"two", b"three"];
    let mut descriptors = Vec::new();
    for blob in layers.into_iter().chain([&b"{}"[..]]) {
        let digest = sha256(blob);
        assert!(registry.blob_size(&repository, &digest).await.is_err());
        let session = registry.start_upload(&repository, None).unwrap();
        let session = registry.append(&repository, session.id, &session.state, None, body(blob)).await.unwrap();
        let nothing = body(b"").into();
        registry.finish_upload(&repository, session.id, &session.state, None, nothing, &digest).await.unwrap();
        descriptors.push(format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":{}}}"#, blob.len()));
        let verbs: Vec<_> = requests(&counted).into_iter().map(|call| call.verb).collect();
        assert_eq!(verbs, ["read", "publish", "write"]);
    }
    let config = descriptors.pop().unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST,
        descriptors.join(",")
    );
    push_tag(&registry, "a", "t", &manifest.into()).await;
    let verbs: Vec<_> = requests(&counted).into_iter().map(|call| call.verb).collect();
    // The two objects of the first write of many and the one of the second are a request each. Collectors are looked for
    // twice, the first time while the parts are; later pushes do without that.
    assert_eq!(verbs, ["list", "stat", "stat", "stat", "stat", "write", "write_many", "write_many", "list"]);
}

#[tokio::test]
async fn a_blob_sent_whole_is_written_where_it_stays_and_linked() {
    let (registry, counted) = far(&memory());
    push_blob(&registry, "a", b"layer").await;
    assert_eq!(requests(&counted).len(), 2);
    let session = registry.start_upload(&name("a"), None).unwrap();
    let content = body(b"other").into();
    registry.finish_upload(&name("a"), session.id, &session.state, None, content, &sha256(b"other")).await.unwrap();
    assert_eq!(requests(&counted).len(), 2);
}

#[tokio::test]
async fn content_that_went_meanwhile_is_missed_however_fresh_its_link() {
    let (registry, counted) = far(&memory());
    let manifest = image(&registry, "a", "").await;
    let layer = sha256(b"layer");
    let data = format!("docker/registry/v2/blobs/sha256/{}/{}/data", &layer.hex()[..2], layer.hex());
    counted.delete(&StoragePath::for_test(&data)).await.unwrap();
    let reference = Reference::Tag(tag("t"));
    let refused = registry.put_manifest(&name("a"), &reference, &[], None, manifest.clone()).await;
    assert!(matches!(refused, Err(Error::ReferencesUnknown { missing, .. }) if missing == [layer]));
    // And a link that this process removed is known to be gone.
    push_blob(&registry, "a", b"layer").await;
    registry.delete_blob(&name("a"), &layer).await.unwrap();
    let refused = registry.put_manifest(&name("a"), &reference, &[], None, manifest).await;
    assert!(matches!(refused, Err(Error::ReferencesUnknown { .. })));
}

#[tokio::test]
async fn a_manifest_with_twenty_tags_goes_within_twenty_five_requests() {
    let (driver, manifest, digest) = stored_image().await;
    let near = replica(&driver);
    for number in 1..20 {
        push_tag(&near, "a", &format!("t{number}"), &manifest).await;
    }
    let other = image(&near, "a", r#","annotations":{"a":"b"}"#).await;
    let other_digest = push_tag(&near, "a", "t1", &other).await;
    push_tag(&near, "a", "t20", &manifest).await;
    let (registry, counted) = far(&driver);
    registry.delete_manifest(&name("a"), &Reference::Digest(digest)).await.unwrap();
    let asked = requests(&counted);
    assert!(asked.len() <= 26, "{} requests: {asked:?}", asked.len());
    assert_eq!(registry.tags(&name("a"), &PageRequest::default()).await.unwrap().items, [tag("t1")]);
    let left = registry.manifest(&name("a"), &Reference::Tag(tag("t1"))).await.unwrap();
    assert_eq!(left.digest, other_digest);
    assert!(registry.manifest(&name("a"), &Reference::Digest(digest)).await.is_err());
}

#[tokio::test]
async fn a_page_costs_what_the_page_holds() {
    let driver = memory();
    let near = replica(&driver);
    for number in 0..60 {
        let repository = format!("r{number:02}");
        let manifest = image(&near, &repository, "").await;
        push_tag(&near, &repository, "t", &manifest).await;
    }
    let (registry, counted) = far(&driver);
    let page = |after: Option<&str>| PageRequest { after: after.map(str::to_owned), limit: Some(10) };
    let first = registry.catalog(&page(None)).await.unwrap();
    assert_eq!((first.items.len(), first.next.as_deref()), (10, Some("r09")));
    assert_eq!(requests(&counted).len(), 1 + 11);
    let second = registry.catalog(&page(Some("r09"))).await.unwrap();
    assert_eq!(second.items.first(), Some(&name("r10")));
    // Below r09 itself there may be more.
    assert_eq!(requests(&counted).len(), 1 + 1 + 11);
    registry.tags(&name("r00"), &PageRequest::default()).await.unwrap();
    assert_eq!(requests(&counted).len(), 1);
    let subject = sha256(b"none");
    registry.referrers(&name("r00"), &subject, &[], &PageRequest::default()).await.unwrap();
    let first = requests(&counted).len();
    registry.referrers(&name("r00"), &subject, &[], &PageRequest::default()).await.unwrap();
    // The fallback tag and one listing for each algorithm; the first time the repository is looked through as well.
    assert_eq!((requests(&counted).len(), first), (3, 9));
}

#[tokio::test]
async fn sessions_in_a_bucket_are_listed_by_what_lies_below_them() {
    let driver = memory();
    for object in ["one/data/1-0", "one/data/1-1", "two/startedat"] {
        let path = StoragePath::for_test(&format!("docker/registry/v2/repositories/a/_uploads/{object}"));
        driver.write(&path, "x".into(), WriteMode::Overwrite).await.unwrap();
    }
    let counted = Faulty::at(Latency::Remote, driver);
    let store = Store::new(Arc::new(counted.clone()), &storage::Config::default());
    let uploads = store.list_uploads(&name("a")).await.unwrap();
    let ids: Vec<_> = uploads.iter().map(|upload| (upload.id.as_str(), upload.modified.is_some())).collect();
    assert_eq!(ids, [("one", true), ("two", true)]);
    assert_eq!(requests(&counted).len(), 1);
    store.unfinished_writes(std::time::SystemTime::now(), Unfinished::Count).await.unwrap();
    assert_eq!(requests(&counted).len(), 1);
}
