//! The state of an upload session, sealed so that the client can carry it and nobody can alter it.
//!
//! A session needs no record: any process with the same secret goes on from what the client presents. The seal covers the
//! repository and the session, so a state moved to another one is refused like a forged one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::hashing::Hashing;
use super::{Error, Result, UploadId};
use crate::oci::{Hasher, RepositoryName};

const VERSION: u8 = 1;
const SEAL_LENGTH: usize = 32;

/// Longest state looked at. What a driver needs to go on is a few bytes to a few hundred.
const LONGEST: usize = 8 * 1024;

/// What is known of an upload session beyond the bytes in the store.
#[derive(Debug, Clone)]
pub(super) struct UploadState {
    /// Bytes received when this state was sealed.
    pub(super) length: u64,
    /// How far they are hashed, and the hash so far.
    pub(super) hashing: Hashing,
    /// What the driver needs to go on; empty as long as nothing was laid down.
    pub(super) staged: Vec<u8>,
}

/// Seals and opens upload states with one key.
pub(super) struct Sealer(Hmac<Sha256>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer with the configured secret or, lacking one, with a key that lives as long as this process.
    pub(super) fn new(secret: Option<&[u8]>) -> Self {
        let random: [u8; 32] = rand::random();
        // HMAC takes a key of any length (RFC 2104 §2), so the error is one in name only.
        let mac = Hmac::new_from_slice(secret.unwrap_or(&random));
        Self(mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")))
    }

    fn seal_of(&self, name: &RepositoryName, id: UploadId, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(b"berth upload state\0");
        mac.update(name.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(id.0.as_bytes());
        mac.update(payload);
        mac
    }

    /// The state as text, of `A-Z a-z 0-9 - _` only.
    pub(super) fn seal(&self, name: &RepositoryName, id: UploadId, state: &UploadState) -> String {
        let mut text = vec![VERSION];
        text.extend(state.length.to_be_bytes());
        text.extend(state.hashing.position.to_be_bytes());
        let staged_length = u16::try_from(state.staged.len()).unwrap_or(u16::MAX);
        text.extend(staged_length.to_be_bytes());
        text.extend(state.staged.iter().take(usize::from(staged_length)));
        text.extend(state.hashing.hasher.suspend());
        let seal = self.seal_of(name, id, &text).finalize().into_bytes();
        text.extend(seal);
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Opens a state that this sealer, or one with the same secret, made for the same session.
    ///
    /// # Errors
    /// [`Error::UploadStateInvalid`].
    pub(super) fn open(&self, name: &RepositoryName, id: UploadId, text: &str) -> Result<UploadState> {
        if text.len() > LONGEST {
            return Err(Error::UploadStateInvalid("it is too long"));
        }
        // Clients that decode and encode the query anew may pad it.
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| Error::UploadStateInvalid("it is not base64url"))?;
        let cut = bytes.len().checked_sub(SEAL_LENGTH).ok_or(Error::UploadStateInvalid("it is too short"))?;
        let (payload, seal) = bytes.split_at(cut);
        self.seal_of(name, id, payload).verify_slice(seal).map_err(|_| {
            Error::UploadStateInvalid("it was not issued for this session, or with another http.secret")
        })?;
        parse(payload).ok_or(Error::UploadStateInvalid("it was issued by another version; begin a new upload"))
    }
}

fn parse(payload: &[u8]) -> Option<UploadState> {
    let (&version, rest) = payload.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    let (staged_length, rest) = rest.split_first_chunk()?;
    let (staged, hasher) = rest.split_at_checked(usize::from(u16::from_be_bytes(*staged_length)))?;
    (version == VERSION).then_some(())?;
    Some(UploadState {
        length: u64::from_be_bytes(*length),
        hashing: Hashing { position: u64::from_be_bytes(*position), hasher: Hasher::resume(hasher).ok()? },
        staged: staged.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    fn state() -> UploadState {
        let mut hashing = Hashing::new(Algorithm::Sha256);
        hashing.hasher.update(b"some bytes");
        hashing.position = 10;
        UploadState { length: 10, hashing, staged: b"driver".to_vec() }
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn opens_what_it_sealed_in_another_process_with_the_same_secret() {
        let id = UploadId::random();
        let text = Sealer::new(Some(b"secret")).seal(&name("a/b"), id, &state());
        let opened = Sealer::new(Some(b"secret")).open(&name("a/b"), id, &text).unwrap();
        assert_eq!((opened.length, opened.hashing.position, opened.staged.as_slice()), (10, 10, &b"driver"[..]));
        assert_eq!(opened.hashing.hasher.finish(), Hasher::digest(Algorithm::Sha256, b"some bytes"));
    }

    #[test]
    fn refuses_a_state_of_another_session_repository_or_secret() {
        let (sealer, id) = (Sealer::new(Some(b"secret")), UploadId::random());
        let text = sealer.seal(&name("a/b"), id, &state());
        assert!(sealer.open(&name("a/c"), id, &text).is_err());
        assert!(sealer.open(&name("a/b"), UploadId::random(), &text).is_err());
        assert!(Sealer::new(Some(b"other")).open(&name("a/b"), id, &text).is_err());
        assert!(Sealer::new(None).open(&name("a/b"), id, &text).is_err());
    }

    #[test]
    fn refuses_a_state_with_any_bit_flipped_or_any_byte_missing() {
        let (sealer, id) = (Sealer::new(None), UploadId::random());
        let state_bytes = URL_SAFE_NO_PAD.decode(sealer.seal(&name("a"), id, &state())).unwrap();
        for bit in 0..state_bytes.len() * 8 {
            let mut forged = state_bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(&name("a"), id, &URL_SAFE_NO_PAD.encode(forged)).is_err(), "bit {bit}");
        }
        for length in 0..state_bytes.len() {
            assert!(sealer.open(&name("a"), id, &URL_SAFE_NO_PAD.encode(&state_bytes[..length])).is_err());
        }
    }
}
