//! Manifests: what is refused, what is kept, and what a delete takes along.

use super::*;
use crate::registry::{Error, IndexPlatforms, PageRequest, RepositoryClass};

fn by_digest(digest: Digest) -> Reference {
    Reference::Digest(digest)
}

#[tokio::test]
async fn what_was_pushed_is_pulled_to_the_byte() {
    let registry = registry();
    let manifest = image(&registry, "a", r#", "unknownField": [1,  2]"#).await;
    let digest = push_tag(&registry, "a", "v1", &manifest).await;
    for reference in [Reference::Tag(tag("v1")), by_digest(digest)] {
        let stored = registry.manifest(&name("a"), &reference).await.unwrap();
        assert_eq!(
            (stored.bytes, stored.digest, stored.media_type),
            (manifest.clone(), digest, MediaType::OCI_MANIFEST)
        );
    }
}

/// Each cached manifest once kept the 64 KiB network buffer it had arrived in.
#[tokio::test]
async fn a_kept_manifest_does_not_keep_the_buffer_it_arrived_in() {
    let registry = registry();
    let manifest = image(&registry, "a", "").await;
    let mut buffer = vec![0; 64 * 1024];
    buffer[..manifest.len()].copy_from_slice(&manifest);
    let buffer = Bytes::from(buffer);
    push_tag(&registry, "a", "t", &buffer.slice(..manifest.len())).await;
    assert!(buffer.is_unique());
}

#[tokio::test]
async fn a_manifest_keeps_the_type_it_was_pushed_as() {
    let registry = registry();
    let bytes = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
    let artifact: MediaType = "application/vnd.example.thing+json".parse().unwrap();
    for media_type in [artifact, MediaType::OCI_INDEX] {
        let reference = Reference::Tag(tag("t"));
        registry.put_manifest(&name("a"), &reference, &[], Some(media_type.clone()), bytes.clone()).await.unwrap();
        let stored = registry.manifest(&name("a"), &reference).await.unwrap();
        assert_eq!(stored.media_type, media_type);
    }
}

#[tokio::test]
async fn a_manifest_of_another_digest_is_refused() {
    let registry = registry();
    let manifest = image(&registry, "a", "").await;
    let wrong = by_digest(sha256(b"another"));
    let refused = registry.put_manifest(&name("a"), &wrong, &[], None, manifest).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
}

#[tokio::test]
async fn all_that_is_missing_is_named() {
    let registry = registry();
    // The blobs are in another repository, which does not make them this one's.
    let manifest = image(&registry, "a", "").await;
    let refused = registry.put_manifest(&name("b"), &Reference::Tag(tag("t")), &[], None, manifest).await;
    let Err(Error::ReferencesUnknown { missing, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, [sha256(b"{}"), sha256(b"layer")]);
    assert!(matches!(registry.tags(&name("b"), &PageRequest::default()).await, Err(Error::NameUnknown(_))));
}

async fn push_index(config: Config) -> super::super::Result<()> {
    let registry = Registry::new(config, Store::new(memory(), &storage::Config::default()));
    let child = sha256(b"a child that is not there");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{child}","size":1,"platform":{{"architecture":"amd64","os":"linux"}}}}]}}"#,
        MediaType::OCI_MANIFEST
    );
    let reference = Reference::Tag(tag("t"));
    registry.put_manifest(&name("a"), &reference, &[], Some(MediaType::OCI_INDEX), index.into()).await.map(drop)
}

#[tokio::test]
async fn index_children_are_asked_for_as_configured() {
    let platform = |os: &str| crate::registry::Platform { architecture: "amd64".to_owned(), os: os.to_owned() };
    for (platforms, accepted) in [
        (IndexPlatforms::All, false),
        (IndexPlatforms::None, true),
        (IndexPlatforms::List(vec![platform("linux")]), false),
        (IndexPlatforms::List(vec![platform("windows")]), true),
    ] {
        let mut config = config();
        config.validation.index_platforms = platforms.clone();
        assert_eq!(push_index(config).await.is_ok(), accepted, "{platforms:?}");
    }
}

#[tokio::test]
async fn an_index_may_list_blobs_as_buildkit_caches_do() {
    let registry = registry();
    let blob = push_blob(&registry, "a", b"cache").await;
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{blob}","size":5}}]}}"#
    );
    let reference = Reference::Tag(tag("cache"));
    registry.put_manifest(&name("a"), &reference, &[], Some(MediaType::OCI_INDEX), index.into()).await.unwrap();
}

#[tokio::test]
async fn layers_elsewhere_need_an_allowed_url() {
    for (allow, accepted) in [(None, false), (Some("^https://example\\.com/"), true), (Some("^https://other/"), false)]
    {
        let mut config = config();
        config.validation.urls.allow = allow.map(|pattern| regex::RegexSet::new([pattern]).unwrap());
        let registry = Registry::new(config, Store::new(memory(), &storage::Config::default()));
        let blob = push_blob(&registry, "a", b"{}").await;
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{blob}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{}","size":5,"urls":["https://example.com/layer"]}}]}}"#,
            sha256(b"elsewhere")
        );
        let reference = Reference::Tag(tag("t"));
        let pushed =
            registry.put_manifest(&name("a"), &reference, &[], Some(MediaType::OCI_MANIFEST), manifest.into()).await;
        assert_eq!(pushed.is_ok(), accepted, "{allow:?}: {pushed:?}");
    }
}

#[tokio::test]
async fn classes_keep_other_artifacts_out() {
    let mut config = config();
    config.repository_classes = vec![RepositoryClass::Plugin];
    let registry = Registry::new(config, Store::new(memory(), &storage::Config::default()));
    let manifest = image(&registry, "a", "").await;
    let refused = registry.put_manifest(&name("a"), &Reference::Tag(tag("t")), &[], None, manifest).await;
    assert!(matches!(refused, Err(Error::ClassDenied { .. })));
}

#[tokio::test]
async fn deleting_a_manifest_takes_its_tags_and_no_others() {
    let registry = registry();
    let one = image(&registry, "a", "").await;
    let two = image(&registry, "a", r#","annotations":{"n":"2"}"#).await;
    let digest = push_tag(&registry, "a", "v1", &one).await;
    push_tag(&registry, "a", "latest", &one).await;
    push_tag(&registry, "a", "v2", &two).await;
    registry.delete_manifest(&name("a"), &by_digest(digest)).await.unwrap();
    let tags = registry.tags(&name("a"), &PageRequest::default()).await.unwrap().items;
    assert_eq!(tags, [tag("v2")]);
    let gone = registry.manifest(&name("a"), &by_digest(digest)).await;
    assert!(matches!(gone, Err(Error::ManifestUnknown { .. })));
    let again = registry.delete_manifest(&name("a"), &by_digest(digest)).await;
    assert!(matches!(again, Err(Error::ManifestUnknown { .. })));
}

/// Once the limit was lowered, a manifest above it could be pulled but no longer deleted, and lost its tags in the attempt.
#[tokio::test]
async fn a_manifest_above_todays_limit_can_be_deleted() {
    let driver = memory();
    let generous = replica(&driver);
    let manifest = image(&generous, "a", "").await;
    let digest = push_tag(&generous, "a", "t", &manifest).await;
    let mut config = config();
    config.limits.manifest_bytes = manifest.len() / 2;
    let strict = Registry::new(config, Store::new(driver, &storage::Config::default()));
    strict.delete_manifest(&name("a"), &by_digest(digest)).await.unwrap();
    assert!(strict.tags(&name("a"), &PageRequest::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest() {
    let registry = registry();
    let manifest = image(&registry, "a", "").await;
    let digest = push_tag(&registry, "a", "v1", &manifest).await;
    registry.delete_manifest(&name("a"), &Reference::Tag(tag("v1"))).await.unwrap();
    assert!(registry.manifest(&name("a"), &by_digest(digest)).await.is_ok());
    assert!(registry.tags(&name("a"), &PageRequest::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_blob_deleted_here_stays_elsewhere() {
    let registry = registry();
    let digest = push_blob(&registry, "a", b"shared").await;
    push_blob(&registry, "b", b"shared").await;
    registry.delete_blob(&name("a"), &digest).await.unwrap();
    assert!(matches!(registry.blob(&name("a"), &digest, Reading::Whole).await, Err(Error::BlobUnknown { .. })));
    assert_eq!(content(&registry, "b", &digest).await, &b"shared"[..]);
}

#[tokio::test]
async fn the_switches_refuse_every_change() {
    let driver = memory();
    let open = replica(&driver);
    let manifest = image(&open, "a", "").await;
    let digest = push_tag(&open, "a", "t", &manifest).await;
    let store = Store::new(Arc::clone(&driver), &storage::Config::default());
    let keep = Registry::new(Config { deletion: Deletion::Disabled, ..config() }, store.clone());
    for reference in [by_digest(digest), Reference::Tag(tag("t"))] {
        let refused = keep.delete_manifest(&name("a"), &reference).await;
        assert!(matches!(refused, Err(Error::DeletionDisabled)));
    }
    assert!(matches!(keep.delete_blob(&name("a"), &sha256(b"{}")).await, Err(Error::DeletionDisabled)));

    let read_only = Registry::new(Config { access: crate::registry::Access::ReadOnly, ..config() }, store);
    let (repository, blob) = (name("a"), sha256(b"{}"));
    assert!(matches!(read_only.start_upload(&repository, None), Err(Error::ReadOnly)));
    assert!(matches!(read_only.upload_blob(&repository, &blob, body(b"{}").into()).await, Err(Error::ReadOnly)));
    assert!(matches!(read_only.mount(&repository, &blob, None).await, Err(Error::ReadOnly)));
    assert!(matches!(read_only.delete_blob(&repository, &blob).await, Err(Error::ReadOnly)));
    let put = read_only.put_manifest(&repository, &by_digest(digest), &[], None, manifest).await;
    assert!(matches!(put, Err(Error::ReadOnly)));
}
