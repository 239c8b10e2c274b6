//! What the driver is told: `storage.s3`. The keys and their defaults are distribution's where it has them.
//!
//! Nothing here reads a file; `config` fills it in.

use std::fmt;

/// `storage.s3`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `bucket`. It is never created.
    pub bucket: String,
    /// `region`: any name; requests are signed for it.
    pub region: String,
    /// `regionendpoint` with its scheme; `None` for Amazon's own.
    pub endpoint: Option<String>,
    /// `redirectendpoint`: scheme and host that clients are sent to, where they cannot reach [`Config::endpoint`].
    pub redirect_endpoint: Option<String>,
    /// `forcepathstyle`.
    pub addressing: Addressing,
    /// `usedualstack`, `accelerate`, `usefipsendpoint`: which of Amazon's own endpoints are meant.
    pub variants: Vec<EndpointVariant>,
    /// `accesskey`, `secretkey` and `sessiontoken`, or whatever the machine has.
    pub credentials: Credentials,
    /// `skipverify`.
    pub certificates: Certificates,
    /// `encrypt` and `keyid`.
    pub encryption: Encryption,
    /// `chunksize`: bytes of each part of a multipart upload but the last.
    pub part_size: u64,
    /// `multipartcopythresholdsize`: bytes of the largest object that is copied by one request.
    pub largest_copy: u64,
    /// `multipartcopymaxconcurrency`: parts of one object that are copied at once.
    pub copies_at_once: usize,
    /// `rootdirectory`: prefix of every key.
    pub root_directory: String,
    /// `storageclass` in capitals; `None` leaves it to the bucket.
    pub storage_class: Option<String>,
    /// `objectacl`; `None` leaves it to the bucket, which is private unless somebody changed that.
    pub acl: Option<String>,
    /// `useragent`: takes the place of the whole header.
    pub user_agent: Option<String>,
    /// `loglevel`.
    pub request_log: RequestLog,
}

impl Config {
    /// The least part that S3 takes, and this registry's own size: what an upload holds in memory grows with it.
    pub const LEAST_PART: u64 = 5 << 20;
    /// The largest part, and the largest object that one request may copy.
    pub const LARGEST_PART: u64 = 5 << 30;

    /// The defaults of everything but the bucket.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            redirect_endpoint: None,
            addressing: Addressing::VirtualHost,
            variants: Vec::new(),
            credentials: Credentials::Found,
            certificates: Certificates::Verified,
            encryption: Encryption::BucketDefault,
            part_size: Self::LEAST_PART,
            largest_copy: 32 << 20,
            copies_at_once: 100,
            root_directory: String::new(),
            storage_class: None,
            acl: None,
            user_agent: None,
            request_log: RequestLog::Off,
        }
    }
}

/// Where the bucket's name stands in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// First in the path, as most stores that are not Amazon's want it.
    Path,
    /// First in the host name.
    VirtualHost,
}

/// One of Amazon's kinds of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointVariant {
    /// Over IPv6 too.
    DualStack,
    /// Through the nearest edge location.
    Accelerate,
    /// With cryptography that is validated under FIPS 140.
    Fips,
}

/// What requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// What the machine has, in this order: environment, shared files and sign-on, web identity, container, instance.
    Found,
    /// What the configuration says.
    Given {
        /// `accesskey`.
        access_key: String,
        /// `secretkey`.
        secret_key: Secret,
        /// `sessiontoken`.
        session_token: Option<Secret>,
    },
}

/// Text that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever signs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Whether the store must prove that it is the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificates {
    /// By a certificate that the machine trusts.
    Verified,
    /// Not at all: whoever stands between reads and changes everything.
    Unverified,
}

/// How the store encrypts what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket says.
    BucketDefault,
    /// With a key of the store's own (SSE-S3).
    StoreKey,
    /// With this key of the key management service (SSE-KMS).
    ManagedKey(String),
}

/// Whether each request to the store is logged, at level `debug`; never with what is secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestLog {
    /// Nothing is.
    Off,
    /// Operation, address, status and duration of each are.
    On,
}
