//! distribution-spec, "Content Discovery": tags and referrers; and distribution's catalog.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use http::{Method, StatusCode};
use serde_json::json;
use support::{Berth, OCI_INDEX, OCI_MANIFEST, digest, image, to};

/// Follows `Link` from `target` and returns what `field` held on each page.
async fn pages(berth: &Berth, target: &str, field: &str) -> Vec<serde_json::Value> {
    let mut pages = Vec::new();
    let mut next = Some(target.to_owned());
    while let Some(target) = next {
        assert!(pages.len() < 50, "the pages do not end");
        let answer = berth.get(&target).await.is(StatusCode::OK);
        pages.push(answer.json()[field].clone());
        next = answer.headers.get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        });
    }
    pages
}

on_every_driver! {
    async fn tags_are_listed_in_byte_order(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "b", b"layer").await;
        for tag in ["C", "a", "10", "9", "a-1", "a.1", "_x"] {
            berth.put_manifest("a", tag, OCI_MANIFEST, image.manifest.clone()).await.is(StatusCode::CREATED);
        }
        let answer = berth.get("/v2/a/tags/list").await.is(StatusCode::OK);
        assert_eq!(answer.json(), json!({ "name": "a", "tags": ["10", "9", "C", "_x", "a", "a-1", "a.1", "b"] }));
        assert!(answer.headers.get("link").is_none());
        let after = berth.get("/v2/a/tags/list?last=a-1").await.is(StatusCode::OK).json();
        assert_eq!(after["tags"], json!(["a.1", "b"]), "last works without n, and is itself not listed");
        let after = berth.get("/v2/a/tags/list?last=D").await.is(StatusCode::OK).json();
        assert_eq!(after["tags"], json!(["_x", "a", "a-1", "a.1", "b"]), "last need not exist");
        assert_eq!(berth.get("/v2/a/tags/list?last=zzz").await.is(StatusCode::OK).json()["tags"], json!([]));
    }

    async fn pages_of_tags_are_followed_to_the_end(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a/b", "t0", b"layer").await;
        for tag in ["t1", "t2", "t3", "t4"] {
            berth.put_manifest("a/b", tag, OCI_MANIFEST, image.manifest.clone()).await.is(StatusCode::CREATED);
        }
        let answer = berth.get("/v2/a/b/tags/list?n=2").await.is(StatusCode::OK);
        assert_eq!(answer.header("link"), "</v2/a/b/tags/list?last=t1&n=2>; rel=\"next\"");
        let all = pages(&berth, "/v2/a/b/tags/list?n=2&ns=mirror.example", "tags").await;
        assert_eq!(all, [json!(["t0", "t1"]), json!(["t2", "t3"]), json!(["t4"])]);
        assert_eq!(pages(&berth, "/v2/a/b/tags/list?n=5", "tags").await.len(), 1, "a full last page has no Link");
        assert_eq!(pages(&berth, "/v2/a/b/tags/list?n=0", "tags").await, [json!([])]);
        assert_eq!(pages(&berth, "/v2/a/b/tags/list?n=999999999", "tags").await.len(), 1);
    }

    async fn a_page_beyond_the_maximum_is_cut_and_goes_on(driver) {
        let mut rules = support::rules();
        rules.limits.tags_page = 2;
        rules.limits.catalog_page = 1;
        let berth = Berth::with(driver, rules, berth::routes::Config::default());
        let image = berth.push_image("a", "t0", b"layer").await;
        for tag in ["t1", "t2"] {
            berth.put_manifest("a", tag, OCI_MANIFEST, image.manifest.clone()).await.is(StatusCode::CREATED);
        }
        berth.push_image("b", "t0", b"layer").await;
        assert_eq!(pages(&berth, "/v2/a/tags/list?n=1000", "tags").await, [json!(["t0", "t1"]), json!(["t2"])]);
        assert_eq!(pages(&berth, "/v2/_catalog?n=1000", "repositories").await, [json!(["a"]), json!(["b"])]);
    }

    async fn tags_of_an_unknown_repository_are_404(driver) {
        let berth = Berth::new(driver);
        for query in ["", "?n=0", "?n=5", "?last=x"] {
            berth.get(&format!("/v2/a/tags/list{query}")).await.refuses(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        }
    }

    async fn a_page_size_that_is_no_number_is_refused_everywhere(driver) {
        let berth = Berth::new(driver);
        berth.push_image("a", "v1", b"layer").await;
        let referrers = format!("/v2/a/referrers/{}", digest(b"x"));
        for list in ["/v2/_catalog", "/v2/a/tags/list", &referrers] {
            for n in ["-1", "x", "1.5", "1e3", "0x10", "99999999999999999999999", "%20"] {
                let answer = berth.get(&format!("{list}?n={n}")).await;
                answer.refuses(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID");
            }
        }
    }

    async fn the_catalog_lists_component_by_component(driver) {
        let berth = Berth::new(driver);
        assert_eq!(berth.get("/v2/_catalog").await.is(StatusCode::OK).json(), json!({ "repositories": [] }));
        for name in ["b", "a", "a/b", "a-b", "a/b/c", "aa"] {
            berth.push_image(name, "v1", b"layer").await;
        }
        berth.push_blob("only/blobs", b"x").await;
        let all = json!(["a", "a/b", "a/b/c", "a-b", "aa", "b"]);
        assert_eq!(berth.get("/v2/_catalog").await.is(StatusCode::OK).json()["repositories"], all);
        let paged: Vec<_> = pages(&berth, "/v2/_catalog?n=2", "repositories").await;
        assert_eq!(paged, [json!(["a", "a/b"]), json!(["a/b/c", "a-b"]), json!(["aa", "b"])]);
        let link = berth.get("/v2/_catalog?n=2").await;
        assert_eq!(link.header("link"), "</v2/_catalog?last=a%2Fb&n=2>; rel=\"next\"");
    }

    async fn lists_have_a_head(driver) {
        let berth = Berth::new(driver);
        berth.push_image("a", "v1", b"layer").await;
        for target in ["/v2/".to_owned(), "/v2/_catalog".into(), "/v2/a/tags/list".into(), format!("/v2/a/referrers/{}", digest(b"x"))] {
            let (get, head) = (berth.get(&target).await, berth.head(&target).await);
            assert_eq!((get.status, &get.headers), (head.status, &head.headers), "{target}");
        }
    }

    async fn referrers_are_200_whatever_is_there(driver) {
        let berth = Berth::new(driver);
        for name in ["never/pushed", "a"] {
            let answer = berth.get(&format!("/v2/{name}/referrers/{}", digest(b"x"))).await.is(StatusCode::OK);
            assert_eq!(answer.header("content-type"), OCI_INDEX);
            assert_eq!(answer.json(), json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }));
            berth.push_image("a", "v1", b"layer").await;
        }
        berth.get("/v2/a/referrers/sha256:x").await.refuses(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
    }

    async fn referrers_are_listed_filtered_and_paged(driver) {
        let berth = Berth::new(driver);
        let subject = berth.push_image("a", "v1", b"layer").await;
        let mut kinds = Vec::new();
        for number in 0..5 {
            let kind = if number < 3 { "application/vnd.example.sbom+json" } else { "text/plain;q=\"1\"" };
            let mut referrer: serde_json::Value =
                serde_json::from_slice(&image(&subject.config, &[], Some((&subject.digest, subject.manifest.len())))).unwrap();
            referrer["artifactType"] = json!(kind);
            referrer["annotations"] = json!({ "number": number.to_string() });
            let content = serde_json::to_vec(&referrer).unwrap();
            let name = digest(&content);
            let answer = berth.put_manifest("a", &name, OCI_MANIFEST, content).await.is(StatusCode::CREATED);
            assert_eq!(answer.header("oci-subject"), subject.digest);
            kinds.push((name, kind));
        }
        let target = format!("/v2/a/referrers/{}", subject.digest);
        let all = berth.get(&target).await.is(StatusCode::OK);
        assert!(all.headers.get("oci-filters-applied").is_none());
        let listed = all.json()["manifests"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 5);
        for descriptor in &listed {
            let (_, kind) = kinds.iter().find(|(name, _)| descriptor["digest"] == **name).unwrap();
            assert_eq!(descriptor["artifactType"], *kind);
            assert!(descriptor["annotations"]["number"].is_string());
        }
        let answer = berth.get(&format!("{target}?artifactType=application/vnd.example.sbom%2Bjson")).await.is(StatusCode::OK);
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        assert_eq!(answer.json()["manifests"].as_array().unwrap().len(), 3);
        // The filter travels along in Link, whatever characters it has.
        let paged = pages(&berth, &format!("{target}?n=1&artifactType=text/plain%3Bq=%221%22"), "manifests").await;
        let found: usize = paged.iter().map(|page| page.as_array().unwrap().len()).sum();
        assert_eq!(found, 2);
        let both = format!("{target}?artifactType=text/plain%3Bq=%221%22&artifactType=application/vnd.example.sbom%2Bjson");
        assert_eq!(berth.get(&both).await.json()["manifests"].as_array().unwrap().len(), 5);
    }

    async fn a_subject_may_come_after_its_referrer(driver) {
        let berth = Berth::new(driver);
        let config = berth.push_blob("a", b"{}").await;
        let missing = digest(b"to come");
        let referrer = image(&config, &[], Some((&missing, 7)));
        let answer = berth.put_manifest("a", "sig", OCI_MANIFEST, referrer.clone()).await.is(StatusCode::CREATED);
        assert_eq!(answer.header("oci-subject"), missing);
        let listed = berth.get(&format!("/v2/a/referrers/{missing}")).await.is(StatusCode::OK).json();
        assert_eq!(listed["manifests"][0]["digest"], digest(&referrer));
    }

    async fn a_prefix_is_part_of_every_address(driver) {
        let config = berth::routes::Config { prefix: "/mirror/".to_owned(), ..berth::routes::Config::default() };
        let berth = Berth::with(driver, support::rules(), config);
        berth.get("/mirror/v2/").await.is(StatusCode::OK);
        berth.get("/v2/").await.is(StatusCode::NOT_FOUND);
        let location = berth.post("/mirror/v2/a/blobs/uploads/", "").await.is(StatusCode::ACCEPTED);
        let location = support::with(location.header("location"), &format!("digest={}", digest(b"x")));
        assert!(location.starts_with("/mirror/v2/a/blobs/uploads/"));
        let blob = berth.put(&location, "x").await.is(StatusCode::CREATED);
        berth.get(blob.header("location")).await.is(StatusCode::OK);
    }

    async fn configured_headers_are_on_every_answer_once(driver) {
        let name = |text: &'static str| http::HeaderName::from_static(text);
        let value = http::HeaderValue::from_static;
        let headers = vec![
            (name("x-content-type-options"), value("nosniff")),
            (name("access-control-allow-origin"), value("https://ui.example")),
            (name("access-control-allow-methods"), value("HEAD")),
            (name("access-control-allow-methods"), value("GET")),
        ];
        let config = berth::routes::Config { headers, ..berth::routes::Config::default() };
        let berth = Berth::with(driver, support::rules(), config);
        for target in ["/v2/", "/v2/_catalog", "/v2/a/tags/list"] {
            let answer = berth.get(target).await;
            let all = |header: &str| answer.headers.get_all(header).iter().count();
            assert_eq!((all("x-content-type-options"), all("access-control-allow-origin")), (1, 1));
            assert_eq!(all("access-control-allow-methods"), 2);
        }
        let options = berth.send(to(Method::OPTIONS, "/v2/a/tags/list").body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(options.is(StatusCode::OK).header("allow"), "GET, HEAD, OPTIONS");
    }
}
