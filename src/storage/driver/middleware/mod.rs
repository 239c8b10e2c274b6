//! `middleware.storage`: what changes the addresses that clients are sent to, and nothing else of a driver.
//!
//! Each wraps the one before, in the order of the list, as in distribution: the last one has the last word.

mod cloudfront;
mod ip_ranges;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::{
    Addresses, Capabilities, Driver, Hold, Latency, ListPage, Listing, Object, PresignMethod, ReadLimits, Reading,
    Result, Share, Space, StagedWrite, Stat, StoragePath, Tree, Unfinished, WriteMode,
};
use crate::storage::error::{Error, Retry};

pub use cloudfront::{CloudFront, ServedFromStore};
pub use ip_ranges::IpRanges;

/// One entry of `middleware.storage`.
#[derive(Debug, Clone)]
pub enum Middleware {
    /// `redirect`: every blob has a fixed address, `base` followed by the object's path without the driver's root directory.
    Redirect {
        /// `baseurl`, without a trailing slash, query or fragment.
        base: String,
    },
    /// `rewrite`: changes the address that the driver gives.
    Rewrite(Rewrite),
    /// `cloudfront`: addresses of a `CloudFront` distribution, signed by a canned policy.
    CloudFront(Box<CloudFront>),
}

/// What `rewrite` changes; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    /// `scheme`.
    pub scheme: Option<Scheme>,
    /// `host`, with its port if it has one.
    pub host: Option<Authority>,
    /// `trimpathprefix`, taken from the beginning of paths that have it.
    pub trim_path_prefix: String,
}

/// Lays `middlewares` over `driver` in their order.
///
/// # Errors
/// `Backend` when a key cannot be read; the message says which and what to do about it.
pub(super) fn apply(driver: Arc<dyn Driver>, middlewares: &[Middleware]) -> Result<Arc<dyn Driver>> {
    middlewares.iter().try_fold(driver, |inner, middleware| {
        let addressing: Box<dyn Addressing> = match middleware {
            Middleware::Redirect { base } => Box::new(Redirect { base: base.clone() }),
            Middleware::Rewrite(rewrite) => Box::new(rewrite.clone()),
            Middleware::CloudFront(config) => Box::new(cloudfront::Signing::open(config)?),
        };
        Ok(Arc::new(Addressed { inner, addressing }) as Arc<dyn Driver>)
    })
}

/// How a middleware names objects.
#[async_trait]
trait Addressing: Send + Sync + fmt::Debug + 'static {
    /// Whether it names any.
    fn addresses(&self, inner: &dyn Driver) -> Addresses;

    /// As [`Driver::address_for`].
    async fn address(
        &self,
        inner: &dyn Driver,
        path: &StoragePath,
        method: PresignMethod,
        client: Option<IpAddr>,
    ) -> Result<Option<String>>;
}

#[derive(Debug)]
struct Redirect {
    base: String,
}

#[async_trait]
impl Addressing for Redirect {
    fn addresses(&self, _inner: &dyn Driver) -> Addresses {
        Addresses::Possible
    }

    async fn address(
        &self,
        _inner: &dyn Driver,
        path: &StoragePath,
        _method: PresignMethod,
        _client: Option<IpAddr>,
    ) -> Result<Option<String>> {
        Ok(Some(format!("{}/{path}", self.base)))
    }
}

#[async_trait]
impl Addressing for Rewrite {
    fn addresses(&self, inner: &dyn Driver) -> Addresses {
        inner.addresses()
    }

    async fn address(
        &self,
        inner: &dyn Driver,
        path: &StoragePath,
        method: PresignMethod,
        client: Option<IpAddr>,
    ) -> Result<Option<String>> {
        match inner.address_for(path, method, client).await? {
            Some(address) => self.rewritten(&address).map(Some).map_err(|error| failed(path, error)),
            None => Ok(None),
        }
    }
}

impl Rewrite {
    /// `address` with what is to be changed. The query stays as it is, byte by byte: it holds signatures.
    fn rewritten(&self, address: &str) -> std::result::Result<String, http::Error> {
        let mut parts = address.parse::<Uri>()?.into_parts();
        parts.scheme = self.scheme.clone().or(parts.scheme);
        parts.authority = self.host.clone().or(parts.authority);
        if let Some(path) = &parts.path_and_query {
            let trimmed = path.as_str().strip_prefix(&self.trim_path_prefix).unwrap_or(path.as_str());
            let slash = if trimmed.starts_with('/') { "" } else { "/" };
            parts.path_and_query = Some(format!("{slash}{trimmed}").parse::<PathAndQuery>()?);
        }
        Ok(Uri::from_parts(parts)?.to_string())
    }
}

fn failed(path: &StoragePath, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Backend { operation: "address", path: path.to_string(), retry: Retry::Pointless, source: source.into() }
}

/// A driver whose objects have other addresses.
#[derive(Debug)]
struct Addressed {
    inner: Arc<dyn Driver>,
    addressing: Box<dyn Addressing>,
}

#[async_trait]
impl Driver for Addressed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn latency(&self) -> Latency {
        self.inner.latency()
    }

    fn addresses(&self) -> Addresses {
        self.addressing.addresses(&*self.inner)
    }

    async fn address_for(
        &self,
        path: &StoragePath,
        method: PresignMethod,
        client: Option<IpAddr>,
    ) -> Result<Option<String>> {
        self.addressing.address(&*self.inner, path, method, client).await
    }

    async fn presigned_url(&self, path: &StoragePath, method: PresignMethod) -> Result<Option<String>> {
        self.address_for(path, method, None).await
    }

    fn object_key(&self, path: &StoragePath) -> String {
        self.inner.object_key(path)
    }

    async fn stat(&self, path: &StoragePath) -> Result<Stat> {
        self.inner.stat(path).await
    }

    async fn read(&self, path: &StoragePath, limit: u64) -> Result<Bytes> {
        self.inner.read(path, limit).await
    }

    async fn open(&self, path: &StoragePath, reading: Reading) -> Result<Object> {
        self.inner.open(path, reading).await
    }

    async fn write(&self, path: &StoragePath, content: Bytes, mode: WriteMode) -> Result<()> {
        self.inner.write(path, content, mode).await
    }

    async fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Result<()> {
        self.inner.write_many(objects).await
    }

    async fn delete(&self, path: &StoragePath) -> Result<()> {
        self.inner.delete(path).await
    }

    async fn delete_many(&self, paths: &[StoragePath]) -> Result<()> {
        self.inner.delete_many(paths).await
    }

    async fn delete_once(&self, paths: &[StoragePath], issued: SystemTime) -> Result<()> {
        self.inner.delete_once(paths, issued).await
    }

    async fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        self.inner.move_many(moves).await
    }

    async fn put_aside(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        self.inner.put_aside(moves).await
    }

    async fn space(&self, at: &StoragePath) -> Result<Option<Space>> {
        self.inner.space(at).await
    }

    async fn tidy(&self, prefix: &StoragePath, before: SystemTime, share: Share) -> Result<u64> {
        self.inner.tidy(prefix, before, share).await
    }

    async fn hold(&self, path: &StoragePath) -> Result<Hold> {
        self.inner.hold(path).await
    }

    async fn delete_prefix(&self, prefix: &StoragePath) -> Result<()> {
        self.inner.delete_prefix(prefix).await
    }

    async fn list(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        self.inner.list(prefix, page).await
    }

    async fn tree(&self, prefix: &StoragePath, page: &ListPage) -> Result<Tree> {
        self.inner.tree(prefix, page).await
    }

    async fn directories(&self, prefix: &StoragePath, page: &ListPage) -> Result<(Vec<String>, Option<ListPage>)> {
        self.inner.directories(prefix, page).await
    }

    async fn leaves(&self, prefix: &StoragePath, leaf: &str, names: Vec<String>) -> Result<Vec<(String, Stat)>> {
        self.inner.leaves(prefix, leaf, names).await
    }

    async fn read_many(&self, paths: Vec<StoragePath>, limits: ReadLimits) -> Result<Vec<Result<Bytes>>> {
        self.inner.read_many(paths, limits).await
    }

    async fn stage(&self, staging: &StoragePath) -> Result<Box<dyn StagedWrite>> {
        self.inner.stage(staging).await
    }

    async fn create(&self, target: &StoragePath, length: Option<u64>) -> Result<Box<dyn StagedWrite>> {
        self.inner.create(target, length).await
    }

    async fn resume(&self, staging: &StoragePath, state: &[u8]) -> Result<Box<dyn StagedWrite>> {
        self.inner.resume(staging, state).await
    }

    async fn staged_length(&self, staging: &StoragePath, state: &[u8]) -> Result<u64> {
        self.inner.staged_length(staging, state).await
    }

    async fn discard_staged(&self, staging: &StoragePath, state: &[u8]) -> Result<()> {
        self.inner.discard_staged(staging, state).await
    }

    async fn unfinished_writes(&self, before: SystemTime, what: Unfinished) -> Result<u64> {
        self.inner.unfinished_writes(before, what).await
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        self.inner.capabilities().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::driver::contract::contract_tests;
    use crate::storage::driver::memory::Memory;

    fn over_memory(middlewares: &[Middleware]) -> Arc<dyn Driver> {
        apply(Arc::new(Memory::new()), middlewares).unwrap()
    }

    fn redirect() -> Middleware {
        Middleware::Redirect { base: "https://blobs.example.org/mirror".to_owned() }
    }

    contract_tests!((over_memory(&[redirect()]), ()));

    async fn address(middlewares: &[Middleware]) -> Option<String> {
        let path = StoragePath::for_test("docker/registry/v2/blobs/x/data");
        over_memory(middlewares).address_for(&path, PresignMethod::Get, None).await.unwrap()
    }

    #[tokio::test]
    async fn redirect_puts_the_path_behind_its_base() {
        let expected = "https://blobs.example.org/mirror/docker/registry/v2/blobs/x/data";
        assert_eq!(address(&[redirect()]).await.as_deref(), Some(expected));
    }

    #[tokio::test]
    async fn the_last_of_the_list_has_the_last_word() {
        let rewrite = Middleware::Rewrite(Rewrite {
            scheme: Some(Scheme::HTTP),
            host: Some(Authority::from_static("cache.example.org:8080")),
            trim_path_prefix: "/mirror".to_owned(),
        });
        let expected = "http://cache.example.org:8080/docker/registry/v2/blobs/x/data";
        assert_eq!(address(&[redirect(), rewrite.clone()]).await.as_deref(), Some(expected));
        assert_eq!(address(std::slice::from_ref(&rewrite)).await, None);
        assert_eq!(over_memory(&[rewrite]).addresses(), Addresses::Never);
    }

    #[test]
    fn rewriting_leaves_the_signature_alone() {
        let signed = "https://bucket.example.org/a%2Bb/c?X-Amz-Signature=a%2Fb&x=%20+";
        let rewrite = Rewrite { trim_path_prefix: "/nowhere".to_owned(), ..Rewrite::default() };
        assert_eq!(rewrite.rewritten(signed).unwrap(), signed);
        let whole = Rewrite { trim_path_prefix: "/a%2Bb/c".to_owned(), ..Rewrite::default() };
        assert_eq!(whole.rewritten(signed).unwrap(), "https://bucket.example.org/?X-Amz-Signature=a%2Fb&x=%20+");
    }
}
