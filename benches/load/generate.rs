//! A large store written straight to disk in distribution's layout, for measuring what walks all of it. Every blob has
//! content of its own that hashes to its digest; nothing is synced. The same options make the same store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use clap::Args;
use serde_json::json;

use crate::image;
use crate::payload;

/// Threads that write; each file is small.
const WRITERS: usize = 4;

/// What to make.
#[derive(Args)]
pub(crate) struct Options {
    /// Root directory of the store, as in `storage.filesystem.rootdirectory`.
    #[arg(long)]
    root: PathBuf,
    /// Images, each with a manifest, a config and a tag of its own.
    #[arg(long, default_value_t = 30_000)]
    images: usize,
    /// Blobs in total: manifests and configs, and layers for the rest.
    #[arg(long, default_value_t = 100_000)]
    blobs: usize,
    /// Layers of earlier images of its repository that each image shares.
    #[arg(long, default_value_t = 2)]
    shared: usize,
    /// Repositories.
    #[arg(long, default_value_t = 100)]
    repositories: usize,
    /// How many of a hundred images were deleted by their digest, so that their parts are garbage.
    #[arg(long, default_value_t = 10)]
    deleted: usize,
    /// Leaves out the links of layers to repositories: half the files, and collectors mark by manifests anyway.
    #[arg(long)]
    without_links: bool,
}

struct Writer<'o> {
    options: &'o Options,
    base: PathBuf,
    blobs: AtomicU64,
    garbage: AtomicU64,
}

/// Makes the store.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let base = options.root.join("docker/registry/v2");
    let writer = Writer { options, base, blobs: AtomicU64::new(0), garbage: AtomicU64::new(0) };
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = || -> io::Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= options.images {
                    return Ok(());
                }
                writer.image(number)?;
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(work)).collect();
        for writer in writers {
            writer.join().map_err(|_| io::Error::other("a writer stopped early"))??;
        }
        Ok::<_, io::Error>(())
    })?;
    Ok(json!({
        "operation": "generate",
        "images": options.images,
        "blobs": writer.blobs.into_inner(),
        "deleted_images": writer.garbage.into_inner(),
    })
    .to_string())
}

impl Writer<'_> {
    fn image(&self, number: usize) -> io::Result<()> {
        let repository = self.repository(number);
        let mut layers = Vec::new();
        for layer in self.layers_of(number) {
            layers.push(self.blob(&repository, &layer_content(layer))?);
        }
        let config = json!({ "architecture": "amd64", "os": "linux", "author": format!("image {number}") }).to_string();
        let (config_digest, config_size) = self.blob(&repository, &config)?;
        for shared in self.shared_layers(number) {
            let content = layer_content(shared);
            layers.push((payload::digest(content.as_bytes()), content.len()));
        }
        let manifest = image::manifest(&config_digest, config_size, &layers);
        let digest = payload::digest(manifest.as_bytes());
        self.content(&digest, &manifest)?;
        if number % 100 < self.options.deleted {
            self.garbage.fetch_add(1, Ordering::Relaxed);
            // The repository still shows that there is something in it.
            return fs::create_dir_all(repository.join("_manifests/revisions/sha256"));
        }
        let (_, hex) = split(&digest);
        let tag = repository.join(format!("_manifests/tags/t{number}"));
        write(&repository.join(format!("_manifests/revisions/sha256/{hex}/link")), &digest)?;
        write(&tag.join(format!("index/sha256/{hex}/link")), &digest)?;
        write(&tag.join("current/link"), &digest)
    }

    fn repository(&self, number: usize) -> PathBuf {
        let repository = number % self.options.repositories.max(1);
        self.base.join(format!("repositories/team{}/app{repository}", repository % 10))
    }

    /// The numbers of the layers that only this image brings.
    fn layers_of(&self, number: usize) -> std::ops::Range<usize> {
        let layers = self.options.blobs.saturating_sub(2 * self.options.images);
        let first = |number: usize| number * layers / self.options.images.max(1);
        first(number)..first(number + 1)
    }

    /// Layers of the images before it in its repository.
    fn shared_layers(&self, number: usize) -> Vec<usize> {
        let before = (1..).map_while(|back| number.checked_sub(back * self.options.repositories));
        before.filter_map(|number| self.layers_of(number).next()).take(self.options.shared).collect()
    }

    /// A blob of the repository; its digest and size.
    fn blob(&self, repository: &Path, content: &str) -> io::Result<(String, usize)> {
        let digest = payload::digest(content.as_bytes());
        self.content(&digest, content)?;
        if !self.options.without_links {
            let (_, hex) = split(&digest);
            write(&repository.join(format!("_layers/sha256/{hex}/link")), &digest)?;
        }
        Ok((digest, content.len()))
    }

    fn content(&self, digest: &str, content: &str) -> io::Result<()> {
        self.blobs.fetch_add(1, Ordering::Relaxed);
        let (_, hex) = split(digest);
        write(&self.base.join(format!("blobs/sha256/{}/{hex}/data", hex.get(..2).unwrap_or_default())), content)
    }
}

fn layer_content(number: usize) -> String {
    format!("the bytes of layer {number}, which nobody unpacks")
}

fn split(digest: &str) -> (&str, &str) {
    digest.split_once(':').unwrap_or(("", digest))
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    match fs::write(path, content) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            fs::write(path, content)
        }
        result => result,
    }
}
