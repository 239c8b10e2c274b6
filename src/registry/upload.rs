//! Upload sessions: distribution-spec, "Pushing blobs". Any process with the same secret can continue any session.

use tokio::sync::OwnedSemaphorePermit;

use super::hashing::Hashing;
use super::receive::{batch_for, receive};
use super::token::UploadState;
use super::{AnnouncedBody, Body, Error, Registry, Result, UploadId, UploadSession};
use crate::oci::{Algorithm, ContentRange, Digest, RepositoryName};
use crate::storage::{self, StagedUpload};

/// An upload session taken up by one request.
struct OpenUpload {
    staged: StagedUpload,
    hashing: Hashing,
}

impl Registry {
    /// Begins an upload session. `algorithm` is a hint which digest will close it; sha256 is expected without one.
    ///
    /// Nothing is written: a session is what its state says until the first bytes come.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; [`Error::TooManyUploads`] when the bytes would be refused if they came now.
    pub fn start_upload(&self, name: &RepositoryName, algorithm: Option<Algorithm>) -> Result<UploadSession> {
        drop(self.upload_permit()?);
        let hashing = Hashing::new(algorithm.unwrap_or(Algorithm::Sha256));
        let state = UploadState { length: 0, hashing, staged: Vec::new() };
        Ok(self.session(name, UploadId::random(), &state))
    }

    /// Where the session stands. A state that has been overtaken is good enough to ask.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadStateInvalid`].
    pub async fn upload_status(&self, name: &RepositoryName, id: UploadId, state: &str) -> Result<UploadSession> {
        let mut state = self.open_state(name, id, state)?;
        // The bytes may be more than the state knows of, when an answer was lost; the hash catches up on the next request.
        match self.stored_length(name, id, &state).await? {
            Some(length) => state.length = length,
            None if state.staged.is_empty() => {}
            None => return Err(Error::UploadUnknown),
        }
        Ok(self.session(name, id, &state))
    }

    /// Appends `body` to the session. `range` says where it belongs; without one it belongs at the end, and the state must
    /// be the latest.
    ///
    /// # Errors
    /// [`Error::UploadOutOfOrder`] when the session stands elsewhere, [`Error::UploadBusy`], [`Error::ChunkLength`],
    /// [`Error::BodyInterrupted`] after which the session holds what arrived, [`Error::BlobTooLarge`], which ends it.
    pub async fn append(
        &self,
        name: &RepositoryName,
        id: UploadId,
        state: &str,
        range: Option<ContentRange>,
        mut body: Body<'_>,
    ) -> Result<UploadSession> {
        let _permit = self.upload_permit()?;
        let state = self.open_state(name, id, state)?;
        let upload = self.take_up(name, id, state, range).await?;
        let upload = self.noting_end(id, self.fill(upload, range, &mut body).await)?;
        self.lay_down(name, id, upload).await
    }

    /// Appends `body`, which may be empty, and makes the session's bytes the blob `digest` of the repository, durably.
    /// Content of the length that the body announces, and of that digest, need not be written again.
    ///
    /// # Errors
    /// As [`Registry::append`], and [`Error::DigestMismatch`], which ends the session.
    pub async fn finish_upload(
        &self,
        name: &RepositoryName,
        id: UploadId,
        state: &str,
        range: Option<ContentRange>,
        mut body: AnnouncedBody<'_>,
        digest: &Digest,
    ) -> Result<()> {
        let _permit = self.upload_permit()?;
        let state = self.open_state(name, id, state)?;
        let begins = range.is_none_or(|range| range.start == 0);
        let upload = if begins && state.staged.is_empty() && self.stored_length(name, id, &state).await?.is_none() {
            // All of it comes now and its digest is known, so it can be written where it will stay.
            self.begin_blob(digest, body.length).await?
        } else {
            self.take_up(name, id, state, range).await?
        };
        let upload = self.noting_end(id, self.fill(upload, range, &mut body.bytes).await)?;
        self.noting_end(id, self.publish(name, upload, digest).await)?;
        self.ended.insert(id);
        Ok(())
    }

    /// Takes `body` as the blob `digest` of the repository, in one request.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::BlobTooLarge`], [`Error::BodyInterrupted`]; none leaves anything behind.
    pub async fn upload_blob(&self, name: &RepositoryName, digest: &Digest, mut body: AnnouncedBody<'_>) -> Result<()> {
        let _permit = self.upload_permit()?;
        let upload = self.begin_blob(digest, body.length).await?;
        let upload = self.fill(upload, None, &mut body.bytes).await?;
        self.publish(name, upload, digest).await
    }

    /// Ends the session and forgets its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadStateInvalid`].
    pub async fn cancel_upload(&self, name: &RepositoryName, id: UploadId, state: &str) -> Result<()> {
        self.writable()?;
        let state = self.open_state(name, id, state)?;
        if self.stored_length(name, id, &state).await?.is_none() && !state.staged.is_empty() {
            return Err(Error::UploadUnknown);
        }
        self.store.cancel_upload(name, &id.to_string(), &state.staged).await?;
        self.ended.insert(id);
        Ok(())
    }

    fn upload_permit(&self) -> Result<OwnedSemaphorePermit> {
        self.writable()?;
        std::sync::Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| Error::TooManyUploads)
    }

    fn open_state(&self, name: &RepositoryName, id: UploadId, state: &str) -> Result<UploadState> {
        let state = self.sealer.open(name, id, state)?;
        if self.ended.contains(id) { Err(Error::UploadUnknown) } else { Ok(state) }
    }

    /// Remembers that the session ended, if `result` says that it did.
    fn noting_end<T>(&self, id: UploadId, result: Result<T>) -> Result<T> {
        if matches!(result, Err(Error::BlobTooLarge { .. } | Error::DigestMismatch { .. })) {
            self.ended.insert(id);
        }
        result
    }

    fn session(&self, name: &RepositoryName, id: UploadId, state: &UploadState) -> UploadSession {
        UploadSession { id, length: state.length, state: self.sealer.seal(name, id, state) }
    }

    /// Bytes of the session in the store; `None` when there is nothing of it.
    async fn stored_length(&self, name: &RepositoryName, id: UploadId, state: &UploadState) -> Result<Option<u64>> {
        self.store.upload_length(name, &id.to_string(), &state.staged).await.map_err(session_error)
    }

    async fn begin_blob(&self, digest: &Digest, length: Option<u64>) -> Result<OpenUpload> {
        let staged = self.store.begin_blob(digest, length).await?;
        Ok(OpenUpload { staged, hashing: Hashing::new(digest.algorithm()) })
    }

    async fn take_up(
        &self,
        name: &RepositoryName,
        id: UploadId,
        state: UploadState,
        range: Option<ContentRange>,
    ) -> Result<OpenUpload> {
        let staged = self.open_staged(name, id, &state).await?;
        let length = staged.length();
        let wanted = range.map_or(state.length, |range| range.start);
        if length != wanted {
            let staged = if length == 0 { Vec::new() } else { staged.suspend().await? };
            let state = UploadState { length, staged, ..state };
            return Err(Error::UploadOutOfOrder { session: Box::new(self.session(name, id, &state)) });
        }
        let mut upload = OpenUpload { staged, hashing: state.hashing };
        let algorithm = upload.hashing.hasher.algorithm();
        upload.hashing.catch_up(algorithm, &mut upload.staged).await?;
        Ok(upload)
    }

    /// The session's bytes, open for more; made when its first bytes are about to come.
    async fn open_staged(&self, name: &RepositoryName, id: UploadId, state: &UploadState) -> Result<StagedUpload> {
        let session = id.to_string();
        if state.staged.is_empty() {
            match self.store.begin_upload(name, &session).await {
                // A request with this state was here before, and its answer was lost.
                Err(storage::Error::AlreadyExists { .. }) => {}
                other => return other.map_err(session_error),
            }
        }
        self.store.resume_upload(name, &session, &state.staged).await.map_err(session_error)
    }

    /// Appends `body` and holds it against `range`.
    async fn fill(
        &self,
        mut upload: OpenUpload,
        range: Option<ContentRange>,
        body: &mut Body<'_>,
    ) -> Result<OpenUpload> {
        let (batch, limit) = (batch_for(self.store.latency()), self.config.limits.blob_bytes);
        let received = match receive(body, &mut upload.staged, &mut upload.hashing, batch, limit).await {
            Err(error @ Error::BlobTooLarge { .. }) => {
                abort(upload).await;
                return Err(error);
            }
            other => other?,
        };
        if let Some(error) = received.interrupted {
            return Err(Error::BodyInterrupted(error.0));
        }
        match range.map(|range| range.length().unwrap_or(u64::MAX)) {
            Some(expected) if expected != received.bytes => {
                Err(Error::ChunkLength { expected, received: received.bytes })
            }
            _ => Ok(upload),
        }
    }

    async fn lay_down(&self, name: &RepositoryName, id: UploadId, upload: OpenUpload) -> Result<UploadSession> {
        let length = upload.staged.length();
        let staged = upload.staged.suspend().await?;
        let state = UploadState { length, hashing: upload.hashing, staged };
        Ok(self.session(name, id, &state))
    }

    async fn publish(&self, name: &RepositoryName, mut upload: OpenUpload, digest: &Digest) -> Result<()> {
        upload.hashing.catch_up(digest.algorithm(), &mut upload.staged).await?;
        let computed = upload.hashing.hasher.clone().finish();
        if computed != *digest {
            abort(upload).await;
            return Err(Error::DigestMismatch { expected: *digest, computed });
        }
        self.store.publish_upload(upload.staged, digest).await.map_err(session_error)?;
        self.store.link_blob(name, digest, digest).await?;
        self.spare_blob(name, digest).await;
        Ok(())
    }
}

/// Forgets the bytes of an upload that came to nothing. Should that fail, purging finds them.
async fn abort(upload: OpenUpload) {
    if let Err(error) = upload.staged.abort().await {
        tracing::warn!(%error, "the bytes of a refused upload could not be removed; upload purging will");
    }
}

/// What a driver says of a session that cannot be taken up, in the registry's words.
fn session_error(error: storage::Error) -> Error {
    match error {
        storage::Error::NotFound { .. } => Error::UploadUnknown,
        storage::Error::Busy { .. } => Error::UploadBusy,
        storage::Error::StaleState { .. } => Error::UploadStateInvalid("it does not fit what is stored"),
        other => Error::Storage(other),
    }
}
