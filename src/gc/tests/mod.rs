//! Collection over the in-memory driver: what goes, what stays, and that doubt stops it.

mod doubt;
mod garbage;
mod interleavings;
mod late;
mod remnants;
mod repositories;
mod succession;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Collection, Collector, Error, Report, Undo, Untagged};
use crate::oci::{Algorithm, Digest, Hasher, MediaType, Reference, RepositoryName, Tag};
use crate::registry::{Body, Deletion, Registry};
use crate::storage::driver::memory::Memory;
use crate::storage::driver::{Driver, ListPage};
use crate::storage::{self, StoragePath, Store};

fn memory() -> Arc<dyn Driver> {
    // Roomy, so that what is removed is kept as on a disk.
    Arc::new(Memory::new().with_space(1 << 40, 1 << 40))
}

fn store(driver: &Arc<dyn Driver>) -> Store {
    Store::new(Arc::clone(driver), &storage::Config::default())
}

fn registry(driver: &Arc<dyn Driver>) -> Registry {
    let config = crate::registry::Config { deletion: Deletion::Enabled, ..crate::registry::Config::default() };
    Registry::new(config, store(driver))
}

fn undo(driver: &Arc<dyn Driver>) -> Undo {
    Undo::new(store(driver), registry(driver), 1 << 20)
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

/// Everything is old enough to go.
fn no_grace(untagged: Untagged) -> Collection {
    Collection { grace: Duration::ZERO, settle: Duration::ZERO, untagged, ..Collection::default() }
}

async fn collect(driver: &Arc<dyn Driver>, untagged: Untagged) -> Result<Report, Error> {
    Collector::new(store(driver), no_grace(untagged)).collect(&|_| {}).await
}

async fn push_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Digest {
    let digest = sha256(bytes);
    let body: Body<'static> = Box::pin(futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes))]));
    registry.upload_blob(&name(repository), &digest, body.into()).await.unwrap();
    digest
}

fn image_of(config: &Digest, layers: &[Digest], extra: &str) -> Bytes {
    let layers: Vec<String> = layers
        .iter()
        .map(|digest| {
            format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":1}}"#)
        })
        .collect();
    Bytes::from(format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{}]{extra}}}"#,
        MediaType::OCI_MANIFEST,
        layers.join(",")
    ))
}

/// An index of `children`.
fn index_of(children: &[Digest]) -> Bytes {
    let children: Vec<String> = children
        .iter()
        .map(|digest| format!(r#"{{"mediaType":"{}","digest":"{digest}","size":1}}"#, MediaType::OCI_MANIFEST))
        .collect();
    Bytes::from(format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        children.join(",")
    ))
}

/// Pushes an image of one layer, under the tag if there is one; gives its digest.
async fn push_image(registry: &Registry, repository: &str, layer: &str, tagged: Option<&str>, extra: &str) -> Digest {
    let config = push_blob(registry, repository, format!("config of {layer}").as_bytes()).await;
    let layer = push_blob(registry, repository, layer.as_bytes()).await;
    push(registry, repository, image_of(&config, &[layer], extra), tagged).await
}

async fn push(registry: &Registry, repository: &str, manifest: Bytes, tagged: Option<&str>) -> Digest {
    let digest = sha256(&manifest);
    let reference = tagged.map_or(Reference::Digest(digest), |text| Reference::Tag(tag(text)));
    registry.put_manifest(&name(repository), &reference, &[], None, manifest).await.unwrap();
    digest
}

async fn has_blob(driver: &Arc<dyn Driver>, content: &str) -> bool {
    store(driver).content_size(&sha256(content.as_bytes())).await.unwrap().is_some()
}

async fn has_manifest(driver: &Arc<dyn Driver>, repository: &str, digest: &Digest) -> bool {
    store(driver).has_manifest(&name(repository), digest).await.unwrap()
}

/// Every object of the repositories and of their content: not what the protocol itself writes.
async fn objects(driver: &Arc<dyn Driver>) -> Vec<String> {
    let root = StoragePath::for_test("docker/registry/v2");
    let tree = driver.tree(&root, &ListPage::all()).await.unwrap();
    let paths = tree.objects.into_iter().map(|object| object.path.to_string());
    paths.filter(|path| !path.starts_with("docker/registry/v2/gc/")).collect()
}
