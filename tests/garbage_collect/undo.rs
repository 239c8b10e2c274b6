//! `garbage-collect --undo`: what was swept comes back and can be pulled, beside pushes, after a kill, and until it is freed.

use super::*;

use std::path::Path;
use std::time::{Duration, SystemTime};

use support::{digest, image, index};

impl Site {
    /// Where what is collected is kept; on a full machine there is nothing to try.
    fn with_room() -> Option<Self> {
        let berth = Berth::with_room();
        if berth.is_none() {
            println!("skipped: less than a fifth of the temporary directory's file system is available");
        }
        berth.map(Self::of)
    }

    fn undo(&self, arguments: &[&str]) -> Output {
        self.run(&[&["--undo"], arguments].concat())
    }

    /// Puts everything back and gives what was said.
    fn undone(&self) -> String {
        let output = self.undo(&[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]), "{said}");
        said
    }

    fn bin(&self) -> PathBuf {
        self.file("gc/bin")
    }

    /// The bins of all collections.
    fn bins(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.bin()).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }

    /// Pushes an untagged image of one layer.
    async fn push_untagged(&self, name: &str, layer: &[u8]) -> support::Image {
        let image = self.berth.push_image(name, "passing", layer).await;
        self.berth.delete(&format!("/v2/{name}/manifests/passing")).await.is(StatusCode::ACCEPTED);
        image
    }

    async fn assert_whole(&self, name: &str, image: &support::Image) {
        let manifest = self.berth.get(&format!("/v2/{name}/manifests/{}", image.digest)).await.is(StatusCode::OK);
        assert_eq!(manifest.body, image.manifest);
        for blob in [&image.config, &image.layer] {
            let content = self.berth.get(&format!("/v2/{name}/blobs/{blob}")).await.is(StatusCode::OK).body;
            assert_eq!(digest(&content), *blob);
        }
    }
}

fn content_of(bin: &Path) -> Vec<PathBuf> {
    let inside = |directory: PathBuf| std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    inside(bin.join("sha256")).flat_map(inside).collect()
}

#[tokio::test]
async fn a_swept_image_comes_back_and_can_be_pulled() {
    let Some(site) = Site::with_room() else { return };
    let image = site.push_untagged("app", b"layer").await;
    let before = site.files();
    let output = site.run(&["-m", "--grace", "0s", "--settle", "0s"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--undo") && said.contains("--keep-removed 0s") && said.contains(" UTC"), "{said}");
    assert_eq!(site.files(), [""; 0]);
    assert!(!site.has_blob("app", &image.layer).await);

    let told = site.undo(&["--dry-run"]);
    assert_eq!(told.status.code(), Some(0));
    assert!(String::from_utf8(told.stderr).unwrap().contains("would put back 1 manifests, 2 layer links and 3 blobs"));
    assert_eq!(site.files(), [""; 0]);
    assert!(site.undone().contains("put back 1 manifests, 2 layer links and 3 blobs"));
    assert_eq!(site.files(), before);
    site.assert_whole("app", &image).await;
    assert_eq!(site.bins(), [""; 0].map(PathBuf::from));
    // It counts as new.
    assert_eq!(site.run(&["-m", "--settle", "0s"]).status.code(), Some(0));
    site.assert_whole("app", &image).await;
    assert!(site.undone().contains("nothing"));
}

#[tokio::test]
async fn an_index_with_children_and_a_signature_comes_back_whole() {
    let Some(site) = Site::with_room() else { return };
    let [one, two] = [site.push_untagged("app", b"one").await, site.push_untagged("app", b"two").await];
    let multi = index(&[(&one.digest, one.manifest.len()), (&two.digest, two.manifest.len())]);
    let multi_digest = digest(&multi);
    site.berth.put_manifest("app", &multi_digest, OCI_INDEX, multi.clone()).await.is(StatusCode::CREATED);
    let config = site.berth.push_blob("app", b"{}").await;
    let signature = image(&config, &[], Some((&multi_digest, multi.len())));
    let signature_digest = digest(&signature);
    site.berth.put_manifest("app", &signature_digest, OCI_MANIFEST, signature).await.is(StatusCode::CREATED);
    let before = site.files();
    site.collect(&["-m", "-q"]);
    assert_eq!(site.files(), [""; 0]);
    site.undone();
    assert_eq!(site.files(), before);
    for image in [&one, &two] {
        site.assert_whole("app", image).await;
    }
    site.berth.get(&format!("/v2/app/manifests/{multi_digest}")).await.is(StatusCode::OK);
    let referrers = site.berth.get(&format!("/v2/app/referrers/{multi_digest}")).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], signature_digest);
    let scrub = Command::new(env!("CARGO_BIN_EXE_registry")).args(["scrub", "--read-data"]).arg(&site.config).output();
    assert_eq!(scrub.unwrap().status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_beside_pushes_and_collections_loses_no_push() {
    let Some(site) = Site::with_room() else { return };
    let first = site.push_untagged("app", b"shared").await;
    site.collect(&["-m", "-q"]);
    std::thread::scope(|scope| {
        for arguments in [&["--undo"][..], &["-m", "--grace", "0s", "--settle", "0s"]] {
            let site = &site;
            scope.spawn(move || {
                for _ in 0..6 {
                    // Either may find that the other is at it.
                    assert!(site.run(arguments).status.code().is_some_and(|code| code < 2), "{arguments:?}");
                }
            });
        }
        let pushing = async {
            for number in 0..12 {
                // A push that meets a collector may be refused, and is pushed again.
                for _ in 0..50 {
                    if site.try_push(&format!("v{number}"), b"shared").await {
                        break;
                    }
                }
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(pushing));
    });
    for number in 0..12 {
        site.berth.get(&format!("/v2/app/manifests/v{number}")).await.is(StatusCode::OK);
    }
    site.assert_whole("app", &first).await;
    site.undone();
    site.assert_whole("app", &first).await;
}

impl Site {
    /// Pushes an image as a client does that a collector may get in the way of.
    async fn try_push(&self, tag: &str, layer: &[u8]) -> bool {
        let (config, layer_digest) =
            (self.berth.push_blob("app", b"{}").await, self.berth.push_blob("app", layer).await);
        let manifest = image(&config, &[(&layer_digest, layer.len())], None);
        let request = support::to(http::Method::PUT, &format!("/v2/app/manifests/{tag}"));
        let request = request.header("content-type", OCI_MANIFEST).body(manifest.into()).unwrap();
        self.berth.send_unchecked(request).await.status == StatusCode::CREATED
    }
}

#[tokio::test]
async fn nothing_is_kept_when_that_is_asked_for_and_what_was_kept_is_freed() {
    let Some(site) = Site::with_room() else { return };
    site.push_untagged("app", b"first").await;
    site.collect(&["-m", "-q"]);
    assert_eq!(site.bins().len(), 1);
    site.push_untagged("app", b"second").await;
    let report: Value =
        serde_json::from_str(&site.collect(&["-m", "--keep-removed", "0s", "--output", "json"])).unwrap();
    assert_eq!(report["kept"], json!({"bytes": 0, "until": null, "not_kept": null}));
    assert!(report["emptied_bytes"].as_u64().unwrap() > 0);
    assert_eq!(site.bins(), [""; 0].map(PathBuf::from));
    assert!(site.undone().contains("nothing"));
    assert_eq!(site.files(), [""; 0]);

    let text = std::fs::read_to_string(&site.config).unwrap();
    let keys = "  maintenance:\n    garbagecollect:\n      schedule: \"0 3 * * *\"\n      keepremoved: 0s\n";
    std::fs::write(&site.config, text + keys).unwrap();
    site.push_untagged("app", b"third").await;
    site.collect(&["-m", "-q"]);
    assert_eq!(site.bins(), [""; 0].map(PathBuf::from));
    site.push_untagged("app", b"third").await;
    let kept: Value = serde_json::from_str(&site.collect(&["-m", "--keep-removed", "1h", "--output", "json"])).unwrap();
    assert_eq!(kept["kept"]["bytes"], kept["removed"]["bytes"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(kept["kept"]["until"].as_u64().is_some_and(|until| until > now && until <= now + 3600));
}

#[tokio::test]
async fn what_is_older_than_a_day_is_freed_by_the_next_run() {
    let Some(site) = Site::with_room() else { return };
    site.push_untagged("app", b"old").await;
    site.collect(&["-m", "-q"]);
    let [bin] = &site.bins()[..] else { panic!("one bin") };
    let list = std::fs::File::open(bin.join("list")).unwrap();
    list.set_modified(SystemTime::now() - Duration::from_hours(23)).unwrap();
    site.collect(&["-m", "-q"]);
    assert!(bin.exists());
    list.set_modified(SystemTime::now() - Duration::from_hours(25)).unwrap();
    site.collect(&["-m", "-q", "--dry-run"]);
    assert!(bin.exists(), "a dry run changes nothing");
    site.collect(&["-m", "-q"]);
    assert!(!bin.exists());
}

#[tokio::test]
async fn an_undoing_that_was_killed_is_finished_by_another() {
    let Some(site) = Site::with_room() else { return };
    let mut images = Vec::new();
    for number in 0..8 {
        images.push(site.push_untagged("app", format!("layer {number}").as_bytes()).await);
    }
    let before = site.files();
    site.collect(&["-m", "-q"]);
    let mut killed = 0;
    for delay in 0..40 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
        let mut child = command.args(["garbage-collect", "--undo", "-q"]).arg(&site.config).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
    }
    assert!(killed > 0);
    site.undone();
    let mut files = site.files();
    // What was being written when the process was killed goes when it is a day old.
    files.retain(|file| Path::new(file).extension().is_none_or(|end| end != "tmp"));
    assert_eq!(files, before);
    for image in &images {
        site.assert_whole("app", image).await;
    }
}

#[tokio::test]
async fn what_lost_a_part_is_named_and_the_rest_comes_back() {
    let Some(site) = Site::with_room() else { return };
    let [whole, broken] = [site.push_untagged("app", b"whole").await, site.push_untagged("app", b"broken").await];
    site.collect(&["-m", "-q"]);
    let [bin] = &site.bins()[..] else { panic!("one bin") };
    assert_eq!(content_of(bin).len(), 5);
    std::fs::remove_dir_all(bin.join("sha256").join(&broken.layer[7..9]).join(&broken.layer[7..])).unwrap();
    for _ in 0..2 {
        let output = site.undo(&[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for gone in [&broken.layer, &broken.digest] {
            assert!(said.contains(gone), "{said}");
        }
        assert!(!said.contains(&whole.digest), "{said}");
        site.assert_whole("app", &whole).await;
        site.berth.get(&format!("/v2/app/manifests/{}", broken.digest)).await.is(StatusCode::NOT_FOUND);
    }
    let report = site.undo(&["--output", "json"]).stdout;
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["not_put_back"].as_array().unwrap().len(), 3);
    // What brings the part back makes the rest whole.
    site.berth.push_blob("app", b"broken").await;
    site.undone();
    site.assert_whole("app", &broken).await;
}

#[tokio::test]
async fn a_removed_repository_comes_back_without_its_tags() {
    let Some(site) = Site::with_room() else { return };
    let image = site.berth.push_image("app", "v1", b"layer").await;
    let mut remove = Command::new(env!("CARGO_BIN_EXE_registry"));
    remove.args(["repository", "remove", "app", "--settle", "0s"]).arg(&site.config);
    assert_eq!(remove.output().unwrap().status.code(), Some(0));
    site.collect(&["-q"]);
    site.undone();
    site.assert_whole("app", &image).await;
    site.berth.get("/v2/app/manifests/v1").await.is(StatusCode::NOT_FOUND);
}

#[test]
fn how_to_collect_is_no_matter_of_undoing() {
    let Some(site) = Site::with_room() else { return };
    for arguments in [&["-m"][..], &["--grace", "0s"], &["--keep-removed", "0s"], &["--recover"]] {
        assert_eq!(site.undo(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
