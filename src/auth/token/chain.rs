//! Chains of certificates in a token's header (RFC 7515 §4.1.6), held against the certificates that are trusted.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::Rejection;
use super::key::{Key, Material};

/// Most certificates in a chain.
const LONGEST: usize = 8;

/// Certificates for tokens carry any purpose, as in distribution.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// The key of the first certificate, when `chain` leads from it to one of `roots` and all are valid at `now`, Unix time.
pub(super) fn verified_key(chain: &[String], roots: &[CertificateDer<'static>], now: i64) -> Result<Key, Rejection> {
    if chain.is_empty() || chain.len() > LONGEST {
        return Err(Rejection::Chain);
    }
    let mut certificates = Vec::with_capacity(chain.len());
    for text in chain {
        certificates.push(CertificateDer::from(STANDARD.decode(text).map_err(|_| Rejection::Chain)?));
    }
    let (leaf, between) = certificates.split_first().ok_or(Rejection::Chain)?;
    if !is_valid(leaf, now) || !is_trusted(leaf, between, roots, now) {
        return Err(Rejection::Chain);
    }
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| Rejection::Chain)?;
    Material::of_certificate(parsed.public_key()).map(Material::prepare).ok_or(Rejection::Algorithm)
}

fn is_trusted(
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    now: i64,
) -> bool {
    // A certificate that is trusted by itself needs no chain; webpki has no words for it.
    if roots.contains(leaf) {
        return true;
    }
    let anchors: Vec<_> = roots
        .iter()
        .filter(|root| is_valid(root, now))
        .filter_map(|root| anchor_from_trusted_cert(root).ok())
        .collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    EndEntityCert::try_from(leaf)
        .is_ok_and(|end| end.verify_for_usage(algorithms, &anchors, between, time, AnyPurpose, None, None).is_ok())
}

fn is_valid(certificate: &CertificateDer<'_>, now: i64) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    ASN1Time::from_timestamp(now).is_ok_and(|now| parsed.validity().is_valid_at(now))
}
