//! What distribution's collector is known to do wrong, as its users meet it, each with what has to happen instead. A running
//! registry with warm caches stands beside every run.

use super::*;

use std::time::{Duration, SystemTime};

use http::Method;
use support::{digest, image, index, sha512, to, with};

impl Site {
    async fn put_image(&self, name: &str, reference: &str, config: &str, layers: &[&str]) -> StatusCode {
        let layers: Vec<(&str, usize)> = layers.iter().map(|layer| (*layer, 1)).collect();
        self.berth.put_manifest(name, reference, OCI_MANIFEST, image(config, &layers, None)).await.status
    }

    async fn pulls(&self, name: &str, reference: &str) -> bool {
        self.berth.get(&format!("/v2/{name}/manifests/{reference}")).await.status == StatusCode::OK
    }

    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.config.with_file_name("docker").join("registry/v2").join(path)
    }

    fn blob_file(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        self.file(&format!("blobs/{algorithm}/{}/{hex}/data", &hex[..2]))
    }
}

/// Makes the file or directory look as old as `age`.
fn age(path: &std::path::Path, age: Duration) {
    std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

const DAYS: Duration = Duration::from_hours(72);

#[tokio::test]
async fn what_was_collected_can_be_pushed_again_without_a_restart() {
    let site = Site::new();
    let image = site.berth.push_image("app", "one", b"a layer").await;
    // Everything the registry remembers of an image, it remembers now.
    assert!(site.pulls("app", "one").await && site.has_blob("app", &image.layer).await);
    site.delete_manifest("app", &image.digest).await;
    site.collect(&[]);
    for blob in [&image.layer, &image.config] {
        assert!(!site.has_blob("app", blob).await, "the client would not upload it again");
    }
    let again = site.berth.push_image("app", "one", b"a layer").await;
    assert_eq!(again.digest, image.digest);
    assert!(site.pulls("app", "one").await);
    let layer = site.berth.get(&format!("/v2/app/blobs/{}", image.layer)).await.is(StatusCode::OK);
    assert_eq!(layer.body.as_ref(), b"a layer");
}

#[tokio::test]
async fn a_manifest_whose_layer_went_meanwhile_is_refused_rather_than_taken_with_a_hole() {
    let site = Site::new();
    let (config, layer) = (site.berth.push_blob("app", b"{}").await, site.berth.push_blob("app", b"layer").await);
    site.collect(&[]);
    let manifest = image(&config, &[(&layer, 5)], None);
    let put = site.berth.put_manifest("app", "one", OCI_MANIFEST, manifest).await;
    put.refuses(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
    assert!(!site.pulls("app", "one").await);
}

#[tokio::test]
async fn layers_of_a_push_that_is_not_over_stay_by_default() {
    let site = Site::new();
    let (config, layer) = (site.berth.push_blob("app", b"{}").await, site.berth.push_blob("app", b"layer").await);
    assert_eq!(site.run(&["-m", "--settle", "0s"]).status.code(), Some(0));
    assert_eq!(site.put_image("app", "one", &config, &[&layer]).await, StatusCode::CREATED);
}

#[tokio::test]
async fn a_blob_that_another_repository_took_over_stays_for_it() {
    let site = Site::new();
    let first = site.berth.push_image("first", "one", b"shared").await;
    let second = site.berth.push_image("second", "one", b"shared").await;
    site.delete_manifest("first", &first.digest).await;
    site.collect(&["-m"]);
    assert!(!site.has_blob("first", &first.layer).await && site.has_blob("second", &second.layer).await);
    assert!(site.pulls("second", "one").await);
}

#[tokio::test]
async fn children_of_a_tagged_index_stay_two_levels_down() {
    let site = Site::new();
    let child = site.berth.push_image("app", "child", b"deep").await;
    let inner = index(&[(&child.digest, child.manifest.len())]);
    let inner_digest = digest(&inner);
    site.berth.put_manifest("app", &inner_digest, OCI_INDEX, inner.clone()).await.is(StatusCode::CREATED);
    let outer = index(&[(&inner_digest, inner.len())]);
    site.berth.put_manifest("app", "multi", OCI_INDEX, outer).await.is(StatusCode::CREATED);
    site.delete_manifest("app", "child").await;
    site.collect(&["-m"]);
    assert!(site.pulls("app", &inner_digest).await && site.pulls("app", &child.digest).await);
    assert!(site.has_blob("app", &child.layer).await);
}

#[tokio::test]
async fn a_repository_without_any_tag_is_swept_whole_or_not_at_all() {
    let site = Site::new();
    let (config, layer) = (site.berth.push_blob("app", b"{}").await, site.berth.push_blob("app", b"layer").await);
    let manifest = digest(&image(&config, &[(&layer, 1)], None));
    assert_eq!(site.put_image("app", &manifest, &config, &[&layer]).await, StatusCode::CREATED);
    site.collect(&[]);
    assert!(site.pulls("app", &manifest).await && site.has_blob("app", &layer).await);
    site.collect(&["-m"]);
    assert!(!site.pulls("app", &manifest).await && !site.has_blob("app", &layer).await);
    assert!(!site.files().iter().any(|file| file.contains(&manifest[7..])), "{:?}", site.files());
}

#[tokio::test]
async fn what_a_manifest_names_by_sha512_stays() {
    let site = Site::new();
    let (config, layer) = (site.berth.push_blob("app", b"{}").await, sha512(b"by sha512"));
    let target = format!("/v2/app/blobs/uploads/?digest={layer}");
    site.berth.post(&target, b"by sha512".to_vec()).await.is(StatusCode::CREATED);
    assert_eq!(site.put_image("app", "one", &config, &[&layer]).await, StatusCode::CREATED);
    site.collect(&["-m"]);
    assert!(site.has_blob("app", &layer).await);
}

#[tokio::test]
async fn a_signature_stays_with_what_it_signs_and_goes_with_it() {
    let site = Site::new();
    let signed = site.berth.push_image("app", "one", b"layer").await;
    let config = site.berth.push_blob("app", b"{}").await;
    let signature = image(&config, &[], Some((&signed.digest, signed.manifest.len())));
    let reference = digest(&signature);
    site.berth.put_manifest("app", &reference, OCI_MANIFEST, signature).await.is(StatusCode::CREATED);
    site.collect(&["-m"]);
    let referrers = site.berth.get(&format!("/v2/app/referrers/{}", signed.digest)).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], reference);
    site.delete_manifest("app", "one").await;
    site.collect(&["-m"]);
    assert!(!site.pulls("app", &reference).await && !site.pulls("app", &signed.digest).await);
}

#[tokio::test]
async fn one_damaged_manifest_removes_nothing_and_is_named() {
    let site = Site::new();
    let image = site.berth.push_image("app", "one", b"layer").await;
    let garbage = site.berth.push_blob("app", b"garbage").await;
    std::fs::write(site.blob_file(&image.digest), b"not what it was").unwrap();
    let output = site.run(&["--grace", "0s", "--settle", "0s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&image.digest[7..]), "{output:?}");
    assert!(site.has_blob("app", &garbage).await);
    // The way out: the manifest goes, or is pushed again, and the next run does its work.
    site.berth.put_manifest("app", "one", OCI_MANIFEST, image.manifest).await.is(StatusCode::CREATED);
    site.collect(&[]);
    assert!(!site.has_blob("app", &garbage).await && site.has_blob("app", &image.layer).await);
}

#[tokio::test]
async fn a_link_that_a_crash_left_empty_costs_nothing() {
    let site = Site::new();
    let image = site.berth.push_image("app", "one", b"layer").await;
    let garbage = site.berth.push_blob("app", b"garbage").await;
    let revision = site.file(&format!("repositories/app/_manifests/revisions/sha256/{}/link", &image.digest[7..]));
    std::fs::write(&revision, b"").unwrap();
    // Its place says which manifest it is of.
    site.collect(&["-m"]);
    assert!(!site.blob_file(&garbage).exists());
    for needed in [&image.digest, &image.config, &image.layer] {
        assert!(site.blob_file(needed).exists(), "{needed}");
    }
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_go_and_others_stay() {
    let site = Site::new();
    let (old, new) = (site.berth.begin("app").await, site.berth.begin("app").await);
    let old = site.berth.patch(&old, "old").await.is(StatusCode::ACCEPTED).header("location").to_owned();
    let new = site.berth.patch(&new, "new").await.is(StatusCode::ACCEPTED).header("location").to_owned();
    let id = |location: &str| location.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    let uploads = site.file("repositories/app/_uploads");
    age(&uploads.join(id(&old)).join("data"), DAYS);
    site.collect(&[]);
    assert!(!uploads.join(id(&old)).exists(), "{:?}", std::fs::read_dir(&uploads).unwrap().collect::<Vec<_>>());
    let last = with(&new, &format!("digest={}", digest(b"new")));
    site.berth.put(&last, "").await.is(StatusCode::CREATED);
}

#[tokio::test]
async fn files_that_a_crash_left_half_written_go() {
    let site = Site::new();
    let image = site.berth.push_image("app", "one", b"layer").await;
    let name = "link.0b6e9bd2-3c0f-4d5f-9c9a-6d3f6a4a6d55.tmp";
    let link = site.file(&format!("repositories/app/_layers/sha256/{}/{name}", &image.layer[7..]));
    std::fs::write(&link, b"sha256:").unwrap();
    age(&link, DAYS);
    site.collect(&[]);
    assert!(!link.exists() && site.pulls("app", "one").await);
}

#[tokio::test]
async fn a_repository_of_which_nothing_is_left_leaves_the_catalog() {
    let site = Site::new();
    let gone = site.berth.push_image("gone", "one", b"layer").await;
    site.berth.push_image("kept", "one", b"layer").await;
    site.delete_manifest("gone", &gone.digest).await;
    site.collect(&["-m"]);
    let catalog = site.berth.get("/v2/_catalog").await.json();
    assert_eq!(catalog["repositories"], json!(["kept"]));
    site.berth.push_image("gone", "two", b"layer").await;
    assert_eq!(site.berth.get("/v2/_catalog").await.json()["repositories"], json!(["gone", "kept"]));
}

#[tokio::test]
async fn a_kind_of_manifest_that_nobody_knows_is_kept_with_what_it_names() {
    let site = Site::new();
    let layer = site.berth.push_blob("app", b"layer").await;
    let manifest =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.example.thing+json", "parts": [{"at": layer}]});
    let target =
        to(Method::PUT, "/v2/app/manifests/thing").header("content-type", "application/vnd.example.thing+json");
    let put = site.berth.send(target.body(manifest.to_string().into()).unwrap()).await;
    put.is(StatusCode::CREATED);
    site.collect(&["-m"]);
    assert!(site.pulls("app", "thing").await && site.has_blob("app", &layer).await);
}

/// Writes an image of one layer under a tag, file by file as distribution does.
fn written_by_distribution(site: &Site, name: &str, tag: &str) -> support::Image {
    let (config, layer) = (b"{}".to_vec(), b"a layer of distribution".to_vec());
    let (config_digest, layer_digest) = (digest(&config), digest(&layer));
    let manifest = image(&config_digest, &[(&layer_digest, layer.len())], None);
    let manifest_digest = digest(&manifest);
    let write = |path: PathBuf, content: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let repository = |below: &str| site.file(&format!("repositories/{name}/{below}"));
    for (blob, content) in [(&config_digest, &config), (&layer_digest, &layer), (&manifest_digest, &manifest)] {
        write(site.blob_file(blob), content);
    }
    for blob in [&config_digest, &layer_digest] {
        write(repository(&format!("_layers/sha256/{}/link", &blob[7..])), blob.as_bytes());
    }
    for link in [
        format!("_manifests/revisions/sha256/{}/link", &manifest_digest[7..]),
        format!("_manifests/tags/{tag}/index/sha256/{}/link", &manifest_digest[7..]),
        format!("_manifests/tags/{tag}/current/link"),
    ] {
        write(repository(&link), manifest_digest.as_bytes());
    }
    // What an upload leaves that came to its end.
    std::fs::create_dir_all(repository("_uploads")).unwrap();
    support::Image { digest: manifest_digest, config: config_digest, layer: layer_digest, manifest }
}

#[tokio::test]
async fn what_distribution_wrote_to_its_end_is_collected_beside_a_running_registry() {
    let site = Site::new();
    let theirs = written_by_distribution(&site, "app", "theirs");
    let garbage = site.berth.push_blob("app", b"garbage").await;
    site.collect(&["-m"]);
    assert!(site.pulls("app", "theirs").await && site.has_blob("app", &theirs.layer).await);
    assert!(!site.has_blob("app", &garbage).await);
    site.delete_manifest("app", &theirs.digest).await;
    site.collect(&[]);
    assert!(!site.has_blob("app", &theirs.layer).await && !site.blob_file(&theirs.layer).exists());
}

#[tokio::test]
async fn an_upload_that_distribution_began_within_a_day_stops_it_and_tells_the_way_out() {
    let site = Site::new();
    let garbage = site.berth.push_blob("app", b"garbage").await;
    let id = "6b8bf1c8-6a4b-4f6e-9f52-0d3cf8d8a0f1";
    let begun = site.file(&format!("repositories/team/app/_uploads/{id}/startedat"));
    std::fs::create_dir_all(begun.parent().unwrap()).unwrap();
    std::fs::write(&begun, "2026-01-02T03:04:05Z").unwrap();
    age(&begun, Duration::from_mins(95));
    let before = site.files();
    let output = site.run(&["--grace", "0s", "--settle", "0s"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    for word in [id, "team/app", "95 minutes ago", "--offline"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(site.files(), before);
    assert_eq!(site.run(&["--dry-run"]).status.code(), Some(0));

    age(&begun, Duration::from_hours(25));
    site.collect(&[]);
    assert!(!site.has_blob("app", &garbage).await);
}

#[tokio::test]
async fn nothing_stops_it_when_nothing_writes() {
    let site = Site::new();
    let garbage = site.berth.push_blob("app", b"garbage").await;
    let begun = site.file("repositories/app/_uploads/6b8bf1c8-6a4b-4f6e-9f52-0d3cf8d8a0f1/startedat");
    std::fs::create_dir_all(begun.parent().unwrap()).unwrap();
    std::fs::write(&begun, "2026-01-02T03:04:05Z").unwrap();
    site.collect(&["--offline"]);
    assert!(!site.has_blob("app", &garbage).await && begun.exists());
}

#[tokio::test]
async fn a_large_share_goes_only_when_the_operator_means_it() {
    let site = Site::new();
    let image = site.berth.push_image("app", "v1", b"layer").await;
    // Content of a size, without the time that writing it takes.
    let grow = |digest: &str, bytes| {
        let file = std::fs::OpenOptions::new().write(true).open(site.blob_file(digest)).unwrap();
        file.set_len(bytes).unwrap();
    };
    let garbage = [site.berth.push_blob("app", b"one").await, site.berth.push_blob("app", b"two").await];
    for digest in &garbage {
        grow(digest, 600 << 20);
    }
    let output = site.run(&["--grace", "0s", "--settle", "0s"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing was removed, because 1258291200 of 12582"), "{said}");
    assert!(said.contains("--accept-large-removal"), "{said}");
    assert!(garbage.iter().all(|digest| site.blob_file(digest).exists()));
    site.collect(&["--dry-run"]);
    // The same bytes are a plausible share of more.
    grow(&image.layer, 4 << 30);
    site.collect(&[]);
    assert!(garbage.iter().all(|digest| !site.blob_file(digest).exists()));
    assert!([&image.digest, &image.layer].iter().all(|digest| site.blob_file(digest).exists()));
}

#[tokio::test]
async fn a_large_share_goes_when_the_operator_says_so() {
    let site = Site::new();
    let garbage = site.berth.push_blob("app", b"one").await;
    std::fs::OpenOptions::new().write(true).open(site.blob_file(&garbage)).unwrap().set_len(2 << 30).unwrap();
    assert_eq!(site.run(&["--grace", "0s", "--settle", "0s"]).status.code(), Some(1));
    site.collect(&["--accept-large-removal"]);
    assert!(!site.blob_file(&garbage).exists());
}
