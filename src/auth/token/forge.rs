//! Makes tokens, good and bad, for tests: keys, certificates and signatures of every kind.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::{Material, libtrust_id};

/// A time at which everything is tried, Unix.
pub(super) const NOW: i64 = 1_800_000_000;

/// Somebody who signs, with a certificate.
pub(super) struct Signer {
    pub(super) pair: KeyPair,
    key: EncodingKey,
    algorithm: Algorithm,
    params: CertificateParams,
    pub(super) certificate: Vec<u8>,
}

/// How long a certificate is valid, in years of the common era.
pub(super) type Years = (i32, i32);

pub(super) const ALWAYS: Years = (2000, 2100);

impl Signer {
    /// With a new key for `algorithm` and a certificate that `issuer`, or nobody else, signed.
    pub(super) fn new(algorithm: Algorithm, years: Years, issuer: Option<&Signer>) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
            Algorithm::ES384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
            Algorithm::EdDSA => KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
            _ => {
                use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
                let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                KeyPair::try_from(der.as_ref()).unwrap()
            }
        };
        let pem = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        let mut params = CertificateParams::new(vec!["signer".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, hex::encode(rand::random::<[u8; 4]>()));
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        if issuer.is_none() {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&pair, &Issuer::from_params(&issuer.params, &issuer.pair)).unwrap(),
            None => params.self_signed(&pair).unwrap(),
        };
        Self { key: key.unwrap(), algorithm, params, certificate: certificate.der().to_vec(), pair }
    }

    /// The same key with a certificate of an authority that `issuer` signed.
    pub(super) fn vouched_for_by(mut self, issuer: &Signer) -> Self {
        let issuer = Issuer::from_params(&issuer.params, &issuer.pair);
        self.certificate = self.params.signed_by(&self.pair, &issuer).unwrap().der().to_vec();
        self
    }

    /// The public key as JSON, without a name.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, self.algorithm).unwrap())
                .unwrap();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    }

    /// The certificate as PEM.
    pub(super) fn pem(&self) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", self.x5c())
    }

    /// The certificate as a chain in a header holds it.
    pub(super) fn x5c(&self) -> String {
        STANDARD.encode(&self.certificate)
    }

    /// The key's names: RFC 7638's and libtrust's.
    pub(super) fn ids(&self) -> (String, String) {
        let (_, parsed) = X509Certificate::from_der(&self.certificate).unwrap();
        let info = parsed.public_key();
        (Material::of_certificate(info).unwrap().thumbprint(), libtrust_id(info.raw))
    }

    /// The header that goes with the key.
    pub(super) fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": format!("{:?}", self.algorithm), "kid": self.ids().0 })
    }

    /// A token of exactly these bytes.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = signed_part(header, claims);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

/// What is signed of a token.
pub(super) fn signed_part(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// A token signed with HMAC-SHA-256 by `secret`, as who knows only public keys would.
pub(super) fn with_hmac(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = signed_part(header, claims);
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{signed}.{signature}")
}

/// Claims that are good at [`NOW`].
pub(super) fn claims() -> Value {
    json!({
        "iss": "issuer",
        "sub": "alice",
        "aud": "service",
        "exp": NOW + 300,
        "nbf": NOW - 10,
        "iat": NOW,
        "jti": "1",
        "access": [{ "type": "repository", "name": "a/b", "actions": ["pull", "push"] }],
    })
}
