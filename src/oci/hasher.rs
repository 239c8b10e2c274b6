//! Hashing piece by piece, with a mid-state that can be laid down and taken up by another process.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

use super::{Algorithm, Digest, Error};

/// Version of the mid-state's form. The sha2 crate promises it within one minor version only, so this number changes when
/// `Cargo.lock` moves to another; states of another version are refused and the bytes hashed again.
const STATE_VERSION: u8 = 1;

/// Computes a [`Digest`] of bytes given in order.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Which digest this will give.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of everything taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (algorithm, digest) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, Digest::from_output(Algorithm::Sha256, &hasher.finalize())),
            Self::Sha512(hasher) => (Algorithm::Sha512, Digest::from_output(Algorithm::Sha512, &hasher.finalize())),
        };
        // The output's length is the algorithm's by the hash function's own type.
        digest.unwrap_or_else(|| unreachable!("{algorithm} gives {} bytes", algorithm.length()))
    }

    /// The mid-state as bytes, for [`Hasher::resume`]. Whoever can alter it can make a hash lie: seal it.
    #[must_use]
    pub fn suspend(&self) -> Vec<u8> {
        let mut state = vec![STATE_VERSION];
        match self {
            Self::Sha256(hasher) => {
                state.push(1);
                state.extend_from_slice(&hasher.serialize());
            }
            Self::Sha512(hasher) => {
                state.push(2);
                state.extend_from_slice(&hasher.serialize());
            }
        }
        state
    }

    /// Goes on from what [`Hasher::suspend`] gave.
    ///
    /// # Errors
    /// [`Error::HashState`] for anything else.
    pub fn resume(state: &[u8]) -> Result<Self, Error> {
        match state {
            [STATE_VERSION, 1, state @ ..] => SerializedState::<Sha256>::try_from(state)
                .ok()
                .and_then(|state| Sha256::deserialize(&state).ok())
                .map(Self::Sha256),
            [STATE_VERSION, 2, state @ ..] => SerializedState::<Sha512>::try_from(state)
                .ok()
                .and_then(|state| Sha512::deserialize(&state).ok())
                .map(Self::Sha512),
            _ => None,
        }
        .ok_or(Error::HashState)
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gives_the_digests_of_fips_180_4() {
        assert_eq!(
            Hasher::digest(Algorithm::Sha256, b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            Hasher::digest(Algorithm::Sha512, b"abc").to_string(),
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
    }

    proptest! {
        #[test]
        fn goes_on_from_any_mid_state(bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..600, sha512: bool) {
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut first = Hasher::new(algorithm);
            first.update(head);
            let mut second = Hasher::resume(&first.suspend()).unwrap();
            second.update(tail);
            prop_assert_eq!(second.finish(), Hasher::digest(algorithm, &bytes));
        }

        #[test]
        fn a_foreign_state_is_refused_or_harmless(state in proptest::collection::vec(any::<u8>(), 0..260)) {
            if let Ok(mut hasher) = Hasher::resume(&state) {
                hasher.update(b"more");
                let _ = hasher.finish();
            }
        }
    }
}
