//! What the driver is told: `storage.oss`. The keys and their defaults are those of distribution 2.8 where it has them.
//!
//! Nothing here reads a file; `config` fills it in.

pub use super::address::{Address, Network, Scheme, Unfit, region_of};
pub use crate::storage::driver::s3::Secret;

/// `storage.oss`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `bucket`. It is never created.
    pub bucket: String,
    /// `region` without `oss-`; requests are signed for it.
    pub region: String,
    /// Where requests go: from `endpoint`, `internal` and `region`.
    pub address: Address,
    /// Where clients are sent: `redirectendpoint`, or the public form of [`Config::address`].
    pub public_address: Address,
    /// `signatureversion`.
    pub signature: Signature,
    /// `accesskeyid`, `accesskeysecret` and `securitytoken`, or whatever the machine has.
    pub credentials: Credentials,
    /// `encrypt` and `encryptionkeyid`.
    pub encryption: Encryption,
    /// `chunksize`: bytes of each part of a multipart upload but the last.
    pub part_size: u64,
    /// `rootdirectory`: prefix of every key.
    pub root_directory: String,
}

impl Config {
    /// The least part that OSS takes. distribution took nothing below 5 MiB.
    pub const LEAST_PART: u64 = 100 << 10;
    /// This registry's own size: what an upload holds in memory grows with it.
    pub const DEFAULT_PART: u64 = 5 << 20;
    /// The largest part.
    pub const LARGEST_PART: u64 = 5 << 30;

    /// The defaults of everything but where the bucket is.
    #[must_use]
    pub fn new(bucket: impl Into<String>, region: impl Into<String>, address: Address) -> Self {
        Self {
            bucket: bucket.into(),
            region: region.into(),
            public_address: address.public(),
            address,
            signature: Signature::V4,
            credentials: Credentials::Found,
            encryption: Encryption::BucketDefault,
            part_size: Self::DEFAULT_PART,
            root_directory: String::new(),
        }
    }
}

/// How requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// HMAC-SHA1; refused for accounts and buckets made since 2025.
    V1,
    /// OSS4-HMAC-SHA256.
    V4,
}

/// What requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// What the machine has, in this order: environment, role by OIDC token (RRSA), role of the instance.
    Found,
    /// What the configuration says.
    Given {
        /// `accesskeyid`.
        access_key_id: String,
        /// `accesskeysecret`.
        access_key_secret: Secret,
        /// `securitytoken`.
        security_token: Option<Secret>,
    },
}

/// How the store encrypts what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket says.
    BucketDefault,
    /// With a key of the store's own.
    StoreKey,
    /// With this key of the key management service.
    ManagedKey(String),
}
