//! distribution-spec, "Pushing Manifests", and what holds for every kind of push: encodings and locations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use serde_json::json;
use support::{Berth, OCI_INDEX, OCI_MANIFEST, digest, image, index, to, with};

on_every_driver! {
    async fn a_manifest_needs_what_it_refers_to(driver) {
        let berth = Berth::new(driver);
        let config = berth.push_blob("a", b"{}").await;
        let (one, two) = (digest(b"one"), digest(b"two"));
        let manifest = image(&config, &[(&one, 3), (&two, 3)], None);
        let answer = berth.put_manifest("a", "v1", OCI_MANIFEST, manifest.clone()).await;
        let answer = answer.refuses(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
        let details: Vec<_> = answer.errors().iter().map(|error| error["detail"].clone()).collect();
        assert_eq!(details, [json!(one), json!(two)]);
        berth.get("/v2/a/manifests/v1").await.is(StatusCode::NOT_FOUND);
        berth.push_blob("a", b"one").await;
        berth.push_blob("a", b"two").await;
        let answer = berth.put_manifest("a", "v1", OCI_MANIFEST, manifest.clone()).await.is(StatusCode::CREATED);
        assert_eq!(answer.header("location"), format!("/v2/a/manifests/{}", digest(&manifest)));
        assert_eq!(answer.header("docker-content-digest"), digest(&manifest));
        for absent in ["oci-subject", "oci-tag"] {
            assert!(answer.headers.get(absent).is_none());
        }
        let list = index(&[(&digest(&manifest), manifest.len()), (&digest(b"child"), 5)]);
        berth.put_manifest("a", "list", OCI_INDEX, list).await.refuses(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
        let list = index(&[(&digest(&manifest), manifest.len())]);
        berth.put_manifest("a", "list", OCI_INDEX, list).await.is(StatusCode::CREATED);
    }

    async fn one_push_sets_many_tags(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "first", b"layer").await;
        let tags: Vec<String> = (0..12).map(|number| format!("t{number:02}")).collect();
        let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        let reference = format!("{}?{}", image.digest, query.join("&"));
        let answer = berth.put_manifest("a", &reference, OCI_MANIFEST, image.manifest.clone()).await.is(StatusCode::CREATED);
        let told: Vec<_> = answer.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap().to_owned()).collect();
        assert_eq!(told, tags);
        for tag in &tags {
            assert_eq!(berth.get(&format!("/v2/a/manifests/{tag}")).await.header("docker-content-digest"), image.digest);
        }
        let query = vec!["tag=x"; 65].join("&");
        let answer = berth.put_manifest("a", &format!("y?{query}"), OCI_MANIFEST, image.manifest.clone()).await;
        answer.refuses(StatusCode::URI_TOO_LONG, "TAG_INVALID");
        let answer = berth.put_manifest("a", "y?tag=ok&tag=-bad", OCI_MANIFEST, image.manifest).await;
        answer.refuses(StatusCode::BAD_REQUEST, "TAG_INVALID");
        berth.get("/v2/a/manifests/ok").await.is(StatusCode::NOT_FOUND);
    }

    async fn a_manifest_is_held_against_the_limit_while_it_is_read(driver) {
        let mut rules = support::rules();
        rules.limits.manifest_bytes = 4 * 1024 * 1024;
        let berth = Berth::with(driver, rules, berth::routes::Config::default());
        let padded = |length: usize| {
            let list = index(&[]);
            [&list[..], &b" ".repeat(length - list.len())].concat()
        };
        let chunked = |content: Vec<u8>| {
            let pieces: Vec<_> = content.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
            Body::from_stream(stream::iter(pieces))
        };
        let limit = 4 * 1024 * 1024;
        berth.put_manifest("a", "fits", OCI_INDEX, padded(limit)).await.is(StatusCode::CREATED);
        berth.put_manifest("a", "fits", OCI_INDEX, chunked(padded(limit))).await.is(StatusCode::CREATED);
        for body in [Body::from(padded(limit + 1)), chunked(padded(limit + 1))] {
            let answer = berth.put_manifest("a", "large", OCI_INDEX, body).await;
            answer.refuses(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID");
        }
        berth.get("/v2/a/manifests/large").await.is(StatusCode::NOT_FOUND);
    }

    async fn the_content_type_may_be_left_to_the_document(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "v1", b"layer").await;
        let target = "/v2/a/manifests/v2";
        berth.put(target, image.manifest.clone()).await.is(StatusCode::CREATED);
        assert_eq!(berth.get(target).await.header("content-type"), OCI_MANIFEST);
        let parameters = format!("{OCI_MANIFEST}; charset=utf-8");
        berth.put_manifest("a", "v3", &parameters, image.manifest.clone()).await.is(StatusCode::CREATED);
        assert_eq!(berth.get("/v2/a/manifests/v3").await.header("content-type"), OCI_MANIFEST);
        let answer = berth.put_manifest("a", "v4", OCI_INDEX, image.manifest).await;
        answer.refuses(StatusCode::BAD_REQUEST, "MANIFEST_INVALID");
    }

    async fn encoded_bodies_are_refused(driver) {
        let berth = Berth::new(driver);
        let session = berth.begin("a").await;
        let requests: Vec<(Method, String)> = vec![
            (Method::PUT, "/v2/a/manifests/v1".into()),
            (Method::PATCH, session.clone()),
            (Method::PUT, with(&session, &format!("digest={}", digest(b"x")))),
            (Method::POST, format!("/v2/a/blobs/uploads/?digest={}", digest(b"x"))),
        ];
        for (method, target) in requests {
            for encoding in ["gzip", "zstd", "identity, gzip"] {
                let request = to(method.clone(), &target).header("content-encoding", encoding).body(Body::from("x")).unwrap();
                berth.send(request).await.refuses(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED");
            }
        }
        let request = to(Method::PATCH, &session).header("content-encoding", "identity").body(Body::from("x")).unwrap();
        berth.send(request).await.is(StatusCode::ACCEPTED);
    }

    async fn every_location_is_in_the_configured_form(driver) {
        use berth::routes::{Config, LocationForm};
        let image = Berth::new(driver).push_image("a", "v1", b"layer").await;
        let fixed = LocationForm::Fixed("https://registry.example/base".to_owned());
        for (location, expected) in [
            (LocationForm::Relative, "/v2/a/"),
            (fixed, "https://registry.example/base/v2/a/"),
            (LocationForm::FromRequest, "http://evil.example/v2/a/"),
        ] {
            let berth = Berth::with(driver, support::rules(), Config { location: location.clone(), ..Config::default() });
            let post = |query: String| {
                let target = format!("/v2/a/blobs/uploads/{query}");
                let request = Request::post(target).header("host", "evil.example");
                berth.send(request.body(Body::from("{}")).unwrap())
            };
            for query in [String::new(), format!("?digest={}", digest(b"{}")), format!("?mount={}", digest(b"{}"))] {
                let answer = post(query).await;
                assert!(answer.header("location").starts_with(expected), "{answer:?}");
                let says_evil = answer.headers.values().any(|value| value.to_str().unwrap().contains("evil"));
                assert_eq!(says_evil, location == LocationForm::FromRequest);
            }
            berth.push_blob("a", b"layer").await;
            let request = Request::put("/v2/a/manifests/v1").header("host", "evil.example");
            let answer = berth.send(request.body(Body::from(image.manifest.clone())).unwrap()).await;
            assert!(answer.is(StatusCode::CREATED).header("location").starts_with(expected));
        }
    }
}
