//! `cloudfront`: addresses of a `CloudFront` distribution in front of the bucket, signed by a canned policy.
//!
//! `CloudFront` wants RSASSA-PKCS1-v1_5 over SHA-1, which the cryptography that TLS uses here does not sign any more: docs/adr/0008.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest as _, Sha1};

use super::ip_ranges::{IpRanges, Watched};
use super::{Addresses, Addressing, Driver, Error, PresignMethod, Result, Retry, StoragePath, failed};

/// What stands before a SHA-1 hash in a PKCS #1 signature: its `DigestInfo`, RFC 8017 §9.2.
const SHA1_INFO: [u8; 15] = [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

/// The options of `cloudfront`.
#[derive(Debug, Clone)]
pub struct CloudFront {
    /// `baseurl`: scheme, host and path of the distribution, without a trailing slash.
    pub base: String,
    /// `privatekey`: a PEM file with the RSA key.
    pub private_key: PathBuf,
    /// `keypairid`: `CloudFront`'s name for the key.
    pub key_pair_id: String,
    /// `duration`: how long an address is good for.
    pub duration: Duration,
    /// `ipfilteredby`, `awsregion` and what goes with them.
    pub served_from_store: ServedFromStore,
}

/// Which clients are sent to the store itself, where that costs them nothing.
#[derive(Debug, Clone)]
pub enum ServedFromStore {
    /// `none`.
    Nobody,
    /// `aws` or `awsregion`: those whose address is Amazon's.
    Within(IpRanges),
}

/// Signs addresses.
pub(super) struct Signing {
    base: String,
    key: RsaPrivateKey,
    key_pair_id: String,
    duration: Duration,
    served_from_store: Option<Arc<Watched>>,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Signing")
            .field("base", &self.base)
            .field("key_pair_id", &self.key_pair_id)
            .finish_non_exhaustive()
    }
}

impl Signing {
    /// Reads the key and, where addresses decide, begins to watch the list of Amazon's.
    pub(super) fn open(config: &CloudFront) -> Result<Self> {
        Ok(Self {
            base: config.base.clone(),
            key: read_key(&config.private_key)?,
            key_pair_id: config.key_pair_id.clone(),
            duration: config.duration,
            served_from_store: match &config.served_from_store {
                ServedFromStore::Nobody => None,
                ServedFromStore::Within(ranges) => Some(Watched::start(ranges.clone())),
            },
        })
    }

    /// `url` with its signature, good until `expires`, seconds since 1970.
    fn sign(&self, url: &str, expires: u64) -> std::result::Result<String, rsa::Error> {
        let policy = format!(
            r#"{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
        );
        let padding = Pkcs1v15Sign { hash_len: Some(20), prefix: SHA1_INFO.into() };
        let hash = Sha1::digest(policy.as_bytes());
        // Blinded, so that the time it takes tells nothing of the key.
        let signature = self.key.sign_with_rng(&mut rsa::rand_core::OsRng, padding, &hash)?;
        let signature = STANDARD.encode(signature).replace('+', "-").replace('=', "_").replace('/', "~");
        Ok(format!("{url}?Expires={expires}&Signature={signature}&Key-Pair-Id={}", self.key_pair_id))
    }
}

#[async_trait]
impl Addressing for Signing {
    fn addresses(&self, _inner: &dyn Driver) -> Addresses {
        Addresses::Possible
    }

    async fn address(
        &self,
        inner: &dyn Driver,
        path: &StoragePath,
        method: PresignMethod,
        client: Option<IpAddr>,
    ) -> Result<Option<String>> {
        if let (Some(ranges), Some(client)) = (&self.served_from_store, client)
            && ranges.contains(client)
        {
            return inner.address_for(path, method, Some(client)).await;
        }
        let expires = SystemTime::now().checked_add(self.duration);
        let expires = expires.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        let url = format!("{}/{}", self.base, inner.object_key(path));
        self.sign(&url, expires.as_secs()).map(Some).map_err(|error| failed(path, error))
    }
}

/// The RSA key of a PEM file, in the form of PKCS #1 or PKCS #8.
fn read_key(path: &Path) -> Result<RsaPrivateKey> {
    let unusable = |reason: String| Error::Backend {
        operation: "read the key of middleware.storage cloudfront at",
        path: path.display().to_string(),
        retry: Retry::Pointless,
        source: reason.into(),
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    RsaPrivateKey::from_pkcs1_pem(&text).or_else(|_| RsaPrivateKey::from_pkcs8_pem(&text)).map_err(|error| {
        unusable(format!(
            "it holds no RSA private key in PEM ({error}); privatekey must name the file made for keypairid"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::driver::memory::Memory;

    /// Made by `openssl genrsa -traditional 2048` for this test; it opens nothing.
    const KEY: &str = include_str!("../../../../tests/data/cloudfront/key.pem");
    /// `openssl dgst -sha1 -sign key.pem` of the policy below, in `CloudFront`'s base64.
    const SIGNATURE: &str = include_str!("../../../../tests/data/cloudfront/signature.txt");

    fn signing() -> Signing {
        Signing {
            base: "https://d1.cloudfront.example".to_owned(),
            key: RsaPrivateKey::from_pkcs1_pem(KEY).unwrap(),
            key_pair_id: "K1".to_owned(),
            duration: Duration::from_mins(20),
            served_from_store: None,
        }
    }

    #[test]
    fn signs_as_openssl_does() {
        let signed = signing().sign("https://d1.cloudfront.example/docker/data", 1_700_000_000).unwrap();
        let expected = format!(
            "https://d1.cloudfront.example/docker/data?Expires=1700000000&Signature={}&Key-Pair-Id=K1",
            SIGNATURE.trim()
        );
        assert_eq!(signed, expected);
    }

    #[tokio::test]
    async fn an_address_names_the_object_and_ends() {
        let path = StoragePath::for_test("docker/x");
        let address = signing().address(&Memory::new(), &path, PresignMethod::Get, None).await.unwrap().unwrap();
        assert!(address.starts_with("https://d1.cloudfront.example/docker/x?Expires="), "{address}");
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = read_key(file.path()).unwrap_err().to_string();
        assert!(error.contains("privatekey") && error.contains(&file.path().display().to_string()), "{error}");
        assert!(!format!("{:?}", signing()).contains("key:"));
    }
}
