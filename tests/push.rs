//! distribution-spec, "Pushing blobs": upload sessions in every order that clients use, and mounts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use support::{Answer, Berth, OCI_INDEX, digest, noise, sha512, to, with};

/// A chunk with its `Content-Range`.
async fn chunk(berth: &Berth, method: Method, location: &str, range: &str, content: &[u8]) -> Answer {
    let request =
        to(method, location).header("content-range", range).header("content-type", "application/octet-stream");
    berth.send(request.body(Body::from(content.to_vec())).unwrap()).await
}

/// A body of which only `content` arrives before the client goes away.
fn broken(content: &'static [u8]) -> Body {
    let gone = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "gone");
    Body::from_stream(stream::iter([Ok(Bytes::from_static(content)), Err(gone)]))
}

/// Asserts that `location` is a blob with `content`.
async fn holds(berth: &Berth, location: &str, content: &[u8]) {
    let answer = berth.get(location).await.is(StatusCode::OK);
    assert!(answer.body == content, "{location} holds other bytes");
}

on_every_driver! {
    async fn post_then_put(driver) {
        let berth = Berth::new(driver);
        let content = noise(100_000);
        let answer = berth.post("/v2/a/b/blobs/uploads/", "").await.is(StatusCode::ACCEPTED);
        assert_eq!((answer.header("range"), answer.header("content-length")), ("0-0", "0"));
        let id = answer.header("docker-upload-uuid").to_owned();
        let location = answer.header("location").to_owned();
        assert!(location.starts_with(&format!("/v2/a/b/blobs/uploads/{id}?_state=")), "{location}");
        let digest = digest(&content);
        let answer = berth.put(&with(&location, &format!("digest={digest}")), content.clone()).await.is(StatusCode::CREATED);
        assert_eq!(answer.header("location"), format!("/v2/a/b/blobs/{digest}"));
        assert_eq!(answer.header("docker-content-digest"), digest);
        holds(&berth, answer.header("location"), &content).await;
        berth.get(&location).await.refuses(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
    }

    async fn docker_streams_then_closes(driver) {
        let berth = Berth::new(driver);
        let content = noise(1_500_000);
        let location = berth.begin("a").await;
        let pieces: Vec<_> = content.chunks(70_000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
        let answer = berth.patch(&location, Body::from_stream(stream::iter(pieces))).await.is(StatusCode::ACCEPTED);
        // docker computes the size that it writes into the manifest from this.
        assert_eq!(answer.header("range"), "0-1499999");
        assert!(!answer.header("docker-upload-uuid").is_empty());
        let closing = with(answer.header("location"), &format!("digest={}", digest(&content)));
        let answer = berth.put(&closing, "").await.is(StatusCode::CREATED);
        holds(&berth, answer.header("location"), &content).await;
    }

    async fn chunks_in_order(driver) {
        let berth = Berth::new(driver);
        let content = noise(3000);
        for last_chunk_in_put in [false, true] {
            let mut location = berth.begin("a").await;
            let ends = if last_chunk_in_put { 2000 } else { 3000 };
            for start in (0..ends).step_by(1000) {
                let range = format!("{start}-{}", start + 999);
                let answer = chunk(&berth, Method::PATCH, &location, &range, &content[start..start + 1000]).await;
                let answer = answer.is(StatusCode::ACCEPTED);
                assert_eq!(answer.header("range"), format!("0-{}", start + 999));
                let status = berth.get(answer.header("location")).await.is(StatusCode::NO_CONTENT);
                assert_eq!(status.header("range"), format!("0-{}", start + 999));
                let head = berth.head(answer.header("location")).await.is(StatusCode::NO_CONTENT);
                assert_eq!(head.header("range"), status.header("range"));
                location = status.header("location").to_owned();
            }
            let closing = with(&location, &format!("digest={}", digest(&content)));
            let answer = if last_chunk_in_put {
                chunk(&berth, Method::PUT, &closing, "2000-2999", &content[2000..]).await
            } else {
                berth.put(&closing, "").await
            };
            let location = answer.is(StatusCode::CREATED).header("location").to_owned();
            holds(&berth, &location, &content).await;
        }
    }

    async fn a_chunk_in_the_wrong_place_is_told_where_to_go_on(driver) {
        let berth = Berth::new(driver);
        let content = noise(3000);
        let location = berth.begin("a").await;
        let answer = chunk(&berth, Method::PATCH, &location, "1000-1999", &content[1000..2000]).await;
        let answer = answer.refuses(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID");
        assert_eq!(answer.header("range"), "0-0");
        let location = answer.header("location").to_owned();
        let first = chunk(&berth, Method::PATCH, &location, "0-999", &content[..1000]).await.is(StatusCode::ACCEPTED);
        // The first chunk again, by the state that it was sent with and by the new one.
        for location in [&location, first.header("location")] {
            let again = chunk(&berth, Method::PATCH, location, "0-999", &content[..1000]).await;
            let again = again.refuses(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID");
            assert_eq!(again.header("range"), "0-999");
            assert!(!again.header("docker-upload-uuid").is_empty());
        }
        let closing = with(first.header("location"), &format!("digest={}", digest(&content)));
        let wrong = chunk(&berth, Method::PUT, &closing, "2000-2999", &content[2000..]).await;
        let wrong = wrong.refuses(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID");
        let next = chunk(&berth, Method::PATCH, wrong.header("location"), "1000-1999", &content[1000..2000]).await;
        let closing = with(next.is(StatusCode::ACCEPTED).header("location"), &format!("digest={}", digest(&content)));
        let answer = chunk(&berth, Method::PUT, &closing, "2000-2999", &content[2000..]).await.is(StatusCode::CREATED);
        holds(&berth, answer.header("location"), &content).await;
    }

    async fn a_chunk_range_that_cannot_be_read_moves_nothing(driver) {
        let berth = Berth::new(driver);
        let location = berth.begin("a").await;
        for range in ["x", "5", "9-5", "-5", "0-99999999999999999999", "bytes 0-4", "0-4/5", " 0 - 4", "+0-4", "0--4"] {
            let answer = chunk(&berth, Method::PATCH, &location, range, b"01234").await;
            let answer = answer.refuses(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID");
            assert_eq!(answer.header("range"), "0-0", "{range}");
            berth.get(answer.header("location")).await.is(StatusCode::NO_CONTENT);
        }
        for (range, content) in [("0-3", "01234"), ("0-5", "01234"), ("0-18446744073709551615", "01234")] {
            let answer = chunk(&berth, Method::PATCH, &location, range, content.as_bytes()).await;
            assert!([StatusCode::BAD_REQUEST, StatusCode::RANGE_NOT_SATISFIABLE].contains(&answer.status), "{answer:?}");
            assert_eq!(berth.get(&location).await.is(StatusCode::NO_CONTENT).header("range"), "0-0");
        }
        let answer = chunk(&berth, Method::PATCH, &location, "bytes 0-4/*", b"01234").await;
        assert_eq!(answer.is(StatusCode::ACCEPTED).header("range"), "0-4", "RFC 9110's form is understood");
    }

    async fn one_post_with_the_digest(driver) {
        let berth = Berth::new(driver);
        for content in [&b"content"[..], b""] {
            for digest in [digest(content), sha512(content)] {
                let answer = berth.post(&format!("/v2/a/blobs/uploads/?digest={digest}"), content.to_vec()).await;
                let answer = answer.is(StatusCode::CREATED);
                assert_eq!(answer.header("location"), format!("/v2/a/blobs/{digest}"));
                holds(&berth, answer.header("location"), content).await;
            }
        }
    }

    async fn sha512_with_and_without_a_hint(driver) {
        let berth = Berth::new(driver);
        let content = noise(200_000);
        let digest = sha512(&content);
        for query in ["", "?digest-algorithm=sha512", "?digest-algorithm=sha256"] {
            let location = berth.post(&format!("/v2/a/blobs/uploads/{query}"), "").await.is(StatusCode::ACCEPTED);
            let part = berth.patch(location.header("location"), content.clone()).await.is(StatusCode::ACCEPTED);
            let answer = berth.put(&with(part.header("location"), &format!("digest={digest}")), "").await;
            let answer = answer.is(StatusCode::CREATED);
            assert_eq!(answer.header("docker-content-digest"), digest);
            holds(&berth, answer.header("location"), &content).await;
        }
        let answer = berth.post("/v2/a/blobs/uploads/?digest-algorithm=md5", "").await;
        answer.refuses(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
    }

    async fn other_bytes_than_the_digest_names_are_never_visible(driver) {
        let berth = Berth::new(driver);
        let wrong = digest(b"something else");
        let before = berth.files();
        let answer = berth.post(&format!("/v2/a/blobs/uploads/?digest={wrong}"), "content").await;
        answer.refuses(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        let closing = with(&berth.begin("a").await, &format!("digest={wrong}"));
        berth.put(&closing, "content").await.refuses(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        let part = berth.patch(&berth.begin("a").await, "content").await.is(StatusCode::ACCEPTED);
        let closing = with(part.header("location"), &format!("digest={wrong}"));
        berth.put(&closing, "").await.refuses(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        for digest in [wrong, digest(b"content")] {
            berth.get(&format!("/v2/a/blobs/{digest}")).await.is(StatusCode::NOT_FOUND);
        }
        assert_eq!(berth.files(), before);
    }

    async fn a_closing_request_without_a_good_digest_keeps_the_session(driver) {
        let berth = Berth::new(driver);
        let part = berth.patch(&berth.begin("a").await, "content").await.is(StatusCode::ACCEPTED);
        let location = part.header("location");
        for query in ["digest=", "digest=sha256:x", "other=1", "digest=sha384:00"] {
            berth.put(&with(location, query), "").await.refuses(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        let closing = with(location, &format!("digest={}", digest(b"content")));
        berth.put(&closing, "").await.is(StatusCode::CREATED);
    }

    async fn clients_may_rewrite_the_query_of_the_location(driver) {
        let berth = Berth::new(driver);
        let location = berth.begin("a").await;
        let (path, state) = location.split_once("?_state=").unwrap();
        let digest = digest(b"content");
        let encoded = format!("%{}", state.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join("%"));
        let target = format!("{path}?ns=docker.io&digest={}&_state={encoded}&x", digest.replace(':', "%3A"));
        berth.put(&target, "content").await.is(StatusCode::CREATED);
    }

    async fn a_cancelled_session_is_gone(driver) {
        let berth = Berth::new(driver);
        let part = berth.patch(&berth.begin("a").await, "content").await.is(StatusCode::ACCEPTED);
        let location = part.header("location");
        let answer = berth.delete(location).await.is(StatusCode::NO_CONTENT);
        assert!(answer.headers.get("content-length").is_none() && answer.body.is_empty());
        berth.get(location).await.refuses(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        berth.delete(location).await.refuses(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        berth.patch(location, "x").await.refuses(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
    }

    async fn a_session_belongs_to_its_repository(driver) {
        let berth = Berth::new(driver);
        let location = berth.begin("a").await;
        let stolen = location.replacen("/v2/a/", "/v2/b/", 1);
        let closing = with(&stolen, &format!("digest={}", digest(b"x")));
        for answer in [berth.get(&stolen).await, berth.patch(&stolen, "x").await, berth.put(&closing, "x").await, berth.delete(&stolen).await] {
            assert_eq!((answer.status, answer.code().starts_with("BLOB_UPLOAD_")), (StatusCode::NOT_FOUND, true));
        }
        assert_eq!(berth.get(&location).await.is(StatusCode::NO_CONTENT).header("range"), "0-0");
    }

    async fn a_body_that_ends_early_can_be_resumed(driver) {
        let berth = Berth::new(driver);
        let location = berth.begin("a").await;
        berth.patch(&location, broken(b"half ")).await.is(StatusCode::BAD_REQUEST);
        let status = berth.get(&location).await.is(StatusCode::NO_CONTENT);
        assert_eq!(status.header("range"), "0-4");
        berth.get(&format!("/v2/a/blobs/{}", digest(b"half "))).await.is(StatusCode::NOT_FOUND);
        let rest = chunk(&berth, Method::PATCH, status.header("location"), "5-9", b"whole").await.is(StatusCode::ACCEPTED);
        let closing = with(rest.header("location"), &format!("digest={}", digest(b"half whole")));
        let answer = berth.put(&closing, "").await.is(StatusCode::CREATED);
        holds(&berth, answer.header("location"), b"half whole").await;
    }

    async fn a_single_post_or_a_manifest_that_ends_early_leaves_nothing(driver) {
        let berth = Berth::new(driver);
        let before = berth.files();
        let target = format!("/v2/a/blobs/uploads/?digest={}", digest(b"half"));
        berth.post(&target, broken(b"half")).await.is(StatusCode::BAD_REQUEST);
        berth.put_manifest("a", "v1", OCI_INDEX, broken(b"{")).await.is(StatusCode::BAD_REQUEST);
        assert_eq!(berth.files(), before);
    }

    async fn of_two_requests_on_one_session_one_is_refused(driver) {
        let berth = Berth::new(driver);
        let location = berth.begin("a").await;
        let (sender, receiver) = tokio::sync::oneshot::channel::<Bytes>();
        let (started, begun) = tokio::sync::oneshot::channel::<()>();
        let head = stream::once(async move {
            started.send(()).unwrap();
            Ok::<_, std::io::Error>(Bytes::from_static(b"first "))
        });
        let tail = stream::once(async move { Ok(receiver.await.unwrap()) });
        let slow = to(Method::PATCH, &location).body(Body::from_stream(head.chain(tail))).unwrap();
        let racing = async {
            begun.await.unwrap();
            // The body is asked for only once the session is held, so the order here is certain.
            let second = berth.patch(&location, "second").await;
            let closing = with(&location, &format!("digest={}", digest(b"x")));
            let third = berth.put(&closing, "x").await;
            sender.send(Bytes::from_static(b"wins")).unwrap();
            (second, third)
        };
        let (first, (second, third)) = tokio::join!(berth.send(slow), racing);
        second.refuses(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID");
        third.refuses(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID");
        let first = first.is(StatusCode::ACCEPTED);
        assert_eq!(first.header("range"), "0-9");
        let closing = with(first.header("location"), &format!("digest={}", digest(b"first wins")));
        berth.put(&closing, "").await.is(StatusCode::CREATED);
    }

    async fn more_uploads_at_once_than_allowed_are_asked_to_wait(driver) {
        let mut rules = support::rules();
        rules.limits.concurrent_uploads = 0;
        let berth = Berth::with(driver, rules, berth::routes::Config::default());
        let answer = berth.post("/v2/a/blobs/uploads/", "").await;
        let answer = answer.refuses(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }

    async fn a_blob_beyond_the_limit_is_refused(driver) {
        let mut rules = support::rules();
        rules.limits.blob_bytes = 10;
        let berth = Berth::with(driver, rules, berth::routes::Config::default());
        berth.push_blob("a", b"0123456789").await;
        let content = b"0123456789x";
        let target = format!("/v2/a/blobs/uploads/?digest={}", digest(content));
        berth.post(&target, content.to_vec()).await.refuses(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID");
        let location = berth.begin("a").await;
        berth.patch(&location, content.to_vec()).await.refuses(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID");
    }

    async fn a_blob_is_mounted_from_another_repository(driver) {
        let berth = Berth::new(driver);
        let digest = berth.push_blob("source", b"content").await;
        for query in [format!("mount={digest}&from=source"), format!("from=source&mount={digest}"), format!("mount={digest}")] {
            let answer = berth.post(&format!("/v2/target/blobs/uploads/?{query}"), "").await.is(StatusCode::CREATED);
            assert_eq!(answer.header("docker-content-digest"), digest);
            holds(&berth, answer.header("location"), b"content").await;
            berth.delete(answer.header("location")).await.is(StatusCode::ACCEPTED);
        }
    }

    async fn a_mount_that_cannot_be_done_is_an_upload(driver) {
        let berth = Berth::new(driver);
        berth.push_blob("source", b"content").await;
        for (content, from) in [("missing", "&from=source"), ("content", "&from=nowhere"), ("nowhere at all", "")] {
            let digest = digest(content.as_bytes());
            let answer = berth.post(&format!("/v2/target/blobs/uploads/?mount={digest}{from}"), "").await;
            let answer = answer.is(StatusCode::ACCEPTED);
            berth.get(&format!("/v2/target/blobs/{digest}")).await.is(StatusCode::NOT_FOUND);
            let closing = with(answer.header("location"), &format!("digest={digest}"));
            berth.put(&closing, content).await.is(StatusCode::CREATED);
        }
    }
}
