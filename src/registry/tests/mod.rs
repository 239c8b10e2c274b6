//! The rules held against the in-memory driver, without HTTP.

mod discovery;
mod faults;
mod manifests;
mod requests;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;

use super::{Body, BodyError, Config, Deletion, IndexPlatforms, Registry};
use crate::oci::{Algorithm, Digest, Hasher, MediaType, Reference, RepositoryName, Tag};
use crate::storage::driver::memory::Memory;
use crate::storage::driver::{Driver, Reading};
use crate::storage::{self, Store};

fn config() -> Config {
    let mut config = Config { deletion: Deletion::Enabled, secret: Some(b"shared".to_vec()), ..Config::default() };
    config.validation.index_platforms = IndexPlatforms::All;
    config
}

/// A registry over `driver`, as another replica would be.
fn replica(driver: &Arc<dyn Driver>) -> Registry {
    Registry::new(config(), Store::new(Arc::clone(driver), &storage::Config::default()))
}

fn registry() -> Registry {
    replica(&memory())
}

fn memory() -> Arc<dyn Driver> {
    Arc::new(Memory::new())
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn sha256(bytes: &[u8]) -> Digest {
    Hasher::digest(Algorithm::Sha256, bytes)
}

fn body(bytes: &[u8]) -> Body<'static> {
    let chunks: Vec<_> = bytes.chunks(7).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Box::pin(stream::iter(chunks))
}

/// A body that breaks off after `bytes`.
fn broken_body(bytes: &[u8]) -> Body<'static> {
    let broken = Err(BodyError("connection reset".to_owned()));
    Box::pin(stream::iter([Ok(Bytes::copy_from_slice(bytes)), broken]))
}

async fn push_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Digest {
    let digest = sha256(bytes);
    registry.upload_blob(&name(repository), &digest, body(bytes).into()).await.unwrap();
    digest
}

async fn content(registry: &Registry, repository: &str, digest: &Digest) -> Bytes {
    match registry.blob(&name(repository), digest, Reading::Whole).await.unwrap().content {
        super::Content::Memory(bytes) => bytes,
        other => panic!("the memory driver gave {other:?}"),
    }
}

/// An image manifest over blobs that are there, with `extra` fields.
async fn image(registry: &Registry, repository: &str, extra: &str) -> Bytes {
    let config = push_blob(registry, repository, b"{}").await;
    let layer = push_blob(registry, repository, b"layer").await;
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":5}}]{extra}}}"#,
        MediaType::OCI_MANIFEST
    )
    .into()
}

async fn push_tag(registry: &Registry, repository: &str, tag_name: &str, manifest: &Bytes) -> Digest {
    let reference = Reference::Tag(tag(tag_name));
    registry.put_manifest(&name(repository), &reference, &[], None, manifest.clone()).await.unwrap().digest
}
