//! distribution-spec, "Content Management": deleting tags, manifests and blobs, and the switches that forbid it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use berth::registry::{Access, Deletion};
use berth::routes;
use http::StatusCode;
use serde_json::json;
use support::{Berth, OCI_MANIFEST, digest, image};

on_every_driver! {
    async fn a_deleted_tag_leaves_its_manifest(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "v1", b"layer").await;
        berth.put_manifest("a", "v2", OCI_MANIFEST, image.manifest.clone()).await.is(StatusCode::CREATED);
        berth.delete("/v2/a/manifests/v1").await.is(StatusCode::ACCEPTED);
        berth.get("/v2/a/manifests/v1").await.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
        berth.get("/v2/a/manifests/v2").await.is(StatusCode::OK);
        berth.get(&format!("/v2/a/manifests/{}", image.digest)).await.is(StatusCode::OK);
        berth.delete("/v2/a/manifests/v1").await.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
        assert_eq!(berth.get("/v2/a/tags/list").await.json()["tags"], json!(["v2"]));
    }

    async fn a_deleted_manifest_takes_its_tags_and_no_others(driver) {
        let berth = Berth::new(driver);
        let gone = berth.push_image("a", "v1", b"one").await;
        berth.put_manifest("a", "v2", OCI_MANIFEST, gone.manifest.clone()).await.is(StatusCode::CREATED);
        let kept = berth.push_image("a", "v3", b"two").await;
        let target = format!("/v2/a/manifests/{}", gone.digest);
        berth.delete(&target).await.is(StatusCode::ACCEPTED);
        for reference in ["v1", "v2", &gone.digest] {
            let target = format!("/v2/a/manifests/{reference}");
            berth.get(&target).await.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
            berth.head(&target).await.is(StatusCode::NOT_FOUND);
        }
        assert_eq!(berth.get("/v2/a/manifests/v3").await.header("docker-content-digest"), kept.digest);
        assert_eq!(berth.get("/v2/a/tags/list").await.json()["tags"], json!(["v3"]));
        berth.delete(&target).await.refuses(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
        let pushed = berth.put_manifest("a", "v1", OCI_MANIFEST, gone.manifest).await;
        pushed.is(StatusCode::CREATED);
        berth.get("/v2/a/manifests/v1").await.is(StatusCode::OK);
    }

    async fn a_deleted_blob_is_gone_from_its_repository_only(driver) {
        let berth = Berth::new(driver);
        let digest = berth.push_blob("a", b"content").await;
        berth.push_blob("b", b"content").await;
        // Reading first makes a cache that lies show itself.
        berth.get(&format!("/v2/a/blobs/{digest}")).await.is(StatusCode::OK);
        berth.delete(&format!("/v2/a/blobs/{digest}")).await.is(StatusCode::ACCEPTED);
        for _ in 0..2 {
            berth.get(&format!("/v2/b/blobs/{digest}")).await.is(StatusCode::OK);
            berth.get(&format!("/v2/a/blobs/{digest}")).await.refuses(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
            berth.head(&format!("/v2/a/blobs/{digest}")).await.is(StatusCode::NOT_FOUND);
        }
        berth.delete(&format!("/v2/a/blobs/{digest}")).await.refuses(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
        berth.push_blob("a", b"content").await;
        berth.get(&format!("/v2/a/blobs/{digest}")).await.is(StatusCode::OK);
    }

    async fn a_deleted_referrer_is_listed_no_more(driver) {
        let berth = Berth::new(driver);
        let subject = berth.push_image("a", "v1", b"layer").await;
        let referrer = image(&subject.config, &[], Some((&subject.digest, subject.manifest.len())));
        berth.put_manifest("a", "sig", OCI_MANIFEST, referrer.clone()).await.is(StatusCode::CREATED);
        let target = format!("/v2/a/referrers/{}", subject.digest);
        assert_eq!(berth.get(&target).await.json()["manifests"].as_array().unwrap().len(), 1);
        berth.delete(&format!("/v2/a/manifests/{}", digest(&referrer))).await.is(StatusCode::ACCEPTED);
        assert_eq!(berth.get(&target).await.json()["manifests"], json!([]));
    }

    async fn the_delete_switch_holds_for_tags_manifests_and_blobs(driver) {
        // A tag slipped past the switch in distribution: CVE-2026-41888.
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "v1", b"layer").await;
        let rules = berth::registry::Config { deletion: Deletion::Disabled, ..support::rules() };
        let closed = berth.restarted(rules, routes::Config::default());
        let before = berth.files();
        let missing = digest(b"missing");
        for target in [
            "/v2/a/manifests/v1".to_owned(),
            "/v2/a/manifests/latest".to_owned(),
            format!("/v2/a/manifests/{}", image.digest),
            format!("/v2/a/manifests/{missing}"),
            format!("/v2/a/blobs/{}", image.layer),
            format!("/v2/a/blobs/{missing}"),
        ] {
            let answer = closed.delete(&target).await.refuses(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
            assert!(answer.header("allow").contains("GET"));
        }
        assert_eq!(berth.files(), before);
        closed.get("/v2/a/manifests/v1").await.is(StatusCode::OK);
        // Cancelling one's own upload removes nothing that was stored.
        let session = closed.begin("a").await;
        closed.delete(&session).await.is(StatusCode::NO_CONTENT);
    }

    async fn a_read_only_registry_serves_and_takes_nothing(driver) {
        let berth = Berth::new(driver);
        let image = berth.push_image("a", "v1", b"layer").await;
        let session = berth.begin("a").await;
        let rules = berth::registry::Config { access: Access::ReadOnly, ..support::rules() };
        let closed = berth.restarted(rules, routes::Config::default());
        let before = berth.files();
        closed.get("/v2/a/manifests/v1").await.is(StatusCode::OK);
        closed.get(&format!("/v2/a/blobs/{}", image.layer)).await.is(StatusCode::OK);
        closed.get(&session).await.is(StatusCode::NO_CONTENT);
        let refused = [
            closed.delete("/v2/a/manifests/v1").await,
            closed.delete(&format!("/v2/a/blobs/{}", image.layer)).await,
            closed.delete(&session).await,
            closed.patch(&session, "x").await,
            closed.put(&support::with(&session, &format!("digest={}", digest(b""))), "").await,
            closed.post("/v2/a/blobs/uploads/", "").await,
            closed.post(&format!("/v2/a/blobs/uploads/?digest={}", digest(b"x")), "x").await,
            closed.post(&format!("/v2/b/blobs/uploads/?mount={}&from=a", image.layer), "").await,
            closed.put_manifest("a", "v2", OCI_MANIFEST, image.manifest.clone()).await,
        ];
        for answer in refused {
            answer.refuses(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
        }
        assert_eq!(berth.files(), before);
    }
}
