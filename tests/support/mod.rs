//! A registry as the tests see it: requests in, answers out, over every driver that needs nothing but this process.
//!
//! Whatever every answer must be is asserted in [`Berth::send`], so that no test can forget it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod answer;
pub mod endpoints;

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::Body;
use berth::auth::Authenticator;
use berth::oci::{Algorithm, Hasher};
use berth::registry::{self, Deletion, Registry};
use berth::routes::{self, FileBody};
use berth::storage::{self, DriverConfig, FilesystemConfig, Store, driver};
use berth::telemetry::HealthChecks;
use futures_util::FutureExt;
use http::request::Builder;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

pub use answer::Answer;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Stamps each test on every driver.
#[macro_export]
macro_rules! on_every_driver {
    ($($(#[$attribute:meta])* async fn $name:ident($driver:ident) $body:block)*) => {
        mod memory {
            #[allow(unused_imports)]
            use super::*;
            $($(#[$attribute])* #[tokio::test] async fn $name() { let $driver = support::Driver::Memory; $body })*
        }
        mod filesystem {
            #[allow(unused_imports)]
            use super::*;
            $($(#[$attribute])* #[tokio::test] async fn $name() { let $driver = support::Driver::Filesystem; $body })*
        }
    };
}

/// Where a test's content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Memory,
    Filesystem,
}

/// A registry of its own for one test.
pub struct Berth {
    pub app: axum::Router,
    pub directory: Option<tempfile::TempDir>,
    store: Store,
}

/// Rules under which tests push and delete unless they are about the rules.
pub fn rules() -> registry::Config {
    registry::Config {
        deletion: Deletion::Enabled,
        secret: Some(b"not a secret".to_vec()),
        ..registry::Config::default()
    }
}

impl Berth {
    pub fn new(driver: Driver) -> Self {
        Self::with(driver, rules(), routes::Config::default())
    }

    pub fn with(driver: Driver, rules: registry::Config, config: routes::Config) -> Self {
        let directory = (driver == Driver::Filesystem).then(|| tempfile::tempdir().unwrap());
        Self::within(directory, rules, config)
    }

    /// A registry on a file system with so much room that what is collected is kept; `None` where this machine has none.
    pub fn with_room() -> Option<Self> {
        let has_room = |place: &std::path::PathBuf| {
            rustix::fs::statvfs(place).is_ok_and(|space| space.f_bavail * 100 > space.f_blocks * 20)
        };
        let place = [std::env::temp_dir(), "/dev/shm".into()].into_iter().find(has_room)?;
        let directory = tempfile::tempdir_in(place).unwrap();
        Some(Self::within(Some(directory), rules(), routes::Config::default()))
    }

    fn within(directory: Option<tempfile::TempDir>, rules: registry::Config, config: routes::Config) -> Self {
        let place = match &directory {
            Some(directory) => DriverConfig::Filesystem(FilesystemConfig {
                root_directory: directory.path().to_owned(),
                ..FilesystemConfig::default()
            }),
            None => DriverConfig::Memory,
        };
        let config_of_storage = storage::Config { driver: place, ..storage::Config::default() };
        Self { directory, ..Self::over(&config_of_storage, rules, config) }
    }

    /// A registry whose content is in memory, with what `storage` says besides.
    pub fn over_memory(storage: storage::Config, rules: registry::Config, config: routes::Config) -> Self {
        Self::over(&storage::Config { driver: DriverConfig::Memory, ..storage }, rules, config)
    }

    fn over(storage: &storage::Config, rules: registry::Config, config: routes::Config) -> Self {
        // Neither of these drivers waits for anything when it is opened.
        let driver = driver::open(storage, driver::Access::ReadWrite).now_or_never().unwrap().unwrap();
        let store = Store::new(driver, storage);
        Self { app: app(rules, config, store.clone(), HealthChecks::new()), directory: None, store }
    }

    /// A registry over a store that the test opened, as `serve` starts it.
    pub async fn on(store: Store) -> Self {
        let registry = Arc::new(Registry::new(rules(), store.clone()));
        registry.look_at_collections().await.unwrap();
        let authenticator = Arc::new(Authenticator::default());
        let app = routes::router(routes::Config::default(), registry, authenticator, HealthChecks::new());
        Self { app, directory: None, store }
    }

    /// A registry that asks `authenticator` about everybody.
    pub fn guarded(driver: Driver, authenticator: Authenticator) -> Self {
        let open = Self::new(driver);
        let app = open.guarded_by(&Arc::new(authenticator)).app;
        Self { app, ..open }
    }

    /// The same content with `authenticator` asked about everybody.
    pub fn guarded_by(&self, authenticator: &Arc<Authenticator>) -> Berth {
        let registry = Arc::new(Registry::new(rules(), self.store.clone()));
        let app = routes::router(routes::Config::default(), registry, Arc::clone(authenticator), HealthChecks::new());
        Self { app, directory: None, store: self.store.clone() }
    }

    /// The same content under other rules, as after a restart with another configuration.
    pub fn restarted(&self, rules: registry::Config, config: routes::Config) -> Berth {
        let app = app(rules, config, self.store.clone(), HealthChecks::new());
        Self { app, directory: None, store: self.store.clone() }
    }

    /// The same registry under the eyes of `health`.
    pub fn watched(&self, health: HealthChecks) -> Berth {
        let app = app(rules(), routes::Config::default(), self.store.clone(), health);
        Self { app, directory: None, store: self.store.clone() }
    }

    /// Sends a request and returns the answer, after looking at what every answer must be.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let answer = self.send_unchecked(request).await;
        let about = format!("{method} {uri}: {answer:?}");
        let has = |name| answer.headers.contains_key(name);
        assert_eq!(answer.headers["docker-distribution-api-version"], "registry/2.0", "{about}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{about}");
        assert!(!has("content-encoding") && !has("transfer-encoding"), "{about}");
        assert!(!answer.status.is_server_error(), "{about}");
        if let Some(length) = answer.headers.get("content-length") {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            assert!(answer.body.len() == length || method == Method::HEAD && answer.body.is_empty(), "{about}");
        } else {
            assert!([StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&answer.status), "{about}");
        }
        if answer.status.is_client_error() {
            assert_eq!(answer.headers["content-type"], "application/json", "{about}");
            assert!(answer.body.len() < 64 * 1024, "an error says more than it must");
            if method != Method::HEAD {
                answer.errors();
            }
        }
        answer
    }

    /// Sends a request and returns the answer, whatever it is like.
    pub async fn send_unchecked(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let mut body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        if let Some(file) = parts.extensions.get::<FileBody>() {
            assert!(body.is_empty());
            let mut bytes = vec![0; usize::try_from(file.length).unwrap()];
            file.file.read_exact_at(&mut bytes, file.offset).unwrap();
            body = bytes.into();
        }
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send(to(Method::GET, target).body(Body::empty()).unwrap()).await
    }

    pub async fn head(&self, target: &str) -> Answer {
        self.send(to(Method::HEAD, target).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, target: &str) -> Answer {
        self.send(to(Method::DELETE, target).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, target: &str, body: impl Into<Body>) -> Answer {
        self.send(to(Method::POST, target).body(body.into()).unwrap()).await
    }

    pub async fn patch(&self, target: &str, body: impl Into<Body>) -> Answer {
        self.send(to(Method::PATCH, target).body(body.into()).unwrap()).await
    }

    pub async fn put(&self, target: &str, body: impl Into<Body>) -> Answer {
        self.send(to(Method::PUT, target).body(body.into()).unwrap()).await
    }

    /// Sends GET with one more header.
    pub async fn get_with(&self, target: &str, name: &str, value: &str) -> Answer {
        self.send(to(Method::GET, target).header(name, value).body(Body::empty()).unwrap()).await
    }

    /// Pushes a blob in one request and returns its digest.
    pub async fn push_blob(&self, name: &str, content: &[u8]) -> String {
        let digest = digest(content);
        let target = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.post(&target, content.to_vec()).await.is(StatusCode::CREATED);
        digest
    }

    /// Begins an upload session and returns its location.
    pub async fn begin(&self, name: &str) -> String {
        let answer = self.post(&format!("/v2/{name}/blobs/uploads/"), "").await.is(StatusCode::ACCEPTED);
        answer.header("location").to_owned()
    }

    /// Pushes a manifest and returns the answer, whatever it is.
    pub async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        content: impl Into<Body>,
    ) -> Answer {
        let request = to(Method::PUT, &format!("/v2/{name}/manifests/{reference}")).header("content-type", media_type);
        self.send(request.body(content.into()).unwrap()).await
    }

    /// Pushes an image of one layer that is `layer`, tagged `tag`.
    pub async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Image {
        let config = self.push_blob(name, b"{}").await;
        let layer_digest = self.push_blob(name, layer).await;
        let manifest = image(&config, &[(&layer_digest, layer.len())], None);
        let answer = self.put_manifest(name, tag, OCI_MANIFEST, manifest.clone()).await.is(StatusCode::CREATED);
        let digest = answer.header("docker-content-digest").to_owned();
        Image { digest, manifest, config, layer: layer_digest }
    }

    /// Names of all files below the store's root, without upload sessions and without the record of what the referrers
    /// index has seen, which reading may write; none for a store without files.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(directory) = &self.directory {
            collect_files(directory.path(), &mut found);
        }
        found.retain(|file| !file.contains("/_uploads/") && !file.ends_with("/_referrers/indexed"));
        found.sort();
        found
    }
}

fn app(rules: registry::Config, config: routes::Config, store: Store, health: HealthChecks) -> axum::Router {
    let registry = Arc::new(Registry::new(rules, store));
    routes::router(config, registry, Arc::new(Authenticator::default()), health)
}

fn collect_files(directory: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, found);
        } else {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
}

/// An image that was pushed.
#[derive(Debug, Clone)]
pub struct Image {
    pub digest: String,
    pub manifest: Vec<u8>,
    pub config: String,
    pub layer: String,
}

/// A request to `target`, which is path and query or a `Location`.
pub fn to(method: Method, target: &str) -> Builder {
    Request::builder().method(method).uri(target)
}

/// The sha256 digest of `content`.
pub fn digest(content: &[u8]) -> String {
    Hasher::digest(Algorithm::Sha256, content).to_string()
}

/// The sha512 digest of `content`.
pub fn sha512(content: &[u8]) -> String {
    Hasher::digest(Algorithm::Sha512, content).to_string()
}

/// `location` with a parameter more.
pub fn with(location: &str, parameter: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}{parameter}")
}

/// Bytes that do not repeat within a few kilobytes.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(step).collect()
}

/// An OCI image manifest.
pub fn image(config: &str, layers: &[(&str, usize)], subject: Option<(&str, usize)>) -> Vec<u8> {
    let layers: Vec<Value> =
        layers.iter().map(|(digest, size)| json!({ "mediaType": OCI_LAYER, "digest": digest, "size": size })).collect();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": OCI_CONFIG, "digest": config, "size": 2 },
        "layers": layers,
    });
    if let Some((digest, size)) = subject {
        manifest["subject"] = json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": size });
    }
    serde_json::to_vec(&manifest).unwrap()
}

/// An OCI image index of image manifests.
pub fn index(children: &[(&str, usize)]) -> Vec<u8> {
    let manifests: Vec<Value> = children
        .iter()
        .map(|(digest, size)| json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": size }))
        .collect();
    serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })).unwrap()
}
