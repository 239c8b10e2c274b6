//! TLS from PEM files: versions, cipher suites, client certificates, and a certificate that is re-read when it changes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use super::shutdown::{Shutdown, Stage};
use super::tls_clients::{Worth, client_verifier};
use super::tls_suites::provider;
use super::{ServerError, Tls, TlsVersion, Toggle};
use crate::routes::ClientCertificate;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(5);

/// TLS as configured, with the files read and found good.
#[derive(Debug)]
pub(super) struct TlsFiles {
    tls: Tls,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

/// Makes connections out of sockets, and knows what their client certificates are worth.
pub(super) struct Acceptor {
    pub(super) acceptor: TlsAcceptor,
    worth: Worth,
}

impl Acceptor {
    /// The client's certificate, if it is known that an authority of ours signed it.
    pub(super) fn verified_certificate(&self, connection: &ServerConnection) -> Option<ClientCertificate> {
        let leaf = connection.peer_certificates().and_then(<[_]>::first).filter(|_| self.worth == Worth::Verified)?;
        Some(ClientCertificate { der: Arc::from(leaf.as_ref()) })
    }
}

/// The certificate in use.
#[derive(Debug)]
struct Current {
    key: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

/// What tells one state of the files from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp([Option<(u64, u64, i64, i64)>; 2]);

impl Stamp {
    fn of(tls: &Tls) -> Self {
        let facts = |found: Metadata| (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
        Self([&tls.certificate, &tls.key].map(|path| std::fs::metadata(path).ok().map(facts)))
    }
}

/// Whether the files that `tls` names can be read and go together, for those who want to know before they serve.
pub fn check_tls(tls: &Tls) -> Result<(), ServerError> {
    TlsFiles::load(tls.clone(), Toggle::On).map(drop)
}

impl TlsFiles {
    /// Reads the files and composes the TLS configuration; `http2` decides what ALPN offers.
    pub(super) fn load(tls: Tls, http2: Toggle) -> Result<Self, ServerError> {
        let provider = Arc::new(provider(&tls)?);
        let key = certified_key(&tls, &provider)?;
        let current = Arc::new(Current { key: ArcSwap::from_pointee(key), provider: Arc::clone(&provider) });
        let versions: &[_] = match tls.minimum {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| ServerError::Tls { reason: error.to_string() })?;
        let builder = match client_verifier(&tls, &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = match http2 {
            Toggle::On => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Toggle::Off => vec![b"http/1.1".to_vec()],
        };
        Ok(Self { tls, current, config: Arc::new(config) })
    }

    /// Starts to watch the files, until `orders` end all, and returns what makes connections out of sockets.
    pub(super) fn watch(self, mut orders: Shutdown) -> Acceptor {
        let acceptor = Acceptor { acceptor: TlsAcceptor::from(Arc::clone(&self.config)), worth: Worth::of(&self.tls) };
        tokio::spawn(async move {
            tokio::select! {
                () = self.reload() => {}
                () = orders.reached(Stage::Draining) => {}
            }
        });
        acceptor
    }

    /// Re-reads the files when they change, and on SIGHUP in any case.
    async fn reload(self) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut seen = Stamp::of(&self.tls);
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let forced = tokio::time::timeout(POLL, asked).await.is_ok();
            let stamp = Stamp::of(&self.tls);
            if forced || stamp != seen {
                seen = stamp;
                self.read_again();
            }
        }
    }

    /// Replaces the certificate in use by that in the files, or keeps it and says why.
    fn read_again(&self) {
        match certified_key(&self.tls, &self.current.provider) {
            Ok(key) => {
                self.current.key.store(Arc::new(key));
                tracing::info!(path = %self.tls.certificate.display(), "TLS certificate re-read");
            }
            Err(error) => tracing::error!(%error, "the TLS certificate cannot be re-read; the one in use is kept"),
        }
    }
}

fn certified_key(tls: &Tls, provider: &CryptoProvider) -> Result<CertifiedKey, ServerError> {
    let chain = certificates("http.tls.certificate", &tls.certificate)?;
    let failed = |reason: String| ServerError::TlsFile { key: "http.tls.key", path: tls.key.clone(), reason };
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| failed(format!("{error}; a PEM private key without password is wanted")))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| failed(format!("{error}; it must belong to {}", tls.certificate.display())))
}

/// All certificates of a PEM file, of which there must be one at least.
pub(super) fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let failed = |reason: String| ServerError::TlsFile { key, path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed(format!("{error}; PEM certificates are wanted")));
    match found? {
        none if none.is_empty() => Err(failed("holds no certificate; PEM certificates are wanted".to_owned())),
        found => Ok(found),
    }
}

/// The library's defaults, without a list of suites.
pub(super) fn default_provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::server::ClientAuth;

    fn write_pair(directory: &Path) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(directory.join("certificate.pem"), made.cert.pem()).expect("written");
        std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    }

    fn pair() -> (TempDir, Tls) {
        let directory = tempfile::tempdir().expect("a directory");
        write_pair(directory.path());
        let tls = Tls {
            certificate: directory.path().join("certificate.pem"),
            key: directory.path().join("key.pem"),
            client_cas: Vec::new(),
            client_auth: ClientAuth::RequireAndVerify,
            minimum: TlsVersion::Tls12,
            cipher_suites: Vec::new(),
        };
        (directory, tls)
    }

    #[test]
    fn errors_name_the_key_the_file_and_the_way_out() {
        let (directory, good) = pair();
        let other = tempfile::tempdir().expect("a directory");
        write_pair(other.path());
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "").expect("written");
        let missing = PathBuf::from("/nonexistent/key.pem");
        for (tls, key, part) in [
            (Tls { key: missing, ..good.clone() }, "http.tls.key", "/nonexistent/key.pem"),
            (Tls { key: other.path().join("key.pem"), ..good.clone() }, "http.tls.key", "must belong to"),
            (Tls { certificate: empty.clone(), ..good.clone() }, "http.tls.certificate", "holds no certificate"),
            (Tls { client_cas: vec![empty], ..good.clone() }, "http.tls.clientcas", "holds no certificate"),
        ] {
            let error = TlsFiles::load(tls, Toggle::On).expect_err(part).to_string();
            assert!(error.contains(key) && error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_new_pair_is_taken_and_a_broken_one_is_not() {
        let (directory, tls) = pair();
        let files = TlsFiles::load(tls, Toggle::On).expect("loads");
        let certificate = |files: &TlsFiles| files.current.key.load().cert.clone();
        let first = certificate(&files);
        let before = Stamp::of(&files.tls);
        write_pair(directory.path());
        assert_ne!(Stamp::of(&files.tls), before);
        files.read_again();
        let second = certificate(&files);
        assert_ne!(first, second);
        std::fs::write(directory.path().join("key.pem"), "half a k").expect("written");
        files.read_again();
        assert_eq!(certificate(&files), second);
    }
}
