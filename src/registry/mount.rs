//! Cross-repository mounts: distribution-spec, "Mounting a blob from another repository".

use super::pull::undamaged;
use super::{Mount, Registry, Result};
use crate::oci::{Digest, RepositoryName};

impl Registry {
    /// Makes the blob `digest` of the repository `from` a blob of `name`, without moving a byte. Without `from` the content is
    /// taken wherever it lies: the caller must be one who may pull from every repository.
    ///
    /// # Errors
    /// [`super::Error::ReadOnly`]. A blob that is not there is no error: the client is to upload it.
    pub async fn mount(&self, name: &RepositoryName, digest: &Digest, from: Option<&RepositoryName>) -> Result<Mount> {
        self.writable()?;
        let target = match from {
            Some(source) => undamaged(self.store.linked_blob(source, digest).await)?,
            None => Some(*digest),
        };
        let Some(target) = target else { return Ok(Mount::Declined) };
        if self.store.content_size(&target).await?.is_none() {
            return Ok(Mount::Declined);
        }
        self.store.link_blob(name, digest, &target).await?;
        self.spare_blob(name, digest).await;
        Ok(Mount::Done)
    }
}
