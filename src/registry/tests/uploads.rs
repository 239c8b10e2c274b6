//! Upload sessions: any order of requests ends in the right bytes or in an error.

use proptest::prelude::*;

use super::*;
use crate::oci::ContentRange;
use crate::registry::{Error, Mount, UploadSession};

const CONTENT: &[u8] = b"the quick brown fox jumps over the lazy dog";

fn range(start: u64, end: u64) -> ContentRange {
    ContentRange { start, end }
}

async fn append(registry: &Registry, session: &UploadSession, bytes: &[u8]) -> super::super::Result<UploadSession> {
    registry.append(&name("a"), session.id, &session.state, None, body(bytes)).await
}

async fn finish(registry: &Registry, session: &UploadSession, digest: &Digest) -> super::super::Result<()> {
    registry.finish_upload(&name("a"), session.id, &session.state, None, body(b"").into(), digest).await
}

#[tokio::test]
async fn any_replica_continues_any_request() {
    let driver = memory();
    let session = replica(&driver).start_upload(&name("a"), None).unwrap();
    let (head, tail) = CONTENT.split_at(10);
    let session = append(&replica(&driver), &session, head).await.unwrap();
    assert_eq!(session.length, 10);
    let session = append(&replica(&driver), &session, tail).await.unwrap();
    finish(&replica(&driver), &session, &sha256(CONTENT)).await.unwrap();
    assert_eq!(content(&replica(&driver), "a", &sha256(CONTENT)).await, CONTENT);
}

#[tokio::test]
async fn a_digest_named_only_at_the_end_is_honoured() {
    let registry = registry();
    let session = registry.start_upload(&name("a"), None).unwrap();
    let session = append(&registry, &session, CONTENT).await.unwrap();
    let digest = Hasher::digest(Algorithm::Sha512, CONTENT);
    finish(&registry, &session, &digest).await.unwrap();
    assert_eq!(content(&registry, "a", &digest).await, CONTENT);
}

#[tokio::test]
async fn an_overtaken_state_is_told_where_the_session_stands() {
    let registry = registry();
    let first = registry.start_upload(&name("a"), None).unwrap();
    append(&registry, &first, b"0123456789").await.unwrap();

    let Err(Error::UploadOutOfOrder { session }) = append(&registry, &first, b"again").await else {
        panic!("an old state was accepted")
    };
    assert_eq!(session.length, 10);
    let status = registry.upload_status(&name("a"), first.id, &first.state).await.unwrap();
    assert_eq!(status.length, 10);

    // Both the refusal and the status carry a state to go on with, whose hash has yet to see the ten bytes.
    for session in [*session, status] {
        let session = append(&registry, &session, b"x").await;
        if let Ok(session) = session {
            finish(&registry, &session, &sha256(b"0123456789x")).await.unwrap();
        }
    }
    assert_eq!(content(&registry, "a", &sha256(b"0123456789x")).await, &b"0123456789x"[..]);
}

#[tokio::test]
async fn a_chunk_in_the_wrong_place_changes_nothing() {
    let registry = registry();
    let session = registry.start_upload(&name("a"), None).unwrap();
    let misplaced = registry.append(&name("a"), session.id, &session.state, Some(range(5, 9)), body(b"56789")).await;
    assert!(matches!(misplaced, Err(Error::UploadOutOfOrder { session }) if session.length == 0));
    let session = append(&registry, &session, CONTENT).await.unwrap();
    finish(&registry, &session, &sha256(CONTENT)).await.unwrap();
}

#[tokio::test]
async fn a_broken_body_leaves_what_arrived_to_go_on_from() {
    let registry = registry();
    let session = registry.start_upload(&name("a"), None).unwrap();
    let (head, tail) = CONTENT.split_at(13);
    let broken = registry.append(&name("a"), session.id, &session.state, None, broken_body(head)).await;
    assert!(matches!(broken, Err(Error::BodyInterrupted(_))));
    let session = registry.upload_status(&name("a"), session.id, &session.state).await.unwrap();
    assert_eq!(session.length, 13);
    let session = append(&registry, &session, tail).await.unwrap();
    finish(&registry, &session, &sha256(CONTENT)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_digest_publishes_nothing_and_ends_the_session() {
    let registry = registry();
    let session = registry.start_upload(&name("a"), None).unwrap();
    let session = append(&registry, &session, CONTENT).await.unwrap();
    let wrong = sha256(b"something else");
    assert!(matches!(finish(&registry, &session, &wrong).await, Err(Error::DigestMismatch { .. })));
    for digest in [wrong, sha256(CONTENT)] {
        assert!(matches!(registry.blob(&name("a"), &digest, Reading::Whole).await, Err(Error::BlobUnknown { .. })));
    }
    let gone = registry.upload_status(&name("a"), session.id, &session.state).await;
    assert!(matches!(gone, Err(Error::UploadUnknown)));
}

#[tokio::test]
async fn a_session_belongs_to_its_repository() {
    let registry = registry();
    let session = registry.start_upload(&name("a"), None).unwrap();
    let stolen = registry.append(&name("b"), session.id, &session.state, None, body(CONTENT)).await;
    assert!(matches!(stolen, Err(Error::UploadStateInvalid(_))));
    let cancelled = registry.cancel_upload(&name("b"), session.id, &session.state).await;
    assert!(matches!(cancelled, Err(Error::UploadStateInvalid(_))));
    append(&registry, &session, CONTENT).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_session_is_gone() {
    let registry = registry();
    let session = registry.start_upload(&name("a"), None).unwrap();
    registry.cancel_upload(&name("a"), session.id, &session.state).await.unwrap();
    let again = registry.cancel_upload(&name("a"), session.id, &session.state).await;
    assert!(matches!(again, Err(Error::UploadUnknown)));
    assert!(matches!(append(&registry, &session, CONTENT).await, Err(Error::UploadUnknown)));
}

#[tokio::test]
async fn a_blob_beyond_the_limit_leaves_nothing() {
    let mut config = config();
    config.limits.blob_bytes = 20;
    let registry = Registry::new(config, Store::new(memory(), &storage::Config::default()));
    let session = registry.start_upload(&name("a"), None).unwrap();
    assert!(matches!(append(&registry, &session, CONTENT).await, Err(Error::BlobTooLarge { limit: 20 })));
    let gone = registry.upload_status(&name("a"), session.id, &session.state).await;
    assert!(matches!(gone, Err(Error::UploadUnknown)));
    let direct = registry.upload_blob(&name("a"), &sha256(CONTENT), body(CONTENT).into()).await;
    assert!(matches!(direct, Err(Error::BlobTooLarge { limit: 20 })));
}

#[tokio::test]
async fn a_mount_takes_what_is_there_and_declines_the_rest() {
    let registry = registry();
    let digest = push_blob(&registry, "a", CONTENT).await;
    let elsewhere = sha256(b"never pushed");
    assert_eq!(registry.mount(&name("b"), &digest, Some(&name("a"))).await.unwrap(), Mount::Done);
    assert_eq!(registry.mount(&name("c"), &digest, None).await.unwrap(), Mount::Done);
    assert_eq!(registry.mount(&name("d"), &digest, Some(&name("x"))).await.unwrap(), Mount::Declined);
    assert_eq!(registry.mount(&name("d"), &elsewhere, None).await.unwrap(), Mount::Declined);
    assert_eq!(content(&registry, "b", &digest).await, CONTENT);
    assert!(matches!(registry.blob(&name("d"), &digest, Reading::Whole).await, Err(Error::BlobUnknown { .. })));
}

/// What a client may do next with the state it holds.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    AppendBroken(Vec<u8>),
    Status,
    ForgetAnswer,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        bytes().prop_map(Step::Append),
        bytes().prop_map(Step::AppendBroken),
        Just(Step::Status),
        Just(Step::ForgetAnswer)
    ]
}

proptest! {
    #[test]
    fn any_sequence_of_requests_ends_in_the_bytes_received(steps in proptest::collection::vec(step(), 0..12), sha512: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let driver = memory();
            let mut received = Vec::new();
            let mut session = replica(&driver).start_upload(&name("a"), None).unwrap();
            for step in steps {
                let registry = replica(&driver);
                let state = session.state.clone();
                match step {
                    Step::Append(bytes) => match append(&registry, &session, &bytes).await {
                        Ok(next) => { received.extend(bytes); session = next; }
                        Err(Error::UploadOutOfOrder { session: current }) => session = *current,
                        Err(other) => panic!("{other}"),
                    },
                    Step::AppendBroken(bytes) => {
                        match registry.append(&name("a"), session.id, &state, None, broken_body(&bytes)).await {
                            Err(Error::BodyInterrupted(_)) => received.extend(bytes),
                            Err(Error::UploadOutOfOrder { .. }) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                    Step::Status => session = registry.upload_status(&name("a"), session.id, &state).await.unwrap(),
                    Step::ForgetAnswer => {
                        if append(&registry, &session, b"lost").await.is_ok() { received.extend(b"lost"); }
                    }
                }
            }
            let registry = replica(&driver);
            let session = registry.upload_status(&name("a"), session.id, &session.state).await.unwrap();
            assert_eq!(session.length, received.len() as u64);
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Hasher::digest(algorithm, &received);
            finish(&registry, &session, &digest).await.unwrap();
            assert_eq!(content(&registry, "a", &digest).await, received);
        });
    }
}
