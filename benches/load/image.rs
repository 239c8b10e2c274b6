//! Pushing small images, and the fixed content that the reading rows ask for.

use std::io;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use crate::Target;
use crate::payload::{self, Payload};
use crate::push::{self, Style};
use crate::report::{Meter, Tally};
use crate::wire::{Connection, Reuse};

/// Media type of the pushed manifests.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What to push and how hard.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Beginning of the repositories' names; each connection pushes to one of its own.
    #[arg(long, default_value = "bench/images")]
    repository: String,
    /// Bytes of each layer.
    #[arg(long, default_value_t = 64 << 10)]
    size: usize,
    /// Layers of each image.
    #[arg(long, default_value_t = 2)]
    layers: usize,
    /// Images to push in total.
    #[arg(long, default_value_t = 400)]
    count: usize,
    /// Connections that push at the same time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// The order of requests for each blob.
    #[arg(long, value_enum, default_value = "patch")]
    style: Style,
    /// Prints each image as `repository tag digest` on a line of its own as soon as the server has acknowledged it.
    #[arg(long)]
    list: bool,
}

/// What the reading rows need.
#[derive(Args)]
pub(crate) struct SeedOptions {
    #[command(flatten)]
    target: Target,
    /// Repository to push to.
    #[arg(long, default_value = "bench/read")]
    repository: String,
    /// Sizes of the blobs in bytes.
    #[arg(long, value_delimiter = ',', default_value = "65536,268435456")]
    blobs: Vec<usize>,
    /// Tags of the one image.
    #[arg(long, default_value_t = 1000)]
    tags: usize,
}

/// Runs the load.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let payload = Payload::new(options.size);
    let meter = Meter::start(&options.target)?;
    let operation = |connection: &mut Connection, tally: &mut Tally| {
        let begun = Instant::now();
        let image = image(connection, options, &payload)?;
        tally.finish(begun.elapsed(), (options.size * options.layers) as u64);
        if options.list {
            println!("{image}");
        }
        Ok(())
    };
    let connect = || Connection::new(options.target.address, options.style.reuse());
    let tally = push::share(options.connections, options.count, operation, connect)?;
    meter.stop("push-image", &options.target, tally)
}

/// Pushes one image and names it: `repository tag digest`.
fn image(connection: &mut Connection, options: &Options, payload: &Payload) -> io::Result<String> {
    let repository = &options.repository;
    let mut layers = Vec::with_capacity(options.layers);
    for _ in 0..options.layers {
        let unique = payload.unique();
        push::blob(connection, options.style, repository, payload, &unique)?;
        layers.push((unique.digest, payload.size()));
    }
    let tag = layers.first().and_then(|(digest, _)| digest.get(7..39)).unwrap_or("latest").to_owned();
    let config = json!({ "architecture": "amd64", "os": "linux", "author": tag }).to_string();
    let config_digest = payload::digest(config.as_bytes());
    push::bytes(connection, options.style, repository, &config_digest, &[config.as_bytes()])?;
    let manifest = manifest(&config_digest, config.len(), &layers);
    put_manifest(connection, options.style, repository, &tag, &manifest)?;
    Ok(format!("{repository} {tag} {}", payload::digest(manifest.as_bytes())))
}

/// An image manifest of these layers, each a digest and its bytes.
pub(crate) fn manifest(config: &str, config_size: usize, layers: &[(String, usize)]) -> String {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(digest, size)| {
            json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size })
        })
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size },
        "layers": layers,
    })
    .to_string()
}

fn put_manifest(
    connection: &mut Connection,
    style: Style,
    repository: &str,
    tag: &str,
    manifest: &str,
) -> io::Result<()> {
    let path = format!("/v2/{repository}/manifests/{tag}");
    if style == Style::Put {
        push::expect(connection.send("HEAD", &path, "", &[])?, &[200, 404], "HEAD manifest")?;
    }
    let kind = format!("Content-Type: {MANIFEST}\r\n");
    push::expect(connection.send("PUT", &path, &kind, &[manifest.as_bytes()])?, &[201], "PUT manifest")
}

/// Pushes the blobs and one image that names the first of them, under many tags. Doing it again changes nothing.
pub(crate) fn seed(options: &SeedOptions) -> io::Result<String> {
    let repository = &options.repository;
    let mut connection = Connection::new(options.target.address, Reuse::Always);
    let mut layers = Vec::with_capacity(options.blobs.len());
    for size in &options.blobs {
        let payload = Payload::fixed(*size);
        let unique = payload.unique();
        push::blob(&mut connection, Style::Patch, repository, &payload, &unique)?;
        layers.push((unique.digest, payload.size()));
    }
    let config = json!({ "architecture": "amd64", "os": "linux" }).to_string();
    let config_digest = payload::digest(config.as_bytes());
    push::bytes(&mut connection, Style::Patch, repository, &config_digest, &[config.as_bytes()])?;
    let manifest = manifest(&config_digest, config.len(), &layers);
    for number in 0..options.tags.max(1) {
        put_manifest(&mut connection, Style::Patch, repository, &format!("v{number:04}"), &manifest)?;
    }
    let blobs: Vec<String> = layers.iter().map(|(digest, _)| format!("/v2/{repository}/blobs/{digest}")).collect();
    Ok(json!({
        "manifest": format!("/v2/{repository}/manifests/v0000"),
        "manifest_by_digest": format!("/v2/{repository}/manifests/{}", payload::digest(manifest.as_bytes())),
        "tags": format!("/v2/{repository}/tags/list"),
        "blobs": blobs,
    })
    .to_string())
}
