//! A public key: what it verifies, and by which names tokens may call it.
//!
//! An algorithm is tried only on a key of its own type, so a token cannot choose how its key is read.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED};
use aws_lc_rs::signature::{EcdsaVerificationAlgorithm, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest, Sha256};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::jws::Token;
use super::{Rejection, SigningAlgorithm};

/// The numbers of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// Modulus and exponent, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
}

/// A curve of RFC 7518 §6.2.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// A key ready to verify.
#[derive(Debug, Clone)]
pub(super) struct Key {
    material: Material,
    prepared: Prepared,
}

/// A key as its library wants it.
#[derive(Debug, Clone)]
enum Prepared {
    /// jsonwebtoken's.
    Decoding(DecodingKey),
    /// A point on its curve, parsed once where jsonwebtoken parses it for each token. It does not know P-521 either.
    Point(Box<ParsedPublicKey>),
    /// What is no point on its curve; verifies nothing.
    Unusable,
}

impl Curve {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// The one algorithm that signs with it, as RFC 7518 §3.4 writes signatures.
    fn signatures(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }

    /// Bytes of a coordinate.
    fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl Material {
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self::Rsa { n: trimmed(n), e: trimmed(e) }
    }

    /// `None` when a coordinate is longer than the curve allows.
    pub(super) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        let mut point = vec![4];
        for coordinate in [x, y] {
            let padding = curve.width().checked_sub(coordinate.len())?;
            point.extend(std::iter::repeat_n(0, padding));
            point.extend_from_slice(coordinate);
        }
        Some(Self::Ec { curve, point })
    }

    pub(super) fn ed25519(x: &[u8]) -> Option<Self> {
        (x.len() == 32).then(|| Self::Ed25519(x.to_vec()))
    }

    /// The key of a certificate.
    pub(super) fn of_certificate(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        match info.parsed().ok()? {
            PublicKey::RSA(key) => Some(Self::rsa(key.modulus, key.exponent)),
            PublicKey::EC(point) => {
                let (_, coordinates) = point.data().split_first().filter(|(form, _)| **form == 4)?;
                let curve = [Curve::P256, Curve::P384, Curve::P521]
                    .into_iter()
                    .find(|curve| curve.width() * 2 == coordinates.len())?;
                let (x, y) = coordinates.split_at_checked(curve.width())?;
                Self::ec(curve, x, y)
            }
            _ if info.algorithm.algorithm.to_id_string() == "1.3.101.112" => {
                Self::ed25519(&info.subject_public_key.data)
            }
            _ => None,
        }
    }

    /// RFC 7638's thumbprint with SHA-256, by which distribution 3 calls the keys of its bundle.
    pub(super) fn thumbprint(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let canonical = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Self::Ec { curve, point } => {
                let (x, y) = point.split_at_checked(1 + curve.width()).unwrap_or_default();
                let x = x.split_first().map_or(x, |(_, x)| x);
                format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, curve.name(), text(x), text(y))
            }
            Self::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
        };
        text(&Sha256::digest(canonical))
    }

    /// Ready to verify.
    pub(super) fn prepare(self) -> Key {
        let prepared = match &self {
            Self::Rsa { n, e } => Prepared::Decoding(DecodingKey::from_rsa_raw_components(n, e)),
            Self::Ec { curve, point } => ParsedPublicKey::new(curve.signatures(), point)
                .map_or(Prepared::Unusable, |key| Prepared::Point(Box::new(key))),
            Self::Ed25519(x) => Prepared::Decoding(DecodingKey::from_ed_der(x)),
        };
        Key { material: self, prepared }
    }
}

/// The fingerprint by which libtrust, and so distribution 2, calls a key: twelve groups of four letters.
pub(super) fn libtrust_id(subject_public_key_info: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(subject_public_key_info);
    let (mut id, mut held, mut bits, mut letters) = (String::with_capacity(59), 0_u32, 0_u32, 0);
    for byte in digest.iter().take(30) {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            if letters > 0 && letters % 4 == 0 {
                id.push(':');
            }
            id.extend(ALPHABET.get((held >> bits & 31) as usize).map(|letter| char::from(*letter)));
            letters += 1;
        }
        held &= (1 << bits) - 1;
    }
    id
}

impl Key {
    /// Whether the signature of `token` is this key's.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Rejection> {
        use SigningAlgorithm as S;
        let algorithm = match (token.algorithm, &self.material) {
            (S::RS256, Material::Rsa { .. }) => Algorithm::RS256,
            (S::RS384, Material::Rsa { .. }) => Algorithm::RS384,
            (S::RS512, Material::Rsa { .. }) => Algorithm::RS512,
            (S::PS256, Material::Rsa { .. }) => Algorithm::PS256,
            (S::PS384, Material::Rsa { .. }) => Algorithm::PS384,
            (S::PS512, Material::Rsa { .. }) => Algorithm::PS512,
            (S::EdDSA, Material::Ed25519(_)) => Algorithm::EdDSA,
            (S::ES256, Material::Ec { curve: Curve::P256, .. })
            | (S::ES384, Material::Ec { curve: Curve::P384, .. })
            | (S::ES512, Material::Ec { curve: Curve::P521, .. }) => return self.verify_by_point(token),
            _ => return Err(Rejection::Algorithm),
        };
        let Prepared::Decoding(key) = &self.prepared else { return Err(Rejection::Signature) };
        match jsonwebtoken::crypto::verify(token.signature, token.signed.as_bytes(), key, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Rejection::Signature),
        }
    }

    fn verify_by_point(&self, token: &Token<'_>) -> Result<(), Rejection> {
        let Prepared::Point(key) = &self.prepared else { return Err(Rejection::Signature) };
        let signature = URL_SAFE_NO_PAD.decode(token.signature).map_err(|_| Rejection::Signature)?;
        key.verify_sig(token.signed.as_bytes(), &signature).map_err(|_| Rejection::Signature)
    }
}

fn trimmed(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::jwk::Jwk;

    #[test]
    fn the_thumbprint_of_the_standard_is_found() {
        // RFC 7638 §3.1.
        let jwk: Jwk = serde_json::from_str(
            r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
        )
        .unwrap();
        assert_eq!(jwk.material().unwrap().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn libtrust_ids_have_twelve_groups() {
        let id = libtrust_id(b"");
        // base32 of the first 30 bytes of SHA-256 of nothing.
        assert_eq!(id, "4OYM:IQUY:7QOB:JGX3:6TEJ:S35Z:EQT2:4QPE:MSNZ:GTFE:SWMR:W6CS");
    }
}
