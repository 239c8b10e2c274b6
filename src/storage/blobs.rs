//! Blobs: content under its digest, and the links that say which repositories it belongs to.

use std::net::IpAddr;

use tokio::join;

use super::driver::{Addresses, Driver, Latency, Object, PresignMethod, Reading};
use super::layout::{RepositoryPaths, StoragePath, blob_data};
use super::{Redirect, Result, Store, found};
use crate::oci::{Digest, RepositoryName};

/// Whether content is asked for before its link is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Both are asked for at once: the link is likely to be there.
    Yes,
    /// First the link.
    No,
}

/// Where a client gets a blob from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobAddress {
    /// Nowhere: the link or the content is missing.
    Missing,
    /// From the registry, if it is there at all.
    Here,
    /// From this address, for a limited time.
    Elsewhere(String),
}

impl Store {
    /// Opens the blob `digest` of the repository; `None` when the link or the content is missing.
    pub async fn open_blob(&self, name: &RepositoryName, digest: &Digest, reading: Reading) -> Result<Option<Object>> {
        let driver: &dyn Driver = &*self.driver;
        let open = |target: Digest| async move { found(driver.open(&blob_data(&target), reading).await) };
        self.behind(self.linked_blob(name, digest), digest, self.where_it_pays(), open).await
    }

    /// Bytes of the blob `digest` of the repository; `None` when the link or the content is missing.
    ///
    /// The link is asked for each time. Content that was written or read a moment ago is taken to be there still: nobody may
    /// rely on the answer beyond sparing himself an upload, because a manifest is held against the store.
    pub async fn blob_size(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        let size = |target: Digest| async move {
            match self.sizes.get(&target) {
                Some(size) => Ok(Some(size)),
                None => self.content_size(&target).await,
            }
        };
        // Most such questions come from clients about to push, and the answer is no: then the link alone is enough.
        let linked = self.layer_links.get(&(name.clone(), *digest)).is_some();
        let ahead = if linked { Ahead::Yes } else { Ahead::No };
        self.behind(self.linked_blob(name, digest), digest, ahead, size).await
    }

    /// [`Store::blob_size`] for a manifest that refers to the blob. A link that was seen a moment ago is not asked for again;
    /// the content always is.
    pub async fn referenced_blob_size(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        if let Some(target) = self.layer_links.get(&(name.clone(), *digest)) {
            return self.content_size(&target).await;
        }
        let link = self.linked_blob(name, digest);
        self.behind(link, digest, self.where_it_pays(), |target| self.size_of(target)).await
    }

    /// Where `client` may fetch the blob by itself with GET. Link and content are asked for first.
    pub async fn blob_address(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        client: Option<IpAddr>,
    ) -> Result<BlobAddress> {
        if !self.redirects() {
            return Ok(BlobAddress::Here);
        }
        let link = self.linked_blob(name, digest);
        let present = |target: Digest| async move { Ok(self.content_size(&target).await?.map(|_| target)) };
        let Some(target) = self.behind(link, digest, self.where_it_pays(), present).await? else {
            return Ok(BlobAddress::Missing);
        };
        let address = self.driver.address_for(&blob_data(&target), PresignMethod::Get, client).await?;
        Ok(address.map_or(BlobAddress::Here, BlobAddress::Elsewhere))
    }

    /// Whether [`Store::blob_address`] may give an address.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.redirect == Redirect::WherePossible && self.driver.addresses() == Addresses::Possible
    }

    /// Bytes of the content `digest`, whichever repositories it belongs to.
    pub async fn content_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let size = found(self.driver.stat(&blob_data(digest)).await)?.map(|stat| stat.size);
        match size {
            Some(size) => self.sizes.insert(*digest, size),
            None => self.sizes.remove(digest),
        }
        Ok(size)
    }

    async fn size_of(&self, digest: Digest) -> Result<Option<u64>> {
        self.content_size(&digest).await
    }

    /// The digest under which the content of the repository's blob lies. It is another one where distribution took a sha512
    /// upload, which it keeps under sha256.
    pub async fn linked_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Digest>> {
        let target = self.read_link(&layer_link(name, digest)).await?;
        match &target {
            Some(target) => self.layer_links.insert((name.clone(), *digest), *target),
            None => self.layer_links.remove(&(name.clone(), *digest)),
        }
        Ok(target)
    }

    /// Makes the content `target` the repository's blob `digest`, durably. The content must be durable already.
    pub async fn link_blob(&self, name: &RepositoryName, digest: &Digest, target: &Digest) -> Result<()> {
        self.write_link(&layer_link(name, digest), target).await?;
        self.layer_links.insert((name.clone(), *digest), *target);
        Ok(())
    }

    /// Takes the blob from the repository. The content stays for others and for collection.
    pub async fn unlink_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        let deleted = self.driver.delete(&layer_link(name, digest)).await;
        self.layer_links.remove(&(name.clone(), *digest));
        deleted
    }

    /// Whether to ask ahead for what is likely to be there.
    pub(super) fn where_it_pays(&self) -> Ahead {
        match self.latency {
            Latency::Local => Ahead::No,
            Latency::Remote => Ahead::Yes,
        }
    }

    /// What `ask` answers about the digest that `link` holds: `None` without a link, whatever the answer. Ahead of the link
    /// it is asked about `likely`, which nearly every link holds, and once more should the link hold another.
    pub(super) async fn behind<T, F>(
        &self,
        link: impl Future<Output = Result<Option<Digest>>>,
        likely: &Digest,
        ahead: Ahead,
        ask: impl Fn(Digest) -> F,
    ) -> Result<Option<T>>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let (target, answer) = match ahead {
            Ahead::No => (link.await?, None),
            Ahead::Yes => {
                let (target, answer) = join!(link, ask(*likely));
                (target?, Some(answer))
            }
        };
        match (target, answer) {
            (None, _) => Ok(None),
            (Some(target), Some(answer)) if target == *likely => answer,
            (Some(target), _) => ask(target).await,
        }
    }
}

fn layer_link(name: &RepositoryName, digest: &Digest) -> StoragePath {
    RepositoryPaths(name).layer_link(digest)
}
