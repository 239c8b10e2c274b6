//! Upload sessions: bytes on their way to becoming a blob. What is known of a session beyond its bytes travels with the
//! client; the store holds the bytes alone.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::driver::{EntryKind, Latency, ListPage, StagedWrite, Unfinished};
use super::layout::{RepositoryPaths, blob_data};
use super::{Result, Store, found};
use crate::oci::{Digest, RepositoryName};

/// Objects asked for at once while sessions are listed.
const OBJECTS_AT_ONCE: usize = 1000;

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

    /// Begins writing the content `digest` in one go: what is not published is forgotten. `length` is what the client
    /// announced, bytes.
    pub async fn begin_blob(&self, digest: &Digest, length: Option<u64>) -> Result<StagedUpload> {
        self.driver.create(&blob_data(digest), length).await
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
        let length = upload.length();
        upload.publish(&blob_data(digest)).await?;
        self.sizes.insert(*digest, length);
        Ok(())
    }

    /// Ends the session and forgets its bytes. One that does not exist is no error.
    pub async fn cancel_upload(&self, name: &RepositoryName, id: &str, state: &[u8]) -> Result<()> {
        self.driver.discard_staged(&RepositoryPaths(name).upload_data(id), state).await
    }

    /// The upload sessions of the repository, ours and distribution's.
    pub async fn list_uploads(&self, name: &RepositoryName) -> Result<Vec<UploadEntry>> {
        match self.latency {
            Latency::Local => self.uploads_by_directory(name).await,
            Latency::Remote => self.uploads_by_object(name).await,
        }
    }

    /// The upload sessions of the repository that distribution began, and when: it notes that, we do not.
    pub async fn uploads_begun_elsewhere(&self, name: &RepositoryName) -> Result<Vec<(String, SystemTime)>> {
        let directory = RepositoryPaths(name).uploads();
        let mut begun = Vec::new();
        let mut page = ListPage { after: None, limit: OBJECTS_AT_ONCE };
        loop {
            let (ids, next) = self.driver.directories(&directory, &page).await?;
            let begun_at = self.driver.leaves(&directory, "startedat", ids).await?;
            begun.extend(begun_at.into_iter().map(|(id, stat)| (id, stat.modified)));
            match next {
                Some(next) => page = next,
                None => return Ok(begun),
            }
        }
    }

    /// One look at each session's directory, which may be empty.
    async fn uploads_by_directory(&self, name: &RepositoryName) -> Result<Vec<UploadEntry>> {
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

    /// One walk over everything below all sessions: a bucket has no empty directories, and keeps a session's bytes in as
    /// many objects as it likes.
    async fn uploads_by_object(&self, name: &RepositoryName) -> Result<Vec<UploadEntry>> {
        let directory = RepositoryPaths(name).uploads();
        let mut newest: BTreeMap<String, SystemTime> = BTreeMap::new();
        let mut page = ListPage { after: None, limit: OBJECTS_AT_ONCE };
        loop {
            let tree = self.driver.tree(&directory, &page).await?;
            for object in &tree.objects {
                let Some(below) = object.path.below(&directory) else { continue };
                let id = below.split('/').next().unwrap_or_default();
                let modified = newest.entry(id.to_owned()).or_insert(object.stat.modified);
                *modified = object.stat.modified.max(*modified);
            }
            page.after = tree.next;
            if page.after.is_none() {
                break;
            }
        }
        Ok(newest.into_iter().map(|(id, modified)| UploadEntry { id, modified: Some(modified) }).collect())
    }

    /// Gives up writes that never ended and that no listing shows; see [`super::driver::Driver::unfinished_writes`].
    pub async fn unfinished_writes(&self, before: SystemTime, what: Unfinished) -> Result<u64> {
        self.driver.unfinished_writes(before, what).await
    }

    /// Removes everything that lies in the store of the upload session `id` of a listing.
    pub async fn remove_upload(&self, name: &RepositoryName, id: &str) -> Result<()> {
        self.driver.delete_prefix(&RepositoryPaths(name).upload(id)).await
    }
}
