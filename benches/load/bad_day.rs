//! A day on which the registry's store fails now and then: images are pushed and pulled by a client that tries again when
//! it is told to, and every answer is judged. Drives `conformance/faults.sh`. What counts as wrong: other bytes than were
//! pushed, an error that is no OCI error or does not say whether to try again, and a chunk acknowledged but not kept.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use crate::Target;
use crate::image::{MANIFEST, manifest};
use crate::payload::{self, Payload};
use crate::push::{self, Style, location};
use crate::report::Tally;
use crate::wire::{Connection, Reader, Reuse};

/// How often an image is tried before the client gives up.
const TRIES: usize = 20;
/// Every so many images, one has a large layer.
const LARGE_EVERY: usize = 10;

/// What to push and pull.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Images to push, each of which is pulled at once.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Connections that push and pull at the same time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Bytes of the small layers.
    #[arg(long, default_value_t = 64 << 10)]
    size: usize,
    /// Bytes of the large layers; more than one part of a bucket's multipart upload.
    #[arg(long, default_value_t = 12 << 20)]
    large: usize,
}

/// What went wrong with one request.
enum Trouble {
    /// The answer says that the client may try again, or the connection broke.
    Passing(String),
    /// Something that must not happen.
    Wrong(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        // A registry that cannot finish a body closes the connection; so does one that ends.
        Self::Passing(format!("connection: {:?}", error.kind()))
    }
}

#[derive(Default)]
struct Seen {
    passing: BTreeMap<String, usize>,
    wrong: Vec<String>,
    given_up: usize,
}

/// Runs the day; fails when anything was wrong. Acknowledged images are printed as `repository tag digest`.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let small = Payload::new(options.size);
    let large = Payload::new(options.large);
    let number = AtomicUsize::new(0);
    let seen = Mutex::new(Seen::default());
    let begun = Instant::now();
    let operation = |connection: &mut Connection, tally: &mut Tally| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let layer = if number.is_multiple_of(LARGE_EVERY) { &large } else { &small };
        // Both ways to push a blob, by turns.
        let style = if number.is_multiple_of(2) { Style::Patch } else { Style::Put };
        let image = Image::new(layer, number);
        let started = Instant::now();
        let pushed = insist(connection, &seen, |connection| image.push(connection, style));
        if pushed {
            println!("{} {} {}", image.repository, image.tag, payload::digest(image.manifest.as_bytes()));
            insist(connection, &seen, |connection| image.pull(connection));
            tally.finish(started.elapsed(), layer.size() as u64);
        }
        Ok(())
    };
    let connect = || Connection::new(options.target.address, Reuse::Always);
    let tally = push::share(options.connections, options.count, operation, connect)?;
    let seen = seen.into_inner().map_err(|_| io::Error::other("a worker stopped early"))?;
    if !seen.wrong.is_empty() {
        let shown: Vec<&str> = seen.wrong.iter().take(10).map(String::as_str).collect();
        return Err(io::Error::other(format!("{} answers were wrong:\n{}", seen.wrong.len(), shown.join("\n"))));
    }
    Ok(json!({
        "operation": "bad-day",
        "label": options.target.label,
        "images": tally.latencies.len(),
        "given_up": seen.given_up,
        "passing": seen.passing,
        "seconds": begun.elapsed().as_secs_f64(),
    })
    .to_string())
}

/// Tries until it works or the answer is wrong; tells whether it worked.
fn insist(
    connection: &mut Connection,
    seen: &Mutex<Seen>,
    mut attempt: impl FnMut(&mut Connection) -> Result<(), Trouble>,
) -> bool {
    for _ in 0..TRIES {
        let trouble = match attempt(connection) {
            Ok(()) => return true,
            Err(trouble) => trouble,
        };
        let Ok(mut seen) = seen.lock() else { return false };
        match trouble {
            Trouble::Passing(what) => *seen.passing.entry(what).or_default() += 1,
            Trouble::Wrong(what) => {
                seen.wrong.push(what);
                return false;
            }
        }
    }
    if let Ok(mut seen) = seen.lock() {
        seen.given_up += 1;
    }
    false
}

struct Image<'p> {
    repository: String,
    tag: String,
    layer: &'p Payload,
    ending: Vec<u8>,
    digest: String,
    config: String,
    manifest: String,
}

impl<'p> Image<'p> {
    fn new(layer: &'p Payload, number: usize) -> Self {
        let unique = layer.unique();
        let config = json!({ "architecture": "amd64", "os": "linux", "author": unique.digest }).to_string();
        let layers = [(unique.digest.clone(), layer.size())];
        let manifest = manifest(&payload::digest(config.as_bytes()), config.len(), &layers);
        Self {
            repository: format!("bad/day{}", number % 7),
            tag: format!("t{number}"),
            layer,
            ending: unique.ending.to_vec(),
            digest: unique.digest,
            config,
            manifest,
        }
    }

    fn push(&self, connection: &mut Connection, style: Style) -> Result<(), Trouble> {
        let config = payload::digest(self.config.as_bytes());
        self.blob(connection, style, &config, &[self.config.as_bytes()])?;
        self.blob(connection, style, &self.digest, &[self.layer.beginning(), self.ending.as_slice()])?;
        let path = format!("/v2/{}/manifests/{}", self.repository, self.tag);
        let kind = format!("Content-Type: {MANIFEST}\r\n");
        request(connection, "PUT", &path, &kind, &[self.manifest.as_bytes()], 201).map(drop)
    }

    fn blob(&self, connection: &mut Connection, style: Style, digest: &str, parts: &[&[u8]]) -> Result<(), Trouble> {
        let octets = "Content-Type: application/octet-stream\r\n";
        let begin = format!("/v2/{}/blobs/uploads/", self.repository);
        let mut session = request(connection, "POST", &begin, "", &[], 202)?.0;
        if style == Style::Patch {
            session = request(connection, "PATCH", &session, octets, parts, 202)?.0;
        }
        let mark = if session.contains('?') { '&' } else { '?' };
        let close = format!("{session}{mark}digest={}", digest.replace(':', "%3A"));
        let body = if style == Style::Patch { &[] } else { parts };
        request(connection, "PUT", &close, octets, body, 201).map(drop)
    }

    fn pull(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let same = |path: String, pushed: &str, body: &[u8]| {
            let got = payload::digest(body);
            if got == pushed { Ok(()) } else { Err(Trouble::Wrong(format!("{path} has the digest {got}"))) }
        };
        let path = format!("/v2/{}/manifests/{}", self.repository, self.tag);
        let (_, body) = request(connection, "GET", &path, &format!("Accept: {MANIFEST}\r\n"), &[], 200)?;
        same(path, &payload::digest(self.manifest.as_bytes()), &body)?;
        for digest in [payload::digest(self.config.as_bytes()), self.digest.clone()] {
            let path = format!("/v2/{}/blobs/{digest}", self.repository);
            let (_, body) = request(connection, "GET", &path, "", &[], 200)?;
            same(path, &digest, &body)?;
        }
        Ok(())
    }
}

/// Sends a request and judges its answer; returns where to go on, and the body.
fn request(
    connection: &mut Connection,
    method: &str,
    path: &str,
    headers: &str,
    parts: &[&[u8]],
    wanted: u16,
) -> Result<(String, Vec<u8>), Trouble> {
    let (answer, body) = connection.ask(method, path, headers, parts)?;
    if answer.status() == wanted {
        return Ok((location(answer).unwrap_or_default(), body));
    }
    let short = path.split('?').next().unwrap_or(path);
    Err(judge(answer, &body, &format!("{method} {short}")))
}

/// An error must be OCI's, and be one that passes: nothing that this client sends is its own fault.
fn judge(answer: &Reader, body: &[u8], request: &str) -> Trouble {
    let status = answer.status();
    let text = String::from_utf8_lossy(body);
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = parsed.pointer("/errors/0/code").and_then(Value::as_str);
    let Some(code) = code else {
        return Trouble::Wrong(format!("{request}: {status} is no OCI error: {text}"));
    };
    if !matches!(status, 429 | 503) {
        return Trouble::Wrong(format!("{request}: {status} {code} for a request that is right: {text}"));
    }
    if answer.header("retry-after").is_none() {
        return Trouble::Wrong(format!("{request}: {status} {code} does not say when to try again"));
    }
    Trouble::Passing(format!("{} {status} {code}", request.split(' ').next().unwrap_or(request)))
}
