//! distribution-spec, "Pull": manifests and blobs, ranges and conditions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use axum::body::Body;
use http::{Method, StatusCode};
use support::{Berth, OCI_MANIFEST, digest, image, noise, sha512, to};

on_every_driver! {
    async fn a_manifest_comes_back_as_it_was_pushed(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a/b", "v1", b"layer").await;
        for reference in ["v1", &image.digest] {
            let target = format!("/v2/a/b/manifests/{reference}");
            let answer = berth.get(&target).await.is(StatusCode::OK);
            assert_eq!(answer.body, image.manifest);
            assert_eq!(answer.header("content-type"), OCI_MANIFEST);
            assert_eq!(answer.header("docker-content-digest"), image.digest);
            assert_eq!(answer.header("etag"), format!("\"{}\"", image.digest));
            assert_eq!(berth.head(&target).await.is(StatusCode::OK).headers, answer.headers);
        }
    }

    async fn accept_changes_nothing(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "v1", b"layer").await;
        for accept in ["*/*", "text/html", "", "application/vnd.docker.distribution.manifest.v2+json", "a/b;q=0"] {
            let answer = berth.get_with("/v2/a/manifests/v1", "accept", accept).await.is(StatusCode::OK);
            assert_eq!((answer.header("content-type"), &answer.body[..]), (OCI_MANIFEST, &image.manifest[..]));
        }
    }

    async fn what_does_not_exist_is_404_with_its_code(driver) {
        let berth = Berth::new(driver);
        berth.push_image("a", "v1", b"layer").await;
        let missing = digest(b"missing");
        for name in ["a", "b"] {
            berth.get(&format!("/v2/{name}/manifests/v2")).await.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
            berth.get(&format!("/v2/{name}/manifests/{missing}")).await.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
            berth.get(&format!("/v2/{name}/blobs/{missing}")).await.refuses(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
            berth.head(&format!("/v2/{name}/blobs/{missing}")).await.is(StatusCode::NOT_FOUND);
        }
    }

    async fn a_blob_of_another_repository_is_not_there(driver) {
        let berth = Berth::new(driver);
        let digest = berth.push_blob("private", b"secret").await;
        berth.get(&format!("/v2/public/blobs/{digest}")).await.refuses(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
        berth.head(&format!("/v2/public/blobs/{digest}")).await.is(StatusCode::NOT_FOUND);
        berth.get(&format!("/v2/public/blobs/{digest}")).await.refuses(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
    }

    async fn a_blob_is_bytes_that_no_browser_runs(driver) {
        let berth = Berth::new(driver);
        let content = b"<script>alert(1)</script>";
        let digest = berth.push_blob("a", content).await;
        let answer = berth.get(&format!("/v2/a/blobs/{digest}")).await.is(StatusCode::OK);
        assert_eq!(answer.body, &content[..]);
        for (name, value) in [
            ("content-type", "application/octet-stream"),
            ("content-disposition", "attachment"),
            ("content-security-policy", "sandbox; default-src 'none'"),
            ("accept-ranges", "bytes"),
            ("cache-control", "max-age=31536000, immutable"),
            ("docker-content-digest", &digest),
            ("etag", &format!("\"{digest}\"")),
        ] {
            assert_eq!(answer.header(name), value);
        }
        assert_eq!(berth.head(&format!("/v2/a/blobs/{digest}")).await.is(StatusCode::OK).headers, answer.headers);
    }

    async fn a_sha512_name_is_answered_with_the_sha512_digest(driver) {
        let berth = Berth::new(driver);
        let name = sha512(b"content");
        berth.post(&format!("/v2/a/blobs/uploads/?digest={name}"), "content").await.is(StatusCode::CREATED);
        let answer = berth.get(&format!("/v2/a/blobs/{name}")).await.is(StatusCode::OK);
        assert_eq!((answer.header("docker-content-digest"), &answer.body[..]), (&*name, &b"content"[..]));
        let config = berth.push_blob("a", b"{}").await;
        let manifest = image(&config, &[(&name, 7)], None);
        let digest = sha512(&manifest);
        let answer = berth.put_manifest("a", &digest, OCI_MANIFEST, manifest.clone()).await.is(StatusCode::CREATED);
        assert_eq!(answer.header("docker-content-digest"), digest);
        let answer = berth.get(answer.header("location")).await.is(StatusCode::OK);
        assert_eq!((answer.header("docker-content-digest"), &answer.body[..]), (&*digest, &manifest[..]));
    }

    async fn every_range_is_the_same_bytes_as_the_whole(driver) {
        let berth = Berth::new(driver);
        let content = noise(2048);
        let target = format!("/v2/a/blobs/{}", berth.push_blob("a", &content).await);
        for (range, start, end) in [
            ("bytes=0-0", 0, 0), ("bytes=0-2047", 0, 2047), ("bytes=500-1499", 500, 1499), ("bytes=500-", 500, 2047),
            ("bytes=-500", 1548, 2047), ("bytes=2000-5000", 2000, 2047), ("bytes=2047-", 2047, 2047),
            ("bytes=-1", 2047, 2047), ("bytes=-9999", 0, 2047), ("BYTES=1-2", 1, 2), ("bytes= 3-4", 3, 4),
            ("bytes=7-9,", 7, 9), ("bytes=5000-6000,10-11", 10, 11),
        ] {
            let answer = berth.get_with(&target, "range", range).await.is(StatusCode::PARTIAL_CONTENT);
            assert_eq!(answer.header("content-range"), format!("bytes {start}-{end}/2048"), "{range}");
            assert_eq!(answer.body, &content[start..=end], "{range}");
            let request = to(Method::HEAD, &target).header("range", range).body(Body::empty()).unwrap();
            let head = berth.send(request).await.is(StatusCode::OK);
            assert_eq!(head.header("content-length"), "2048", "RFC 9110 14.2: Range means nothing to HEAD");
        }
    }

    async fn a_range_without_a_byte_is_416_with_the_size(driver) {
        let berth = Berth::new(driver);
        let target = format!("/v2/a/blobs/{}", berth.push_blob("a", &noise(2048)).await);
        for range in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0", "bytes=", "bytes=x-y", "bytes=1-2-3"] {
            let answer = berth.get_with(&target, "range", range).await;
            let answer = answer.refuses(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID");
            assert_eq!(answer.header("content-range"), "bytes */2048", "{range}");
        }
    }

    async fn several_ranges_come_as_parts(driver) {
        let berth = Berth::new(driver);
        let content = noise(300_000);
        let target = format!("/v2/a/blobs/{}", berth.push_blob("a", &content).await);
        let ranges = [(0, 9), (299_990, 299_999), (1000, 290_000)];
        let answer = berth.get_with(&target, "range", "bytes=0-9,-10, 1000-290000").await.is(StatusCode::PARTIAL_CONTENT);
        let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut expected = Vec::new();
        for (start, end) in ranges {
            expected.extend_from_slice(if expected.is_empty() { b"" } else { b"\r\n" });
            let head = format!("--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{end}/300000\r\n\r\n");
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(&content[start..=end]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(answer.body == expected, "parts differ from the blob");
        assert!(answer.headers.get("content-range").is_none());
    }

    async fn more_ranges_than_content_get_the_whole(driver) {
        let berth = Berth::new(driver);
        let content = noise(100);
        let target = format!("/v2/a/blobs/{}", berth.push_blob("a", &content).await);
        let answer = berth.get_with(&target, "range", "bytes=0-99,0-99").await.is(StatusCode::OK);
        assert_eq!(answer.body, content);
        let many: Vec<String> = (0..2000).map(|_| "0-0".to_owned()).collect();
        let answer = berth.get_with(&target, "range", &format!("bytes={}", many.join(","))).await.is(StatusCode::OK);
        assert_eq!(answer.body, content);
    }

    async fn an_empty_blob_can_be_pulled_with_any_range(driver) {
        let berth = Berth::new(driver);
        let target = format!("/v2/a/blobs/{}", berth.push_blob("a", b"").await);
        for range in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            let answer = berth.get_with(&target, "range", range).await.is(StatusCode::OK);
            assert_eq!(answer.header("content-length"), "0");
        }
    }

    async fn conditions_spare_the_body(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "v1", b"layer").await;
        let other = digest(b"other");
        for (target, digest) in [
            ("/v2/a/manifests/v1".to_owned(), &image.digest),
            (format!("/v2/a/blobs/{}", image.layer), &image.layer),
        ] {
            for tag in [format!("\"{digest}\""), digest.clone(), format!("W/\"{digest}\""), "*".into(), format!("\"{other}\", \"{digest}\"")] {
                let answer = berth.get_with(&target, "if-none-match", &tag).await.is(StatusCode::NOT_MODIFIED);
                assert_eq!(answer.header("docker-content-digest"), digest);
                assert_eq!(answer.header("etag"), format!("\"{digest}\""));
                assert!(answer.body.is_empty());
            }
            berth.get_with(&target, "if-none-match", &format!("\"{other}\"")).await.is(StatusCode::OK);
            berth.get_with(&target, "if-match", &format!("\"{digest}\"")).await.is(StatusCode::OK);
            berth.get_with(&target, "if-match", &format!("\"{other}\"")).await.is(StatusCode::PRECONDITION_FAILED);
        }
    }

    async fn a_range_of_other_content_gets_the_whole(driver) {
        let berth = Berth::new(driver);
        let digest = berth.push_blob("a", b"0123456789").await;
        let other = support::digest(b"other");
        for (condition, status) in [
            (format!("\"{digest}\""), StatusCode::PARTIAL_CONTENT),
            (format!("\"{other}\""), StatusCode::OK),
            (format!("W/\"{digest}\""), StatusCode::OK),
            ("Sat, 29 Oct 1994 19:43:31 GMT".to_owned(), StatusCode::OK),
        ] {
            let request = to(Method::GET, &format!("/v2/a/blobs/{digest}")).header("range", "bytes=1-2");
            berth.send(request.header("if-range", condition).body(Body::empty()).unwrap()).await.is(status);
        }
    }

    async fn the_doors_of_the_house(driver) {
        let berth = Berth::new(driver);
        for target in ["/v2/", "/v2", "/v2/?n=x"] {
            let answer = berth.get(target).await.is(StatusCode::OK);
            assert_eq!((&answer.body[..], answer.header("content-type")), (&b"{}"[..], "application/json"));
        }
        let answer = berth.get("/").await.is(StatusCode::OK);
        assert_eq!((&answer.body[..], answer.header("cache-control")), (&b""[..], "no-cache"));
        berth.get("/v1/").await.is(StatusCode::NOT_FOUND);
        berth.get("/v2/a").await.is(StatusCode::NOT_FOUND);
    }
}
