//! A registry that holds nothing: keeps the routes compiling until the rules arrive, then goes.

#![allow(
    clippy::unused_async,
    clippy::missing_docs_in_private_items,
    missing_docs,
    clippy::missing_const_for_fn,
    clippy::unused_self
)]

use super::*;

#[derive(Debug)]
pub struct Registry(Limits);

impl Registry {
    pub async fn blob(&self, name: &RepositoryName, _: &Digest) -> Result<Blob> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn manifest(&self, name: &RepositoryName, _: &Reference) -> Result<StoredManifest> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn tags(&self, name: &RepositoryName, _: &PageRequest) -> Result<Page<Tag>> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn catalog(&self, _: &PageRequest) -> Result<Page<RepositoryName>> {
        Err(Error::ReadOnly)
    }
    pub async fn referrers(
        &self,
        name: &RepositoryName,
        _: &Digest,
        _: &[String],
        _: &PageRequest,
    ) -> Result<Page<Descriptor>> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn start_upload(&self, name: &RepositoryName, _: Option<Algorithm>) -> Result<UploadSession> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn upload_status(&self, name: &RepositoryName, _: UploadId, _: Option<&str>) -> Result<UploadSession> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn append(
        &self,
        name: &RepositoryName,
        _: UploadId,
        _: &str,
        _: Option<ContentRange>,
        _: Body<'_>,
    ) -> Result<UploadSession> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn finish_upload(
        &self,
        name: &RepositoryName,
        _: UploadId,
        _: &str,
        _: Option<ContentRange>,
        _: Body<'_>,
        _: &Digest,
    ) -> Result<()> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn upload_blob(&self, name: &RepositoryName, _: &Digest, _: Body<'_>) -> Result<()> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn cancel_upload(&self, name: &RepositoryName, _: UploadId, _: &str) -> Result<()> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn mount(&self, name: &RepositoryName, _: &Digest, _: Option<&RepositoryName>) -> Result<Mount> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn put_manifest(
        &self,
        name: &RepositoryName,
        _: &Reference,
        _: &[Tag],
        _: Option<MediaType>,
        _: Bytes,
    ) -> Result<PushedManifest> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn delete_manifest(&self, name: &RepositoryName, _: &Reference) -> Result<()> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub async fn delete_blob(&self, name: &RepositoryName, _: &Digest) -> Result<()> {
        Err(Error::NameUnknown(name.clone()))
    }
    pub fn writable(&self) -> Result<()> {
        Ok(())
    }
    pub fn limits(&self) -> &Limits {
        &self.0
    }
}
