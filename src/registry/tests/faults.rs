//! Every storage call of every workload fails once, in every way: nothing that was acknowledged is incomplete, nothing that
//! is visible is wrong, and the same work succeeds once storage does again.

use futures_util::FutureExt;

use super::*;
use crate::registry::{Error, Mount, PageRequest, Result};
use crate::storage::driver::Latency;
use crate::storage::driver::faulty::{FAULTS, Fault, Faulty};

const LAYER: &[u8] = b"a layer pushed in two pieces";

fn manifest() -> Bytes {
    let layer = sha256(LAYER);
    let config = sha256(b"{}");
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{}}}],"subject":{{"mediaType":"{}","digest":"{config}","size":2}}}}"#,
        LAYER.len(),
        MediaType::OCI_MANIFEST
    )
    .into()
}

/// Pushes a layer by chunks, a config in one request, and a manifest under two tags.
async fn push_image(registry: &Registry) -> Result<()> {
    let repository = name("a");
    let session = registry.start_upload(&repository, None)?;
    let (head, tail) = LAYER.split_at(9);
    let session = registry.append(&repository, session.id, &session.state, None, body(head)).await?;
    registry.finish_upload(&repository, session.id, &session.state, None, body(tail).into(), &sha256(LAYER)).await?;
    let session = registry.start_upload(&repository, None)?;
    registry.finish_upload(&repository, session.id, &session.state, None, body(b"{}").into(), &sha256(b"{}")).await?;
    let (reference, media_type) = (Reference::Tag(tag("t")), Some(MediaType::OCI_MANIFEST));
    registry.put_manifest(&repository, &reference, &[tag("u")], media_type, manifest()).await.map(drop)
}

/// Mounts, lists, asks for referrers and pulls.
async fn use_image(registry: &Registry) -> Result<()> {
    if registry.mount(&name("b"), &sha256(LAYER), Some(&name("a"))).await? == Mount::Declined {
        return Err(Error::UploadUnknown);
    }
    registry.blob(&name("b"), &sha256(LAYER), Reading::Whole).await?;
    let tags = registry.tags(&name("a"), &PageRequest::default()).await?;
    assert_eq!(tags.items, [tag("t"), tag("u")]);
    assert_eq!(registry.catalog(&PageRequest::default()).await?.items, [name("a")]);
    let referrers = registry.referrers(&name("a"), &sha256(b"{}"), &[], &PageRequest::default()).await?;
    assert_eq!(referrers.items.len(), 1);
    registry.manifest(&name("a"), &Reference::Tag(tag("u"))).await.map(drop)
}

/// Deletes a tag, then the manifest, then a blob.
async fn delete_image(registry: &Registry) -> Result<()> {
    registry.delete_manifest(&name("a"), &Reference::Tag(tag("u"))).await?;
    registry.delete_manifest(&name("a"), &Reference::Digest(sha256(&manifest()))).await?;
    registry.delete_blob(&name("a"), &sha256(LAYER)).await
}

/// That whatever a tag leads to is whole, asked of a replica that has seen nothing.
async fn assert_whole(driver: &Arc<dyn Driver>, acknowledged: bool, context: &str) {
    let registry = replica(driver);
    for (repository, digest, bytes) in
        [("a", sha256(LAYER), LAYER), ("a", sha256(b"{}"), b"{}"), ("b", sha256(LAYER), LAYER)]
    {
        if registry.blob(&name(repository), &digest, Reading::Whole).await.is_ok() {
            assert_eq!(content(&registry, repository, &digest).await, bytes, "{context}");
        }
    }
    for tag_name in ["t", "u"] {
        match registry.manifest(&name("a"), &Reference::Tag(tag(tag_name))).await {
            Ok(stored) => {
                assert_eq!(stored.bytes, manifest(), "{context}");
                assert_eq!(content(&registry, "a", &sha256(LAYER)).await, LAYER, "{context}");
                assert_eq!(content(&registry, "a", &sha256(b"{}")).await, &b"{}"[..], "{context}");
            }
            Err(error) => assert!(!acknowledged, "{context}: an acknowledged image is gone: {error}"),
        }
    }
}

/// Only what storage did may be an error, and nothing may be taken for missing because storage failed.
fn assert_honest(result: &Result<()>, context: &str) {
    match result {
        Ok(()) | Err(Error::Storage(_)) => {}
        Err(other) => panic!("{context}: a fault of storage was told as {other}"),
    }
}

/// Every fault, on a store that is near and on one that is asked several things at once.
fn everywhere() -> impl Iterator<Item = (Fault, Latency)> {
    FAULTS.into_iter().flat_map(|fault| [Latency::Local, Latency::Remote].map(|latency| (fault, latency)))
}

#[tokio::test]
async fn a_push_survives_a_fault_at_any_call() {
    for (fault, latency) in everywhere() {
        for number in 0.. {
            let memory = memory();
            let faulty = Faulty::at(latency, Arc::clone(&memory));
            let driver: Arc<dyn Driver> = Arc::new(faulty.clone());
            faulty.fail(number, fault);
            let pushed = push_image(&replica(&driver)).await;
            let met = faulty.calls().len() > number;
            let context = format!("{fault:?} at call {number}, {latency:?}");
            assert_honest(&pushed, &context);
            faulty.heal();
            assert_whole(&memory, pushed.is_ok(), &context).await;
            // Whoever pushes again succeeds, whatever the fault left behind.
            push_image(&replica(&driver)).await.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_whole(&memory, true, &context).await;
            if !met {
                assert!(number > 10, "the fault was never met");
                break;
            }
        }
    }
}

#[tokio::test]
async fn reading_and_deleting_tell_storage_faults_as_such() {
    for (fault, latency) in everywhere() {
        for number in 0.. {
            let memory = memory();
            let faulty = Faulty::at(latency, Arc::clone(&memory));
            let driver: Arc<dyn Driver> = Arc::new(faulty.clone());
            push_image(&replica(&driver)).await.unwrap();
            let context = format!("{fault:?} at call {number}, {latency:?}");
            faulty.fail(number, fault);
            let registry = replica(&driver);
            let used = use_image(&registry).await;
            if used.is_ok() {
                let deleted = delete_image(&registry).await;
                assert_honest(&deleted, &context);
            } else {
                assert_honest(&used, &context);
                assert_whole(&memory, true, &context).await;
            }
            let met = faulty.calls().len() > number;
            faulty.heal();
            assert_whole(&memory, false, &context).await;
            if !met {
                assert!(number > 20, "the fault was never met");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_request_given_up_in_the_middle_leaves_nothing_wrong() {
    for number in 0..60 {
        let memory = memory();
        let faulty = Faulty::new(Arc::clone(&memory));
        let driver: Arc<dyn Driver> = Arc::new(faulty.clone());
        faulty.fail(number, Fault::Hang);
        {
            let registry = replica(&driver);
            // The memory driver never waits, so one poll ends the push or stops it for good at the hanging call.
            let _ = push_image(&registry).now_or_never();
        }
        faulty.heal();
        let context = format!("given up at call {number}");
        assert_whole(&memory, false, &context).await;
        push_image(&replica(&driver)).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_whole(&memory, true, &context).await;
    }
}
