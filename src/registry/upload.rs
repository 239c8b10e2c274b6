//! Upload sessions: distribution-spec, "Pushing blobs". Any process with the same secret can continue any session.

use tokio::sync::OwnedSemaphorePermit;

use super::hashing::Hashing;
use super::receive::receive;
use super::token::UploadState;
use super::{Body, Error, Registry, Result, UploadId, UploadSession};
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
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::TooManyUploads`].
    pub async fn start_upload(&self, name: &RepositoryName, algorithm: Option<Algorithm>) -> Result<UploadSession> {
        let _permit = self.upload_permit()?;
        let id = UploadId::random();
        let staged = self.store.begin_upload(name, &id.to_string()).await?;
        let hashing = Hashing::new(algorithm.unwrap_or(Algorithm::Sha256));
        self.lay_down(name, id, OpenUpload { staged, hashing }).await
    }

    /// Where the session stands. A state that has been overtaken is good enough to ask.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadStateInvalid`].
    pub async fn upload_status(&self, name: &RepositoryName, id: UploadId, state: &str) -> Result<UploadSession> {
        let state = self.sealer.open(name, id, state)?;
        self.current(name, id, state).await
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
        let upload = self.take_up(name, id, state, range).await?;
        let upload = self.fill(upload, range, &mut body).await?;
        self.lay_down(name, id, upload).await
    }

    /// Appends `body`, which may be empty, and makes the session's bytes the blob `digest` of the repository, durably.
    ///
    /// # Errors
    /// As [`Registry::append`], and [`Error::DigestMismatch`], which ends the session.
    pub async fn finish_upload(
        &self,
        name: &RepositoryName,
        id: UploadId,
        state: &str,
        range: Option<ContentRange>,
        mut body: Body<'_>,
        digest: &Digest,
    ) -> Result<()> {
        let _permit = self.upload_permit()?;
        let mut upload = self.take_up(name, id, state, range).await?;
        if upload.staged.length() == 0 {
            // Nothing is hashed yet, so the right algorithm costs nothing.
            upload.hashing = Hashing::new(digest.algorithm());
        }
        let upload = self.fill(upload, range, &mut body).await?;
        self.publish(name, upload, digest).await
    }

    /// Takes `body` as the blob `digest` of the repository, in one request.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::BlobTooLarge`], [`Error::BodyInterrupted`]; none leaves anything behind.
    pub async fn upload_blob(&self, name: &RepositoryName, digest: &Digest, mut body: Body<'_>) -> Result<()> {
        let _permit = self.upload_permit()?;
        let staged = self.store.begin_upload(name, &UploadId::random().to_string()).await?;
        let mut upload = OpenUpload { staged, hashing: Hashing::new(digest.algorithm()) };
        let limit = self.config.limits.blob_bytes;
        let received = receive(&mut body, &mut upload.staged, &mut upload.hashing, limit).await;
        let refusal = match received {
            Ok(received) => match received.interrupted {
                None => return self.publish(name, upload, digest).await,
                Some(error) => Error::BodyInterrupted(error.0),
            },
            Err(error) => error,
        };
        // Nobody knows the session's name, so nobody could go on with it.
        abort(upload).await;
        Err(refusal)
    }

    /// Ends the session and forgets its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadStateInvalid`].
    pub async fn cancel_upload(&self, name: &RepositoryName, id: UploadId, state: &str) -> Result<()> {
        self.writable()?;
        let state = self.sealer.open(name, id, state)?;
        let session = id.to_string();
        if self.store.upload_length(name, &session, &state.staged).await.map_err(session_error)?.is_none() {
            return Err(Error::UploadUnknown);
        }
        Ok(self.store.cancel_upload(name, &session, &state.staged).await?)
    }

    fn upload_permit(&self) -> Result<OwnedSemaphorePermit> {
        self.writable()?;
        std::sync::Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| Error::TooManyUploads)
    }

    /// The session as its bytes in the store say, with a state that fits them.
    async fn current(&self, name: &RepositoryName, id: UploadId, mut state: UploadState) -> Result<UploadSession> {
        let stored = self.store.upload_length(name, &id.to_string(), &state.staged).await.map_err(session_error)?;
        // The bytes may be more than the state knows of, when an answer was lost; the hash catches up on the next request.
        state.length = stored.ok_or(Error::UploadUnknown)?;
        Ok(UploadSession { id, length: state.length, state: self.sealer.seal(name, id, &state) })
    }

    async fn take_up(
        &self,
        name: &RepositoryName,
        id: UploadId,
        state: &str,
        range: Option<ContentRange>,
    ) -> Result<OpenUpload> {
        let state = self.sealer.open(name, id, state)?;
        let staged = self.store.resume_upload(name, &id.to_string(), &state.staged).await.map_err(session_error)?;
        let length = staged.length();
        let wanted = range.map_or(state.length, |range| range.start);
        if length != wanted || state.length > length {
            let state = UploadState { length, ..state };
            let session = UploadSession { id, length, state: self.sealer.seal(name, id, &state) };
            return Err(Error::UploadOutOfOrder { session: Box::new(session) });
        }
        let mut upload = OpenUpload { staged, hashing: state.hashing };
        let algorithm = upload.hashing.hasher.algorithm();
        upload.hashing.catch_up(algorithm, &mut upload.staged).await?;
        Ok(upload)
    }

    /// Appends `body` and holds it against `range`.
    async fn fill(
        &self,
        mut upload: OpenUpload,
        range: Option<ContentRange>,
        body: &mut Body<'_>,
    ) -> Result<OpenUpload> {
        let limit = self.config.limits.blob_bytes;
        let received = match receive(body, &mut upload.staged, &mut upload.hashing, limit).await {
            Err(error @ Error::BlobTooLarge { .. }) => {
                abort(upload).await;
                return Err(error);
            }
            other => other?,
        };
        if let Some(error) = received.interrupted {
            return Err(Error::BodyInterrupted(error.0));
        }
        match range.and_then(|range| range.length()) {
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
        Ok(UploadSession { id, length, state: self.sealer.seal(name, id, &state) })
    }

    async fn publish(&self, name: &RepositoryName, mut upload: OpenUpload, digest: &Digest) -> Result<()> {
        upload.hashing.catch_up(digest.algorithm(), &mut upload.staged).await?;
        let computed = upload.hashing.hasher.clone().finish();
        if computed != *digest {
            abort(upload).await;
            return Err(Error::DigestMismatch { expected: *digest, computed });
        }
        self.store.publish_upload(upload.staged, digest).await?;
        Ok(self.store.link_blob(name, digest, digest).await?)
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
