//! One pull as docker does it: the manifest by tag, then config and layers at the same time, each on a connection of its own.

use std::io;
use std::thread;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use crate::Target;
use crate::payload;
use crate::wire::{Connection, Reuse};

/// What to pull.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Its repository.
    #[arg(long)]
    repository: String,
    /// Its tag.
    #[arg(long)]
    tag: String,
}

/// Pulls it once; fails when a byte is wrong.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let base = format!("/v2/{}", options.repository);
    let begun = Instant::now();
    let manifest = get(options, &format!("{base}/manifests/{}", options.tag))?;
    let manifest: Value = serde_json::from_slice(&manifest).map_err(io::Error::other)?;
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    let digests: Vec<&str> =
        manifest.get("config").into_iter().chain(layers).filter_map(|blob| blob.get("digest")?.as_str()).collect();
    thread::scope(|scope| {
        let pulls = digests.iter().map(|digest| {
            let path = format!("{base}/blobs/{digest}");
            scope.spawn(
                move || if payload::digest(&get(options, &path)?) == **digest { Ok(()) } else { Err(wrong(&path)) },
            )
        });
        let pulls: Vec<_> = pulls.collect();
        pulls.into_iter().try_for_each(|pull| pull.join().map_err(|_| io::Error::other("a pull stopped early"))?)
    })?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    Ok(json!({ "operation": "pull", "label": options.target.label, "blobs": digests.len(), "milliseconds": milliseconds })
        .to_string())
}

fn get(options: &Options, path: &str) -> io::Result<Vec<u8>> {
    let accept = "application/vnd.oci.image.manifest.v1+json, */*";
    let (status, content) = Connection::new(options.target.address, Reuse::Never).fetch(path, accept)?;
    if status == 200 { Ok(content) } else { Err(io::Error::other(format!("{path} is answered {status}"))) }
}

fn wrong(path: &str) -> io::Error {
    io::Error::other(format!("{path} has other bytes than its digest says"))
}
