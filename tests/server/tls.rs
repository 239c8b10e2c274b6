//! TLS: versions, ALPN, client certificates, and files under encryption.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth::server::{ClientAuth, Config, Limits, Tls, TlsVersion};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::harness::{Client, Server, config, content, generous};

pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// An authority with a server certificate, and client certificates of this authority and of another.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn make() -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        let ours = files.authority("ours");
        files.leaf("server", &ours);
        files.leaf("friend", &ours);
        let theirs = files.authority("theirs");
        files.leaf("stranger", &theirs);
        files
    }

    fn authority(&self, name: &str) -> Issuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(self.path(name), certificate.pem()).expect("written");
        Issuer::new(params, key)
    }

    fn leaf(&self, name: &str, issuer: &Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, issuer).expect("signed");
        std::fs::write(self.path(name), certificate.pem()).expect("written");
        std::fs::write(self.path(&format!("{name}-key")), key.serialize_pem()).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(format!("{name}.pem"))
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls {
            certificate: self.path("server"),
            key: self.path("server-key"),
            client_cas: Vec::new(),
            client_auth: ClientAuth::RequireAndVerify,
            minimum: TlsVersion::Tls12,
            cipher_suites: Vec::new(),
        }
    }

    /// A client that trusts our authority and shows the certificate named, if any.
    pub(crate) fn connect(&self, server: &Server, shown: Option<&str>, alpn: &[&str]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path("ours"))).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        let mut client = match shown {
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}-key"))).expect("a key");
                builder.with_client_auth_cert(vec![certificate(&self.path(name))], key).expect("a pair")
            }
            None => builder.with_no_client_auth(),
        };
        client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(client), name).expect("a client");
        Client::new(StreamOwned::new(connection, server.connect().stream))
    }

    fn is_admitted(&self, server: &Server, shown: Option<&str>) -> bool {
        let mut client = self.connect(server, shown, &[]);
        let request = b"GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        // In TLS 1.3 a refusal comes only after the request was sent.
        let _ = std::io::Write::write_all(&mut client.stream, request);
        client.rest().starts_with(b"HTTP/1.1 200")
    }
}

fn serve(tls: Tls, content: &[u8]) -> Server {
    Server::start(Config { tls: Some(tls), ..config(generous()) }, content)
}

pub(crate) fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).expect("a certificate")
}

#[test]
fn files_arrive_whole_under_encryption() {
    let files = Files::make();
    let content = content(3 * 1024 * 1024 + 1);
    let server = serve(files.tls(), &content);
    let mut client = files.connect(&server, None, &["http/1.1"]);
    for (offset, length) in [(0, content.len()), (1, 262_144), (5, 0), (9, 1)] {
        let answer = client.get(&format!("/file?offset={offset}&length={length}"));
        assert!(answer.body == content[offset..offset + length], "{offset} {length}");
    }
}

#[test]
fn alpn_chooses_the_protocol() {
    let files = Files::make();
    let server = serve(files.tls(), b"");
    for (offered, chosen) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let mut client = files.connect(&server, None, offered);
        client.stream.conn.complete_io(&mut client.stream.sock).expect("a handshake");
        assert_eq!(client.stream.conn.alpn_protocol(), chosen.map(str::as_bytes));
    }
}

#[test]
fn client_certificates_are_demanded_as_configured() {
    let files = Files::make();
    for (client_auth, nobody, stranger, friend) in [
        (ClientAuth::Request, true, true, true),
        (ClientAuth::RequireAny, false, true, true),
        (ClientAuth::VerifyIfGiven, true, false, true),
        (ClientAuth::RequireAndVerify, false, false, true),
    ] {
        let server = serve(Tls { client_auth, client_cas: vec![files.path("ours")], ..files.tls() }, b"");
        assert_eq!(files.is_admitted(&server, None), nobody, "{client_auth:?} nobody");
        assert_eq!(files.is_admitted(&server, Some("stranger")), stranger, "{client_auth:?} stranger");
        assert_eq!(files.is_admitted(&server, Some("friend")), friend, "{client_auth:?} friend");
    }
}

#[test]
fn a_handshake_that_never_comes_is_not_waited_for() {
    let files = Files::make();
    let limits = Limits { header_timeout: Duration::from_millis(150), ..generous() };
    let server = Server::start(Config { tls: Some(files.tls()), ..config(limits) }, b"");
    let mut silent = server.connect();
    assert!(silent.rest().is_empty());
    let mut plain = server.connect();
    plain.send("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!plain.rest().starts_with(b"HTTP/1.1 2"));
}

#[test]
fn a_minimum_version_and_a_list_of_suites_hold() {
    let files = Files::make();
    let suites = vec!["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".to_owned()];
    for tls in [Tls { minimum: TlsVersion::Tls13, ..files.tls() }, Tls { cipher_suites: suites, ..files.tls() }] {
        let server = serve(tls, b"");
        assert!(files.is_admitted(&server, None));
    }
}
