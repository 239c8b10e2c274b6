//! Digests: an algorithm and its output, as in the OCI image specification, descriptor.md, "Digests".

use std::fmt;
use std::str::FromStr;

use super::Error;

/// A hash function whose digests are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the canonical one.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every accepted algorithm.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Name as in the text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of output.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| Error::Digest(Error::quoted(text)))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `sha256:…` or `sha512:…`: names content by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The output, followed by zeros up to the longest algorithm's length.
    output: [u8; 64],
}

impl Digest {
    /// A digest from the raw output of `algorithm`; `None` when the length is wrong.
    #[must_use]
    pub fn from_output(algorithm: Algorithm, output: &[u8]) -> Option<Self> {
        if output.len() != algorithm.length() {
            return None;
        }
        let mut padded = [0; 64];
        padded.get_mut(..output.len())?.copy_from_slice(output);
        Some(Self { algorithm, output: padded })
    }

    /// The hash function.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash function's output.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.get(..self.algorithm.length()).unwrap_or(&self.output)
    }

    /// The output in lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.output())
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::Digest(Error::quoted(text));
        let (algorithm, encoded) = text.split_once(':').ok_or_else(malformed)?;
        let algorithm: Algorithm = algorithm.parse().map_err(|_| malformed())?;
        // The hex crate accepts upper case, the specification does not.
        if encoded.bytes().any(|byte| byte.is_ascii_uppercase()) || encoded.len() != algorithm.length() * 2 {
            return Err(malformed());
        }
        let mut output = [0; 64];
        let place = output.get_mut(..algorithm.length()).ok_or_else(malformed)?;
        hex::decode_to_slice(encoded, place).map_err(|_| malformed())?;
        Ok(Self { algorithm, output })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 128];
        let place = text.get_mut(..self.algorithm.length() * 2).ok_or(fmt::Error)?;
        hex::encode_to_slice(self.output(), place).map_err(|_| fmt::Error)?;
        f.write_str(self.algorithm.as_str())?;
        f.write_str(":")?;
        f.write_str(std::str::from_utf8(place).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_both_algorithms_and_writes_them_back() {
        for (algorithm, length) in [("sha256", 64), ("sha512", 128)] {
            let text = format!("{algorithm}:{}", "0a".repeat(length / 2));
            assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        let hex64 = "a".repeat(64);
        for bad in [
            String::new(),
            "sha256".into(),
            "sha256:".into(),
            format!("sha256:{}", "a".repeat(63)),
            format!("sha256:{}", "a".repeat(65)),
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{}", "g".repeat(64)),
            format!("sha512:{hex64}"),
            format!("SHA256:{hex64}"),
            format!("md5:{}", "a".repeat(32)),
            format!("sha384:{}", "a".repeat(96)),
            format!(" sha256:{hex64}"),
            format!("sha256:{hex64} "),
            format!("sha256::{hex64}"),
            format!("sha256:../../{}", "a".repeat(58)),
            format!("sha256:{}\0", "a".repeat(63)),
            format!("sha256:{}", "٣".repeat(32)),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = text.parse::<Digest>();
        }
    }
}
