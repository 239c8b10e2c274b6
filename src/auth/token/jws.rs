//! The compact form of a signed token (RFC 7515 §7.1), taken apart. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::jwk::Jwk;
use super::{Rejection, SigningAlgorithm};

/// Longest token, in bytes. With a chain of four RSA certificates a token has about 8 KiB.
const LONGEST: usize = 32 * 1024;

/// A token whose signature has not been looked at.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: SigningAlgorithm,
    pub(super) header: Header,
    /// What is signed.
    pub(super) signed: &'a str,
    /// Base64.
    pub(super) signature: &'a str,
    /// JSON. Not to be believed before the signature is verified.
    pub(super) payload: Vec<u8>,
}

/// The header's words that decide which key it is. A word that is there twice is refused by serde.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    pub(super) jwk: Option<Jwk>,
    /// Certificates in standard base64, the signer's first.
    #[serde(default)]
    pub(super) x5c: Option<Vec<String>>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl<'a> Token<'a> {
    /// Takes `token` apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, Rejection> {
        if token.len() > LONGEST {
            return Err(Rejection::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        // A further dot is not of the alphabet, so what has more than three parts ends here.
        let header: Header = object(&decoded(header)?)?;
        if header.crit.is_some() {
            return Err(Rejection::Critical);
        }
        let algorithm = SigningAlgorithm::named(&header.alg).ok_or(Rejection::Algorithm)?;
        if signature.is_empty() {
            return Err(Rejection::Signature);
        }
        Ok(Self { algorithm, header, signed, signature, payload: decoded(payload)? })
    }
}

/// Reads a JSON object. serde would take a list for one too, its items for the values in order.
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, Rejection> {
    let opens = json.iter().find(|byte| !byte.is_ascii_whitespace());
    if opens != Some(&b'{') {
        return Err(Rejection::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| Rejection::Malformed)
}

/// Header and payload of `token` as they read, whoever wrote them; null where there is nothing to read. For people only.
pub(in crate::auth) fn unverified(token: &str) -> (serde_json::Value, serde_json::Value) {
    let mut parts = token.split('.').map(|part| {
        let json = decoded(part).ok().filter(|_| token.len() <= LONGEST);
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    });
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn decoded(text: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Rejection::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}|(eyJhbGciOiJFUzI1NiJ9)?[.A-Za-z0-9_-]{0,60}") {
            let _ = Token::parse(&text);
        }

        #[test]
        fn no_header_panics(header in "\\{(\"(alg|kid|crit|x5c|jwk)\":(\"[A-Z0-9]{0,6}\"|null|1|\\[\\]|\\{\\}),?){0,5}\\}") {
            let _ = Token::parse(&format!("{}.e30.YQ", URL_SAFE_NO_PAD.encode(header)));
        }
    }

    #[test]
    fn a_million_dots_cost_nothing() {
        assert_eq!(Token::parse(&".".repeat(1_000_000)).unwrap_err(), Rejection::TooLong);
        assert_eq!(Token::parse(&".".repeat(LONGEST)).unwrap_err(), Rejection::Malformed);
    }
}
