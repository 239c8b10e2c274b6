//! Listings: pages that add up to the whole, and referrers from our own index and from others' stores.

use super::*;
use crate::registry::PageRequest;
use crate::storage::driver::WriteMode;

fn after(last: &str, limit: usize) -> PageRequest {
    PageRequest { after: Some(last.to_owned()), limit: Some(limit) }
}

#[tokio::test]
async fn tags_come_in_pages_of_byte_order() {
    let registry = registry();
    let manifest = image(&registry, "a", "").await;
    for tag_name in ["b", "a", "B", "c"] {
        push_tag(&registry, "a", tag_name, &manifest).await;
    }
    let all = registry.tags(&name("a"), &PageRequest::default()).await.unwrap();
    assert_eq!(all.items, ["B", "a", "b", "c"].map(tag));
    assert_eq!(all.next, None);
    let page = registry.tags(&name("a"), &after("a", 1)).await.unwrap();
    assert_eq!((page.items, page.next.as_deref()), (vec![tag("b")], Some("b")));
    let rest = registry.tags(&name("a"), &after("b", 5)).await.unwrap();
    assert_eq!((rest.items, rest.next), (vec![tag("c")], None));
    assert!(registry.tags(&name("a"), &after("zzz", 5)).await.unwrap().items.is_empty());
    assert!(registry.tags(&name("nobody"), &PageRequest::default()).await.is_err());
}

#[tokio::test]
async fn catalog_pages_of_every_size_add_up_to_the_whole() {
    let registry = registry();
    let names = ["a", "a/b", "a/b/c", "a-b", "a0", "b/c", "b.c", "x/y/z"];
    for repository in names {
        let manifest = image(&registry, repository, "").await;
        push_tag(&registry, repository, "t", &manifest).await;
    }
    // Blobs alone make no repository for the catalog.
    push_blob(&registry, "only-blobs", b"x").await;
    let whole = registry.catalog(&PageRequest::default()).await.unwrap().items;
    let mut expected: Vec<RepositoryName> = names.map(name).to_vec();
    expected.sort_by(|left, right| left.as_str().split('/').cmp(right.as_str().split('/')));
    assert_eq!(whole, expected);
    for limit in 1..=names.len() {
        let mut collected = Vec::new();
        let mut page = PageRequest { after: None, limit: Some(limit) };
        loop {
            let answer = registry.catalog(&page).await.unwrap();
            assert!(answer.items.len() <= limit);
            collected.extend(answer.items);
            match answer.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(collected, expected, "pages of {limit}");
    }
    let beyond = registry.catalog(&after("a/b/zz", 100)).await.unwrap().items;
    assert_eq!(beyond, expected[3..]);
}

async fn push_referrer(registry: &Registry, subject: &Digest, kind: &str, note: &str) -> Digest {
    let extra = format!(
        r#","artifactType":"{kind}","annotations":{{"note":"{note}"}},"subject":{{"mediaType":"{}","digest":"{subject}","size":7}}"#,
        MediaType::OCI_MANIFEST
    );
    let manifest = image(registry, "a", &extra).await;
    let reference = Reference::Digest(sha256(&manifest));
    let pushed = registry.put_manifest(&name("a"), &reference, &[], None, manifest).await.unwrap();
    assert_eq!(pushed.subject, Some(*subject));
    pushed.digest
}

#[tokio::test]
async fn referrers_are_listed_filtered_paged_and_forgotten() {
    let registry = registry();
    let subject = sha256(b"a subject that is not there");
    let none = registry.referrers(&name("a"), &subject, &[], &PageRequest::default()).await.unwrap();
    assert!(none.items.is_empty());
    let mut digests = vec![
        push_referrer(&registry, &subject, "type/one", "1").await,
        push_referrer(&registry, &subject, "type/two", "2").await,
        push_referrer(&registry, &subject, "type/two", "3").await,
    ];
    let two =
        registry.referrers(&name("a"), &subject, &["type/two".to_owned()], &PageRequest::default()).await.unwrap();
    assert_eq!(two.items.len(), 2);
    assert!(two.items.iter().all(|descriptor| descriptor.artifact_type.as_deref() == Some("type/two")));

    digests.sort_by_key(ToString::to_string);
    let mut collected = Vec::new();
    let mut page = PageRequest { after: None, limit: Some(1) };
    loop {
        let answer = registry.referrers(&name("a"), &subject, &[], &page).await.unwrap();
        collected.extend(answer.items.iter().map(|descriptor| descriptor.digest));
        match answer.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(collected, digests);

    registry.delete_manifest(&name("a"), &Reference::Digest(digests[0])).await.unwrap();
    let left = registry.referrers(&name("a"), &subject, &[], &PageRequest::default()).await.unwrap();
    assert_eq!(left.items.len(), 2);
}

#[tokio::test]
async fn a_store_without_our_index_answers_from_the_first_request() {
    let driver = memory();
    let writer = replica(&driver);
    let subject = sha256(b"subject");
    let referrer = push_referrer(&writer, &subject, "type/one", "1").await;
    // Take away what distribution would not have written.
    let index = crate::storage::StoragePath::for_test("docker/registry/v2/repositories/a/_referrers");
    driver.delete_prefix(&index).await.unwrap();
    let answer = replica(&driver).referrers(&name("a"), &subject, &[], &PageRequest::default()).await.unwrap();
    assert_eq!(answer.items.iter().map(|descriptor| descriptor.digest).collect::<Vec<_>>(), [referrer]);
    assert_eq!(answer.items[0].annotations["note"], "1");
}

#[tokio::test]
async fn referrers_under_a_fallback_tag_are_merged() {
    let registry = registry();
    let subject = sha256(b"subject");
    let indexed = push_referrer(&registry, &subject, "type/one", "1").await;
    let manifest = image(&registry, "a", r#","annotations":{"old":"client"}"#).await;
    let old = push_tag(&registry, "a", "old", &manifest).await;
    let fallback = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{0}","digest":"{old}","size":1,"artifactType":"type/old"}},{{"mediaType":"{0}","digest":"{indexed}","size":1}}]}}"#,
        MediaType::OCI_MANIFEST
    );
    let reference = Reference::Tag(Tag::referrers_fallback(&subject));
    registry.put_manifest(&name("a"), &reference, &[], Some(MediaType::OCI_INDEX), fallback.into()).await.unwrap();
    let answer = registry.referrers(&name("a"), &subject, &[], &PageRequest::default()).await.unwrap();
    let mut types: Vec<_> = answer.items.iter().filter_map(|descriptor| descriptor.artifact_type.clone()).collect();
    types.sort();
    assert_eq!(types, ["type/old", "type/one"]);
}

#[tokio::test]
async fn a_torn_tag_link_reads_as_missing_and_a_push_repairs_it() {
    let driver = memory();
    let registry = replica(&driver);
    let manifest = image(&registry, "a", "").await;
    push_tag(&registry, "a", "t", &manifest).await;
    let link = "docker/registry/v2/repositories/a/_manifests/tags/t/current/link";
    let path = crate::storage::StoragePath::for_test(link);
    driver.write(&path, Bytes::new(), WriteMode::Overwrite).await.unwrap();
    assert!(registry.manifest(&name("a"), &Reference::Tag(tag("t"))).await.is_err());
    push_tag(&registry, "a", "t", &manifest).await;
    assert!(registry.manifest(&name("a"), &Reference::Tag(tag("t"))).await.is_ok());
}
