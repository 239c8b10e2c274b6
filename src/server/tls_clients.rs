//! What is demanded of a client's certificate: the four modes of `http.tls.clientauth`.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::tls::certificates;
use super::{ClientAuth, ServerError, Tls};

const KEY: &str = "http.tls.clientcas";

/// What a client's certificate is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// An authority of `http.tls.clientcas` signed it.
    Verified,
    /// Anybody may have signed it.
    Unknown,
}

impl Worth {
    /// By the mode that `tls` asks for.
    pub(super) fn of(tls: &Tls) -> Self {
        match tls.client_auth {
            _ if tls.client_cas.is_empty() => Self::Unknown,
            ClientAuth::Request | ClientAuth::RequireAny => Self::Unknown,
            ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => Self::Verified,
        }
    }
}

/// The verifier for `tls`, or `None` when no client certificates are asked for.
pub(super) fn client_verifier(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ServerError> {
    if tls.client_cas.is_empty() {
        return Ok(None);
    }
    let roots = Arc::new(roots(tls)?);
    let demand = match tls.client_auth {
        ClientAuth::Request => return Ok(Some(Arc::new(AnyCertificate::new(&roots, provider, Demand::Optional)))),
        ClientAuth::RequireAny => return Ok(Some(Arc::new(AnyCertificate::new(&roots, provider, Demand::Required)))),
        ClientAuth::VerifyIfGiven => Demand::Optional,
        ClientAuth::RequireAndVerify => Demand::Required,
    };
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = match demand {
        Demand::Optional => builder.allow_unauthenticated(),
        Demand::Required => builder,
    };
    let verifier = builder.build().map_err(|error| ServerError::Tls { reason: format!("clientcas: {error}") })?;
    Ok(Some(verifier))
}

fn roots(tls: &Tls) -> Result<RootCertStore, ServerError> {
    let mut roots = RootCertStore::empty();
    for path in &tls.client_cas {
        for certificate in certificates(KEY, path)? {
            roots.add(certificate).map_err(|error| ServerError::TlsFile {
                key: KEY,
                path: path.clone(),
                reason: format!("{error}; certificates of authorities are wanted"),
            })?;
        }
    }
    Ok(roots)
}

/// Whether a client may come without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Optional,
    Required,
}

/// Accepts any certificate whose key the client holds, whoever signed it, as Go's modes of these names do.
#[derive(Debug)]
struct AnyCertificate {
    demand: Demand,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    fn new(roots: &RootCertStore, provider: &CryptoProvider, demand: Demand) -> Self {
        Self { demand, hints: roots.subjects(), algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
