//! Cipher suites by the names that Go, and so distribution's config, has for them.

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;

use super::tls::default_provider;
use super::{ServerError, Tls, TlsVersion};

/// The library's defaults, reduced to the configured TLS 1.2 suites. The list says nothing about TLS 1.3, as in Go.
pub(super) fn provider(tls: &Tls) -> Result<CryptoProvider, ServerError> {
    let mut provider = default_provider();
    if tls.cipher_suites.is_empty() || tls.minimum == TlsVersion::Tls13 {
        return Ok(provider);
    }
    let mut wanted = Vec::new();
    for name in &tls.cipher_suites {
        wanted.push(find(&provider.cipher_suites, name)?);
    }
    provider.cipher_suites.retain(|suite| suite.tls13().is_some() || wanted.contains(suite));
    Ok(provider)
}

fn find(offered: &[SupportedCipherSuite], name: &str) -> Result<SupportedCipherSuite, ServerError> {
    // Go has an older, shorter name for the suites with ChaCha20.
    let full = if name.ends_with("_POLY1305") { format!("{name}_SHA256") } else { name.to_owned() };
    let tls13 = full.strip_prefix("TLS_").map(|rest| format!("TLS13_{rest}")).unwrap_or_default();
    let found = offered.iter().find(|suite| suite.suite().as_str().is_some_and(|own| own == full || own == tls13));
    found.copied().ok_or_else(|| {
        let weak = ["_CBC_", "_RC4_", "_3DES_", "TLS_RSA_"].iter().any(|part| name.contains(part));
        let reason = if weak {
            "this suite has no forward secrecy or is broken, and is not offered; remove it".to_owned()
        } else {
            let names: Vec<_> = offered.iter().filter(|suite| suite.tls13().is_none()).collect();
            let names: Vec<_> = names.iter().filter_map(|suite| suite.suite().as_str()).collect();
            format!("no such cipher suite; those to choose from are {}", names.join(", "))
        };
        ServerError::CipherSuite { name: name.to_owned(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_current_name_of_go_is_found() {
        let offered = default_provider().cipher_suites;
        for name in [
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
        ] {
            assert!(find(&offered, name).is_ok(), "{name}");
        }
    }

    #[test]
    fn weak_and_unknown_names_are_told_apart() {
        let offered = default_provider().cipher_suites;
        let weak = find(&offered, "TLS_RSA_WITH_AES_128_CBC_SHA").expect_err("weak").to_string();
        assert!(weak.contains("remove it"), "{weak}");
        let unknown = find(&offered, "TLS_BEST").expect_err("unknown").to_string();
        assert!(unknown.contains("TLS_BEST") && unknown.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{unknown}");
    }
}
