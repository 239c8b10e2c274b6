//! Alibaba Cloud OSS by its own protocol: [`Service`] on a thin client, because no kept library offers what is needed.
//!
//! Must not know what the objects are; `bucket` makes a driver of it.

mod address;
mod client;
mod config;
mod credentials;
mod failure;
mod multipart;
mod objects;
mod payload;
mod sign;
#[cfg(test)]
mod tests;
mod xml;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;

use super::bucket::{
    Bucket, Fetched, Head, KeyPage, Limits, ListQuery, Multipart, MultipartMarker, MultipartPage, PartTag, Payload,
    Sending, Service, Version,
};
use super::{Driver, PresignMethod, WriteMode};
use crate::storage::error::{Error, Result, Retry};

pub use config::{Address, Config, Credentials, Encryption, Network, Scheme, Secret, Signature, Unfit, region_of};

use client::{Client, Request};
use credentials::Provider;
use failure::{Failure, backend};

/// The store copies objects below 1 GB by one request.
const LARGEST_COPY: u64 = 999_999_999;

/// Parts that are copied at once: enough to move some GiB within the patience of a client that waits for its PUT.
const COPIES_AT_ONCE: usize = 32;

/// Connects to the bucket.
///
/// # Errors
/// `Backend` that says which key of the configuration to change, when one request to the bucket fails.
pub(super) async fn open(config: &Config) -> Result<Arc<dyn Driver>> {
    let service = Oss::connect(config)?;
    service.check().await?;
    Ok(Arc::new(Bucket::new(Arc::new(service), &config.root_directory)))
}

/// A bucket that speaks OSS.
#[derive(Debug)]
pub(super) struct Oss {
    client: Client,
    config: Config,
}

impl Oss {
    /// Prepares requests to the bucket. Sends none.
    pub(super) fn connect(config: &Config) -> Result<Self> {
        Self::connect_with(config, Provider::new(&config.credentials, std::env::vars().collect()))
    }

    /// The same with credentials from elsewhere.
    fn connect_with(config: &Config, credentials: Provider) -> Result<Self> {
        let request = Request::new("open bucket", Method::GET, &config.bucket);
        let client = Client::new(config, credentials).map_err(|text| backend(&request, Retry::Pointless, text))?;
        Ok(Self { client, config: config.clone() })
    }

    /// The error that `failure` of `request` is.
    fn error(&self, request: &Request<'_>, failure: Failure) -> Error {
        failure.into_error(request, &self.config)
    }

    /// Adds how the store is to encrypt the object that `request` makes.
    fn encrypted<'a>(&self, request: Request<'a>) -> Request<'a> {
        const ENCRYPTION: &str = "x-oss-server-side-encryption";
        match &self.config.encryption {
            Encryption::BucketDefault => request,
            Encryption::StoreKey => request.header(ENCRYPTION, "AES256"),
            Encryption::ManagedKey(key) => {
                request.header(ENCRYPTION, "KMS").header("x-oss-server-side-encryption-key-id", key)
            }
        }
    }
}

#[async_trait]
impl Service for Oss {
    fn name(&self) -> &'static str {
        "oss"
    }

    async fn head(&self, key: &str) -> Result<Head> {
        self.head_object(key).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&Version>) -> Result<Fetched> {
        self.get_object(key, range, version).await
    }

    async fn put(&self, key: &str, content: Payload, mode: WriteMode) -> Result<()> {
        self.put_object(key, content, mode).await
    }

    async fn delete(&self, keys: &[String], sending: Sending) -> Result<()> {
        self.delete_objects(keys, sending).await
    }

    async fn list(&self, query: &ListQuery<'_>) -> Result<KeyPage> {
        self.list_objects(query).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.copy_object(from, to).await
    }

    async fn begin_multipart(&self, key: &str) -> Result<Multipart> {
        self.initiate_multipart_upload(key).await
    }

    async fn upload_part(&self, upload: &Multipart, number: u32, content: Payload) -> Result<PartTag> {
        self.upload_one_part(upload, number, content).await
    }

    async fn copy_part(&self, upload: &Multipart, number: u32, from: &str) -> Result<PartTag> {
        self.upload_part_copy(upload, number, from).await
    }

    async fn complete_multipart(&self, upload: &Multipart, parts: &[PartTag]) -> Result<()> {
        self.complete_multipart_upload(upload, parts).await
    }

    async fn abort_multipart(&self, upload: &Multipart) -> Result<()> {
        self.abort_multipart_upload(upload).await
    }

    async fn list_multiparts(&self, prefix: &str, after: Option<&MultipartMarker>) -> Result<MultipartPage> {
        self.list_multipart_uploads(prefix, after).await
    }

    async fn presign(&self, key: &str, method: PresignMethod, lifetime: Duration) -> Result<String> {
        let method = match method {
            PresignMethod::Get => Method::GET,
            PresignMethod::Head => Method::HEAD,
        };
        let request = Request::new("sign an address for", method.clone(), key);
        self.client.presign(&method, key, lifetime).await.map_err(|failure| self.error(&request, failure))
    }

    fn limits(&self) -> Limits {
        Limits {
            part: self.config.part_size,
            least_part: Config::LEAST_PART,
            copy: LARGEST_COPY,
            copies_at_once: COPIES_AT_ONCE,
        }
    }
}
