//! Pushes over a bucket on which a request fails: they succeed or tell of it, and never leave something wrong.

use super::*;

/// A push by one way, over a bucket on which one request fails.
async fn push(bucket: &Bucket, way: usize, all: &Bytes, state: &mut Vec<u8>) -> Result<()> {
    let middle = all.len() / 2;
    match way {
        0 => {
            *state = patch(bucket, &[], &all.slice(..middle)).await?;
            *state = patch(bucket, state, &all.slice(middle..)).await?;
            put(bucket, state).await
        }
        1 => {
            let mut direct = bucket.create(&target(), Some(all.len() as u64)).await?;
            direct.append(vec![all.slice(..middle)]).await?;
            direct.append(vec![all.slice(middle..)]).await?;
            direct.publish(&target()).await
        }
        _ => {
            *state = patch(bucket, &[], &all.slice(..middle)).await?;
            let mut session = bucket.resume(&staging(), state).await?;
            session.append(vec![all.slice(middle..)]).await?;
            session.publish(&target()).await
        }
    }
}

#[tokio::test]
async fn a_push_survives_or_fails_but_never_lies() {
    for (way, length) in [(0, 500), (0, 3700), (1, 500), (1, 3700), (2, 500), (2, 3700), (2, 2 * PART)] {
        for fault in [Fault::Before, Fault::After, Fault::Short] {
            for number in 0.. {
                let (fake, bucket) = bucket();
                let (all, mut state) = (content(length), Vec::new());
                fake.fail(&[(number, fault)]);
                let pushed = push(&bucket, way, &all, &mut state).await;
                let requests = fake.verbs().len();
                fake.fail(&[]);
                let there = crate::storage::error::found(bucket.read(&target(), u64::MAX).await).unwrap();
                let context = format!("way {way}, {length} bytes, {fault:?} of request {number}: {pushed:?}");
                assert!(there.is_none_or(|there| there == all), "{context}");
                if pushed.is_ok() {
                    assert_published(&bucket, &all).await;
                } else {
                    // What was acknowledged last is still there, and can be gone on with.
                    if !state.is_empty() {
                        let mut session = bucket.resume(&staging(), &state).await.unwrap();
                        let end = session.length();
                        let kept = session.read_back(0..end).await.unwrap();
                        assert!(kept == all[..usize::try_from(end).unwrap()], "{context}");
                        session.append(vec![all.slice(usize::try_from(end).unwrap()..)]).await.unwrap();
                        session.publish(&target()).await.unwrap();
                        assert_published(&bucket, &all).await;
                    }
                    assert!(push(&bucket, way, &all, &mut Vec::new()).await.is_ok(), "{context}");
                }
                // Purging removes what clean-up that failed has left.
                bucket.unfinished_writes(SystemTime::now(), Unfinished::Remove).await.unwrap();
                bucket.delete_prefix(&at("repositories")).await.unwrap();
                settle(&fake, |fake| fake.open_uploads() == 0).await;
                if number >= requests {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_a_success() {
    let (fake, bucket) = bucket();
    let mut direct = bucket.create(&target(), None).await.unwrap();
    direct.append(vec![content(2500)]).await.unwrap();
    settle(&fake, |fake| fake.verbs() == ["begin", "part", "part"]).await;
    fake.fail(&[(1, Fault::After)]);
    direct.publish(&target()).await.unwrap();
    assert_eq!(fake.verbs(), ["part", "complete", "head"]);
    assert_published(&bucket, &content(2500)).await;
    settle(&fake, only_the_target).await;
}
