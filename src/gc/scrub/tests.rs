//! Every kind of damage, made by hand on disk and in memory: it is found, and nothing else is; what can be mended is whole
//! afterwards.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::oci::{MediaType, Reference, Tag};
use crate::registry::{Body, Deletion, IndexPlatforms, Registry};
use crate::storage::driver::faulty::{Fault, Faulty};
use crate::storage::driver::memory::Memory;
use crate::storage::driver::{self, Access, Driver, WriteMode};
use crate::storage::{self, DriverConfig, FilesystemConfig, StoragePath};

const ROOT: &str = "docker/registry/v2";

/// A store with an image, an index of two, and a signature; and what they are.
struct Furnished {
    driver: Arc<dyn Driver>,
    image: Digest,
    layer: Digest,
    index: Digest,
    child: Digest,
    signature: Digest,
    _directory: Option<tempfile::TempDir>,
}

fn sha256(bytes: &[u8]) -> Digest {
    Hasher::digest(Algorithm::Sha256, bytes)
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn store(driver: &Arc<dyn Driver>) -> Store {
    Store::new(Arc::clone(driver), &storage::Config::default())
}

fn registry(driver: &Arc<dyn Driver>) -> Registry {
    let config = crate::registry::Config { deletion: Deletion::Enabled, ..crate::registry::Config::default() };
    Registry::new(config, store(driver))
}

async fn push_blob(registry: &Registry, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let body: Body<'static> = Box::pin(futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes))]));
    registry.upload_blob(&name("a/b"), &digest, body.into()).await.unwrap();
    format!(r#""digest":"{digest}","size":{}"#, bytes.len())
}

async fn push(registry: &Registry, manifest: String, tag: Option<&str>) -> Digest {
    let digest = sha256(manifest.as_bytes());
    let reference = tag.map_or(Reference::Digest(digest), |tag| Reference::Tag(tag.parse::<Tag>().unwrap()));
    registry.put_manifest(&name("a/b"), &reference, &[], None, manifest.into()).await.unwrap();
    digest
}

async fn push_image(registry: &Registry, layer: &str, tag: Option<&str>, extra: &str) -> (Digest, usize) {
    let config = push_blob(registry, format!("{{\"of\":\"{layer}\"}}").as_bytes()).await;
    let layer = push_blob(registry, layer.as_bytes()).await;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{config}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar",{layer}}}]{extra}}}"#,
        MediaType::OCI_MANIFEST
    );
    let length = manifest.len();
    (push(registry, manifest, tag).await, length)
}

async fn furnish(driver: Arc<dyn Driver>, directory: Option<tempfile::TempDir>) -> Furnished {
    let registry = registry(&driver);
    let (image, length) = push_image(&registry, "layer", Some("latest"), "").await;
    let (child, child_length) = push_image(&registry, "other", None, "").await;
    let descriptor = |digest: &Digest, length: usize| {
        format!(r#"{{"mediaType":"{}","digest":"{digest}","size":{length}}}"#, MediaType::OCI_MANIFEST)
    };
    let children = format!("{},{}", descriptor(&image, length), descriptor(&child, child_length));
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{children}]}}"#, MediaType::OCI_INDEX);
    let index = push(&registry, index, Some("multi")).await;
    let about = format!(r#","subject":{}"#, descriptor(&image, length));
    let (signature, _) = push_image(&registry, "signature", None, &about).await;
    // Looked through once, as by the first question for referrers.
    registry.referrers(&name("a/b"), &image, &[], &crate::registry::PageRequest::default()).await.unwrap();
    Furnished { driver, image, layer: sha256(b"layer"), index, child, signature, _directory: directory }
}

/// The same in memory, on disk, and in memory far away.
async fn everywhere() -> [Furnished; 3] {
    let directory = tempfile::tempdir().unwrap();
    let filesystem = FilesystemConfig { root_directory: directory.path().to_owned(), ..FilesystemConfig::default() };
    let config = storage::Config { driver: DriverConfig::Filesystem(filesystem), ..storage::Config::default() };
    let filesystem = driver::open(&config, Access::ReadWrite).await.unwrap();
    let far = Arc::new(Faulty::at(Latency::Remote, Arc::new(Memory::new())));
    [furnish(Arc::new(Memory::new()), None).await, furnish(filesystem, Some(directory)).await, furnish(far, None).await]
}

impl Furnished {
    fn path(&self, path: &str) -> StoragePath {
        let mut path = path.to_owned();
        for (word, digest) in [
            ("{image}", &self.image),
            ("{layer}", &self.layer),
            ("{index}", &self.index),
            ("{child}", &self.child),
            ("{signature}", &self.signature),
        ] {
            path = path.replace(word, &digest.hex());
        }
        let path = match path.strip_prefix("content/") {
            Some(hex) => format!("blobs/sha256/{}/{hex}/data", &hex[..2]),
            None => format!("repositories/a/b/{path}"),
        };
        StoragePath::for_test(&format!("{ROOT}/{path}"))
    }

    async fn write(&self, path: &str, content: &str) {
        let content = Bytes::copy_from_slice(content.as_bytes());
        self.driver.write(&self.path(path), content, WriteMode::Overwrite).await.unwrap();
    }

    async fn remove(&self, path: &str) {
        self.driver.stat(&self.path(path)).await.unwrap();
        self.driver.delete(&self.path(path)).await.unwrap();
    }

    async fn scrub(&self, config: Scrub) -> Vec<Finding> {
        let findings = std::sync::Mutex::new(Vec::new());
        let scrubber = Scrubber::new(store(&self.driver), Scrub { settle: Duration::ZERO, ..config });
        scrubber.scrub(&|finding| findings.lock().unwrap().push(finding.clone())).await.unwrap();
        findings.into_inner().unwrap()
    }

    async fn problems(&self, config: Scrub) -> Vec<Problem> {
        self.scrub(config).await.iter().map(|finding| finding.problem).collect()
    }
}

fn repairing() -> Scrub {
    Scrub { repairs: Repairs::Apply, ..Scrub::default() }
}

fn reading() -> Scrub {
    Scrub { reading: ScrubReading::Everything, ..Scrub::default() }
}

#[tokio::test]
async fn a_whole_store_has_no_findings() {
    for furnished in everywhere().await {
        for config in [Scrub::default(), reading(), repairing()] {
            assert_eq!(furnished.scrub(config).await, []);
        }
    }
}

#[tokio::test]
async fn a_report_counts_what_was_looked_at() {
    for furnished in everywhere().await {
        let scrubber = Scrubber::new(store(&furnished.driver), reading());
        let report = scrubber.scrub(&|_| {}).await.unwrap();
        assert_eq!((report.contents, report.hashed, report.repositories), (10, 10, 1));
        assert_eq!((report.manifests, report.tags, report.layer_links), (4, 2, 6));
        assert_eq!((report.errors, report.warnings, report.mended), (0, 0, 0));
    }
}

/// What is overwritten with what, or removed; what is found; and what is left when it was mended.
type Damage = (&'static str, Option<&'static str>, &'static [Problem], &'static [Problem]);
const DAMAGE: &[Damage] = {
    use Problem::*;
    &[
        ("_manifests/tags/latest/current/link", Some(""), &[EmptyLink], &[EmptyLink]),
        ("_manifests/tags/latest/current/link", Some("sha256:12"), &[TornLink], &[TornLink]),
        ("_manifests/tags/latest/current/link", None, &[TagWithoutManifest], &[TagWithoutManifest]),
        ("_manifests/tags/latest/current/link", Some(NOWHERE), &[DanglingTag], &[DanglingTag]),
        ("_manifests/tags/latest/index/sha256/{image}/link", None, &[TagEntryMissing], &[]),
        ("_manifests/tags/latest/index/sha256/{image}/link", Some(""), &[TagEntryDamaged], &[]),
        ("_manifests/tags/latest/index/sha256/00/link", Some("x"), &[ForeignName], &[ForeignName]),
        (STALE_ENTRY, Some(NOWHERE), &[TagEntryStale], &[]),
        ("_manifests/tags/not a tag/current/link", Some(NOWHERE), &[ForeignName], &[ForeignName]),
        ("_manifests/revisions/sha256/{image}/link", Some(""), &[EmptyLink], &[]),
        ("_manifests/revisions/sha256/{image}/link", Some("\0\0\0\0"), &[TornLink], &[]),
        ("_manifests/revisions/sha256/{image}/link", Some(NOWHERE), &[MisleadingLink], &[]),
        ("_manifests/revisions/sha256/{child}/link", None, &[ChildMissing], &[ChildMissing]),
        ("_manifests/revisions/sha256/nonsense/link", Some("x"), &[ForeignName], &[ForeignName]),
        ("_layers/sha256/{layer}/link", Some(""), &[EmptyLink], &[]),
        ("_layers/sha256/{layer}/link", Some("torn"), &[TornLink], &[]),
        ("_layers/sha256/{layer}/link", None, &[PartMissing], &[PartMissing]),
        (LINK_TO_NOTHING, Some(NOWHERE), &[DanglingLayerLink], &[DanglingLayerLink]),
        ("content/{layer}", None, &[PartMissing], &[PartMissing]),
        ("content/{layer}", Some(""), &[WrongContent, PartDamaged], &[WrongContent, PartDamaged]),
        ("content/{layer}", Some("lay"), &[PartDamaged], &[PartDamaged]),
        ("content/{image}", None, &[ContentMissing], &[ContentMissing]),
        ("content/{image}", Some("{}"), &[PartDamaged, PartDamaged], &[PartDamaged, PartDamaged]),
        (SIGNATURE_ENTRY, None, &[ReferrerMissing], &[]),
        (SIGNATURE_ENTRY, Some("{\"media"), &[ReferrerDamaged], &[]),
        (STALE_REFERRER, Some("{}"), &[ReferrerStale], &[]),
        ("_referrers/sha256/{child}/sha256/{signature}/link", Some("{}"), &[ReferrerStale], &[]),
        ("_referrers/sha256/x/sha256/{signature}/link", Some("{}"), &[ForeignName], &[ForeignName]),
    ]
};
const NOWHERE: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000ff";
const STALE_ENTRY: &str =
    "_manifests/tags/latest/index/sha256/00000000000000000000000000000000000000000000000000000000000000ff/link";
const LINK_TO_NOTHING: &str = "_layers/sha256/00000000000000000000000000000000000000000000000000000000000000ff/link";
const SIGNATURE_ENTRY: &str = "_referrers/sha256/{image}/sha256/{signature}/link";
const STALE_REFERRER: &str =
    "_referrers/sha256/{image}/sha256/00000000000000000000000000000000000000000000000000000000000000ff/link";

#[tokio::test]
async fn every_damage_is_found_and_nothing_else_and_mended_where_that_needs_no_guess() {
    // Side by side, because each waits for the disk most of the time.
    futures_util::future::join_all(DAMAGE.iter().map(|(path, content, expected, left)| async move {
        for furnished in everywhere().await {
            furnished.is_found_and_mended(path, *content, expected, left).await;
        }
    }))
    .await;
}

impl Furnished {
    async fn is_found_and_mended(&self, path: &str, content: Option<&str>, expected: &[Problem], left: &[Problem]) {
        match content {
            Some(content) => self.write(path, content).await,
            None => self.remove(path).await,
        }
        let what = format!("{path} = {content:?} with {} {:?}", self.driver.name(), self.driver.latency());
        assert_eq!(self.problems(Scrub::default()).await, *expected, "{what}");
        let mended = self.scrub(repairing()).await;
        let done = mended.iter().filter(|finding| finding.mending == Mending::Done).count();
        assert_eq!(done, expected.len() - left.len(), "{what}: {mended:?}");
        assert_eq!(self.problems(Scrub::default()).await, *left, "{what}");
        if left.is_empty() {
            self.assert_served(&what).await;
        }
    }

    /// Everything can be pulled, and the signature is found.
    async fn assert_served(&self, what: &str) {
        let registry = registry(&self.driver);
        for (tag, digest) in [("latest", self.image), ("multi", self.index)] {
            let tag = Reference::Tag(tag.parse().unwrap());
            assert_eq!(registry.manifest(&name("a/b"), &tag).await.unwrap().digest, digest, "{what}");
        }
        assert!(registry.blob_size(&name("a/b"), &self.layer).await.is_ok(), "{what}");
        let page = crate::registry::PageRequest::default();
        let referrers = registry.referrers(&name("a/b"), &self.image, &[], &page).await.unwrap();
        assert_eq!(referrers.items.iter().map(|item| item.digest).collect::<Vec<_>>(), [self.signature], "{what}");
    }
}

#[tokio::test]
async fn content_of_the_right_size_is_judged_when_it_is_read() {
    for furnished in everywhere().await {
        furnished.write("content/{layer}", "lAyer").await;
        assert_eq!(furnished.problems(Scrub::default()).await, []);
        let found = furnished.problems(reading()).await;
        assert_eq!(found, [Problem::WrongContent, Problem::PartDamaged]);
        push_blob(&registry(&furnished.driver), b"layer").await;
        assert_eq!(furnished.problems(reading()).await, [], "pushed again, it is whole");
    }
}

#[tokio::test]
async fn a_manifest_that_tells_wrong_sizes_is_not_taken_for_damage() {
    for furnished in everywhere().await {
        let registry = registry(&furnished.driver);
        let config = push_blob(&registry, b"{}").await.replace("\"size\":2", "\"size\":3");
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{config}}},"layers":[]}}"#,
            MediaType::OCI_MANIFEST
        );
        push(&registry, manifest, Some("odd")).await;
        assert_eq!(furnished.problems(Scrub::default()).await, [Problem::PartOfOtherSize]);
    }
}

#[tokio::test]
async fn a_child_that_need_not_be_pushed_is_a_warning() {
    for furnished in everywhere().await {
        furnished.remove("_manifests/revisions/sha256/{child}/link").await;
        let validation = Validation { index_platforms: IndexPlatforms::None, ..Validation::default() };
        let found = furnished.scrub(Scrub { validation, ..Scrub::default() }).await;
        let found: Vec<_> = found.iter().map(|finding| (finding.problem, finding.severity)).collect();
        assert_eq!(found, [(Problem::SparseChild, Severity::Warning)]);
    }
}

#[tokio::test]
async fn what_is_no_manifest_any_more_is_told_apart() {
    for furnished in everywhere().await {
        for (text, problem) in [
            ("no json", Problem::NotAManifest),
            ("{\"a\":1}", Problem::MediaTypeUnknown),
            ("{\"schemaVersion\":2,\"config\":7}", Problem::BreaksRules),
        ] {
            let digest = sha256(text.as_bytes());
            let link = format!("_manifests/revisions/sha256/{}/link", digest.hex());
            furnished.write(&format!("content/{}", digest.hex()), text).await;
            furnished.write(&link, &digest.to_string()).await;
            assert_eq!(furnished.problems(Scrub::default()).await, [problem], "{text}");
            furnished.remove(&link).await;
        }
    }
}

#[tokio::test]
async fn each_finding_says_where_it_is_and_what_to_do() {
    let furnished = furnish(Arc::new(Memory::new()), None).await;
    furnished.write("_manifests/tags/latest/current/link", "").await;
    let found = furnished.scrub(Scrub::default()).await;
    assert_eq!(found[0].to_string(), "error: a/b: tag latest: the link file is empty");
    assert_eq!(found[0].path, furnished.path("_manifests/tags/latest/current/link").to_string());
    let json = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(json["problem"], "empty-link");
    assert_eq!(json["repository"], "a/b");
    assert!(json["remedy"].as_str().is_some_and(|remedy| remedy.contains("push")));
}

#[tokio::test]
async fn what_is_deleted_while_it_is_looked_at_is_no_finding() {
    for furnished in everywhere().await {
        let faulty = Faulty::new(Arc::clone(&furnished.driver));
        let driver: Arc<dyn Driver> = Arc::new(faulty.clone());
        furnished.remove("content/{layer}").await;
        let scrubber = Scrubber::new(store(&driver), Scrub { settle: Duration::from_mins(1), ..Scrub::default() });
        tokio::time::pause();
        let scrub = scrubber.scrub(&|finding| panic!("{finding}"));
        // The content comes back while the scrubber waits for whatever is under way.
        let push = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            push_blob(&registry(&furnished.driver), b"layer").await;
        };
        let (report, ()) = tokio::join!(scrub, push);
        assert_eq!(report.unwrap().errors, 0);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_store_that_fails_is_not_judged() {
    let furnished = furnish(Arc::new(Memory::new()), None).await;
    let faulty = Faulty::new(Arc::clone(&furnished.driver));
    let driver: Arc<dyn Driver> = Arc::new(faulty.clone());
    for number in 0.. {
        faulty.fail(number, Fault::Before);
        let scrubber = Scrubber::new(store(&driver), Scrub { settle: Duration::ZERO, ..reading() });
        let result = scrubber.scrub(&|finding| panic!("{finding}")).await;
        if faulty.calls().len() <= number {
            assert!(result.is_ok());
            return;
        }
        assert!(result.is_err(), "call {number} failed and nobody noticed");
    }
}
