//! The `http.tls` section: the server's certificate and what is asked of clients.
//!
//! Only names are read here; whether the files exist and fit each other is found when they are opened.

use crate::server::{ClientAuth, Tls, TlsVersion};

use super::scalar::nearest;
use super::section::{Field, Section};
use super::unbuilt::refuse;

/// Go's names of the TLS 1.2 suites that are spoken here.
const TLS12_SUITES: [&str; 6] = [
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Go's names of the TLS 1.3 suites, which are on always.
const TLS13_SUITES: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Suites that distribution takes and that are too weak to be spoken here.
const WEAK_SUITES: [&str; 12] = [
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
];

/// Reads `http.tls`; `None` when no certificate is named.
pub(super) fn read(section: Section<'_>) -> Option<Tls> {
    letsencrypt(&section);
    let certificate = section.get("certificate", Field::path);
    let key = section.get("key", Field::path);
    let client_cas = section.get("clientcas", Field::list).unwrap_or_default();
    let client_cas: Vec<_> = client_cas.iter().filter_map(Field::path).collect();
    let client_auth = section.get("clientauth", client_auth).unwrap_or(ClientAuth::RequireAndVerify);
    let minimum = section.get("minimumtls", minimum).unwrap_or(TlsVersion::Tls12);
    let listed = section.get("ciphersuites", Field::list).unwrap_or_default();
    let cipher_suites = suites(&listed);
    // Suites of TLS 1.3 alone leave TLS 1.2 without any.
    let minimum = if cipher_suites.is_empty() && !listed.is_empty() { TlsVersion::Tls13 } else { minimum };
    let missing = match (&certificate, &key) {
        (Some(_), None) => Some(("key", "certificate is set and key is missing")),
        (None, Some(_)) => Some(("certificate", "key is set and certificate is missing")),
        (None, None) if !client_cas.is_empty() => Some((
            "clientcas",
            "client certificates are asked for, but without certificate and key nothing is encrypted",
        )),
        _ => None,
    };
    if let Some((at, message)) = missing {
        section.problem(at, message, "name the PEM files of both certificate and key");
    }
    section.finish();
    let (certificate, key) = (certificate?, key?);
    Some(Tls { certificate, key, client_cas, client_auth, minimum, cipher_suites })
}

fn letsencrypt(section: &Section<'_>) {
    let Some(letsencrypt) = section.section("letsencrypt") else { return };
    if let Some(cache) = letsencrypt.field("cachefile").filter(|cache| cache.word().is_some()) {
        let way_out =
            "fetch certificates by another program and name them in certificate and key; renewed files are noticed";
        refuse(&cache, "fetching certificates from Let's Encrypt", way_out);
    }
    for key in ["email", "hosts", "directoryurl"] {
        letsencrypt.field(key);
    }
    letsencrypt.finish();
}

fn client_auth(field: &Field<'_>) -> Option<ClientAuth> {
    field.choice(&[
        ("request-client-cert", ClientAuth::Request),
        ("require-any-client-cert", ClientAuth::RequireAny),
        ("verify-client-cert-if-given", ClientAuth::VerifyIfGiven),
        ("require-and-verify-client-cert", ClientAuth::RequireAndVerify),
    ])
}

fn minimum(field: &Field<'_>) -> Option<TlsVersion> {
    if matches!(field.text()?.as_str(), "tls1.0" | "tls1.1") {
        return field.expected("tls1.2 or tls1.3", "TLS 1.0 and 1.1 are broken and not spoken here; write tls1.2");
    }
    field.choice(&[("tls1.2", TlsVersion::Tls12), ("tls1.3", TlsVersion::Tls13), ("", TlsVersion::Tls12)])
}

/// The suites of TLS 1.2 among those listed. A list without any is an error, as the default would be wider than meant.
fn suites(list: &[Field<'_>]) -> Vec<String> {
    let mut spoken = Vec::new();
    let mut refused = Vec::new();
    for item in list {
        let Some(name) = item.word() else { continue };
        let name = name.as_str();
        // Go has two of these names in a shorter, older form too.
        let full = if name.ends_with("_CHACHA20_POLY1305") { format!("{name}_SHA256") } else { name.to_owned() };
        if TLS12_SUITES.contains(&full.as_str()) {
            spoken.push(full);
        } else if WEAK_SUITES.contains(&name) || name.ends_with("_RC4_128_SHA") {
            refused.push(item);
        } else if !TLS13_SUITES.contains(&name) {
            let hint = match nearest(name, TLS12_SUITES) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "leave the key out for the suites that are considered safe".to_owned(),
            };
            item.expected::<()>("the name of a cipher suite", hint);
        }
    }
    match (refused.as_slice(), spoken.is_empty()) {
        ([first, ..], true) => {
            first.problem("every TLS 1.2 suite listed is too weak to be spoken here", "leave ciphersuites out");
        }
        ([first, ..], false) => first.warn("is too weak to be spoken here; the others in the list are offered"),
        ([], _) => {}
    }
    spoken
}
