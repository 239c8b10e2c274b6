//! Upload sessions: bytes on their way to becoming a blob. What is known of a session beyond its bytes travels with the
//! client; the store holds the bytes alone.

use std::time::SystemTime;

use super::driver::{EntryKind, ListPage, StagedWrite};
use super::layout::{RepositoryPaths, blob_data};
use super::{Result, Store, found};
use crate::oci::{Digest, RepositoryName};

/// The bytes of an upload session, open for writing.
pub type StagedUpload = Box<dyn StagedWrite>;

/// An upload session as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadEntry {
    /// Its directory's name; a UUID unless somebody else made it.
    pub id: String,
    /// When its bytes last changed, or when distribution began it. `None` for a directory that holds neither.
    pub modified: Option<SystemTime>,
}

impl Store {
    /// Begins an upload session.
    pub async fn begin_upload(&self, name: &RepositoryName, id: &str) -> Result<StagedUpload> {
        self.driver.stage(&RepositoryPaths(name).upload_data(id)).await
    }

    /// Begins writing the content `digest` in one go: what is not published is forgotten.
    pub async fn begin_blob(&self, digest: &Digest) -> Result<StagedUpload> {
        self.driver.create(&blob_data(digest), None).await
    }

    /// Takes up the session that `state` was laid down for; see [`super::driver::Driver::resume`].
    pub async fn resume_upload(&self, name: &RepositoryName, id: &str, state: &[u8]) -> Result<StagedUpload> {
        self.driver.resume(&RepositoryPaths(name).upload_data(id), state).await
    }

    /// Bytes that the session holds; `None` when it does not exist any more.
    pub async fn upload_length(&self, name: &RepositoryName, id: &str, state: &[u8]) -> Result<Option<u64>> {
        found(self.driver.staged_length(&RepositoryPaths(name).upload_data(id), state).await)
    }

    /// Ends the writing with its bytes becoming the content `digest`, durably. The caller has verified that they hash to it.
    ///
    /// What lay there before is replaced: should it have been damaged, it is whole now.
    pub async fn publish_upload(&self, upload: StagedUpload, digest: &Digest) -> Result<()> {
        upload.publish(&blob_data(digest)).await
    }

    /// Ends the session and forgets its bytes. One that does not exist is no error.
    pub async fn cancel_upload(&self, name: &RepositoryName, id: &str, state: &[u8]) -> Result<()> {
        self.driver.discard_staged(&RepositoryPaths(name).upload_data(id), state).await
    }

    /// The upload sessions of the repository, ours and distribution's.
    pub async fn list_uploads(&self, name: &RepositoryName) -> Result<Vec<UploadEntry>> {
        let paths = RepositoryPaths(name);
        let listing = self.driver.list(&paths.uploads(), &ListPage::all()).await?;
        let mut uploads = Vec::new();
        for entry in listing.entries.iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let data = found(self.driver.stat(&paths.upload_data(&entry.name)).await)?;
            let begun = found(self.driver.stat(&paths.upload_started_at(&entry.name)).await)?;
            let modified = data.into_iter().chain(begun).map(|stat| stat.modified).max();
            uploads.push(UploadEntry { id: entry.name.clone(), modified });
        }
        Ok(uploads)
    }

    /// Removes everything that lies in the store of the upload session `id` of a listing.
    pub async fn remove_upload(&self, name: &RepositoryName, id: &str) -> Result<()> {
        self.driver.delete_prefix(&RepositoryPaths(name).upload(id)).await
    }
}
