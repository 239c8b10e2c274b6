//! The body of a request to S3, which can be made again for a repetition.

use aws_sdk_s3::primitives::{ByteStream, SdkBody};

use crate::storage::driver::bucket::Payload;

/// A body that sends `payload`, as often as wanted.
pub(super) fn body(payload: &Payload) -> ByteStream {
    if payload.length() == 0 {
        return ByteStream::new(SdkBody::empty());
    }
    let payload = payload.clone();
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(payload.sending())))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_body_knows_its_length_and_can_be_sent_again() {
        let pieces = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
        let body = body(&Payload::from(pieces)).into_inner();
        assert_eq!(body.content_length(), Some(6));
        let again = body.try_clone().expect("it is made of shared pieces");
        for body in [body, again] {
            let content = ByteStream::new(body).collect().await.unwrap().into_bytes();
            assert_eq!(content, "onetwo");
        }
    }

    #[test]
    fn an_empty_body_is_empty() {
        assert_eq!(body(&Payload::default()).into_inner().content_length(), Some(0));
    }
}
