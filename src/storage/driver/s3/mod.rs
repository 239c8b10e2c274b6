//! S3, Amazon's and every store that speaks its protocol: [`Service`] on the official client library.
//!
//! Relies on nothing that only some stores have: no checksum headers, no chunked signatures, no listing of parts.
//! Must not know what the objects are; `bucket` makes a driver of it.

mod client;
mod config;
mod failure;
mod multipart;
mod objects;
mod payload;
#[cfg(test)]
mod real_bucket;
#[cfg(test)]
mod tests;
mod unverified;
mod wire;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;

use super::bucket::{
    Bucket, Fetched, Head, KeyPage, Limits, ListQuery, Multipart, MultipartMarker, MultipartPage, PartTag, Payload,
    Sending, Service, Version,
};
use super::{Driver, PresignMethod, WriteMode};
use crate::storage::error::{Result, Retry};

pub use config::{Addressing, Certificates, Config, Credentials, Encryption, EndpointVariant, RequestLog, Secret};

use client::Clients;
use failure::{Request, backend};

/// Connects to the bucket.
///
/// # Errors
/// `Backend` that says which key of the configuration to change, when one request to the bucket fails.
pub(super) async fn open(config: &Config) -> Result<Arc<dyn Driver>> {
    let service = S3::connect(config).await?;
    service.check().await?;
    Ok(Arc::new(Bucket::new(Arc::new(service), &config.root_directory)))
}

/// A bucket that speaks S3.
#[derive(Debug)]
pub(super) struct S3 {
    clients: Clients,
    config: Config,
    /// Whether the store was seen not to know how to delete many objects at once.
    deletes_singly: AtomicBool,
}

impl S3 {
    /// Prepares requests to the bucket. Sends none.
    pub(super) async fn connect(config: &Config) -> Result<Self> {
        let request = Request { operation: "open", key: &config.bucket };
        let clients = client::clients(config).await.map_err(|text| backend(request, Retry::Pointless, text))?;
        Ok(Self { clients, config: config.clone(), deletes_singly: AtomicBool::new(false) })
    }

    fn requests(&self) -> &aws_sdk_s3::Client {
        &self.clients.requests
    }
}

#[async_trait]
impl Service for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    async fn head(&self, key: &str) -> Result<Head> {
        self.head_object(key).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&Version>) -> Result<Fetched> {
        self.get_object(key, range, version).await
    }

    async fn put(&self, key: &str, content: Payload, mode: WriteMode) -> Result<()> {
        self.put_object(key, &content, mode).await
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
        self.create_multipart_upload(key).await
    }

    async fn upload_part(&self, upload: &Multipart, number: u32, content: Payload) -> Result<PartTag> {
        self.upload_one_part(upload, number, &content).await
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
        self.presigned_address(key, method, lifetime).await
    }

    fn limits(&self) -> Limits {
        Limits {
            part: self.config.part_size,
            least_part: Config::LEAST_PART,
            copy: self.config.largest_copy,
            copies_at_once: self.config.copies_at_once,
        }
    }
}
