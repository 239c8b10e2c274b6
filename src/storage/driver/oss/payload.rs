//! The body of a request to OSS and its checksum.

use crc_fast::{CrcAlgorithm, Digest};

use crate::storage::driver::bucket::Payload;

/// A body that sends `payload`.
pub(super) fn body(payload: &Payload) -> reqwest::Body {
    if payload.length() == 0 {
        return reqwest::Body::default();
    }
    reqwest::Body::wrap(payload.sending())
}

/// The checksum that OSS tells of what it received: CRC-64/XZ.
pub(super) fn crc64(payload: &Payload) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Xz);
    payload.pieces().iter().for_each(|piece| digest.update(piece));
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Body as _;

    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_documentation_however_the_pieces_lie() {
        let pieces = ["1234", "", "56789"].map(|piece| Bytes::from_static(piece.as_bytes()));
        assert_eq!(crc64(&Payload::from(pieces.to_vec())), 11_051_210_869_376_104_954);
        assert_eq!(crc64(&Payload::default()), 0);
    }

    #[test]
    fn the_length_is_known_before_the_first_byte() {
        let payload = Payload::from(Bytes::from_static(b"abc"));
        assert_eq!(body(&payload).size_hint().exact(), Some(3));
        assert_eq!(body(&Payload::default()).size_hint().exact(), Some(0));
    }
}
