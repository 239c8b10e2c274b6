//! `registry garbage-collect` as a person or a script meets it: lines, exit codes, and what is left beside a registry that
//! goes on serving.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod situations;
#[path = "../support/mod.rs"]
mod support;
mod undo;

use std::path::PathBuf;
use std::process::{Command, Output};

use http::StatusCode;
use serde_json::{Value, json};
use support::{Berth, Driver, OCI_INDEX, OCI_MANIFEST};

/// A registry on a disk, and a configuration that names the same directory.
struct Site {
    berth: Berth,
    config: PathBuf,
}

impl Site {
    fn new() -> Self {
        Self::of(Berth::new(Driver::Filesystem))
    }

    fn of(berth: Berth) -> Self {
        let directory = berth.directory.as_ref().unwrap().path();
        let config = directory.join("config.yml");
        let root = directory.display();
        let text = format!(
            "version: 0.1\nhttp: {{addr: \"127.0.0.1:0\"}}\nstorage:\n  filesystem:\n    rootdirectory: {root}\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { berth, config }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
        command.arg("garbage-collect").args(arguments).arg(&self.config);
        command.output().unwrap()
    }

    /// Collects at once and gives what was printed.
    fn collect(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["--grace", "0s", "--settle", "0s"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What lies there, apart from what collection itself leaves.
    fn files(&self) -> Vec<String> {
        let mut files = self.berth.files();
        files.retain(|file| !file.contains("/registry/v2/gc/") && !file.ends_with("config.yml"));
        files
    }

    async fn has_blob(&self, name: &str, digest: &str) -> bool {
        self.berth.head(&format!("/v2/{name}/blobs/{digest}")).await.status == StatusCode::OK
    }

    async fn delete_manifest(&self, name: &str, reference: &str) {
        self.berth.delete(&format!("/v2/{name}/manifests/{reference}")).await.is(StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn a_deleted_image_goes_and_the_lines_are_those_that_scripts_know() {
    let site = Site::new();
    let kept = site.berth.push_image("app", "kept", b"layer of kept").await;
    let gone = site.berth.push_image("app", "gone", b"layer of gone").await;
    site.delete_manifest("app", &gone.digest).await;

    let printed = site.collect(&[]);
    let mut lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "app");
    lines.sort_unstable();
    let mut expected = vec![
        "app".to_owned(),
        format!("app: marking manifest {} ", kept.digest),
        format!("app: marking blob {}", kept.config),
        format!("app: marking blob {}", kept.layer),
        String::new(),
        "3 blobs marked, 2 blobs and 0 manifests eligible for deletion".to_owned(),
        format!("app: layer link eligible for deletion: {}", gone.layer),
        format!("blob eligible for deletion: {}", gone.layer),
        format!("blob eligible for deletion: {}", gone.digest),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert!(site.has_blob("app", &kept.layer).await && !site.has_blob("app", &gone.layer).await);
    site.berth.get("/v2/app/manifests/kept").await.is(StatusCode::OK);
    assert_eq!(site.collect(&["--quiet"]), "\n3 blobs marked, 0 blobs and 0 manifests eligible for deletion\n");
}

#[tokio::test]
async fn a_dry_run_tells_the_same_and_changes_nothing() {
    let site = Site::new();
    site.berth.push_image("app", "v1", b"one").await;
    site.berth.push_image("app", "v1", b"two").await;
    let before = site.berth.files();
    let told = site.collect(&["--dry-run", "--delete-untagged"]);
    assert_eq!(site.berth.files(), before);
    assert_eq!(site.collect(&["-m"]), told);
    assert_ne!(site.files(), before);
}

#[tokio::test]
async fn what_a_tagged_index_or_a_subject_needs_stays_without_a_tag() {
    let site = Site::new();
    let child = site.berth.push_image("app", "child", b"of the child").await;
    let length = child.manifest.len();
    let index = support::index(&[(&child.digest, length)]);
    site.berth.put_manifest("app", "multi", OCI_INDEX, index).await.is(StatusCode::CREATED);
    let config = site.berth.push_blob("app", b"{}").await;
    let signature = support::image(&config, &[], Some((&child.digest, length)));
    let digest = support::digest(&signature);
    site.berth.put_manifest("app", &digest, OCI_MANIFEST, signature).await.is(StatusCode::CREATED);
    site.delete_manifest("app", "child").await;
    site.collect(&["-m", "-q"]);
    for reference in [child.digest.as_str(), &digest, "multi"] {
        site.berth.get(&format!("/v2/app/manifests/{reference}")).await.is(StatusCode::OK);
    }
    assert!(site.has_blob("app", &child.layer).await);
    site.delete_manifest("app", "multi").await;
    site.collect(&["-m", "-q"]);
    assert!(!site.has_blob("app", &child.layer).await);
}

#[tokio::test]
async fn numbers_for_scripts_are_one_json_object() {
    let site = Site::new();
    site.berth.push_blob("app", b"garbage").await;
    let report: Value = serde_json::from_str(&site.collect(&["--output", "json"])).unwrap();
    assert_eq!(report["removed"], json!({"manifests": 0, "layer_links": 1, "blobs": 1, "bytes": 7}));
    assert_eq!(report["stored_bytes"], 7);
}

#[tokio::test]
async fn doubt_is_exit_code_1_and_a_wrong_command_line_2() {
    let site = Site::new();
    let image = site.berth.push_image("app", "v1", b"layer").await;
    site.berth.push_blob("app", b"garbage").await;
    let directory = site.berth.directory.as_ref().unwrap().path().join("docker/registry/v2");
    let tag = directory.join("repositories/app/_manifests/tags/v1/current/link");
    std::fs::write(&tag, b"").unwrap();
    let before = site.files();
    let output = site.run(&["--grace", "0s", "-m"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing was removed") && said.contains("tag v1 of repository app"), "{said}");
    assert_eq!(site.files(), before);
    std::fs::write(&tag, &image.digest).unwrap();

    for foreign in ["repositories/Upper/_manifests", "repositories/app/_layers/sha384", "blobs/sha256/ab/lost+found"] {
        let foreign = directory.join(foreign);
        std::fs::create_dir_all(&foreign).unwrap();
        std::fs::write(foreign.join("data"), b"whose?").unwrap();
        let before = site.files();
        let output = site.run(&["--grace", "0s", "-m"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}: {said}", foreign.display());
        assert_eq!(site.files(), before, "{said}");
        std::fs::remove_dir_all(&foreign).unwrap();
        // What was made on the way there.
        let _ = std::fs::remove_dir(foreign.parent().unwrap());
    }
    site.collect(&[]);
    for arguments in [["--grace", "soon"], ["--output", "xml"], ["--bogus", "x"]] {
        assert_eq!(site.run(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}
