//! Client certificates: whose one is, read from the certificate that TLS has verified already. Pure.
//!
//! Who signed it is not looked at here. Its dates are, again for each request: a connection may outlive its certificate.

use std::sync::Arc;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::{CertificateConfig, CertificateName};

/// Why a certificate says nothing about who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// None was shown, and nothing else can be.
    #[error("give your client a certificate that this registry's authority signed")]
    Absent,
    /// It cannot be read.
    #[error("it cannot be read")]
    Malformed,
    /// Its time is over, or has not come.
    #[error("it is not valid now; renew it")]
    Dates,
    /// It has no name of the kind that is asked for.
    #[error("it has no {0}, which is to be the name of its holder here")]
    Nameless(&'static str),
}

impl CertificateConfig {
    /// The name of whoever holds `certificate`, which is DER, at `now`, Unix time.
    pub(super) fn holder(self, certificate: &[u8], now: i64) -> Result<Arc<str>, CertificateProblem> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateProblem::Malformed)?;
        if !ASN1Time::from_timestamp(now).is_ok_and(|now| parsed.validity().is_valid_at(now)) {
            return Err(CertificateProblem::Dates);
        }
        let name = match self.name {
            CertificateName::CommonName => {
                parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok())
            }
            other => {
                let alternatives = parsed.subject_alternative_name().map_err(|_| CertificateProblem::Malformed)?;
                let names = alternatives.as_ref().map_or(&[][..], |extension| &extension.value.general_names);
                names.iter().find_map(|name| match (other, name) {
                    (CertificateName::Dns, GeneralName::DNSName(name))
                    | (CertificateName::Email, GeneralName::RFC822Name(name))
                    | (CertificateName::Uri, GeneralName::URI(name)) => Some(*name),
                    _ => None,
                })
            }
        };
        let name = name.filter(|name| !name.trim().is_empty() && !name.chars().any(char::is_control));
        name.map(Arc::from).ok_or(CertificateProblem::Nameless(self.name.described()))
    }
}

impl CertificateName {
    fn described(self) -> &'static str {
        match self {
            Self::CommonName => "common name",
            Self::Dns => "DNS name",
            Self::Email => "mail address",
            Self::Uri => "URI",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    /// 2027-01-15.
    const NOW: i64 = 1_800_000_000;

    fn certificate(common_name: Option<&str>, alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = alternatives;
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2030, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn holder(name: CertificateName, certificate: &[u8]) -> Result<String, CertificateProblem> {
        CertificateConfig { name }.holder(certificate, NOW).map(|name| name.to_string())
    }

    #[test]
    fn the_first_name_of_the_kind_is_the_holders() {
        let names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::DnsName("b.example".try_into().unwrap()),
            SanType::Rfc822Name("alice@example.org".try_into().unwrap()),
            SanType::URI("spiffe://example.org/ci".try_into().unwrap()),
        ];
        let certificate = certificate(Some("alice"), names);
        for (name, expected) in [
            (CertificateName::CommonName, "alice"),
            (CertificateName::Dns, "a.example"),
            (CertificateName::Email, "alice@example.org"),
            (CertificateName::Uri, "spiffe://example.org/ci"),
        ] {
            assert_eq!(holder(name, &certificate).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_certificate_without_the_name_names_nobody() {
        let only_name = certificate(Some("alice"), Vec::new());
        assert_eq!(holder(CertificateName::Dns, &only_name), Err(CertificateProblem::Nameless("DNS name")));
        let only_dns = certificate(None, vec![SanType::DnsName("alice".try_into().unwrap())]);
        assert_eq!(holder(CertificateName::CommonName, &only_dns), Err(CertificateProblem::Nameless("common name")));
        for empty in ["", " ", "a\nb", "a\0"] {
            let certificate = certificate(Some(empty), Vec::new());
            assert!(holder(CertificateName::CommonName, &certificate).is_err(), "{empty:?}");
        }
    }

    #[test]
    fn its_dates_are_looked_at_each_time() {
        let certificate = certificate(Some("alice"), Vec::new());
        let at = |now| CertificateConfig::default().holder(&certificate, now).map(drop);
        assert_eq!(at(NOW), Ok(()));
        assert_eq!(at(0), Err(CertificateProblem::Dates));
        assert_eq!(at(4_000_000_000), Err(CertificateProblem::Dates));
        assert_eq!(at(i64::MAX), Err(CertificateProblem::Dates));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..400, flip in 1_u8..) {
            let _ = holder(CertificateName::Dns, &bytes);
            let mut damaged = certificate(Some("alice"), vec![SanType::DnsName("alice".try_into().unwrap())]);
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= flip;
            }
            let _ = holder(CertificateName::Dns, &damaged);
        }
    }
}
