//! Reading back what was acknowledged: every image of a list is fetched by tag, with all its blobs, and every byte is
//! checked against its digest. The judge of `conformance/crash.sh`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use clap::Args;
use serde_json::Value;

use crate::Target;
use crate::payload;
use crate::push;
use crate::report::{Meter, Tally};
use crate::wire::{Connection, Reuse};

/// What a pull takes.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// Which images to read.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// File with one `repository tag digest` a line; other lines are ignored.
    #[arg(long)]
    list: PathBuf,
    /// Connections that read at the same time.
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

/// Reads all images; fails with the first ones that are not whole.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let text = fs::read_to_string(&options.list)?;
    let images: Vec<Image> = text.lines().filter_map(Image::parse).collect();
    let waiting = Mutex::new(images.iter());
    let broken = Mutex::new(Vec::new());
    let meter = Meter::start(&options.target)?;
    let operation = |connection: &mut Connection, tally: &mut Tally| {
        let Some(image) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) else { return Ok(()) };
        let begun = Instant::now();
        match whole(connection, &image.repository, &image.tag, &image.digest)? {
            Ok(bytes) => tally.finish(begun.elapsed(), bytes),
            Err(fault) => {
                if let Ok(mut broken) = broken.lock() {
                    broken.push(format!("{}:{}: {fault}", image.repository, image.tag));
                }
            }
        }
        Ok(())
    };
    let connect = || Connection::new(options.target.address, Reuse::Always);
    let tally = push::share(options.connections, images.len(), operation, connect)?;
    let broken = broken.into_inner().unwrap_or_default();
    if broken.is_empty() {
        return meter.stop("verify", &options.target, tally);
    }
    let shown: Vec<&str> = broken.iter().take(10).map(String::as_str).collect();
    Err(io::Error::other(format!("{} of {} images are not whole:\n{}", broken.len(), images.len(), shown.join("\n"))))
}

struct Image {
    repository: String,
    tag: String,
    digest: String,
}

impl Image {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::to_owned);
        let (repository, tag, digest) = (words.next()?, words.next()?, words.next()?);
        // A line cut short by the end of the writer names no whole digest.
        let whole = words.next().is_none() && digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64);
        whole.then_some(Self { repository, tag, digest })
    }
}

/// The bytes of the image or index that stands under `reference`, or what is wrong with it: its manifest must have the digest
/// `digest`, and everything below it must be there and have its own.
pub(crate) fn whole(
    connection: &mut Connection,
    repository: &str,
    reference: &str,
    digest: &str,
) -> io::Result<Result<u64, String>> {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let (status, manifest) = connection.fetch(&path, ACCEPTED)?;
    if status != 200 || payload::digest(&manifest) != digest {
        return Ok(Err(format!("the manifest is answered {status} with {} bytes", manifest.len())));
    }
    let mut bytes = manifest.len() as u64;
    let parsed: Value = serde_json::from_slice(&manifest).map_err(io::Error::other)?;
    let listed = |field: &str| parsed.get(field).and_then(Value::as_array).into_iter().flatten().map(digest_of);
    for child in listed("manifests") {
        match whole(connection, repository, child, child)? {
            Ok(below) => bytes += below,
            Err(fault) => return Ok(Err(format!("child {child}: {fault}"))),
        }
    }
    for digest in parsed.get("config").map(digest_of).into_iter().chain(listed("layers")) {
        let (status, blob) = connection.fetch(&format!("/v2/{repository}/blobs/{digest}"), "*/*")?;
        if status != 200 || payload::digest(&blob) != digest {
            return Ok(Err(format!("blob {digest} is answered {status} with {} bytes", blob.len())));
        }
        bytes += blob.len() as u64;
    }
    Ok(Ok(bytes))
}

fn digest_of(descriptor: &Value) -> &str {
    descriptor.get("digest").and_then(Value::as_str).unwrap_or_default()
}
