//! The private key with which this registry signs tokens of its own (RFC 7515): read from a file, or made once and kept.
//!
//! Replicas share the file. Must not know what a token says.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use super::super::watched::Watched;
use super::super::{Error, SigningAlgorithm};
use super::Rejection;
use super::jws::Token;
use super::key::{Curve, Key, Material};

/// The configuration's key that names the file.
pub(in crate::auth) const KEY: &str = "auth.token.server.key";

/// A key that signs, with the public half that verifies.
pub(in crate::auth) struct SigningKey {
    pair: Pair,
    /// RFC 7638's thumbprint, which tokens carry as `kid`.
    id: String,
    public: Arc<Key>,
    /// A digest of the private half, to key what only holders of the file may compute.
    secret: [u8; 32],
}

enum Pair {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// The system gave no randomness, or no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningFailed;

/// Nothing of the private half.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads the file at `path`, after making it when it is not there. It is read again when it changes.
    pub(in crate::auth) fn open(path: &Path) -> Result<Watched<Self>, Error> {
        if !path.exists() {
            make(path).map_err(|source| Error::File { key: KEY, path: path.to_owned(), source })?;
        }
        warn_of_readers(path);
        Watched::open(KEY, path.to_owned(), Self::read)
    }

    /// Reads a private key in PEM: P-256 or RSA, in PKCS #8 or in the older forms that openssl writes.
    pub(in crate::auth) fn read(pem: &[u8]) -> Result<Self, String> {
        const MADE: &str = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one";
        let der = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| format!("it holds no private key in PEM, without a password; {MADE}"))?;
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => EcdsaKeyPair::from_pkcs8(curve, der.secret_pkcs8_der())
                .map(Pair::P256)
                .or_else(|_| RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map(Pair::Rsa))
                .ok(),
            PrivateKeyDer::Sec1(der) => {
                EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der()).map(Pair::P256).ok()
            }
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map(Pair::Rsa).ok(),
            _ => None,
        };
        let pair =
            pair.ok_or_else(|| format!("its key is neither of the curve P-256 nor RSA of 2048 bits or more; {MADE}"))?;
        let material = pair.material().ok_or_else(|| "its public half cannot be read".to_owned())?;
        let id = material.thumbprint();
        let secret = Sha256::new_with_prefix("berth: what the token key keeps secret").chain_update(der.secret_der());
        Ok(Self { pair, id, public: Arc::new(material.prepare()), secret: secret.finalize().into() })
    }

    /// How it signs.
    pub(in crate::auth) fn algorithm(&self) -> SigningAlgorithm {
        match self.pair {
            Pair::P256(_) => SigningAlgorithm::ES256,
            Pair::Rsa(_) => SigningAlgorithm::RS256,
        }
    }

    /// The name that tokens call it by.
    pub(in crate::auth) fn id(&self) -> &str {
        &self.id
    }

    /// The half that verifies.
    pub(super) fn public(&self) -> Arc<Key> {
        Arc::clone(&self.public)
    }

    /// What only holders of the file know, for keyed digests.
    pub(in crate::auth) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The payload of `token`, if this key signed it.
    pub(in crate::auth) fn verified(&self, token: &str) -> Result<Vec<u8>, Rejection> {
        let token = Token::parse(token)?;
        if token.header.kid.as_deref() != Some(self.id()) {
            return Err(Rejection::KeyUnknown);
        }
        self.public.verify(&token)?;
        Ok(token.payload)
    }

    /// `claims`, JSON, as a token of the type `kind` (RFC 7515 §4.1.9).
    pub(in crate::auth) fn sign(&self, kind: &'static str, claims: &[u8]) -> Result<String, SigningFailed> {
        let (random, algorithm) = (SystemRandom::new(), self.algorithm().name());
        let header = format!(r#"{{"typ":"{kind}","alg":"{algorithm}","kid":"{}"}}"#, self.id);
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&random, token.as_bytes()).map_err(|_| SigningFailed)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = &RSA_PKCS1_SHA256;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, token.as_bytes(), &mut signature).map_err(|_| SigningFailed)?;
                signature
            }
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl Pair {
    fn material(&self) -> Option<Material> {
        match self {
            Self::P256(pair) => {
                let (_, coordinates) = pair.public_key().as_ref().split_first()?;
                let (x, y) = coordinates.split_at_checked(32)?;
                Material::ec(Curve::P256, x, y)
            }
            Self::Rsa(pair) => {
                let (_, key) = RSAPublicKey::from_der(pair.public_key().as_ref()).ok()?;
                Some(Material::rsa(key.modulus, key.exponent))
            }
        }
    }
}

/// Makes a key of the curve P-256. The file appears whole or not at all, and of several replicas that make it at the same
/// time the first one wins.
fn make(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let pem = new_key().ok_or_else(|| std::io::Error::other("no key could be made"))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", hex::encode(rand::random::<[u8; 8]>())));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let kept = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        // Unlike a rename, a link never replaces what another replica has just put there.
        match std::fs::hard_link(&beside, path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Ok(()) => {
                tracing::info!(file = %path.display(), "the key that signs tokens did not exist and was made");
                Ok(())
            }
            Err(error) => Err(error),
        }
    });
    let removed = std::fs::remove_file(&beside);
    kept.and(removed).and_then(|()| std::fs::File::open(directory)?.sync_all())
}

/// A new key in PEM.
fn new_key() -> Option<String> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
    let der = pair.to_pkcs8v1().ok()?;
    Some(pem(der.as_ref()))
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for (at, letter) in text.char_indices() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem + "\n-----END PRIVATE KEY-----\n"
}

/// Whoever reads the file can let themselves in.
fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0) {
        tracing::warn!("{KEY}: {} can be read by everybody on this machine; chmod 600 it", path.display());
    }
}

/// An RSA key in PEM, for tests.
#[cfg(test)]
pub(in crate::auth) fn new_rsa_key() -> String {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa;
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    pem(der.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifies(key: &SigningKey, verifier: &SigningKey) -> bool {
        let token = key.sign("JWT", b"{}").unwrap();
        verifier.public().verify(&Token::parse(&token).unwrap()).is_ok()
    }

    #[test]
    fn each_kind_of_key_signs_what_its_public_half_verifies() {
        let keys = [new_key().unwrap(), new_key().unwrap(), new_rsa_key()].map(|pem| SigningKey::read(pem.as_bytes()));
        let keys = keys.map(Result::unwrap);
        for (at, key) in keys.iter().enumerate() {
            for (other, verifier) in keys.iter().enumerate() {
                assert_eq!(verifies(key, verifier), at == other, "{at} {other}");
            }
        }
        assert_eq!(keys[0].algorithm(), SigningAlgorithm::ES256);
        assert_eq!(keys[2].algorithm(), SigningAlgorithm::RS256);
        let token = keys[0].sign("JWT", b"{}").unwrap();
        let header = Token::parse(&token).unwrap().header;
        assert_eq!(header.kid.as_deref(), Some(keys[0].id()));
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_way_out() {
        let other_curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        for pem in ["", "key", "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n", &other_curve] {
            let problem = SigningKey::read(pem.as_bytes()).unwrap_err();
            assert!(problem.contains("openssl genpkey"), "{problem}");
        }
    }

    #[test]
    fn a_missing_key_is_made_once_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/token.pem");
        let open = || SigningKey::open(&path).unwrap().current().id().to_owned();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let replicas: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            replicas.into_iter().map(|replica| replica.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing else stays: {left:?}");
    }

    #[test]
    fn nothing_private_is_shown() {
        let pem = new_key().unwrap();
        let shown = format!("{:?}", SigningKey::read(pem.as_bytes()).unwrap());
        assert!(shown.starts_with("SigningKey { id: \"") && shown.len() < 100, "{shown}");
    }
}
