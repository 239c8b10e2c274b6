//! The keys that are trusted, and which of them a token means.
//!
//! The order is distribution's: a chain of certificates, then an embedded key, then a key's name. An embedded key is
//! never used itself: it must be one of ours, and then ours is used.

use std::collections::HashMap;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::watched::Watched;
use super::super::{Error, KeySet, TokenConfig};
use super::fetched::FetchedSet;
use super::jwk::{Jwk, JwkSet};
use super::jws::Header;
use super::key::{Key, Material, libtrust_id};
use super::signing::SigningKey;
use super::{Rejection, chain};

/// Keys by each of their names.
pub(super) type Named = HashMap<String, Arc<Key>>;

/// The keys, read again when their files change.
#[derive(Debug)]
pub(super) struct Trust {
    bundle: Option<Watched<Bundle>>,
    set: Option<Watched<Named>>,
    own: Option<Arc<Watched<SigningKey>>>,
    fetched: Option<Arc<FetchedSet>>,
}

/// `rootcertbundle`.
#[derive(Debug)]
pub(super) struct Bundle {
    roots: Vec<CertificateDer<'static>>,
    keys: Named,
}

impl Trust {
    /// The keys that `config` names, and `own`, with which this registry itself signs.
    pub(super) fn open(config: &TokenConfig, own: Option<Arc<Watched<SigningKey>>>) -> Result<Self, Error> {
        let bundle = config.root_cert_bundle.clone();
        let (file, address) = match config.jwks.clone() {
            None => (None, None),
            Some(KeySet::File(path)) => (Some(path), None),
            Some(KeySet::Address(address)) => (None, Some(address)),
        };
        let bundle = bundle.map(|path| Watched::open("auth.token.rootcertbundle", path, Bundle::read)).transpose()?;
        let set = file.map(|path| Watched::open("auth.token.jwks", path, read_set)).transpose()?;
        let fetched = address.map(|address| FetchedSet::new(address).map(Arc::new)).transpose()?;
        let any = bundle.is_some() || set.is_some() || fetched.is_some() || own.is_some();
        if any { Ok(Self { bundle, set, own, fetched }) } else { Err(Error::NoKeys) }
    }

    /// The keys that have an address, if there are such.
    pub(super) fn fetched(&self) -> Option<&Arc<FetchedSet>> {
        self.fetched.as_ref()
    }

    /// The key that `header` means, if it is trusted at `now`.
    pub(super) fn key(&self, header: &Header, now: i64) -> Result<Arc<Key>, Rejection> {
        if let Some(chain) = header.x5c.as_ref().filter(|chain| !chain.is_empty()) {
            return self.chained(chain, now);
        }
        if let Some(jwk) = &header.jwk {
            return match jwk.x5c.as_ref().filter(|chain| !chain.is_empty()) {
                Some(chain) => self.chained(chain, now),
                None => self.embedded(jwk),
            };
        }
        header.kid.as_deref().and_then(|kid| self.named(kid)).ok_or(Rejection::KeyUnknown)
    }

    fn chained(&self, chain: &[String], now: i64) -> Result<Arc<Key>, Rejection> {
        let bundle = self.bundle.as_ref().ok_or(Rejection::Chain)?.current();
        chain::verified_key(chain, &bundle.roots, now).map(Arc::new)
    }

    fn embedded(&self, jwk: &Jwk) -> Result<Arc<Key>, Rejection> {
        let by_name = jwk.kid.as_deref().and_then(|kid| self.named(kid));
        let by_content = || jwk.material().and_then(|material| self.named(&material.thumbprint()));
        by_name.or_else(by_content).ok_or(Rejection::KeyUnknown)
    }

    fn named(&self, kid: &str) -> Option<Arc<Key>> {
        if let Some(own) = self.own.as_ref().map(|own| own.current()).filter(|own| own.id() == kid) {
            return Some(own.public());
        }
        let in_set = self.set.as_ref().and_then(|set| set.current().get(kid).cloned());
        let fetched = || self.fetched.as_ref()?.current().get(kid).cloned();
        in_set.or_else(fetched).or_else(|| self.bundle.as_ref()?.current().keys.get(kid).cloned())
    }
}

impl Bundle {
    /// Reads PEM certificates. Only the key of each must be usable: dates and signatures are asked of chains alone.
    fn read(pem: &[u8]) -> Result<Self, String> {
        let mut bundle = Self { roots: Vec::new(), keys: Named::new() };
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
            let (_, parsed) =
                X509Certificate::from_der(&certificate).map_err(|error| format!("a certificate is broken: {error}"))?;
            let info = parsed.public_key();
            match Material::of_certificate(info) {
                Some(material) => {
                    let thumbprint = material.thumbprint();
                    let key = Arc::new(material.prepare());
                    bundle.keys.insert(libtrust_id(info.raw), Arc::clone(&key));
                    bundle.keys.insert(thumbprint, key);
                }
                None => {
                    tracing::warn!(subject = %parsed.subject(), "a certificate's key is of no kind that signs tokens");
                }
            }
            bundle.roots.push(certificate.into_owned());
        }
        if bundle.roots.is_empty() {
            return Err("it holds no certificate; write PEM, beginning with -----BEGIN CERTIFICATE-----".to_owned());
        }
        Ok(bundle)
    }
}

/// Reads a JSON Web Key Set. Each key goes by its own name and by its thumbprint.
pub(super) fn read_set(json: &[u8]) -> Result<Named, String> {
    let set: JwkSet = serde_json::from_slice(json)
        .map_err(|error| format!("it is not a JSON Web Key Set, {{\"keys\": […]}}: {error}"))?;
    let mut named = Named::new();
    for jwk in set.keys {
        let may_verify = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
        let Some(material) = jwk.material().filter(|_| may_verify) else {
            tracing::warn!(
                kid = jwk.kid,
                kty = jwk.kty,
                "a key of auth.token.jwks cannot verify tokens and is left out"
            );
            continue;
        };
        let thumbprint = material.thumbprint();
        let key = Arc::new(material.prepare());
        named.entry(thumbprint).or_insert_with(|| Arc::clone(&key));
        if let Some(kid) = jwk.kid {
            named.insert(kid, key);
        }
    }
    if named.is_empty() { Err("it holds no key that can verify tokens".to_owned()) } else { Ok(named) }
}
